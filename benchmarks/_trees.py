"""Trees of actors that grow by themselves; what their actors run. Imports little: every actor pays for it."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

import tractor


@tractor.context
async def grow(ctx: tractor.Context, depth: int, width: int, grace: float, linger: float) -> None:
    """Be an actor with `depth` levels below; the first value are the bodies of this whole branch."""
    async with growing(depth, width, grace, linger) as bodies:
        await ctx.started([threading.get_native_id(), *bodies])
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(linger)


@asynccontextmanager
async def growing(depth: int, width: int, grace: float, linger: float = 0.0) -> AsyncGenerator[list[int]]:
    """Hold `depth` levels of actors below this one, `width` children each; yield their bodies when all are up.

    The body of an actor is the thread that it runs on, by the number that the kernel gives it: for a process that is its pid.
    `grace` is that of every nursery. `linger`: seconds that each actor takes, behind a shield, when it is cancelled.
    """
    if depth == 0:
        yield []
        return
    bodies: list[int] = []
    branches = 0
    up = trio.Event()

    async def hold(portal: tractor.Portal) -> None:
        nonlocal branches
        async with portal.open_context(grow, depth=depth - 1, width=width, grace=grace, linger=linger) as (
            _,
            branch,
        ):
            bodies.extend(branch)
            branches += 1
            if branches == width:
                up.set()
            await trio.sleep_forever()

    async with tractor.open_nursery(grace=grace) as nursery:
        async with trio.open_nursery() as holders:
            for number in range(width):
                # One by one: the lowest level of a big tree would else start all at once, each slower than the other.
                portal = await nursery.start_actor(
                    f"level{depth}-{number}", enable_modules=[__name__], inherit_parent_main=False
                )
                holders.start_soon(hold, portal)
            await up.wait()
            yield bodies
            holders.cancel_scope.cancel()
        await nursery.cancel()

"""A root, a middle and a leaf, each doing what it is told. Usage: tree.py REPORT TRANSPORT STATE WHO.

STATE is what the tree does while it is hurt: `idle`, `rpc`, `stream` or, for the actor WHO alone, `spawn`.
"""

import itertools
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

import tractor
from tests.programs.watch import note

#: How often a stream has carried items both ways when its tree counts as streaming.
ROUNDS = 10


@asynccontextmanager
async def noting_errors(report: str, waiter: str) -> AsyncGenerator[None]:
    """Report an error that leaves the block, then let it go on."""
    try:
        yield
    except Exception as exc:
        note(report, waiter=waiter, type=type(exc).__name__, text=str(exc))
        raise


async def keep_spawning(nursery: tractor.ActorNursery, report: str) -> None:
    """Start one actor after the other; most moments of this are in the middle of a start."""
    number = 0
    while True:
        if number == 1:
            note(report, event="spawning")
        portal = await nursery.start_actor(f"extra{number}")
        number += 1
        if number % 3 == 0:
            await portal.cancel_actor()


async def spawn_here(report: str) -> None:
    """Keep spawning in a nursery of this task's own."""
    async with tractor.open_nursery() as nursery:
        await keep_spawning(nursery, report)


async def sleep_forever(report: str, event: str) -> None:
    """Be in a request."""
    note(report, event=event)
    await trio.sleep_forever()


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Stream back whatever comes."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        async for item in stream:
            await stream.send(item)


async def stream_with(portal: tractor.Portal, report: str, event: str) -> None:
    """Stream both ways for ever."""
    async with portal.open_context(echo) as (ctx, _), ctx.open_stream(backpressure=True) as stream:
        for count in itertools.count():
            for _ in range(10):
                await stream.send(b"x" * 100)
            for _ in range(10):
                await stream.receive()
            if count == ROUNDS:
                note(report, event=event)


async def act(portal: tractor.Portal, report: str, state: str, child: str) -> None:
    """Do with a child what the state asks for, and report when that has begun."""
    async with noting_errors(report, f"task on {child}"):
        if state == "rpc":
            await portal.run(sleep_forever, report=report, event=f"rpc in {child}")
        elif state == "stream":
            await stream_with(portal, report, f"stream with {child}")
        else:
            note(report, event=f"idle {child}")
        await trio.sleep_forever()


@tractor.context
async def host(ctx: tractor.Context, report: str, state: str, who: str) -> None:
    """Be the middle actor."""
    note(report, actor="middle", pid=os.getpid())
    async with noting_errors(report, "nursery of middle"), tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("leaf", enable_modules=["__main__"])
        note(report, actor="leaf", pid=portal.aid.pid)
        await ctx.started()
        if state != "spawn":
            await act(portal, report, state, "leaf")
        elif who == "middle":
            await keep_spawning(nursery, report)
        elif who == "leaf":
            async with noting_errors(report, "task on leaf"):
                await portal.run(spawn_here, report=report)
        await trio.sleep_forever()


async def host_in(portal: tractor.Portal, report: str, state: str, who: str) -> None:
    """Let the middle actor host the leaf."""
    async with (
        noting_errors(report, "context with middle"),
        portal.open_context(host, report=report, state=state, who=who),
    ):
        await trio.sleep_forever()


async def main(report: str, transport: str, state: str, who: str) -> None:
    """Be the root actor."""
    note(report, actor="root", pid=os.getpid())
    async with (
        noting_errors(report, "nursery of root"),
        tractor.open_nursery(enable_transports=[transport]) as nursery,
    ):
        portal = await nursery.start_actor("middle", enable_modules=["__main__"])
        # Ctrl-C leaves bare, as it would without this nursery.
        async with trio.open_nursery(strict_exception_groups=False) as tasks:
            tasks.start_soon(host_in, portal, report, state, who)
            if state != "spawn":
                tasks.start_soon(act, portal, report, state, "middle")
            elif who == "root":
                tasks.start_soon(keep_spawning, nursery, report)


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:5]))

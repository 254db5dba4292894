"""A chain of actors three levels deep, as plain as a user would write it.

Usage: python nest.py REPORT TRANSPORT WHAT [GRACE]

WHAT is what goes on in it: `sleep`, `block` (the deepest one never checkpoints), `stuck` (the root's own child does not),
`stream` (all levels), or `spawn` (the root starts one child after the other instead). GRACE: seconds that the root's child has.
"""

import os
import sys
from functools import partial

import trio

import tractor
from tests.programs import bodies
from tests.programs.watch import note

DEPTH = 3
#: How many rounds a stream has gone when it counts as flowing.
ROUNDS = 20


@tractor.context
async def level(ctx: tractor.Context, report: str, what: str, depth: int) -> None:
    """Be one actor of the chain, with those below."""
    note(report, actor=f"level{depth}", pid=os.getpid())
    if depth == 0:
        await ctx.started()
        if what == "block":
            bodies.block()
        await serve(ctx, what)
        return
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor(f"level{depth - 1}", enable_modules=["__main__"])
        async with portal.open_context(level, report=report, what=what, depth=depth - 1):
            await ctx.started()
            if what == "stuck" and depth == DEPTH - 1:
                bodies.block()
            await serve(ctx, what)


async def serve(ctx: tractor.Context, what: str) -> None:
    """Do what the parent expects."""
    if what == "stream":
        async with ctx.open_stream(backpressure=True) as stream:
            async for item in stream:
                await stream.send(item)
    await trio.sleep_forever()


async def spawn(nursery: tractor.ActorNursery, report: str) -> None:
    """Start one child after the other."""
    note(report, event="ready")
    for number in range(1000):
        await nursery.start_actor(f"extra{number}")
        note(report, event=f"child {number}")


async def main(report: str, transport: str, what: str, grace: str = "1.0") -> None:
    """Be the root."""
    note(report, actor="root", pid=os.getpid())
    async with tractor.open_nursery(enable_transports=[transport], grace=float(grace)) as nursery:
        if what == "spawn":
            await spawn(nursery, report)
        portal = await nursery.start_actor(f"level{DEPTH - 1}", enable_modules=["__main__"])
        async with portal.open_context(level, report=report, what=what, depth=DEPTH - 1) as (ctx, _):
            if what == "stream":
                async with ctx.open_stream(backpressure=True) as stream:
                    for count in range(1_000_000_000):
                        await stream.send(b"x" * 100)
                        await stream.receive()
                        if count == ROUNDS:
                            note(report, event="ready")
            note(report, event="ready")
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))

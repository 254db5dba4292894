"""Actors with children of their own that are slow to let go of them."""

import trio

import tractor
from tests.programs import actors, bodies


@tractor.context
async def note_end(ctx: tractor.Context, path: str) -> None:
    """Start, then wait in order; note the end in a file."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        write_line(path, "child")


@tractor.context
async def hold_behind_shield(ctx: tractor.Context, path: str, seconds: float) -> None:
    """Hold a child that notes its end; when cancelled take so many seconds more, then note that too."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("child", enable_modules=[__name__])
        async with portal.open_context(note_end, path=path):
            await ctx.started()
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(seconds)
                write_line(path, "body")


def write_line(path: str, text: str) -> None:
    """Append a line to a file."""
    with open(path, "a") as file:
        file.write(f"{text}\n")


@tractor.context
async def stay_behind_shield(ctx: tractor.Context) -> None:
    """Start, then wait where no cancellation reaches; the loop turns."""
    await ctx.started()
    await actors.shielded()


async def fail_below(depth: int, breadth: int) -> None:
    """Run `breadth` actors that do the same one level less deep; the lowest ones fail."""
    if depth == 0:
        raise AssertionError("a leaf, as told")
    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as starts:
            for number in range(breadth):
                starts.start_soon(start_branch, nursery, f"level{depth}-{number}", depth - 1, breadth)


async def start_branch(nursery: tractor.ActorNursery, name: str, depth: int, breadth: int) -> None:
    """Start one of the actors of `fail_below`."""
    await nursery.run_in_actor(fail_below, name=name, depth=depth, breadth=breadth)


async def block_below(path: str, seconds: float) -> None:
    """Hold an actor that makes a file and then blocks for so many seconds."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("blocked", enable_modules=[__name__])
        await portal.run(note_and_block, path=path, seconds=seconds)


async def note_and_block(path: str, seconds: float) -> None:
    """Make a file, then sleep in C code: the loop does not turn."""
    write_line(path, "blocked")
    bodies.block(seconds)


async def hold_stuck(
    nursery: tractor.ActorNursery, number: int, depth: int, path: str, grace: float = 1.0
) -> None:
    """Hold a chain of `depth` further actors whose last one blocks; each writes its body to a file."""
    portal = await nursery.start_actor(f"level{depth}-{number}", enable_modules=[__name__])
    async with portal.open_context(be_stuck, depth=depth, path=path, grace=grace):
        await trio.sleep_forever()


@tractor.context
async def be_stuck(ctx: tractor.Context, depth: int, path: str, grace: float) -> None:
    """Be one of the actors of `hold_stuck`."""
    await ctx.started()
    write_line(path, str(bodies.find_body()))
    if depth == 0:
        bodies.block()
    async with tractor.open_nursery(grace=grace) as nursery:
        await hold_stuck(nursery, 0, depth - 1, path, grace)


async def fail_when_cancelled(message: str) -> None:
    """Wait in order; when cancelled raise `AssertionError`."""
    try:
        await trio.sleep_forever()
    finally:
        raise AssertionError(message)

"""Actors with children of their own that are slow to let go of them."""

import trio

import tractor
from tests.programs import actors


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

"""Functions and endpoints without anything that has to be loaded for them."""

import sys
from typing import Any

import tractor

#: What few programs use, and no child loads that does not.
RARE = ("_exts", "_messages", "_refusal", "_spec", "_struct", "_violation")


async def loaded() -> list[str]:
    """Return which of the rare modules this process has loaded."""
    return [name for name in RARE if f"tractor.msg.{name}" in sys.modules]


@tractor.context
async def echo(ctx: tractor.Context[None, Any, Any]) -> Any:
    """Give back one item, and return it too."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        item = await stream.receive()
        await stream.send(item)
    return item


@tractor.context(pld_spec=int | None)
async def numbers(ctx: tractor.Context[None, int, int]) -> int:
    """The same with a spec."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        item = await stream.receive()
        await stream.send(item)
    return item

"""Contexts without type parameters work under the strictest settings: everything is Any, but for the result."""

from typing import Any, assert_type

import tractor


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Take and send anything."""
    await ctx.started()
    await ctx.started({"any": "thing"})
    async with ctx.open_stream() as stream:
        assert_type(stream, tractor.MsgStream[Any])
        async for item in stream:
            await stream.send(item)


@tractor.context
async def count(ctx: tractor.Context, limit: int) -> int:
    """Its result has a type although its context has none."""
    await ctx.started(limit)
    return limit


async def opener(portal: tractor.Portal) -> None:
    """Nothing needs an annotation; arguments are checked all the same."""
    async with portal.open_context(echo) as (ctx, first):
        assert_type(first, Any)
        assert_type(ctx, tractor.Context[Any, Any, None])
        async with ctx.open_stream() as stream:
            await stream.send(object())
            assert_type(await stream.receive(), Any)
    async with portal.open_context(count, limit=3) as (ctx_2, _):
        assert_type(await ctx_2.wait_for_result(), int)
    portal.open_context(count, limit="3")  # type: ignore[arg-type]


async def helper(ctx: tractor.Context, stream: tractor.MsgStream) -> Any:
    """The bare names are types of their own."""
    await stream.send(1)
    return await ctx.wait_for_result()

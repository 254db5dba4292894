"""Endpoints that behave in one way each: the other side of a rule about streams."""

from typing import Any

import trio

import tractor
from tractor import Context


@tractor.context
async def echo(ctx: Context) -> int:
    """Send back what comes; return how much it was."""
    await ctx.started("ready")
    count = 0
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
            count += 1
    return count


@tractor.context
async def sleeper(ctx: Context) -> None:
    """Start and wait to be ended."""
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def streams_early(ctx: Context) -> None:
    """Open a stream before it has started."""
    async with ctx.open_stream():
        pass
    await ctx.started()


@tractor.context
async def streams_after_cancel(ctx: Context, goes_on: bool) -> None:
    """Cancel itself, then open a stream; `goes_on` from the error of that to the next checkpoint."""
    await ctx.started()
    await ctx.cancel()
    try:
        async with ctx.open_stream():
            pass
    except RuntimeError as exc:
        if not goes_on or "cancelled" not in str(exc):
            raise
    await trio.sleep_forever()


@tractor.context
async def say(ctx: Context, items: list[Any], then: str, late: bool = False) -> str:
    """Send the items; `then` return, stop and wait for the end, fail, or wait with the stream open.

    `late`: only when the other side has sent a word.
    """
    await ctx.started("before all items")
    async with ctx.open_stream() as stream:
        if late:
            await stream.receive()
        for item in items:
            await stream.send(item)
        if then == "fail":
            raise ValueError("said it all")
        if then == "wait":
            await trio.sleep_forever()
    if then == "stop":
        await trio.sleep_forever()
    return "said"


@tractor.context
async def hear(ctx: Context, delay: float = 0) -> list[Any]:
    """Open the stream late; return what was sent."""
    await ctx.started()
    await trio.sleep(delay)
    async with ctx.open_stream() as stream:
        return [item async for item in stream]


@tractor.context
async def stop_and_go_on(ctx: Context, seconds: float) -> str:
    """Close the stream at once, and return some time later."""
    await ctx.started()
    async with ctx.open_stream():
        pass
    await trio.sleep(seconds)
    return "in my own time"


@tractor.context
async def rounds(ctx: Context, count: int) -> list[list[int]]:
    """Open one stream after the other; say its number and return what was heard in each."""
    await ctx.started()
    heard = []
    for n in range(count):
        async with ctx.open_stream() as stream:
            await stream.send(n)
            heard.append([item async for item in stream])
    return heard


@tractor.context
async def ends(ctx: Context) -> str:
    """Read to the end without catching it: the stream's block does."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        while True:
            await stream.receive()
    return "the block has caught it"


@tractor.context
async def flood(ctx: Context, count: int, opens: bool = True) -> int:
    """Send without waiting for room, after a word if the other side `opens` a stream; stay until told."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        if opens:
            await stream.receive()
        for n in range(count):
            await stream.send(n)
        if opens:
            await stream.receive()
        else:
            await trio.sleep_forever()
    return count


@tractor.context
async def listen_slowly(ctx: Context, allow: bool, pause: float = 0.001) -> str:
    """Receive with a pause after each item."""
    await ctx.started()
    async with ctx.open_stream(allow_overruns=allow) as stream:
        async for _item in stream:
            await trio.sleep(pause)
    return "yo"


@tractor.context
async def chatter(ctx: Context, allow: bool) -> str:
    """Send back nothing but many items, and stop when the other side does."""
    await ctx.started()
    async with ctx.open_stream(allow_overruns=allow) as stream:
        await stream.receive()
        for n in range(200):
            await stream.send(n)
        async for _item in stream:
            pass
    return "yo"


async def count_served() -> int:
    """Return how many requests are being served, this one among them."""
    return len(tractor.current_actor().served)


@tractor.context
async def count_up(ctx: Context, count: int) -> int:
    """Send numbers, as fast as the other side takes them; how many so far can be asked for by `get_sent`."""
    await ctx.started()
    SENT[0] = 0
    async with ctx.open_stream(backpressure=True) as stream:
        for n in range(count):
            await stream.send(n)
            SENT[0] = n + 1
    return count


#: How many numbers `count_up` has sent.
SENT = [0]


async def get_sent() -> int:
    """Return that."""
    return SENT[0]


@tractor.context
async def relay(ctx: Context, name: str, count: int) -> Any:
    """Pass on what an actor of that name counts, item by item."""
    async with tractor.wait_for_actor(name) as portal:
        async with portal.open_context(count_up, count=count) as (inner, _):
            await ctx.started()
            async with ctx.open_stream(backpressure=True) as out, inner.open_stream() as source:
                async for item in source:
                    await out.send(item)
            return await inner.wait_for_result()

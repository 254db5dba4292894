"""One-way streams: the reader has the arguments of the function and the type of its items."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import assert_type

import tractor


async def ticks(count: int, *, step: float = 1.0) -> AsyncIterator[float]:
    """Yield numbers."""
    for n in range(count):
        yield n * step


async def words() -> AsyncGenerator[str]:
    """Yield words, by the other type that an async generator may have."""
    yield "a"


@tractor.stream
async def bars(stream: tractor.MsgStream[dict[str, float]], symbol: str) -> None:
    """Send numbers by name."""
    await stream.send({symbol: 1.0})
    await stream.send({symbol: "x"})  # type: ignore[dict-item]


@tractor.stream
async def old(ctx: tractor.Context[None, bytes, None], size: int) -> None:
    """Send bytes the old way."""
    await ctx.send_yield(b"x" * size)
    await ctx.send_yield("x")  # type: ignore[arg-type]


async def plain(n: int) -> int:
    """Send nothing."""
    return n


async def read(portal: tractor.Portal) -> None:
    """The items are what the function yields or sends."""
    async with portal.open_stream_from(ticks, count=3, step=0.5) as stream:
        assert_type(stream, tractor.MsgStream[float])
        async for tick in stream:
            assert_type(tick, float)
    async with portal.open_stream_from(words) as stream_2, stream_2.subscribe() as receiver:
        assert_type(await receiver.receive(), str)
    async with portal.open_stream_from(bars, symbol="x") as stream_3:
        assert_type(await stream_3.receive(), dict[str, float])
    async with portal.open_stream_from(old, size=3) as stream_4:
        assert_type(await stream_4.receive(), bytes)


async def mistakes(portal: tractor.Portal) -> None:
    """Wrong arguments, and what is no stream, are errors."""
    portal.open_stream_from(ticks, count="3")  # type: ignore[call-overload]
    portal.open_stream_from(ticks)  # type: ignore[call-overload]
    portal.open_stream_from(bars)  # type: ignore[call-overload]
    portal.open_stream_from(plain, n=1)  # type: ignore[call-overload]
    await portal.run(ticks, count=1)  # type: ignore[arg-type]


def marks() -> None:
    """What cannot be marked is an error where it is written."""

    @tractor.stream  # type: ignore[type-var]
    def not_async(stream: tractor.MsgStream[int]) -> None: ...

    @tractor.stream  # type: ignore[type-var]
    async def generator(stream: tractor.MsgStream[int]) -> AsyncIterator[int]:
        yield 1

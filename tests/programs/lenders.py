"""Functions that tests run in actors that hand over big buffers."""

import atexit
import time
from typing import Any

import trio

import tractor
from tractor.ipc._lending import count_lent

#: What is kept, for as long as its actor lives.
KEPT: list[Any] = []


async def describe(data: Any) -> tuple[str, int, int]:
    """Return what has come: its type, its length and a sum of some of it."""
    return type(data).__name__, len(data), sum(data[:: max(1, len(data) // 1000)])


async def make(size: int, what: str = "bytes") -> Any:
    """Return so many bytes, of a kind."""
    data = bytes(range(256)) * (size // 256)
    return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[what](data)


async def how_many_lent() -> int:
    """Return how many buffers of this interpreter others have."""
    return count_lent()


@tractor.context(pld_spec=memoryview | int | None)
async def swap(ctx: tractor.Context, size: int) -> memoryview | int | None:
    """Answer each buffer with one of another content, and keep nothing."""
    await ctx.started(None)
    data = b"z" * size
    async with ctx.open_stream(backpressure=True) as stream:
        async for view in stream:
            assert isinstance(view, memoryview)
            assert view[-1] == 7
            del view
            await stream.send(data)
    return 5


@tractor.context(pld_spec=memoryview | None)
async def keep(ctx: tractor.Context) -> None:
    """Keep all that comes, until the end of the actor."""
    await ctx.started(None)
    async with ctx.open_stream(backpressure=True) as stream:
        async for view in stream:
            KEPT.append(view)
            await stream.send(memoryview(b"kept"))


@tractor.context(pld_spec=memoryview | None)
async def get_view(ctx: tractor.Context, size: int) -> memoryview | None:
    """Return a view."""
    await ctx.started(None)
    return memoryview(b"v" * size)


@tractor.context
async def receive_nothing(ctx: tractor.Context) -> None:
    """Open a stream and compute for ever."""
    await ctx.started()
    async with ctx.open_stream():
        while True:
            time.sleep(0.001)


async def pass_on(name: str, size: int) -> tuple[str, str, int, int]:
    """Send bytes to another actor; return what is spoken with it and what it says of them."""
    async with tractor.wait_for_actor(name) as portal:
        kind, length, total = await portal.run(describe, data=await make(size))
        return portal.chan.codec.name, kind, length, total


def hold_to_the_end() -> None:
    """Be a program that looks at a view until its end, long after the actor that has sent it."""

    async def main() -> None:
        async with tractor.open_nursery(start_method="subint") as an:
            portal = await an.start_actor("lender", enable_modules=[__name__])
            async with portal.open_context(get_view, size=1024 * 1024) as (ctx, _):
                KEPT.append(await ctx.wait_for_result())
            await an.cancel()

    trio.run(main)
    atexit.register(lambda: print(bytes(KEPT[0][-3:])))

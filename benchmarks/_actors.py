"""What the measured actors run. Children import this module, so it imports next to nothing."""

import os
import sys

import tractor

type Item = dict[str, str | int | float]

#: As msgpack 100 bytes: a small message of the kind that streams are made for.
ITEM: Item = {
    "symbol": "BTC/USDT",
    "venue": "kraken",
    "side": "buy",
    "price": 64250.5,
    "size": 0.125,
    "time": 1_763_668_800.25,
    "serial": 123_456_789,
    "flag": 1,
}


async def add(a: int, b: int) -> int:
    """The smallest call that has arguments and a result."""
    return a + b


async def compute(count: int) -> int:
    """Keep a core busy."""
    total = 0
    for number in range(count):
        total += number
    return total


async def spin() -> None:
    """Keep one busy until the end."""
    while True:
        pass


async def pin(cpus: list[int]) -> None:
    """Run only on these cores from now on."""
    os.sched_setaffinity(0, cpus)


async def loaded_modules() -> list[str]:
    """Every module this actor has loaded."""
    return list(sys.modules)


@tractor.context
async def stream(ctx: tractor.Context[None, Item, int], count: int) -> int:
    """Send `count` items and return how many."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as items:
        for _ in range(count):
            await items.send(ITEM)
    return count


@tractor.context(pld_spec=memoryview | None)
async def swap(ctx: tractor.Context, size: int) -> None:
    """Answer each buffer with one of `size` bytes."""
    await ctx.started(None)
    data = bytes(size)
    async with ctx.open_stream(backpressure=True) as buffers:
        async for _ in buffers:
            await buffers.send(data)

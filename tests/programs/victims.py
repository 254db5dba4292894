"""What an actor does while others misbehave on its socket."""

import gc
import os
from typing import NoReturn

import trio

import tractor


async def add(a: int, b: int) -> int:
    """Return the sum."""
    return a + b


async def hang() -> NoReturn:
    """Wait in order."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def pass_on(data: bytes) -> bytes:
    """Return what was given."""
    return data


async def make(size: int) -> bytes:
    """Return so many bytes."""
    return bytes(size)


async def make_object() -> object:
    """Return what cannot be sent."""
    return {"key": [object()]}


def plain() -> None:
    """Be no async function."""


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Send every item back."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)


@tractor.context
async def sleeper(ctx: tractor.Context) -> NoReturn:
    """Open a stream and never read it."""
    await ctx.started()
    async with ctx.open_stream():
        await trio.sleep_forever()
    raise AssertionError("unreachable")


async def measure() -> dict[str, int]:
    """Return what this actor holds: peers, requests, tasks, descriptors, and resident memory in KiB."""
    gc.collect()
    actor = tractor.current_actor()
    with open("/proc/self/status") as file:
        memory = next(line for line in file if line.startswith("VmRSS:"))
    return {
        "peers": len(actor.peers),
        "served": len(actor.served),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "memory": int(memory.split()[1]),
    }


@tractor.context
async def pour(ctx: tractor.Context) -> NoReturn:
    """Send without end."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        while True:
            await stream.send(bytes(100_000))


@tractor.context
async def swallow(ctx: tractor.Context) -> NoReturn:
    """Take every item, one by one."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True, msg_buffer_size=1) as stream:
        while True:
            await stream.receive()

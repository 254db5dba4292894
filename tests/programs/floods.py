"""A lot of data between two actors, and what that costs each of them."""

import time
from typing import Any

import trio

import tractor

#: How many items this actor has sent, in all streams.
SENT = [0]


def read_memory() -> tuple[int, int]:
    """Return the resident memory of this process and its peak, in KiB."""
    with open("/proc/self/status") as file:
        found = dict(line.split(":", 1) for line in file if line.startswith(("VmRSS", "VmHWM")))
    return int(found["VmRSS"].split()[0]), int(found["VmHWM"].split()[0])


async def begin_measuring() -> int:
    """Forget the peak so far; return the resident memory in KiB."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return read_memory()[0]


async def read_peak() -> int:
    """Return the peak of the resident memory since `begin_measuring`, in KiB."""
    return read_memory()[1]


async def ping() -> int:
    """Answer with how much was sent."""
    return SENT[0]


def make_item(kind: str) -> Any:
    """Return an item: so many bytes, or a dict of about a hundred."""
    if kind == "dict":
        return {"symbol": "abcdef", "price": 12.5, "size": 100, "side": "buy", "time": 1234567890.123, "n": 1}
    return bytes(int(kind))


@tractor.context
async def source(ctx: tractor.Context, kind: str, count: int, ask: bool = True) -> int:
    """Send so many items as fast as the opener allows."""
    await ctx.started()
    item = make_item(kind)
    async with ctx.open_stream(backpressure=ask) as stream:
        for _ in range(count):
            await stream.send(item)
            SENT[0] += 1
    return count


async def measure_calls(portal: tractor.Portal, seconds: list[float]) -> None:
    """Call the peer again and again; note how long each call took."""
    while True:
        began = time.perf_counter()
        await portal.run(ping)
        seconds.append(time.perf_counter() - began)
        await trio.sleep(0.002)


async def consume(name: str, kind: str, count: int, pauses: int, seconds: float, ask: bool) -> dict[str, Any]:
    """Receive from the source in the actor of that name, with so many pauses of so many seconds; say what it cost."""
    idle: list[float] = []
    busy: list[float] = []
    async with tractor.wait_for_actor(name) as portal:
        with trio.move_on_after(0.1):
            await measure_calls(portal, idle)
        mine, theirs = await begin_measuring(), await portal.run(begin_measuring)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(measure_calls, portal, busy)
            began = time.perf_counter()
            received = 0
            async with portal.open_context(source, kind=kind, count=count, ask=ask) as (ctx, _):
                async with ctx.open_stream(backpressure=True) as stream:
                    async for _item in stream:
                        received += 1
                        if received % (count // pauses) == 0:
                            await trio.sleep(seconds)
            elapsed = time.perf_counter() - began
            nursery.cancel_scope.cancel()
        return {
            "received": received,
            "elapsed": elapsed,
            "idle": sorted(idle),
            "busy": sorted(busy),
            "mine": await read_peak() - mine,
            "theirs": await portal.run(read_peak) - theirs,
        }


async def hold_back(name: str, kind: str, count: int, how: str) -> dict[str, Any]:
    """Open the stream of a source, take nothing for a while, then take it all or cancel; say what it cost."""
    async with tractor.wait_for_actor(name) as portal:
        mine, theirs = await begin_measuring(), await portal.run(begin_measuring)
        before = await portal.run(ping)
        taken = 0
        async with portal.open_context(source, kind=kind, count=count) as (ctx, _):
            async with ctx.open_stream(backpressure=True) as stream:
                sent = -1
                while sent != (sent := await portal.run(ping)):
                    await trio.sleep(0.1)
                began = time.perf_counter()
                if how == "cancel":
                    await ctx.cancel()
                else:
                    async for _item in stream:
                        taken += 1
        return {
            "taken": taken,
            "under way": sent - before,
            "seconds": time.perf_counter() - began,
            "mine": await read_peak() - mine,
            "theirs": await portal.run(read_peak) - theirs,
        }


@tractor.context
async def pour_at_once(ctx: tractor.Context, tasks: int, size: int) -> None:
    """Have many tasks send an item each."""
    await ctx.started()
    async with ctx.open_stream() as stream, trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(stream.send, bytes(size))


@tractor.context
async def fail_when_told(ctx: tractor.Context, tasks: int, size: int) -> None:
    """Do the same; fail after a word from the other side."""
    await ctx.started()
    async with ctx.open_stream() as stream, trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(stream.send, bytes(size))
        await stream.receive()
        raise ValueError("enough")

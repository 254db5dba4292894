"""The same work as the floors do, through the public API."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

import tractor
from benchmarks import _actors
from benchmarks._floors import Work, floor
from benchmarks._machine import ALL_CORES, running_on
from benchmarks._measure import Limits, Pair


async def start_actor(nursery: tractor.ActorNursery) -> tractor.Portal:
    """Start the actor that is measured.

    Without our main module, whose imports are this program's and would be counted as the runtime's.
    """
    return await nursery.start_actor("measured", enable_modules=[_actors.__name__], inherit_parent_main=False)


@asynccontextmanager
async def one_actor(cpus: frozenset[int] = ALL_CORES) -> AsyncGenerator[tractor.Portal]:
    """Start an actor, and keep it and this thread on `cpus` while the block is open."""
    async with tractor.open_nursery() as nursery:
        portal = await start_actor(nursery)
        await portal.run(_actors.pin, cpus=sorted(cpus))
        with running_on(cpus):
            yield portal
        await nursery.cancel()


def beside(
    role: str,
    bare: Work,
    bare_count: int,
    work: Callable[[tractor.Portal, int], Awaitable[float]],
    count: int,
    cpus: frozenset[int] = ALL_CORES,
) -> Callable[[Limits], list[Pair]]:
    """Return what `Measure.take` needs for messages: one peer and one actor, used in turn.

    The first round of each is not counted.
    """

    async def main(limits: Limits) -> list[Pair]:
        pairs: list[Pair] = []
        with floor(role, bare, bare_count, cpus) as bare_round:
            async with one_actor(cpus) as portal:
                bare_round()
                await work(portal, count)
                while limits.allow(len(pairs)):
                    pairs.append((bare_round(), await work(portal, count)))
        return pairs

    return lambda limits: trio.run(main, limits)


async def call(portal: tractor.Portal, count: int) -> float:
    """Return the seconds of one small call, one after the other."""
    began = time.perf_counter()
    for _ in range(count):
        await portal.run(_actors.add, a=1, b=2)
    return (time.perf_counter() - began) / count


async def calls(portal: tractor.Portal, count: int, *, in_flight: int) -> float:
    """Return how many small calls are done in a second by `in_flight` tasks at once."""
    share = max(count // in_flight, 1)
    began = time.perf_counter()
    async with trio.open_nursery() as callers:
        for _ in range(in_flight):
            callers.start_soon(call, portal, share)
    return share * in_flight / (time.perf_counter() - began)


async def stream(portal: tractor.Portal, count: int) -> float:
    """Return how many small dicts a second arrive over a stream with backpressure, encoded and decoded."""
    async with portal.open_context(_actors.stream, count=count) as (context, _):
        began = time.perf_counter()
        received = 0
        async with context.open_stream(backpressure=True) as items:
            async for _ in items:
                received += 1
        elapsed = time.perf_counter() - began
        if received != await context.wait_for_result():
            raise RuntimeError(f"{received} of {count} items arrived")
        return count / elapsed


def start() -> float:
    """Return the seconds from asking for an actor until it has answered a first call."""

    async def main() -> float:
        async with tractor.open_nursery() as nursery:
            began = time.perf_counter()
            portal = await start_actor(nursery)
            await portal.run(_actors.add, a=1, b=2)
            elapsed = time.perf_counter() - began
            await nursery.cancel()
            return elapsed

    return trio.run(main)


def cancel() -> float:
    """Return the seconds from cancelling a nursery with one idle actor until the actor is gone."""

    async def main() -> float:
        async with tractor.open_nursery() as nursery:
            await start_actor(nursery)
            began = time.perf_counter()
            await nursery.cancel()
            return time.perf_counter() - began

    return trio.run(main)


def loaded_modules() -> list[str]:
    """Return the modules a running actor has loaded, one that exposes a module which imports nothing else."""

    async def main() -> list[str]:
        async with one_actor() as portal:
            return await portal.run(_actors.loaded_modules)

    return trio.run(main)

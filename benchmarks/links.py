"""What it costs to talk to an actor that is an interpreter, beside one that is a process.

Run it: python benchmarks/links.py --help. CPython 3.14 or later. How to read the table: benchmarks/README.md.
"""

import argparse
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

import tractor
from benchmarks import _actors, _machine, _tractor
from benchmarks._machine import ALL_CORES, running_on
from benchmarks._measure import Limits, Measure, Pair, Row, Unit, run
from benchmarks._report import table

type Work = Callable[[tractor.Portal, int], Awaitable[float]]

GILS = ("own", "shared")
#: Bytes of a big buffer.
SIZE = 10_000_000


@asynccontextmanager
async def two_actors(gil: str) -> AsyncGenerator[tuple[tractor.Portal, tractor.Portal]]:
    """Start an actor in a process and one in an interpreter, on all cores, and end them with the block."""
    async with (
        tractor.open_nursery(start_method="trio") as processes,
        tractor.open_nursery(start_method="subint") as interpreters,
    ):
        process = await _tractor.start_actor(processes)
        interpreter = await interpreters.start_actor(
            "measured", enable_modules=[_actors.__name__], inherit_parent_main=False, proc_kwargs={"gil": gil}
        )
        with running_on(ALL_CORES):
            yield process, interpreter
        await interpreters.cancel()
        await processes.cancel()


def side_by_side(gil: str, work: Work, count: int) -> Callable[[Limits], list[Pair]]:
    """Return what `Measure.take` needs: both actors do the same in turn, and the first round of each is not counted."""

    async def main(limits: Limits) -> list[Pair]:
        pairs: list[Pair] = []
        async with two_actors(gil) as portals:
            for portal in portals:
                await work(portal, count)
            while limits.allow(len(pairs)):
                first, second = [await work(portal, count) for portal in portals]
                pairs.append((first, second))
        return pairs

    return lambda limits: trio.run(main, limits)


async def swap(portal: tractor.Portal, count: int) -> float:
    """Return the seconds of one buffer of 10 MB there and another one back, as views."""
    data = bytes(SIZE)
    async with (
        portal.open_context(_actors.swap, size=SIZE) as (context, _),
        context.open_stream(backpressure=True) as buffers,
    ):
        began = time.perf_counter()
        for _ in range(count):
            await buffers.send(memoryview(data))
            if len(await buffers.receive()) != SIZE:
                raise RuntimeError("another buffer has come")
        elapsed = time.perf_counter() - began
    return elapsed / count


def catalogue(scale: float = 1.0) -> list[Measure]:
    """Return everything that is measured; `scale` times the usual number of operations in each round."""
    works: list[tuple[str, str, Unit, Work, int]] = [
        ("call", "call", "us", _tractor.call, 200),
        ("stream", "items of 100 bytes, one way", "/s", _tractor.stream, 5_000),
        ("buffer", "10 MB there and back, as views", "ms", swap, 3),
    ]
    return [
        Measure(
            f"{name}-{gil}",
            f"{title}, {gil} GIL",
            unit,
            side_by_side(gil, work, max(round(count * scale), 3)),
            rounds=60,
        )
        for name, title, unit, work, count in works
        for gil in GILS
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, return the exit status: 0, or 1 where something could not be measured."""
    parser = argparse.ArgumentParser(description="Measure links to interpreters beside those to processes.")
    names = [measure.name for measure in catalogue()]
    parser.add_argument("--only", metavar="NAME", action="append", choices=names, help=f"only {names}")
    parser.add_argument("--rounds", metavar="N", type=int, help="at most so many rounds of each")
    parser.add_argument(
        "--scale", metavar="X", type=float, default=1.0, help="times the usual work in a round"
    )
    options = parser.parse_args(arguments)
    print(", ".join(f"{name} {value}" for name, value in _machine.describe().items()), flush=True)
    rows: list[Row] = [
        run(measure, most_rounds=options.rounds)
        for measure in catalogue(options.scale)
        if options.only is None or measure.name in options.only
    ]
    print(f"\n{table(rows)}\n\nThe bare floor is the same with an actor that is a process.")
    return 1 if any(row.failure for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

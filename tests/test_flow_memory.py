"""Streams of hundreds of megabytes cost neither side memory, and keep nobody else waiting."""

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

import tractor
from tests.programs import floods

# What is tested is how much memory there is, and how long an answer takes.
pytestmark = pytest.mark.alone

#: KiB by which either side may grow above what it had before.
BOUND = 20 * 1024
MEGABYTE = 1_000_000


@asynccontextmanager
async def open_two(transport: str) -> AsyncGenerator[tractor.Portal]:
    """Run an actor named source, and yield a portal to another that will talk to it."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        await an.start_actor("source", enable_modules=[floods.__name__])
        yield await an.start_actor("sink", enable_modules=[floods.__name__])
        await an.cancel()


@pytest.mark.parametrize(
    ("kind", "count", "ask"),
    [
        ("65536", 500 * MEGABYTE // 2**16, True),
        ("1048576", 500 * MEGABYTE // 2**20, True),
        ("1048576", 500 * MEGABYTE // 2**20, False),
        ("dict", 150_000, True),
    ],
    ids=["64 KiB", "1 MiB", "1 MiB, receiver asks", "dicts"],
)
async def test_a_big_stream_is_a_small_matter(kind: str, count: int, ask: bool, transport: str) -> None:
    """Half a gigabyte, or many small items, to a consumer that sleeps: both sides stay small, and calls are answered."""
    async with open_two(transport) as sink:
        cost = await sink.run(
            floods.consume, name="source", kind=kind, count=count, pauses=50, seconds=0.01, ask=ask
        )
    idle, busy = statistics.median(cost["idle"]), statistics.median(cost["busy"])
    print(  # noqa: T201 - shown by `pytest -rP`
        f"{kind}: {cost['elapsed']:.2f} s; grown by {cost['theirs']} and {cost['mine']} KiB; "
        f"a call: {idle * 1e3:.2f} ms idle, {busy * 1e3:.2f} (at most {cost['busy'][-1] * 1e3:.1f}) busy"
    )
    assert cost["received"] == count
    assert cost["theirs"] < BOUND
    assert cost["mine"] < BOUND
    # Loose, because others may have the processor: by itself a call takes a few milliseconds at most.
    assert busy < max(0.1, 40 * idle)


@pytest.mark.parametrize("kind", ["1048576", "dict"])
@pytest.mark.parametrize("how", ["cancel", "take"])
async def test_a_consumer_that_takes_nothing_stops_the_sender(kind: str, how: str, transport: str) -> None:
    """What is under way is bounded by the window; a cancellation gets through, and so does all when it is taken."""
    count = 2000 if kind == "dict" else 100 * MEGABYTE // int(kind)
    async with open_two(transport) as sink:
        cost = await sink.run(floods.hold_back, name="source", kind=kind, count=count, how=how)
    window = 1024 if kind == "dict" else 2**20 // int(kind) + 1
    assert cost["under way"] <= window
    assert cost["taken"] == (0 if how == "cancel" else count)
    assert cost["theirs"] < BOUND
    assert cost["mine"] < BOUND
    if how == "cancel":
        assert cost["seconds"] < 0.5

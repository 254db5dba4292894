"""How long a task that receives keeps others from running."""

from __future__ import annotations

import itertools
import time

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair
from tractor import Context
from tractor.runtime import _stream

HERE = __name__


@tractor.context
async def produce(ctx: Context, count: int, size: int) -> None:
    """Send when told to, then wait for a word."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for _ in range(count):
            await stream.send(b"x" * size)
        await stream.receive()


def spin(seconds: float) -> None:
    """Keep the loop busy."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def count_turns(count: int, size: int, work: float) -> list[int]:
    """Receive so many items that are here already, with `work` seconds after each.

    Returns after how many items each turn of another task came.
    """
    received, turns = 0, []

    async def other() -> None:
        while True:
            turns.append(received)
            await trio.lowlevel.checkpoint()

    async with open_pair(HERE, capacity=10_000_000) as pair:
        async with pair.portal.open_context(produce, count=count, size=size) as (ctx, _):
            async with ctx.open_stream(msg_buffer_size=count) as stream:
                await stream.send("go")
                await wait_all_tasks_blocked()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(other)
                    while received < count:
                        await stream.receive()
                        received += 1
                        spin(work)
                    nursery.cancel_scope.cancel()
                await stream.send("end")
    return [turn for turn in turns if 0 < turn < count]


async def test_many_quick_items() -> None:
    """Not more than 64 in a turn. (Of two tasks that can run either may be the first, so one may have two in a row.)."""
    turns = await count_turns(1000, 1, 0)
    assert max(later - turn for turn, later in itertools.pairwise(turns)) <= 2 * 64


async def test_big_items() -> None:
    """A turn is over with the first beyond 256 KiB."""
    turns = await count_turns(40, 100_000, 0)
    assert max(later - turn for turn, later in itertools.pairwise(turns)) <= 2 * 3


@pytest.mark.parametrize("work", [0.0004, 0.002])
async def test_slow_items(work: float) -> None:
    """A turn is over after a millisecond: about three items, or each of those that take longer."""
    turns = await count_turns(60, 1, work)
    bound = int(_stream._BURST_TIME / work) + 1
    steps = [later - turn for turn, later in itertools.pairwise(turns)]
    assert max(steps) <= 2 * bound
    assert len(turns) >= 60 // bound // 2


async def test_items_that_become_slow() -> None:
    """Noticed within 16 of them."""
    turns: list[int] = []
    received = 0

    async def other() -> None:
        while True:
            turns.append(received)
            await trio.lowlevel.checkpoint()

    async with open_pair(HERE, capacity=10_000_000) as pair:
        async with pair.portal.open_context(produce, count=200, size=1) as (ctx, _):
            async with ctx.open_stream(msg_buffer_size=200) as stream:
                await stream.send("go")
                await wait_all_tasks_blocked()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(other)
                    while received < 200:
                        await stream.receive()
                        received += 1
                        spin(0.002 if received > 150 else 0)
                    nursery.cancel_scope.cancel()
                await stream.send("end")
    late = [turn for turn in turns if turn > 150]
    assert late[0] <= 150 + _stream._LOOK_ITEMS + 2
    assert len(set(late)) >= (50 - _stream._LOOK_ITEMS) // 2

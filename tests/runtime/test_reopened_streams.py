"""Streams of one context, opened one after the other: the nth of one side talks to the nth of the other."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair
from tractor import Context, MsgStream

HERE = __name__


@tractor.context
async def idle(ctx: Context) -> None:
    """Open a stream and say nothing."""
    await ctx.started()
    async with ctx.open_stream():
        await trio.sleep_forever()


@tractor.context
async def rounds(ctx: Context, count: int) -> None:
    """Open one stream after the other, without waiting for anybody; send two items in each."""
    await ctx.started()
    for n in range(count):
        async with ctx.open_stream() as stream:
            await stream.send(f"{n}a")
            await stream.send(f"{n}b")


@tractor.context
async def talk(ctx: Context, count: int) -> list[list[Any]]:
    """Open one stream after the other; read each to its end."""
    await ctx.started()
    seen: list[list[Any]] = []
    for n in range(count):
        async with ctx.open_stream() as stream:
            await stream.send(n)
            seen.append([item async for item in stream])
    return seen


async def test_one_side_cannot_have_two_streams_open() -> None:
    """After the first was left it can be opened again."""
    async with open_pair(HERE) as pair, pair.portal.open_context(idle) as (ctx, _):
        async with ctx.open_stream():
            with pytest.raises(RuntimeError, match="has a stream open"):
                async with ctx.open_stream():
                    pytest.fail("opened")
        async with ctx.open_stream() as stream:
            assert isinstance(stream, MsgStream)
        await ctx.cancel()


@pytest.mark.parametrize("late", [True, False])
async def test_streams_one_after_the_other_do_not_run_into_each_other(late: bool) -> None:
    """The nth of one side reads what the nth of the other sent; no end is lost, however fast the other one is."""
    async with open_pair(HERE) as pair, pair.portal.open_context(rounds, count=5) as (ctx, _):
        if late:
            await wait_all_tasks_blocked()
        seen: list[list[str]] = []
        with trio.fail_after(1):
            for _ in range(5):
                async with ctx.open_stream() as stream:
                    seen.append([item async for item in stream])
        assert seen == [[f"{n}a", f"{n}b"] for n in range(5)]


async def test_what_is_left_of_a_closed_stream_is_not_found_in_the_next() -> None:
    """Neither what was here, nor what was still on its way."""
    async with open_pair(HERE) as pair, pair.portal.open_context(rounds, count=4) as (ctx, _):
        seen: list[str] = []
        with trio.fail_after(1):
            for _ in range(4):
                async with ctx.open_stream() as stream:
                    seen.append(await stream.receive())
        assert seen == ["0a", "1a", "2a", "3a"]


async def test_a_conversation_over_several_streams() -> None:
    """Each is closed by the opener, after it has heard what it wanted."""
    async with open_pair(HERE) as pair, pair.portal.open_context(talk, count=20) as (ctx, _):
        with trio.fail_after(2):
            for n in range(20):
                async with ctx.open_stream(backpressure=n % 3 == 0) as stream:
                    assert await stream.receive() == n
                    for item in range(n):
                        await stream.send(item)
            assert await ctx.wait_for_result() == [list(range(n)) for n in range(20)]


async def test_a_stream_whose_other_side_has_closed_stays_closed_when_that_opens_another() -> None:
    """Its end can still be observed, and nothing can be sent on it."""
    async with open_pair(HERE) as pair, pair.portal.open_context(rounds, count=2) as (ctx, _):
        async with ctx.open_stream() as stream:
            await wait_all_tasks_blocked()
            with pytest.raises(trio.EndOfChannel):
                await stream.send("to whom?")

"""One stream from another process, shared by the tasks of an actor: `maybe_open_context` and `subscribe` together."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import tractor
from tests.programs import bodies
from tractor import Context, MsgStream, Portal
from tractor.trionics import Lagged, gather_contexts, maybe_open_context

HERE = __name__
#: How often the feed was opened in this actor, and how often it was closed.
COUNTS = {"opened": 0, "closed": 0}


@tractor.context
async def feed(ctx: Context, items: int) -> None:
    """Send so many numbers at every word, as fast as they are taken."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        async for _ in stream:
            for n in range(items):
                await stream.send(n)


async def counts() -> dict[str, int]:
    """Say how often the feed was opened and closed here."""
    return COUNTS


@asynccontextmanager
async def open_feed(source: Portal, items: int) -> AsyncGenerator[MsgStream[int]]:
    """Open the stream from the source."""
    async with source.open_context(feed, items=items) as (ctx, _):
        async with ctx.open_stream(backpressure=True) as stream:
            COUNTS["opened"] += 1
            yield stream
    COUNTS["closed"] += 1


@asynccontextmanager
async def subscribed(source: Portal, items: int = 100) -> AsyncGenerator[Any]:
    """Share the stream with all who want it in this actor, and receive all of it."""
    async with maybe_open_context(open_feed, {"source": source, "items": items}, key="feed") as (_, stream):
        async with stream.subscribe() as receiver:
            yield receiver


@tractor.context
async def relay(ctx: Context) -> str:
    """Pass on what the source sends until there are a hundred; all requests of this kind share one stream."""
    async with tractor.wait_for_actor("source") as source, subscribed(source) as receiver:
        await ctx.started()
        async with ctx.open_stream(backpressure=True) as stream:
            if await stream.receive() == "begin":
                await receiver.send("begin")
            for n in range(100):
                assert await receiver.receive() == n
                await stream.send(n)
    return tractor.current_actor().aid.uuid


@asynccontextmanager
async def open_tree(transport: str, *names: str) -> AsyncGenerator[list[Portal]]:
    """Start actors of these names that expose this module."""
    COUNTS.update(opened=0, closed=0)
    with trio.fail_after(20):
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            yield [await an.start_actor(name, enable_modules=[HERE]) for name in names]
            await an.cancel()


async def test_all_tasks_receive_everything_by_one_stream(transport: str) -> None:
    """Each from when it has subscribed; the last one closes it."""
    got: list[list[int]] = []

    async def consume(receiver: Any) -> None:
        got.append([await receiver.receive() for _ in range(100)])

    async with open_tree(transport, "source") as (source,):
        async with gather_contexts([subscribed(source) for _ in range(5)]) as receivers:
            assert COUNTS == {"opened": 1, "closed": 0}
            async with trio.open_nursery() as nursery:
                for receiver in receivers:
                    nursery.start_soon(consume, receiver)
                await receivers[0].send("go")
            async with subscribed(source) as late:
                await late.send("again")
                assert [await late.receive() for _ in range(100)] == list(range(100))
        assert COUNTS == {"opened": 1, "closed": 1}
    assert got == [list(range(100))] * 5


async def test_who_comes_later_gets_a_new_stream(transport: str) -> None:
    """When nobody is left the endpoint has ended, and is begun anew."""
    async with open_tree(transport, "source") as (source,):
        for n in range(3):
            async with subscribed(source) as receiver:
                await receiver.send("go")
                assert await receiver.receive() == 0
            assert {"opened": n + 1, "closed": n + 1} == COUNTS


async def test_a_slow_task_loses_and_the_others_do_not(transport: str) -> None:
    """With backpressure the source is as fast as the fastest of them."""
    items = 5000
    lost = 0
    async with open_tree(transport, "source") as (source,):
        async with subscribed(source, items) as fast, subscribed(source, items) as slow:
            await fast.send("go")
            assert await slow.receive() == 0
            assert [await fast.receive() for _ in range(items)] == list(range(items))
            with pytest.raises(Lagged) as info:
                await slow.receive()
            lost = info.value.lost
            assert [await slow.receive() for _ in range(items - 1 - lost)] == list(range(1 + lost, items))
    assert lost == items - 1 - 1024


async def test_requests_of_one_actor_share_a_stream_to_another(transport: str) -> None:
    """They are tasks like others; one that is cancelled, even the first, takes nothing from the rest."""

    async def be_first(hub: Portal, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        with trio.CancelScope() as scope:
            async with hub.open_context(relay):
                task_status.started(scope)
                await trio.sleep_forever()

    async with open_tree(transport, "source", "hub") as (_, hub), trio.open_nursery() as nursery:
        first = await nursery.start(be_first, hub)
        async with gather_contexts([hub.open_context(relay) for _ in range(4)]) as opened:
            assert await hub.run(counts) == {"opened": 1, "closed": 0}
            first.cancel()
            async with gather_contexts([ctx.open_stream() for ctx, _ in opened]) as streams:
                for stream in streams[1:]:
                    await stream.send("listen")
                await streams[0].send("begin")
                for stream in streams:
                    assert [item async for item in stream] == list(range(100))
            assert {await ctx.wait_for_result() for ctx, _ in opened} == {hub.aid.uuid}
        assert await hub.run(counts) == {"opened": 1, "closed": 1}


async def test_the_end_of_the_source_reaches_all_tasks(transport: str) -> None:
    """None of them waits for ever, whichever of them was reading."""
    ended = []

    async def consume(source: Portal, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with subscribed(source) as receiver:
                task_status.started()
                await receiver.receive()
        finally:
            ended.append(True)

    with trio.fail_after(20), pytest.raises(tractor.ActorFailure):
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            source = await an.start_actor("source", enable_modules=[HERE, bodies.__name__])
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    await nursery.start(consume, source)
                await bodies.slay(source)
    assert ended == [True] * 3

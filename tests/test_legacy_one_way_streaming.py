"""One-way streams between processes, as older programs use them: async generators and `@stream` functions."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import bodies
from tractor import Context, MsgStream, Portal, RemoteActorError, TransportClosed
from tractor.runtime._flow import WINDOW_ITEMS

HERE = __name__


async def sequence(items: list[int], path: str = "") -> AsyncIterator[int]:
    """Yield the items, then wait to be cancelled; say so in a file."""
    try:
        for item in items:
            yield item
        await trio.sleep_forever()
    finally:
        if path:
            Path(path).write_text("closed")


async def numbers(size: int) -> AsyncIterator[tuple[int, bytes]]:
    """Yield for ever."""
    n = 0
    while True:
        yield n, b"x" * size
        n += 1


async def fail(after: int) -> AsyncIterator[int]:
    """Raise where nobody waits any more."""
    for n in range(after):
        yield n
    raise ValueError("over there")


@tractor.stream
async def send(stream: MsgStream[int], items: list[int]) -> None:
    """Send the items, and end."""
    for item in items:
        await stream.send(item)


with warnings.catch_warnings():
    # The children import this module, too.
    warnings.simplefilter("ignore", DeprecationWarning)

    @tractor.stream
    async def send_yield(ctx: Context, items: list[int]) -> None:
        """Send the items the old way, then wait to be cancelled."""
        for item in items:
            await ctx.send_yield(item)
        await trio.sleep_forever()


async def relay(items: list[int]) -> AsyncIterator[int]:
    """Yield what a child of this actor yields, doubled: a generator that reads a generator."""
    async with tractor.open_nursery() as an:
        source = await an.start_actor("source", enable_modules=[HERE])
        async with source.open_stream_from(send, items=items) as stream:
            async for item in stream:
                yield 2 * item
        await source.cancel_actor()


@asynccontextmanager
async def open_child(transport: str) -> AsyncGenerator[Portal]:
    """Run a child that exposes this module."""
    with trio.fail_after(20):
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            portal = await an.start_actor("streamer", enable_modules=[HERE])
            yield portal
            await portal.cancel_actor()


@pytest.mark.parametrize("func", [sequence, send_yield])
async def test_reading_what_one_wants_and_closing(transport: str, func: Any) -> None:
    """The loop ends when its stream is closed in it; the actor goes on, and can be read again."""
    async with open_child(transport) as portal:
        for _ in range(2):
            async with portal.open_stream_from(func, items=list(range(10))) as stream:
                got = []
                async for item in stream:
                    got.append(item)
                    if item == 9:
                        await stream.aclose()
                assert got == list(range(10))


async def test_leaving_early_runs_the_generators_finally(transport: str, tmp_path: Path) -> None:
    """Over there, before the block is left."""
    path = tmp_path / "closed"
    async with open_child(transport) as portal:
        async with portal.open_stream_from(sequence, items=[1, 2, 3], path=str(path)) as stream:
            assert await stream.receive() == 1
            assert not path.exists()
        assert path.read_text() == "closed"


async def test_a_function_that_ends_ends_the_loop(transport: str) -> None:
    """With all it has sent."""
    async with open_child(transport) as portal:
        async with portal.open_stream_from(send, items=list(range(1000))) as stream:
            assert [item async for item in stream] == list(range(1000))


@pytest.mark.parametrize("size", [0, 10_000])
async def test_a_slow_reader_slows_the_generator_down(transport: str, size: int) -> None:
    """It neither loses items nor is it overrun: what is ahead of it is never more than one window."""
    async with open_child(transport) as portal:
        async with portal.open_stream_from(numbers, size=size) as stream:
            for n in range(2 * WINDOW_ITEMS if size == 0 else 300):
                number, _ = await stream.receive()
                assert number == n
                if n % 50 == 0:
                    await trio.sleep(0.005)
                    assert len(stream._inbox.items) <= WINDOW_ITEMS


async def test_consumers_are_cancelled_and_started_again(transport: str) -> None:
    """On the same stream, without a gap."""
    async with open_child(transport) as portal:
        async with portal.open_stream_from(numbers, size=0) as stream:
            got: list[int] = []

            async def consume(*, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
                with trio.CancelScope() as scope:
                    task_status.started(scope)
                    async for number, _ in stream:
                        got.append(number)
                        await trio.sleep(0.001)

            for _ in range(5):
                async with trio.open_nursery() as nursery:
                    scope = await nursery.start(consume)
                    goal = len(got) + 5
                    while len(got) < goal:
                        await trio.sleep(0.001)
                    scope.cancel()
            assert got == list(range(len(got)))


async def test_the_error_arrives_with_its_origin(transport: str) -> None:
    """In the reader that waits."""
    async with open_child(transport) as portal:
        with pytest.raises(RemoteActorError, match="over there") as info:
            async with portal.open_stream_from(fail, after=0) as stream:
                await stream.receive()
        assert info.value.boxed_type is ValueError
        assert info.value.src_uid == portal.aid.uid


async def test_a_generator_may_read_a_generator_of_another_actor(transport: str) -> None:
    """Its nursery lives and ends in one task, wherever it is suspended."""
    async with open_child(transport) as portal:
        async with portal.open_stream_from(relay, items=[1, 2, 3]) as stream:
            assert [item async for item in stream] == [2, 4, 6]
        async with portal.open_stream_from(relay, items=[1, 2, 3]) as stream:
            assert await stream.receive() == 2


async def test_a_lost_actor_is_noticed_by_the_reader(transport: str) -> None:
    """It would wait for ever."""
    with trio.fail_after(20):
        with pytest.raises(tractor.ActorFailure) as info:
            async with tractor.open_nursery(enable_transports=[transport]) as an:
                portal = await an.start_actor("streamer", enable_modules=[HERE, bodies.__name__])
                async with portal.open_stream_from(sequence, items=[1]) as stream:
                    assert await stream.receive() == 1
                    await bodies.slay(portal)
                    await stream.receive()
        assert isinstance(info.value.__cause__, TransportClosed)

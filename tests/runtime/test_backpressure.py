"""Streams whose sender waits for the receiver: nothing is lost, memory is bounded, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Pair, open_pair, run_fast
from tractor import Context, RemoteActorError
from tractor.runtime._flow import WINDOW_BYTES, WINDOW_ITEMS

HERE = __name__
#: How many items each side has sent so far.
SENT = {"parent": 0, "child": 0}
LOG: list[str] = []


@pytest.fixture(autouse=True)
def _start_at_zero() -> None:
    SENT.update(parent=0, child=0)


async def send_all(stream: Any, side: str, count: int, size: int) -> None:
    """Send numbered items of about `size` bytes."""
    for n in range(count):
        await stream.send((n, b"x" * size))
        SENT[side] += 1


@tractor.context
async def source(ctx: Context, count: int, ask: bool, size: int = 0) -> str:
    """Send; `ask` for backpressure, or wait until the other side has."""
    await ctx.started()
    async with ctx.open_stream(backpressure=ask) as stream:
        if not ask:
            await stream.receive()
        try:
            await send_all(stream, "child", count, size)
        except trio.EndOfChannel:
            LOG.append("told to stop")
    return "sent"


@tractor.context
async def sink(ctx: Context, ask: bool, take: int, buffer: int | None = None, pause: float = 0) -> list[int]:
    """Take so many items, slowly, and return their numbers; then wait without taking."""
    await ctx.started()
    got: list[int] = []
    async with ctx.open_stream(backpressure=ask, msg_buffer_size=buffer) as stream:
        while len(got) < take:
            got.append((await stream.receive())[0])
            await trio.sleep(pause)
        if take == 0:
            await trio.sleep_forever()
    return got


@tractor.context
async def deaf(ctx: Context, seconds: float, fails: bool = False) -> str:
    """Never open a stream."""
    await ctx.started()
    await trio.sleep(seconds)
    if fails:
        raise ValueError("deaf and broken")
    return "heard nothing"


@asynccontextmanager
async def bounded(pair: Pair, func: Any, **kwargs: Any) -> AsyncGenerator[Any]:
    """Open a context; everything in it, and leaving it, has to be over in time."""
    with trio.fail_after(5):
        async with pair.portal.open_context(func, **kwargs) as (ctx, _):
            yield ctx


@pytest.mark.parametrize("asks", ["parent", "child", "both"])
@pytest.mark.parametrize("buffer", [1, 10, None])
async def test_the_endpoint_waits_for_a_slow_opener(asks: str, buffer: int | None) -> None:
    """It is never ahead by more than the window; everything arrives in order."""
    count = 3000
    async with open_pair(HERE, capacity=10_000) as pair:
        async with bounded(pair, source, count=count, ask=asks != "parent") as ctx:
            async with ctx.open_stream(backpressure=asks != "child", msg_buffer_size=buffer) as stream:
                if asks == "parent":
                    await stream.send("go")
                window = buffer or WINDOW_ITEMS
                for n in range(count):
                    if n % 500 == 0:
                        await wait_all_tasks_blocked()
                        assert SENT["child"] - n <= max(window, 64) + window
                        assert len(ctx._inbox.items) <= max(window, 64) + window
                    assert (await stream.receive())[0] == n
            assert await ctx.wait_for_result() == "sent"


@pytest.mark.parametrize("asks", ["parent", "child", "both"])
@pytest.mark.parametrize("buffer", [1, 10, None])
def test_the_opener_waits_for_a_slow_endpoint(asks: str, buffer: int | None) -> None:
    """As the other way round; the sender is as slow as the receiver."""

    async def main() -> None:
        async with open_pair(HERE, capacity=10_000) as pair:
            with trio.fail_after(100):
                async with pair.portal.open_context(
                    sink, ask=asks != "parent", take=300, buffer=buffer, pause=0.1
                ) as (ctx, _):
                    if asks == "child":
                        await trio.sleep(0.05)
                    begin = trio.current_time()
                    async with ctx.open_stream(backpressure=asks != "child") as stream:
                        await send_all(stream, "parent", 300, 0)
                        window = buffer or WINDOW_ITEMS
                        elapsed = trio.current_time() - begin
                        assert elapsed >= 0.1 * (300 - window) - 0.5
                        assert await ctx.wait_for_result() == list(range(300))

    run_fast(main)


@pytest.mark.parametrize("size", [1000, WINDOW_BYTES // 4, WINDOW_BYTES, 3 * WINDOW_BYTES])
@pytest.mark.parametrize("sender", ["parent", "child"])
async def test_bytes_are_bounded_too(sender: str, size: int) -> None:
    """Few big items fill the window as well as many small ones; an item bigger than the window passes alone."""
    count = 3 * max(WINDOW_BYTES // size, 1) + 3
    bound = WINDOW_BYTES // size + 1
    async with open_pair(HERE) as pair:
        if sender == "child":
            async with bounded(pair, source, count=count, ask=True, size=size) as ctx:
                async with ctx.open_stream() as stream:
                    for n in range(count):
                        await wait_all_tasks_blocked()
                        assert SENT["child"] - n <= min(bound, WINDOW_ITEMS) + 1
                        assert (await stream.receive())[0] == n
        else:
            async with bounded(pair, sink, ask=True, take=count) as ctx:
                async with ctx.open_stream(backpressure=True) as stream:
                    await send_all(stream, "parent", count, size)
                    assert await ctx.wait_for_result() == list(range(count))


@pytest.mark.parametrize("size", [0, WINDOW_BYTES])
@pytest.mark.parametrize("opens", ["never", "and leaves at once", "and takes one"])
async def test_leaving_the_block_does_not_wait_for_ever(opens: str, size: int) -> None:
    """The endpoint's sender gets what it needs to come to its end, or is told to stop."""
    async with open_pair(HERE) as pair:
        async with bounded(pair, source, count=3000 if size == 0 else 20, ask=True, size=size) as ctx:
            if opens == "never":
                await wait_all_tasks_blocked()
                assert SENT["child"] == 0
            else:
                async with ctx.open_stream() as stream:
                    if opens == "and takes one":
                        await stream.receive()
        assert await ctx.wait_for_result() == "sent"
        assert ([] if opens == "never" else ["told to stop"]) == LOG


@pytest.mark.parametrize("ask_first", [True, False])
async def test_waiting_for_the_result_does_not_wait_for_ever(ask_first: bool) -> None:
    """Nobody takes the items meanwhile."""
    async with open_pair(HERE) as pair:
        async with bounded(pair, source, count=5000, ask=True) as ctx:
            if ask_first:
                await wait_all_tasks_blocked()
            assert await ctx.wait_for_result() == "sent"


@pytest.mark.parametrize("end", ["return", "error", "cancel", "actor", "loss", "scope"])
def test_every_end_wakes_a_sender_that_waits(end: str) -> None:
    """The opener waits for room that will never come; each end of the context ends the wait, with its reason."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            outcome: list[BaseException] = []
            kwargs: dict[str, Any] = {
                "seconds": 1 if end in ("return", "error") else 1e9,
                "fails": end == "error",
            }

            async def act(ctx: Any) -> None:
                await trio.sleep(1)
                if end == "cancel":
                    await ctx.cancel()
                elif end == "actor":
                    await pair.portal.cancel_actor()
                elif end == "loss":
                    pair.back.chan.abort()

            async def opener() -> None:
                async with pair.portal.open_context(deaf, **kwargs) as (ctx, _):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(act, ctx)
                        async with ctx.open_stream(backpressure=True) as stream:
                            try:
                                await send_all(stream, "parent", 10_000, 0)
                            except BaseException as exc:
                                outcome.append(exc)
                                raise

            with trio.fail_after(5), trio.move_on_after(2 if end == "scope" else 4):
                try:
                    await opener()
                except* (RemoteActorError, tractor.TransportClosed):
                    pass
            assert len(outcome) == 1
            assert SENT["parent"] <= WINDOW_ITEMS
            expected = {"return": trio.EndOfChannel, "scope": trio.Cancelled}
            assert isinstance(
                outcome[0], expected.get(end, (RemoteActorError, tractor.TransportClosed, trio.Cancelled))
            )

    run_fast(main)


async def test_a_stop_of_the_receiver_wakes_the_sender() -> None:
    """An endpoint that has had enough."""
    async with open_pair(HERE) as pair, bounded(pair, sink, ask=True, take=5, buffer=2) as ctx:
        async with ctx.open_stream() as stream:
            with pytest.raises(trio.EndOfChannel):
                await send_all(stream, "parent", 10_000, 0)
        assert await ctx.wait_for_result() == [0, 1, 2, 3, 4]


async def test_both_directions_at_once() -> None:
    """Two senders that wait for each other's receiver do not block each other's credit."""
    async with open_pair(HERE, capacity=2000) as pair, bounded(pair, mirror, count=2000) as ctx:
        got: list[int] = []
        async with (
            ctx.open_stream(backpressure=True, msg_buffer_size=4) as stream,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(send_all, stream, "parent", 2000, 10)
            for _ in range(2000):
                got.append((await stream.receive())[0])
                if len(got) % 100 == 0:
                    await wait_all_tasks_blocked()
        assert got == list(range(2000))


@tractor.context
async def mirror(ctx: Context, count: int) -> None:
    """Send back each item, with a small buffer."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True, msg_buffer_size=3) as stream:
        for _ in range(count):
            await stream.send(await stream.receive())


SIZES = st.lists(st.sampled_from([0, 10, 1000, 70_000, WINDOW_BYTES // 2, WINDOW_BYTES + 5]), max_size=30)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 5), st.lists(st.booleans(), max_size=30))
def test_any_sizes_and_any_pauses(sizes: list[int], buffer: int, pauses: list[bool]) -> None:
    """Everything arrives, in order, once."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            async with bounded(pair, varied, sizes=sizes) as ctx:
                async with ctx.open_stream(backpressure=True, msg_buffer_size=buffer) as stream:
                    got = []
                    async for item in stream:
                        got.append(len(item))
                        if len(got) <= len(pauses) and pauses[len(got) - 1]:
                            await wait_all_tasks_blocked()
            assert got == sizes

    trio.run(main)


@tractor.context
async def varied(ctx: Context, sizes: list[int]) -> None:
    """Send items of the given sizes."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        for size in sizes:
            await stream.send(b"x" * size)

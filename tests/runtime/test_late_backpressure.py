"""Only the receiver asks for backpressure, when the sender has begun already: nothing is lost, nobody waits in vain."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_held_pair, open_pair, run_fast
from tractor import Context, RemoteActorError, StreamOverrun
from tractor.runtime._flow import AHEAD_ITEMS, BUFFER_ITEMS
from tractor.runtime._link import OPEN_TIMEOUT

HERE = __name__
#: How many items were sent so far.
SENT = [0]


@pytest.fixture(autouse=True)
def _start_at_zero() -> None:
    SENT[0] = 0


async def send_all(stream: Any, count: int) -> None:
    """Send numbers."""
    for n in range(count):
        await stream.send(n)
        SENT[0] += 1


@tractor.context
async def source(ctx: Context, counts: list[int]) -> str:
    """Send so many numbers in one stream after the other, without asking for anything."""
    await ctx.started()
    for count in counts:
        async with ctx.open_stream() as stream:
            await send_all(stream, count)
    return "sent"


@tractor.context
async def sink(ctx: Context, wait: bool, buffer: int) -> list[int]:
    """Ask for backpressure, late where it has to `wait` for a word of its own actor; return what came."""
    await ctx.started()
    if wait:
        await tractor.current_actor().lifetime_word.wait()  # type: ignore[attr-defined]
    async with ctx.open_stream(backpressure=True, msg_buffer_size=buffer) as stream:
        return [item async for item in stream]


@pytest.mark.parametrize("buffer", [1, 1024])
@pytest.mark.parametrize("before", [0, BUFFER_ITEMS])
async def test_what_the_opener_sends_before_it_hears_of_it_is_taken(before: int, buffer: int) -> None:
    """It stops in time, however late the news is; then it goes on by credit."""
    count = 2000
    async with open_held_pair(HERE) as (pair, near, _):
        pair.bob.actor.lifetime_word = word = trio.Event()  # type: ignore[attr-defined]
        with trio.fail_after(5):
            async with pair.portal.open_context(sink, wait=True, buffer=buffer) as (ctx, _):
                near.held = trio.Event()
                async with ctx.open_stream() as stream, trio.open_nursery() as nursery:
                    await send_all(stream, before)
                    await wait_all_tasks_blocked()
                    word.set()
                    await wait_all_tasks_blocked()
                    nursery.start_soon(send_all, stream, count - before)
                    await wait_all_tasks_blocked()
                    assert SENT[0] == AHEAD_ITEMS
                    near.held.set()
                result = await ctx.wait_for_result()
        assert result == [*range(before), *range(count - before)]


@pytest.mark.parametrize("buffer", [1, 1024])
async def test_what_the_endpoint_sends_before_it_hears_of_it_is_taken(buffer: int) -> None:
    """As the other way round; also where the opener takes nothing of it for some time."""
    async with open_held_pair(HERE) as (pair, _, far):
        with trio.fail_after(5):
            async with pair.portal.open_context(source, counts=[2000]) as (ctx, _):
                far.held = trio.Event()
                async with ctx.open_stream(backpressure=True, msg_buffer_size=buffer) as stream:
                    await wait_all_tasks_blocked()
                    assert SENT[0] == AHEAD_ITEMS
                    far.held.set()
                    await wait_all_tasks_blocked()
                    assert SENT[0] == AHEAD_ITEMS + buffer
                    assert [item async for item in stream] == list(range(2000))


async def test_asking_for_a_later_stream_is_soon_enough() -> None:
    """The sender goes ahead only in a stream that it knows the other side to have opened."""
    async with open_held_pair(HERE) as (pair, _, far):
        with trio.fail_after(5):
            async with pair.portal.open_context(source, counts=[300, 1000]) as (ctx, _):
                async with ctx.open_stream(msg_buffer_size=300) as stream:
                    assert [item async for item in stream] == list(range(300))
                    far.held = trio.Event()
                async with ctx.open_stream(backpressure=True, msg_buffer_size=5) as stream:
                    await wait_all_tasks_blocked()
                    assert SENT[0] <= 300 + AHEAD_ITEMS
                    far.held.set()
                    assert [item async for item in stream] == list(range(1000))


async def test_a_sender_goes_on_at_once_where_nobody_asks() -> None:
    """As soon as it knows; what it sends then is the receiver's risk."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(5), pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(source, counts=[10_000]) as (ctx, _):
                async with ctx.open_stream(msg_buffer_size=500):
                    await trio.sleep_forever()
        assert info.value.src_type is StreamOverrun
        assert SENT[0] >= 500


@pytest.mark.parametrize(("delay", "asks"), [(0.2, True), (0.2, False), (0.3, True), (1e9, True)])
def test_the_receiver_has_a_moment_to_open_its_stream(delay: float, asks: bool) -> None:
    """Its sender may have begun first. Without a stream for longer than that it is overrun."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            async with pair.portal.open_context(source, counts=[AHEAD_ITEMS + 1]) as (ctx, _):
                await trio.sleep(delay)
                async with ctx.open_stream(backpressure=asks) as stream:
                    assert [item async for item in stream] == list(range(AHEAD_ITEMS + 1))
            assert trio.current_time() - begin < 0.25

    if delay < OPEN_TIMEOUT:
        run_fast(main)
    else:
        with pytest.raises(RemoteActorError, match="No stream open on this side"):
            run_fast(main)


@pytest.mark.parametrize("opens", [0, 1])
async def test_a_sender_is_not_held_where_its_items_are_dropped(opens: int) -> None:
    """The opener waits for the result, and has left its stream or has opened none."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(5):
            async with pair.portal.open_context(source, counts=[2000, 2000]) as (ctx, _):
                for _ in range(opens):
                    async with ctx.open_stream(msg_buffer_size=2000):
                        pass
                with trio.move_on_after(0.001):
                    await ctx.wait_for_result()
                assert await ctx.wait_for_result() == "sent"


async def test_a_sender_is_not_held_by_a_block_that_is_left() -> None:
    """Without a stream, and without waiting for the result in so many words."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(5):
            async with pair.portal.open_context(source, counts=[2000] * 3) as (ctx, _):
                await wait_all_tasks_blocked()
        assert ctx.has_outcome


@pytest.mark.parametrize("opens", [1, 2, 3])
async def test_what_was_sent_ahead_counts_no_more_when_that_stream_is_opened(opens: int) -> None:
    """A sender far ahead in one stream after the other goes on as soon as the other side has come closer."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(5):
            async with pair.portal.open_context(source, counts=[AHEAD_ITEMS // 3] * 4) as (ctx, _):
                await wait_all_tasks_blocked()
                assert SENT == [AHEAD_ITEMS]
                for n in range(opens):
                    async with ctx.open_stream():
                        await wait_all_tasks_blocked()
                    assert SENT == [AHEAD_ITEMS // 3 * 4], n
            assert ctx.outcome == "sent"


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["open", "ask", "allow", "wait for result"]),
        st.sampled_from([1, 5, 64, 300]),
        st.integers(0, 200),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 63, 64, 65, 500]), max_size=4), ACTS)
def test_nobody_waits_for_ever(counts: list[int], acts: list[tuple[str, int, int]]) -> None:
    """Whatever the opener does: the endpoint comes to its end, or hears that it has overrun somebody."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.fail_after(1000):
                try:
                    async with pair.portal.open_context(source, counts=counts) as (ctx, _):
                        for what, buffer, take in acts:
                            await act(ctx, what, buffer, take)
                    assert ctx.outcome == "sent"
                except RemoteActorError as exc:
                    assert exc.src_type is StreamOverrun  # noqa: PT017 - either end is right

    run_fast(main)


async def act(ctx: Any, what: str, buffer: int, take: int) -> None:
    """Do one thing; items that come must be in order."""
    if what == "wait for result":
        with trio.move_on_after(take / 100):
            await ctx.wait_for_result()
        return
    await trio.sleep(take % 2)
    async with ctx.open_stream(
        backpressure=what == "ask", allow_overruns=what == "allow", msg_buffer_size=buffer
    ) as stream:
        with trio.move_on_after(1):
            got = [await stream.receive() for _ in range(take)]
            assert got == sorted(got)

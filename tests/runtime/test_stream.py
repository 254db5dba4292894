"""One side's end of a stream: sending, receiving, closing, opening again."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair, run_fast
from tractor import Context, ContextCancelled, MsgTypeError

HERE = __name__
LOG: list[Any] = []


@tractor.context
async def echo(ctx: Context) -> int:
    """Send back what comes; return how much it was."""
    await ctx.started()
    count = 0
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
            count += 1
    return count


@tractor.context
async def produce(ctx: Context, items: int, hold: bool = False) -> str:
    """Send so many items, then return, or wait for a word first; more than a buffer only when asked to."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        if items > 64:
            await stream.receive()
        for n in range(items):
            await stream.send(n)
        if hold:
            await stream.receive()
    return "done"


@tractor.context
async def stops_early(ctx: Context) -> str:
    """Close the stream at once, then wait to be told to end."""
    await ctx.started()
    async with ctx.open_stream():
        pass
    await trio.sleep(0.01)
    return "stopped early"


@tractor.context
async def idle(ctx: Context) -> None:
    """Open a stream and say nothing."""
    await ctx.started()
    async with ctx.open_stream():
        await trio.sleep_forever()


@tractor.context(pld_spec=int | None)
async def numbers(ctx: Context[Any, Any, Any]) -> None:
    """Send some numbers, and something else."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for item in (1, "two", 3):
            await stream.send(item)
        await stream.receive()


async def test_items_go_both_ways_in_order() -> None:
    """One by one, and many at once."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(echo) as (ctx, _):
            async with ctx.open_stream() as stream:
                assert (stream.ctx, stream.chan, stream.closed) == (ctx, pair.portal.chan, None)
                for n in range(5):
                    await stream.send({"n": n})
                    assert await stream.receive() == {"n": n}
                for n in range(60):
                    await stream.send(n)
                assert [await stream.receive() for _ in range(60)] == list(range(60))
            assert await ctx.wait_for_result() == 65


async def test_several_tasks_may_send_and_receive() -> None:
    """Nothing is lost or doubled."""
    async with open_pair(HERE) as pair:
        got: list[int] = []
        async with pair.portal.open_context(echo) as (ctx, _), ctx.open_stream() as stream:

            async def send(base: int) -> None:
                for n in range(10):
                    await stream.send(base + n)
                    await trio.lowlevel.checkpoint()

            async def receive() -> None:
                got.extend([await stream.receive() for _ in range(10)])

            async with trio.open_nursery() as nursery:
                for base in (0, 100, 200):
                    nursery.start_soon(send, base)
                    nursery.start_soon(receive)
        assert sorted(got) == [base + n for base in (0, 100, 200) for n in range(10)]


@pytest.mark.parametrize("items", [0, 1, 64])
@pytest.mark.parametrize("late", [True, False])
async def test_everything_sent_before_the_end_is_received(items: int, late: bool) -> None:
    """Also when the endpoint has long returned before the opener opens its stream."""
    async with open_pair(HERE) as pair, pair.portal.open_context(produce, items=items) as (ctx, _):
        if late:
            await wait_all_tasks_blocked()
            assert ctx.has_outcome
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == list(range(items))
            with pytest.raises(trio.EndOfChannel):
                await stream.send("too late")
        assert await ctx.wait_for_result() == "done"
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == []


async def test_the_end_is_sticky() -> None:
    """The same error every time, whatever one asks for; it leaves the stream's block but not further."""
    async with open_pair(HERE) as pair, pair.portal.open_context(produce, items=2) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert await stream.receive() == 0
            assert stream.receive_nowait() == 1
            errors: list[BaseException] = []
            for _ in range(2):
                for attempt in (stream.receive, lambda: stream.send(1)):
                    with pytest.raises(trio.EndOfChannel) as info:
                        await attempt()
                    errors.append(info.value)
                with pytest.raises(trio.EndOfChannel) as info:
                    stream.receive_nowait()
                errors.append(info.value)
            assert set(errors) == {stream.closed}
            await stream.receive()
            pytest.fail("received more")
        await wait_all_tasks_blocked()


async def test_somebody_elses_end_is_not_absorbed() -> None:
    """Only this stream's own."""
    async with open_pair(HERE) as pair:
        with pytest.raises(trio.EndOfChannel):
            async with pair.portal.open_context(idle) as (ctx, _), ctx.open_stream():
                raise trio.EndOfChannel


async def test_receiving_without_waiting() -> None:
    """Nothing there, something there, an error."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(echo) as (ctx, _), ctx.open_stream() as stream:
            with pytest.raises(trio.WouldBlock):
                stream.receive_nowait()
            await stream.send("x")
            await wait_all_tasks_blocked()
            assert stream.receive_nowait() == "x"
            await ctx.cancel()
            with pytest.raises(ContextCancelled):
                stream.receive_nowait()


async def test_an_early_stop_of_the_peer_ends_receiving_only() -> None:
    """The body goes on."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(stops_early) as (ctx, _):
            async with ctx.open_stream() as stream:
                assert [item async for item in stream] == []
                await trio.sleep(0.001)
            assert await ctx.wait_for_result() == "stopped early"


async def test_closing_returns_what_was_not_taken() -> None:
    """Once; afterwards this side is closed."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=5, hold=True) as (ctx, _):
            async with ctx.open_stream() as stream:
                assert await stream.receive() == 0
                await wait_all_tasks_blocked()
                assert await stream.aclose() == [1, 2, 3, 4]
                assert await stream.aclose() == []
                assert stream.closed_locally
                assert isinstance(stream.closed, trio.ClosedResourceError)
                for attempt in (stream.receive, lambda: stream.send(1)):
                    with pytest.raises(trio.ClosedResourceError) as info:
                        await attempt()
                    assert info.value is stream.closed
                with pytest.raises(trio.ClosedResourceError):
                    stream.receive_nowait()


@pytest.mark.parametrize("act", ["receive", "send"])
async def test_closing_wakes_the_tasks_that_wait(act: str) -> None:
    """For an item, or for the peer to have room."""
    async with open_pair(HERE) as pair:
        woken = trio.Event()
        with trio.fail_after(1):
            async with pair.portal.open_context(idle) as (ctx, _), trio.open_nursery() as nursery:
                async with ctx.open_stream(backpressure=act == "send") as stream:

                    async def wait() -> None:
                        with pytest.raises(trio.ClosedResourceError):
                            while True:
                                await (stream.receive() if act == "receive" else stream.send("x" * 10_000))
                        woken.set()

                    nursery.start_soon(wait)
                    await wait_all_tasks_blocked()
                    assert not woken.is_set()
                    await stream.aclose()
                    await woken.wait()
                await ctx.cancel()


@pytest.mark.parametrize("backpressure", [True, False])
@pytest.mark.parametrize(
    ("item", "error", "text"),
    [
        (object(), TypeError, "cannot send an object of type 'object'"),
        (2**70, OverflowError, "cannot send an integer"),
        (b"x" * 200_000, ValueError, "over the channel's limit"),
    ],
)
async def test_an_item_that_cannot_be_sent_costs_nothing(
    item: Any, error: type[Exception], text: str, backpressure: bool
) -> None:
    """The stream goes on, and no credit was used."""
    async with open_pair(HERE, limit=100_000) as pair:
        async with (
            pair.portal.open_context(echo) as (ctx, _),
            ctx.open_stream(backpressure=backpressure) as stream,
        ):
            await stream.send(0)
            assert await stream.receive() == 0
            before = (ctx._outflow.credit.items, ctx._outflow.credit.bytes)
            for _ in range(20):
                with pytest.raises(error, match=text):
                    await stream.send(item)
            assert (ctx._outflow.credit.items, ctx._outflow.credit.bytes) == before
            await stream.send(1)
            assert await stream.receive() == 1


async def test_a_send_that_is_cancelled_costs_nothing() -> None:
    """Neither credit nor an item."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(echo) as (ctx, _), ctx.open_stream(backpressure=True) as stream:
            await stream.send("first")
            assert await stream.receive() == "first"
            before = (ctx._outflow.credit.items, ctx._outflow.credit.bytes)
            for _ in range(5):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await stream.send("given up")
                assert scope.cancelled_caught
            assert (ctx._outflow.credit.items, ctx._outflow.credit.bytes) == before
            await stream.send("last")
            assert await stream.receive() == "last"


async def test_an_item_outside_the_spec_is_refused_by_its_receiver() -> None:
    """That item only."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(numbers) as (ctx, _):
            async with ctx.open_stream() as stream:
                assert await stream.receive() == 1
                with pytest.raises(MsgTypeError, match=r"Yield.*\n'two' has type") as info:
                    await stream.receive()
                assert info.value.bad_msg == "two"
                assert await stream.receive() == 3
                await stream.send(0)


async def test_items_outside_the_spec_do_not_spoil_closing() -> None:
    """They are left out of what is returned."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(numbers) as (ctx, _), ctx.open_stream() as stream:
            await wait_all_tasks_blocked()
            await stream.send(0)
            assert await stream.aclose() == [1, 3]


async def test_receiving_lets_other_tasks_run() -> None:
    """At least every 64 items, and it notices a cancellation at once."""
    async with open_pair(HERE) as pair:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with pair.portal.open_context(produce, items=1000, hold=True) as (ctx, _):
            async with ctx.open_stream(msg_buffer_size=1000) as stream:
                await stream.send("go")
                await wait_all_tasks_blocked()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(other)
                    for n in range(640):
                        assert await stream.receive() == n
                    assert turns >= 9
                    nursery.cancel_scope.cancel()
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await stream.receive()
                assert scope.cancelled_caught
                assert await stream.receive() == 640
                await stream.send("end")


def test_sending_after_our_own_cancel_waits_for_the_end() -> None:
    """And then raises it: nothing else could be said."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.fail_after(2):
                async with pair.portal.open_context(idle) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        await ctx.cancel(timeout=0)
                        assert not ctx.cancel_acked
                        with pytest.raises(ContextCancelled):
                            await stream.send("late")
                        assert ctx.cancel_acked

    run_fast(main)


async def test_waiting_for_the_result_in_vain_does_not_deafen_later_streams() -> None:
    """Items are dropped while it waits, not afterwards."""
    async with open_pair(HERE) as pair, pair.portal.open_context(echo) as (ctx, _):
        with trio.move_on_after(0.01) as scope:
            await ctx.wait_for_result()
        assert scope.cancelled_caught
        async with ctx.open_stream() as stream:
            await stream.send("x")
            with trio.fail_after(1):
                assert await stream.receive() == "x"


async def test_a_loss_is_raised_by_every_call() -> None:
    """In the task that waits at once, and by whatever is tried later."""
    async with open_pair(HERE) as pair:
        with pytest.raises(tractor.TransportClosed, match=r"closed locally .*bob@") as info:
            async with pair.portal.open_context(idle) as (ctx, _), ctx.open_stream() as stream:
                async with trio.open_nursery() as nursery:

                    async def wait() -> None:
                        with pytest.raises(tractor.TransportClosed) as info:
                            await stream.receive()
                        assert type(info.value.__cause__) is trio.ClosedResourceError
                        LOG.append("woken")

                    nursery.start_soon(wait)
                    await wait_all_tasks_blocked()
                    with trio.CancelScope(shield=True):
                        await pair.portal.aclose()
                        await wait_all_tasks_blocked()
                        for attempt in (stream.receive, lambda: stream.send("x")):
                            with pytest.raises(tractor.TransportClosed):
                                await attempt()
                        with pytest.raises(tractor.TransportClosed):
                            stream.receive_nowait()
                        LOG.append("all told")
        assert LOG == ["woken", "all told"]
        assert info.value is ctx.maybe_error

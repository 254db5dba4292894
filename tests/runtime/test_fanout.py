"""Several tasks that each read all of one stream: `MsgStream.subscribe`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair
from tractor import Context, MsgTypeError, RemoteActorError
from tractor.runtime._flow import BUFFER_ITEMS, WINDOW_ITEMS
from tractor.trionics import BroadcastReceiveError, Lagged

HERE = __name__
#: What the endpoints have received or done.
LOG: list[Any] = []


@tractor.context
async def produce(ctx: Context, items: int, backpressure: bool = False, fails: bool = False) -> str:
    """Send so many items at every word that comes."""
    await ctx.started()
    async with ctx.open_stream(backpressure=backpressure) as stream:
        async for word in stream:
            LOG.append(word)
            if word == "end":
                break
            for n in range(items):
                await stream.send(n)
        LOG.append("sent")
        if fails:
            raise ValueError("over there")
    return "done"


@tractor.context(pld_spec=int | str | None)
async def mixed(ctx: Context[Any, Any, Any]) -> None:
    """Send numbers, and something else, once somebody asks."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for item in (1, 2.5, 3):
            await stream.send(item)
        await stream.receive()


async def collect(receiver: Any, got: list[Any]) -> None:
    """Receive until the end."""
    got.extend([item async for item in receiver])


async def test_every_subscriber_gets_every_item() -> None:
    """The stream's own receive() is one of them; each may send."""
    got: dict[str, list[int]] = {"a": [], "b": [], "stream": []}
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=10) as (ctx, _), ctx.open_stream() as stream:
            async with stream.subscribe() as a, stream.subscribe() as b, trio.open_nursery() as nursery:
                nursery.start_soon(collect, a, got["a"])
                nursery.start_soon(collect, b, got["b"])
                nursery.start_soon(collect, stream, got["stream"])
                await a.send("from a")
                await b.send("from b")
                await stream.send("end")
            assert LOG == ["from a", "from b", "end", "sent"]
            assert await ctx.wait_for_result() == "done"
    assert got == dict.fromkeys(got, [*range(10)] * 2)


async def test_the_first_subscription_is_for_ever() -> None:
    """Also when it is over, the stream goes through the broadcast; it keeps what it has not received."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=3) as (ctx, _), ctx.open_stream() as stream:
            await stream.send("go")
            assert await stream.receive() == 0
            async with stream.subscribe() as first:
                assert [await first.receive() for _ in range(2)] == [1, 2]
            async with stream.subscribe() as second:
                with pytest.raises(trio.WouldBlock):
                    second.receive_nowait()
                assert [await stream.receive(), stream.receive_nowait()] == [1, 2]
                await stream.send("go")
                await wait_all_tasks_blocked()
                assert [stream.receive_nowait(), await stream.receive()] == [0, 1]
                assert [second.receive_nowait() for _ in range(3)] == [0, 1, 2]
                assert stream.receive_nowait() == 2
                with pytest.raises(trio.WouldBlock):
                    stream.receive_nowait()


async def test_tasks_that_wait_already_share_what_comes() -> None:
    """What comes after the subscription is for everybody, whoever was there first."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=3) as (ctx, _), ctx.open_stream() as stream:
            got: list[list[int]] = [[], []]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collect, stream, got[0])
                await wait_all_tasks_blocked()
                async with stream.subscribe() as receiver:
                    nursery.start_soon(collect, receiver, got[1])
                    await stream.send("go")
                    await stream.send("end")
                    await wait_all_tasks_blocked()
            assert got == [[0, 1, 2]] * 2


@pytest.mark.parametrize("size", [None, 1, 10])
@pytest.mark.parametrize("backpressure", [False, True])
async def test_the_slow_lose_and_the_fast_do_not(size: int | None, backpressure: bool) -> None:
    """As many items are kept as the stream's buffer takes; the loss is exact, and only theirs."""
    kept = size or (WINDOW_ITEMS if backpressure else BUFFER_ITEMS)
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=1) as (ctx, _):
            async with ctx.open_stream(msg_buffer_size=size, backpressure=backpressure) as stream:
                async with stream.subscribe(raise_on_lag=False) as slow, stream.subscribe() as fast:
                    for _ in range(kept + 3):
                        await fast.send("go")
                        assert await fast.receive() == 0
                    assert slow.statistics().queued[slow.key] == kept
                    for _ in range(kept):
                        slow.receive_nowait()
                    with pytest.raises(trio.WouldBlock):
                        slow.receive_nowait()
                    # The first call has decided for the stream.
                    assert [stream.receive_nowait() for _ in range(kept)] == [0] * kept
                async with stream.subscribe() as slow:
                    for _ in range(kept + 2):
                        await stream.send("go")
                        await stream.receive()
                    with pytest.raises(Lagged) as info:
                        await slow.receive()
                    assert info.value.lost == 2


async def test_with_backpressure_the_fastest_sets_the_pace() -> None:
    """An item is paid for when it is taken off the stream, not when the slowest subscriber has it."""
    items = 5 * WINDOW_ITEMS
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=items, backpressure=True) as (ctx, _):
            async with ctx.open_stream(backpressure=True) as stream, stream.subscribe() as fast:
                await stream.send("go")
                await stream.send("end")
                await wait_all_tasks_blocked()
                assert LOG == ["go"], "nobody has received anything"
                got: list[int] = []
                await collect(fast, got)
                assert got == [*range(items)]
                with pytest.raises(Lagged, match=f"{items - WINDOW_ITEMS} values"):
                    await stream.receive()
        assert LOG == ["go", "end", "sent"]


async def test_the_end_leaves_the_block_quietly_from_a_subscriber_too() -> None:
    """It is the stream's own, for all of them, after what is left."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=2) as (ctx, _):
            async with ctx.open_stream() as stream, stream.subscribe() as receiver:
                await stream.send("go")
                await stream.send("end")
                assert [item async for item in receiver] == [0, 1]
                assert isinstance(stream.closed, trio.EndOfChannel)
                assert [await stream.receive(), stream.receive_nowait()] == [0, 1]
                for attempt in (stream.receive, receiver.receive):
                    with pytest.raises(trio.EndOfChannel) as info:
                        await attempt()
                    assert info.value is stream.closed
                async with stream.subscribe() as late:
                    await late.receive()
                pytest.fail("received more")
            assert await ctx.wait_for_result() == "done"


async def test_closing_the_stream_ends_its_subscribers() -> None:
    """Who waits in the stream is told by the stream; who reads for the others too; these, that it has failed."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=2) as (ctx, _), ctx.open_stream() as stream:
            errors: list[BaseException] = []

            async def wait(receiver: Any) -> None:
                with pytest.raises((trio.ClosedResourceError, BroadcastReceiveError)) as info:
                    await receiver.receive()
                errors.append(info.value)

            async with stream.subscribe() as a, stream.subscribe() as b, trio.open_nursery() as nursery:
                for receiver in (a, b, stream):
                    nursery.start_soon(wait, receiver)
                    await wait_all_tasks_blocked()
                await stream.aclose()
                await wait_all_tasks_blocked()
                assert stream.closed in errors
                assert sorted(type(error).__name__ for error in errors) == [
                    "BroadcastReceiveError",
                    "ClosedResourceError",
                    "ClosedResourceError",
                ]
                assert errors.count(stream.closed) == 2
                for attempt in (stream.receive, stream.subscribe().__aenter__):
                    with pytest.raises(trio.ClosedResourceError) as info:
                        await attempt()
                    assert info.value is stream.closed
                with pytest.raises(trio.ClosedResourceError):
                    stream.receive_nowait()
                with pytest.raises(trio.ClosedResourceError):
                    await a.send("late")


async def test_the_remote_error_reaches_all() -> None:
    """The stream raises it itself, whoever was the one that has met it."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="over there"):
            async with pair.portal.open_context(produce, items=2, fails=True) as (ctx, _):
                async with ctx.open_stream() as stream, stream.subscribe() as receiver:
                    await stream.send("end")
                    with trio.CancelScope(shield=True):
                        with pytest.raises(RemoteActorError) as first:
                            await receiver.receive()
                        for attempt in (stream.receive, lambda: stream.send("x")):
                            with pytest.raises(RemoteActorError) as again:
                                await attempt()
                            assert again.value is first.value
                        with pytest.raises(RemoteActorError):
                            stream.receive_nowait()
                        async with stream.subscribe() as late:
                            with pytest.raises(BroadcastReceiveError) as caused:
                                await late.receive()
                            assert caused.value.__cause__ is first.value
                    assert ctx.maybe_error is first.value


async def test_a_bad_item_ends_the_broadcast() -> None:
    """It cannot be given to anybody; the reader learns what was wrong with it, the others that it was the end."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(mixed) as (ctx, _), ctx.open_stream() as stream:
            async with stream.subscribe() as a, stream.subscribe() as b:
                await stream.send("go")
                assert await a.receive() == 1
                with pytest.raises(MsgTypeError, match=r"2\.5"):
                    await a.receive()
                assert await b.receive() == 1
                with pytest.raises(BroadcastReceiveError):
                    await b.receive()
                assert await stream.receive() == 1
                with pytest.raises(BroadcastReceiveError):
                    await stream.receive()
            await ctx.cancel()


async def test_a_send_that_came_too_late_costs_no_item() -> None:
    """The other side has stopped; what it has sent before is still to be had."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(produce, items=2) as (ctx, _), ctx.open_stream() as stream:
            await stream.send("go")
            await stream.send("end")
            await wait_all_tasks_blocked()
            with pytest.raises(trio.EndOfChannel):
                await stream.send("too late")
            assert [item async for item in stream] == [0, 1]


def test_who_does_not_subscribe_does_not_pay() -> None:
    """Nothing of it is imported."""
    code = "import sys, tractor; tractor.MsgStream; tractor.open_nursery; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"tractor.runtime._fanout", "tractor.trionics._broadcast"} & set(done.stdout.split())

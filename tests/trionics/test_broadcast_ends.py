"""How broadcasts end: the source's end, its failures, and receivers that leave while they read or wait."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.trionics.test_broadcast import Source, begin, drain
from tractor.trionics import BroadcastReceiveError, BroadcastReceiver, broadcast_receiver


async def test_the_end_comes_after_the_values_and_for_ever() -> None:
    """For every receiver, and the source is not read again, although it would have more."""
    source = Source(1, 2, trio.EndOfChannel(), 3)
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second:
        assert [value async for value in second] == [1, 2]
        assert [value async for value in first] == [1, 2]
        async with first.subscribe() as late:
            for receiver in (first, second, late) * 2:
                with pytest.raises(trio.EndOfChannel):
                    await receiver.receive()
    assert source.reads == 3


async def test_the_end_wakes_everybody() -> None:
    """One reads, two wait."""
    source = Source()
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        results = [begin(nursery, receiver.receive) for receiver in (first, second, second)]
        await wait_all_tasks_blocked()
        source.give(trio.EndOfChannel())
    assert [type(result.error) for result in results] == [trio.EndOfChannel] * 3
    assert source.reads == 1


async def test_a_failure_of_the_source_is_final() -> None:
    """The reader gets it as it is; the others, after their values, an error that it is the cause of."""
    failure = ValueError("broken")
    source = Source(1, 2, failure, 3)
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, first.subscribe() as waiting:
        for _ in range(2):
            await second.receive()
            await waiting.receive()
        async with trio.open_nursery() as nursery:
            reader = begin(nursery, second.receive)
            await wait_all_tasks_blocked(0.01)
            waiter = begin(nursery, waiting.receive)
        assert reader.error is failure
        assert isinstance(waiter.error, BroadcastReceiveError)
        assert waiter.error.__cause__ is failure
        values, error = await drain(first)
        assert values == [1, 2]
        assert isinstance(error, trio.BrokenResourceError)
        assert error.__cause__ is failure
        async with first.subscribe() as late:
            for receiver in (second, late):
                with pytest.raises(BroadcastReceiveError, match="ValueError"):
                    await receiver.receive()
                with pytest.raises(BroadcastReceiveError):
                    receiver.receive_nowait()
    assert source.reads == 3


async def test_a_failure_reaches_who_waits() -> None:
    """While another task reads."""
    source = Source()
    failure = ValueError("broken")
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        reader = begin(nursery, first.receive)
        await wait_all_tasks_blocked()
        waiter = begin(nursery, second.receive)
        await wait_all_tasks_blocked()
        source.give(failure)
    assert reader.error is failure
    assert isinstance(waiter.error, BroadcastReceiveError)


async def test_an_interrupt_is_no_failure_of_the_source() -> None:
    """It ends the task it came to; another one goes on reading."""
    source = Source()
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        reader = begin(nursery, first.receive)
        await wait_all_tasks_blocked()
        waiter = begin(nursery, second.receive)
        await wait_all_tasks_blocked()
        source.give(KeyboardInterrupt())
        await wait_all_tasks_blocked()
        assert isinstance(reader.error, KeyboardInterrupt)
        assert not waiter.done
        source.give("x")
    assert waiter.value == "x"
    assert await first.receive() == "x"


@pytest.mark.parametrize("way", ["cancel", "close"])
async def test_another_takes_over_when_the_reader_leaves(way: str) -> None:
    """At once, and no value is lost."""
    source = Source()
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, first.subscribe() as third, trio.open_nursery() as nursery:
        reader = begin(nursery, second.receive)
        await wait_all_tasks_blocked()
        waiters = [begin(nursery, receiver.receive) for receiver in (first, third)]
        await wait_all_tasks_blocked()
        if way == "cancel":
            reader.scope.cancel()
        else:
            second.close()
        await wait_all_tasks_blocked()
        assert (reader.done, source.reading, source.reads) == (True, 1, 2)
        assert reader.scope.cancelled_caught == (way == "cancel")
        assert isinstance(reader.error, trio.ClosedResourceError) == (way == "close")
        assert not any(waiter.done for waiter in waiters)
        source.give("x")
        await wait_all_tasks_blocked()
        assert [waiter.value for waiter in waiters] == ["x", "x"]
        if way == "cancel":
            assert second.receive_nowait() == "x"


async def test_everybody_may_leave_and_come_again() -> None:
    """A read that nobody goes on with leaves the source as it was."""
    source = Source()
    first = broadcast_receiver(source, 8)
    for _ in range(3):
        async with first.subscribe() as second, trio.open_nursery() as nursery:
            for receiver in (first, second, second):
                begin(nursery, receiver.receive)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    source.give("x")
    assert await first.receive() == "x"


@pytest.mark.parametrize("reads", [False, True])
async def test_closing_wakes_the_tasks_of_this_receiver_only(reads: bool) -> None:
    """Whether one of them is the reader or not."""
    source = Source()
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        order = [second, first] if reads else [first, second]
        results = {}
        for receiver in order:
            results[receiver] = [begin(nursery, receiver.receive) for _ in range(2)]
            await wait_all_tasks_blocked()
        await second.aclose()
        second.close()
        await wait_all_tasks_blocked()
        assert [type(result.error) for result in results[second]] == [trio.ClosedResourceError] * 2
        assert not any(result.done for result in results[first])
        assert source.reading == 1
        source.give(1, 2)
    assert sorted(result.value for result in results[first]) == [1, 2]


class Stubborn(Source):
    """Cannot be cancelled once it is being read."""

    async def receive(self) -> Any:
        """Return the next value."""
        with trio.CancelScope(shield=True):
            return await super().receive()


@pytest.mark.parametrize("outcome", ["x", trio.EndOfChannel(), ValueError("broken")], ids=repr)
async def test_what_comes_after_closing_is_not_for_the_closed(outcome: object) -> None:
    """A value and the end are for the others; an error may come of the closing, so they see for themselves."""
    source = Stubborn()
    first = broadcast_receiver(source, 8)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        reader = begin(nursery, second.receive)
        await wait_all_tasks_blocked()
        waiter = begin(nursery, first.receive)
        await wait_all_tasks_blocked()
        second.close()
        await wait_all_tasks_blocked()
        # The source is never read twice at once.
        assert (reader.done, waiter.done, source.reads) == (False, False, 1)
        source.give(outcome, "next")
    assert isinstance(reader.error, trio.ClosedResourceError)
    if isinstance(outcome, trio.EndOfChannel):
        assert waiter.error is outcome
    else:
        assert waiter.value == ("next" if isinstance(outcome, ValueError) else "x")


async def test_the_first_receiver_may_close_before_the_others() -> None:
    """Those that it has made go on; it makes no more, and leaves nothing behind."""
    source = Source(1, 2)
    first = broadcast_receiver(source, 1)
    async with first.subscribe() as second:
        await first.aclose()
        with pytest.raises(trio.ClosedResourceError):
            async with first.subscribe():
                pytest.fail("it was closed")
        with pytest.raises(trio.ClosedResourceError):
            await first.receive()
        assert first.statistics().queued == {second.key: 0}
        assert await second.receive() == 1
        assert "closed" in repr(first)
    assert first.statistics().queued == {}


async def test_closing_is_a_checkpoint_that_closes_all_the_same() -> None:
    """As everywhere in trio."""
    first = broadcast_receiver(Source(), 1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await first.aclose()
    assert scope.cancelled_caught
    with pytest.raises(trio.ClosedResourceError):
        await first.receive()


async def test_a_receiver_that_is_closed_by_cancellation_hands_over() -> None:
    """The usual way: its whole task is cancelled, block and all."""
    source = Source()
    first = broadcast_receiver(source, 8)

    async def subscribe(scope: trio.CancelScope) -> None:
        with scope:
            async with first.subscribe() as receiver:
                await receiver.receive()

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(3)]
        for scope in scopes:
            nursery.start_soon(subscribe, scope)
            await wait_all_tasks_blocked()
        last: BroadcastReceiver[Any]
        async with first.subscribe() as last:
            result = begin(nursery, last.receive)
            await wait_all_tasks_blocked()
            for scope in scopes:
                scope.cancel()
                await wait_all_tasks_blocked()
                assert source.reading == 1
            source.give("x")
            await wait_all_tasks_blocked()
        assert result.value == "x"
    assert first.statistics().queued == {first.key: 1}

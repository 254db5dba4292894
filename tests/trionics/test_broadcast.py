"""Broadcasts: what each receiver gets, loses and raises, and who reads the source."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.trionics import (
    AsyncReceiver,
    BroadcastReceiveError,
    BroadcastReceiver,
    Lagged,
    broadcast_receiver,
)


class Source:
    """Gives the values it was given, then waits; counts who reads it at the same time."""

    def __init__(self, *values: object) -> None:
        self.values: list[Any] = list(values)
        self.more = trio.Event()
        self.reads = 0
        self.reading = 0

    def give(self, *values: object) -> None:
        """Add values; an exception is raised in its turn."""
        self.values += values
        self.more.set()

    async def receive(self) -> Any:
        """Return the next value."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.reads += 1
        self.reading += 1
        assert self.reading == 1, "the source is read twice at once"
        try:
            while not self.values:
                self.more = trio.Event()
                await self.more.wait()
        finally:
            self.reading -= 1
        value = self.values.pop(0)
        if isinstance(value, BaseException):
            raise value
        return value

    def __aiter__(self) -> AsyncIterator[Any]:
        raise AssertionError("a broadcast calls receive()")

    async def __anext__(self) -> Any:
        raise AssertionError("a broadcast calls receive()")

    async def aclose(self) -> None:
        """Never called."""
        raise AssertionError("a broadcast does not close its source")


class Result:
    """What a call in a background task has returned or raised."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.scope = trio.CancelScope()
        self.done = False


def begin(nursery: trio.Nursery, call: Callable[[], Awaitable[Any]]) -> Result:
    """Run a call in a background task."""
    result = Result()

    async def run() -> None:
        with result.scope:
            try:
                result.value = await call()
            except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - looked at by the test
                result.error = exc
        result.done = True

    nursery.start_soon(run)
    return result


async def drain(receiver: BroadcastReceiver[Any]) -> tuple[list[Any], BaseException]:
    """Return all that can be received without an error, and the error."""
    values = []
    while True:
        try:
            with trio.fail_after(5):
                values.append(await receiver.receive())
        except Exception as exc:  # noqa: BLE001 - looked at by the test
            return values, exc


# Values.


async def test_every_receiver_gets_every_value_from_its_beginning_on() -> None:
    """The first one from the first value, another one from the first that is read after it was made."""
    first = broadcast_receiver(Source(1, 2, 3, trio.EndOfChannel()), 8)
    assert await first.receive() == 1
    async with first.subscribe() as second, second.subscribe() as third:
        assert await first.receive() == 2
        assert [value async for value in third] == [2, 3]
        assert [value async for value in second] == [2, 3]
    assert [value async for value in first] == [3]


async def test_memory_channels_and_functions_are_sources() -> None:
    """Whatever can be awaited for the next value; other broadcasts too."""
    send, receive = trio.open_memory_channel[int](8)
    async with broadcast_receiver(receive, 8) as first, broadcast_receiver(first, 8) as other:
        send.send_nowait(1)
        assert await other.receive() == 1

    async def one() -> int:
        await trio.lowlevel.checkpoint()
        return 1

    source: AsyncReceiver[int] = Source()
    assert await broadcast_receiver(source, 1, receive_afunc=one).receive() == 1


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 64])
async def test_who_only_waits_never_lags(size: int, quick: bool) -> None:
    """Whatever the order in which the scheduler comes to the tasks, and however many values wait in the source."""

    async def consume(receiver: BroadcastReceiver[int]) -> None:
        assert [value async for value in receiver] == list(range(200))

    # The order is another one each time.
    for _ in range(8):
        source: AsyncReceiver[int] = Source(*range(200), trio.EndOfChannel())
        if quick:
            send, source = trio.open_memory_channel[int](200)
            for n in range(200):
                send.send_nowait(n)
            send.close()
        first = broadcast_receiver(source, size)
        async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
            others = [await stack.enter_async_context(first.subscribe()) for _ in range(3)]
            for receiver in (first, *others):
                nursery.start_soon(consume, receiver)


async def test_a_receiver_that_waits_in_turns_with_others_keeps_up() -> None:
    """One checkpoint for each value is not being slow, even where the reader never has to wait."""
    source = Source()
    first = broadcast_receiver(source, 8)
    got: list[int] = []

    async def polite(receiver: BroadcastReceiver[int]) -> None:
        async for value in receiver:
            got.append(value)
            await trio.lowlevel.checkpoint()

    async with first.subscribe() as second, trio.open_nursery() as nursery:
        nursery.start_soon(polite, second)
        await wait_all_tasks_blocked()
        source.give(*range(500), trio.EndOfChannel())
        assert [value async for value in first] == list(range(500))
    assert got == list(range(500))


async def test_tasks_that_share_a_receiver_share_its_values() -> None:
    """Each value goes to one of them."""
    source = Source()
    first = broadcast_receiver(source, 8)
    async with trio.open_nursery() as nursery:
        results = [begin(nursery, first.receive) for _ in range(3)]
        await wait_all_tasks_blocked()
        source.give(1, 2, 3)
    assert sorted(result.value for result in results) == [1, 2, 3]


async def test_receiving_is_a_checkpoint() -> None:
    """A receiver with values waits for nobody, but can be cancelled, and others get to run."""
    first = broadcast_receiver(Source(*range(200)), 200)
    async with first.subscribe() as second:
        for _ in range(200):
            await first.receive()
        with trio.CancelScope() as scope:
            scope.cancel()
            await second.receive()
        assert scope.cancelled_caught
        ran = False

        async def other() -> None:
            nonlocal ran
            ran = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            # The second of two turns comes after it, whatever the order in the first.
            assert [await second.receive() for _ in range(150)] == list(range(150))
            assert ran


async def test_receiving_without_waiting() -> None:
    """What was read already, and how it has ended; from the source only where that can be asked without waiting."""
    source = Source(1, trio.EndOfChannel())
    first = broadcast_receiver(source, 1)
    with pytest.raises(trio.WouldBlock):
        first.receive_nowait()
    async with first.subscribe() as second:
        await second.receive()
        assert first.receive_nowait() == 1
        assert source.reads == 1
        with pytest.raises(trio.WouldBlock):
            first.receive_nowait()
        await drain(second)
    with pytest.raises(trio.EndOfChannel):
        first.receive_nowait()
    first.close()
    with pytest.raises(trio.ClosedResourceError):
        first.receive_nowait()


async def test_receiving_without_waiting_from_a_channel() -> None:
    """It counts as reading the source, for everybody; not while another receiver reads it."""
    send, receive = trio.open_memory_channel[int](8)
    first = broadcast_receiver(receive, 2)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        with pytest.raises(trio.WouldBlock):
            first.receive_nowait()
        for n in range(3):
            send.send_nowait(n)
        assert [first.receive_nowait() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(Lagged, match="1 values"):
            second.receive_nowait()
        assert [second.receive_nowait(), await second.receive()] == [1, 2]
        waiting = begin(nursery, second.receive)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            first.receive_nowait()
        send.send_nowait(3)
        await wait_all_tasks_blocked()
        assert waiting.value == first.receive_nowait() == 3
        send.close()
        for receiver in (first, second, first):
            with pytest.raises(trio.EndOfChannel):
                receiver.receive_nowait()


async def test_a_failure_without_waiting_is_final_too() -> None:
    """As one with waiting."""
    _, receive = trio.open_memory_channel[int](8)
    first = broadcast_receiver(receive, 2)
    receive.close()
    async with first.subscribe() as second:
        with pytest.raises(trio.ClosedResourceError):
            first.receive_nowait()
        with pytest.raises(BroadcastReceiveError):
            await second.receive()


# Lag.


async def test_values_that_are_there_keep_nobody_from_running() -> None:
    """However many there are in a channel, and however fast they are received."""
    send, receive = trio.open_memory_channel[int](1000)
    for n in range(1000):
        send.send_nowait(n)
    receiver = broadcast_receiver(receive, 8)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert [await receiver.receive() for _ in range(1000)] == list(range(1000))
        nursery.cancel_scope.cancel()
    assert turns > 10
    with trio.CancelScope() as scope:
        send.send_nowait(1000)
        scope.cancel()
        await receiver.receive()
    assert scope.cancelled_caught
    assert receiver.receive_nowait() == 1000


@pytest.mark.parametrize("size", [0, -1])
def test_a_buffer_without_room_is_refused(size: int) -> None:
    """Before anything is read."""
    with pytest.raises(ValueError, match=f"at least 1, not {size}"):
        broadcast_receiver(Source(), size)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("behind", [0, 1, 2, 5, 6, 7, 20])
async def test_lagging_says_exactly_how_much_is_lost(size: int, behind: int) -> None:
    """Once; then come the values that are left, from the oldest on. Nothing is lost that fits."""
    first = broadcast_receiver(Source(*range(100)), size)
    async with first.subscribe() as fast:
        for _ in range(behind):
            await fast.receive()
        lost = max(0, behind - size)
        if lost:
            with pytest.raises(Lagged, match=f"too slow: {lost} values") as info:
                await first.receive()
            assert info.value.lost == lost
        assert [await first.receive() for _ in range(behind - lost)] == list(range(lost, behind))
        assert await first.receive() == behind


async def test_a_receiver_may_lag_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    """A warning is logged; each receiver has its own way."""
    first = broadcast_receiver(Source(*range(10)), 2, raise_on_lag=False)
    async with (
        first.subscribe() as loud,
        first.subscribe(raise_on_lag=False) as quiet,
        first.subscribe() as fast,
    ):
        for _ in range(5):
            await fast.receive()
        for receiver in (first, quiet):
            with caplog.at_level(logging.WARNING):
                caplog.clear()
                assert await receiver.receive() == 3
            assert [record.__dict__["lost"] for record in caplog.records] == [3]
        with pytest.raises(Lagged):
            await loud.receive()


async def test_statistics_count_what_can_be_received() -> None:
    """Not what was lost, whatever the receiver has been told of it."""
    first = broadcast_receiver(Source(*range(10)), 3)
    async with first.subscribe() as fast:
        for n in range(6):
            assert first.statistics().queued == {first.key: min(n, 3), fast.key: 0}
            await fast.receive()
        stats = fast.statistics()
        assert (stats.max_buffer_size, stats.received, stats.tasks_waiting) == (3, 6, 0)
        assert str(first.key) in repr(first)
        assert "3 queued" in repr(first)
    assert first.statistics().queued == {first.key: 3}


async def test_statistics_count_who_waits() -> None:
    """The reader is one of them."""
    source = Source()
    first = broadcast_receiver(source, 3)
    async with first.subscribe() as second, trio.open_nursery() as nursery:
        for receiver in (first, second, second):
            begin(nursery, receiver.receive)
        await wait_all_tasks_blocked()
        assert first.statistics().tasks_waiting == 3
        nursery.cancel_scope.cancel()
    assert first.statistics().tasks_waiting == 0


async def test_no_finished_task_is_kept_alive() -> None:
    """Not by having waited, read, lost values, or by having closed."""

    class Token:
        pass

    source = Source()
    first = broadcast_receiver(source, 1)
    tokens: list[weakref.ref[Token]] = []

    async def use(receiver: BroadcastReceiver[Any], times: int) -> None:
        token = Token()
        tokens.append(weakref.ref(token))
        with suppress(trio.ClosedResourceError):
            for _ in range(times):
                await receiver.receive()

    async with trio.open_nursery() as nursery:
        for times in (1, 2, 3):
            async with first.subscribe() as receiver:
                nursery.start_soon(use, receiver, times)
                await wait_all_tasks_blocked()
                source.give("x")
                await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    gc.collect()
    assert [token() for token in tokens] == [None] * 3
    assert first.statistics().queued == {first.key: 1}

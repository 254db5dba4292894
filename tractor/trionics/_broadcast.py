"""One source of values, any number of receivers: each sees every value, and none holds up the others.

There is no task behind it. The receivers share a ring of the newest values; one that has read them all reads the source
itself, on behalf of everybody, while the others wait for what it gets. Two rules hold at every moment:

- who waits, waits for a reader: the end of any read, however it came about, wakes everybody;
- values are numbered, and each receiver knows the number of its next one: what it has lost is a subtraction.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self

import trio

log = logging.getLogger(__name__)

#: A receiver that finds values without waiting lets other tasks run after so many.
_BURST = 64


class Lagged(trio.TooSlowError):
    """A receiver was too slow: the `lost` oldest values it had not read were replaced by newer ones.

    Raised once; the next `receive()` returns the oldest value that is still there.
    """

    def __init__(self, lost: int) -> None:
        super().__init__(f"too slow: {lost} values were replaced by newer ones before they were received")
        self.lost = lost


class BroadcastReceiveError(trio.BrokenResourceError):
    """Another receiver has read the source, and that failed: the cause is the error it got."""


class AsyncReceiver[T](Protocol):
    """What values can be received from: trio's channels, `MsgStream`, or another broadcast."""

    async def receive(self) -> T:
        """Return the next value; `trio.EndOfChannel` when there will be none."""

    def __aiter__(self) -> AsyncIterator[T]: ...

    async def __anext__(self) -> T: ...

    async def aclose(self) -> Any:
        """Close it."""


@dataclass(frozen=True)
class BroadcastStatistics:
    """A snapshot of a broadcast."""

    #: How many values are kept at most.
    max_buffer_size: int
    #: How many values have come from the source so far.
    received: int
    #: Values that can be received without waiting, for each open receiver by its `key`; those it has lost do not count.
    queued: dict[int, int]
    #: How many tasks wait for a value, the one that reads the source included.
    tasks_waiting: int


class Shared[T]:
    """What all receivers of one source have in common."""

    def __init__(
        self,
        source: Any,
        size: int,
        receive: Callable[[], Awaitable[T]],
        receive_nowait: Callable[[], T] | None = None,
        receive_in_turn: Callable[[], T] | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"max_buffer_size must be at least 1, not {size}")
        self.source = source
        self.size = size
        self.receive = receive
        self.receive_nowait = receive_nowait
        #: Like `receive_nowait`, but may raise `trio.WouldBlock` when it is time to let other tasks run.
        self.receive_in_turn = receive_in_turn or receive_nowait
        #: How many values were read since `receive` was last awaited.
        self.turn = 0
        #: The newest values; number n is at n % size.
        self.ring: list[T] = []
        #: How many values there have been: the number of the next one.
        self.count = 0
        self.receivers: dict[int, BroadcastReceiver[T]] = {}
        self.keys = itertools.count()
        #: Who is reading the source, and the scope that ends the read.
        self.reader: BroadcastReceiver[T] | None = None
        self.scope: trio.CancelScope | None = None
        #: How the source has ended.
        self.end: trio.EndOfChannel | None = None
        self.failure: Exception | None = None
        #: The value with which a receiver that has lost nothing so far came close to it, until others have had their turn.
        self.crowded_at = 0

    def put(self, value: T) -> None:
        """Add a value, in the place of the oldest if there is no other."""
        if len(self.ring) < self.size:
            self.ring.append(value)
        else:
            self.ring[self.count % self.size] = value
        self.count += 1

    def wake(self) -> None:
        """Wake everybody who waits: there is a value, or somebody else has to read the source."""
        for receiver in self.receivers.values():
            if receiver._waiting:
                receiver._waiting.unpark_all()
            if self.size < 2 * (self.count - receiver._cursor) <= 2 * self.size:
                self.crowded_at = self.count

    def note_end(self, exc: Exception) -> None:
        """The source has ended, in order or not."""
        if isinstance(exc, trio.EndOfChannel):
            self.end = exc
        else:
            self.failure = exc

    def check(self) -> None:
        """Raise how the source has ended, if it has."""
        if self.end is not None:
            raise self.end
        if self.failure is not None:
            raise BroadcastReceiveError(
                f"the source of this broadcast failed: {self.failure!r}"
            ) from self.failure


class BroadcastReceiver[T](trio.abc.ReceiveChannel[T]):
    """Receives every value of a shared source from the moment it was made; see `broadcast_receiver()`.

    Several tasks that use the same receiver share its values among them.
    """

    def __init__(self, shared: Shared[T], raise_on_lag: bool) -> None:
        self._shared = shared
        self._raise_on_lag = raise_on_lag
        self._closed = False
        self._burst = 0
        #: Tells receivers of the same source apart, in `statistics()` and log lines.
        self.key = next(shared.keys)
        #: The number of the next value to receive.
        self._cursor = shared.count
        #: Tasks that wait for another receiver to read the source.
        self._waiting = trio.lowlevel.ParkingLot()
        shared.receivers[self.key] = self

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._queued()} queued"
        return f"<{type(self).__name__} {self.key} of {self._shared.source!r}: {state}>"

    async def receive(self) -> T:
        """Return the next value.

        Raises `Lagged` once after values were lost, `trio.EndOfChannel` when the source has ended and
        `trio.ClosedResourceError` when this receiver was closed. Where the source raises anything else it is over: the
        receiver that has read it raises that error, every other one `BroadcastReceiveError` from it; like the end, after
        the values that are still there.
        """
        shared = self._shared
        if self._cursor < shared.count:
            self._burst += 1
            if self._burst % _BURST:
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                await trio.lowlevel.checkpoint()
        while True:
            self._check_open()
            if self._cursor < shared.count:
                return self._take()
            shared.check()
            if shared.reader is not None:
                await self._waiting.park()
            elif shared.crowded_at:
                await self._let_others_catch_up()
            elif shared.receive_in_turn is not None and shared.turn < _BURST:
                await trio.lowlevel.checkpoint_if_cancelled()
                try:
                    value = self._read_nowait(shared.receive_in_turn)
                except trio.WouldBlock:
                    shared.turn = _BURST
                else:
                    shared.turn += 1
                    return value
            else:
                shared.turn = 0
                return await self._read()

    async def _let_others_catch_up(self) -> None:
        """Who is only waiting must not lose values because the scheduler has not come to it yet."""
        shared = self._shared
        crowded_at = shared.crowded_at
        # Whoever waits, here too, takes what has come in the next turn. But this task may be the first in that.
        await trio.lowlevel.checkpoint()
        if self._cursor == shared.count:
            await trio.lowlevel.checkpoint()
            if shared.crowded_at == crowded_at:
                shared.crowded_at = 0

    def receive_nowait(self) -> T:
        """Return a value that is already here; `trio.WouldBlock` when there is none, else as `receive`."""
        self._check_open()
        shared = self._shared
        if self._cursor < shared.count:
            return self._take()
        shared.check()
        if shared.reader is not None or shared.receive_nowait is None:
            raise trio.WouldBlock
        return self._read_nowait(shared.receive_nowait)

    def _read_nowait(self, receive_nowait: Callable[[], T]) -> T:
        """Read what the source has already, for everybody."""
        shared = self._shared
        try:
            value = receive_nowait()
        except trio.WouldBlock:
            raise
        except Exception as exc:
            shared.note_end(exc)
            raise
        shared.put(value)
        self._cursor = shared.count
        shared.wake()
        return value

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this broadcast receiver was closed")

    def _take(self) -> T:
        """Return the next value that was read already; there must be one."""
        shared = self._shared
        lost = shared.count - len(shared.ring) - self._cursor
        if lost > 0:
            self._cursor += lost
            if self._raise_on_lag:
                raise Lagged(lost)
            log.warning("a broadcast receiver is too slow", extra={"receiver": repr(self), "lost": lost})
        value = shared.ring[self._cursor % shared.size]
        self._cursor += 1
        return value

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> T:
        """Read the source, for everybody."""
        shared = self._shared
        shared.reader = self
        try:
            # Cancelled when this receiver is closed, so that somebody else can go on.
            with trio.CancelScope() as shared.scope:
                value = await shared.receive()
                # Also where it was closed meanwhile: the others must not lose what has left the source.
                shared.put(value)
                self._cursor = shared.count
        except Exception as exc:
            # An error that comes of closing this receiver says nothing about the source: the next reader finds out.
            if not self._closed or isinstance(exc, trio.EndOfChannel):
                shared.note_end(exc)
            if not self._closed:
                raise
        finally:
            shared.reader = shared.scope = None
            shared.wake()
        self._check_open()
        return value

    @asynccontextmanager
    async def subscribe(self, raise_on_lag: bool = True) -> AsyncGenerator[Self]:
        """Yield another receiver of the same source, for values that have not been read yet; closed with the block.

        `raise_on_lag`: whether that one raises `Lagged`, or only logs a warning, when it has lost values.
        Raises `trio.ClosedResourceError` when this receiver was closed.
        """
        self._check_open()
        child = type(self)(self._shared, raise_on_lag)
        try:
            yield child
        finally:
            child.close()

    def close(self) -> None:
        """Close this receiver only, and wake the tasks that wait in it; the others and the source go on."""
        if self._closed:
            return
        self._closed = True
        shared = self._shared
        del shared.receivers[self.key]
        if shared.reader is self and shared.scope is not None:
            shared.scope.cancel(reason="this broadcast receiver was closed")
        self._waiting.unpark_all()

    async def aclose(self) -> None:
        """Close this receiver only, and wake the tasks that wait in it; the others and the source go on."""
        self.close()
        await trio.lowlevel.checkpoint()

    def statistics(self) -> BroadcastStatistics:
        """Return a snapshot of all receivers of the source."""
        shared = self._shared
        receivers = shared.receivers.values()
        return BroadcastStatistics(
            max_buffer_size=shared.size,
            received=shared.count,
            queued={receiver.key: receiver._queued() for receiver in receivers},
            tasks_waiting=sum(len(receiver._waiting) for receiver in receivers) + (shared.reader is not None),
        )

    def _queued(self) -> int:
        return min(self._shared.count - self._cursor, len(self._shared.ring))


def broadcast_receiver[T](
    recv_chan: AsyncReceiver[T],
    max_buffer_size: int,
    receive_afunc: Callable[[], Awaitable[T]] | None = None,
    raise_on_lag: bool = True,
) -> BroadcastReceiver[T]:
    """Share the values of `recv_chan` among any number of receivers; returns the first, `subscribe()` makes the others.

    From now on only the receivers may read `recv_chan`. It is read when a receiver has no value left, so the fastest of
    them sets the pace; each other one may be `max_buffer_size` values behind before it loses some. The first counts like
    the others: if it is never read it lags, but it holds up nobody.

    `max_buffer_size`: how many of the newest values are kept; at least 1, else `ValueError`.
    `receive_afunc`: what is awaited for the next value, in the place of `recv_chan.receive`. Never awaited twice at once.
    `raise_on_lag`: whether the first receiver raises `Lagged`, or only logs a warning, when it has lost values.

    Closing a receiver never closes `recv_chan`.
    """
    receive_nowait = getattr(recv_chan, "receive_nowait", None) if receive_afunc is None else None
    shared = Shared(recv_chan, max_buffer_size, receive_afunc or recv_chan.receive, receive_nowait)
    return BroadcastReceiver(shared, raise_on_lag)

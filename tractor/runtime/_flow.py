"""Items on their way: what was received and not yet taken, and what may still be sent."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

import outcome
import trio

from tractor.ipc._transport import Buffer

#: Items received and not taken, before a sender without backpressure has overrun the receiver.
BUFFER_ITEMS = 64
#: The same for a stream with backpressure: items that may be under way before the sender waits.
WINDOW_ITEMS = 1024
#: Newest items kept beyond the buffer with `allow_overruns=True`; older ones are dropped.
OVERFLOW_ITEMS = 616
#: Bytes that a sender with backpressure may have under way; one item may overdraw it.
WINDOW_BYTES = 1024 * 1024

#: Body of STREAM and CREDIT frames: so many more items, and bytes, may be sent.
CREDIT = struct.Struct("<II")


class Inbox:
    """Received items of one context, in order, and the tasks that wait for them.

    Each side may open one stream after another; the nth of this side reads what the nth of the peer has sent, and
    nothing else, whatever their frames have met on their way.

    `give_back(items, bytes)` is called when enough credited items were taken for the sender to get credit again.
    """

    def __init__(self, give_back: Callable[[int, int], None]) -> None:
        self.capacity = BUFFER_ITEMS
        self.allow_overruns = False
        #: Whether nobody will take items any more: they are dropped on arrival.
        self.discarding = False
        #: Whether the peer has closed the stream that is read here: what is buffered can still be taken.
        self.ended = False
        #: Why nothing can be taken any more.
        self.error: BaseException | None = None
        self.items: deque[tuple[Buffer, int]] = deque()
        self.waiters: dict[trio.lowlevel.Task, None] = {}
        self._overflow: deque[tuple[Buffer, int]] = deque(maxlen=OVERFLOW_ITEMS)
        #: By how many streams the peer is ahead of this side; -1 while it has not opened the one that is read here.
        self._ahead = -1
        #: Items of streams that this side will read later, with None for the end of each.
        self._later: deque[tuple[Buffer, int] | None] = deque()
        #: Whether the peer will open no more streams.
        self._finished = False
        self._give_back = give_back
        self._owed_items = 0
        self._owed_bytes = 0

    def put(self, body: Buffer, credited: int) -> bool:
        """Add an item; False when there is no room for it."""
        if self.discarding or self._ahead:
            return self._put_aside(body, credited)
        if self.waiters:
            task = next(iter(self.waiters))
            del self.waiters[task]
            if credited:
                self._owe(body)
            trio.lowlevel.reschedule(task, outcome.Value(body))
        elif not self._overflow and (credited or len(self.items) < self.capacity):
            self.items.append((body, credited))
        elif credited:
            # Never dropped, and never ahead of what came before it.
            self.items.extend(self._overflow)
            self._overflow.clear()
            self.items.append((body, credited))
        elif self.allow_overruns:
            self._overflow.append((body, credited))
        else:
            return False
        return True

    def _put_aside(self, body: Buffer, credited: int) -> bool:
        """Drop an item that nobody will read, or keep it for a later stream of this side."""
        if self.discarding or self._ahead < 0:
            if credited:
                self._owe(body)
            return True
        if credited or len(self._later) < self.capacity:
            self._later.append((body, credited))
            return True
        return self.allow_overruns

    def pop(self) -> Buffer:
        """Take the oldest item; there must be one."""
        body, credited = self.items.popleft()
        if self._overflow:
            self.items.append(self._overflow.popleft())
        if credited:
            self._owe(body)
        return body

    def _owe(self, body: Buffer) -> None:
        self._owed_items += 1
        self._owed_bytes += len(body)
        if self._owed_items * 2 >= self.capacity or self._owed_bytes * 2 >= WINDOW_BYTES:
            items, size = self._owed_items, self._owed_bytes
            self._owed_items = self._owed_bytes = 0
            self._give_back(items, size)

    async def get(self) -> Buffer:
        """Wait for the next item. Raises the error that ended the context, or `trio.EndOfChannel`."""
        if self.error is not None:
            raise self.error
        if self.items:
            return self.pop()
        if self.ended:
            raise trio.EndOfChannel
        task = trio.lowlevel.current_task()
        self.waiters[task] = None

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self.waiters[task]
            return trio.lowlevel.Abort.SUCCEEDED

        body: Buffer = await trio.lowlevel.wait_task_rescheduled(abort)
        return body

    def begin(self) -> None:
        """The peer has opened a stream."""
        self._ahead += 1

    def end(self) -> None:
        """The peer has closed its stream."""
        if self._ahead > 0:
            self._later.append(None)
        elif self._ahead == 0:
            self.ended = True
            self.wake(trio.EndOfChannel)

    def finish(self) -> None:
        """The peer has closed its stream, if one was open, and will open no other."""
        self._finished = True
        if self._ahead > 0:
            self._later.append(None)
        else:
            self.ended = True
            self.wake(trio.EndOfChannel)

    def next(self, closed: BaseException) -> list[Buffer]:
        """Go on to the next stream, this side having closed the old one; return what was not taken of that.

        `closed` is raised in tasks that still wait for an item of it.
        """
        self.wake(lambda: closed)
        left = self.take_all()
        self._ahead -= 1
        self.ended = False
        while self._later and not self.ended:
            item = self._later.popleft()
            if item is None:
                self.ended = True
            else:
                self.items.append(item)
        self.ended = self.ended or (self._finished and self._ahead <= 0)
        return left

    def fail(self, error: BaseException) -> None:
        """Nothing more can be taken, what is buffered is lost."""
        self.error = error
        self.items.clear()
        self._overflow.clear()
        self._later.clear()
        self.wake(lambda: error)

    def wake(self, error: Callable[[], BaseException]) -> None:
        """Raise an error in every task that waits for an item."""
        waiters, self.waiters = self.waiters, {}
        for task in waiters:
            trio.lowlevel.reschedule(task, outcome.Error(error()))

    def take_all(self) -> list[Buffer]:
        """Take everything that is buffered."""
        taken = []
        while self.items:
            taken.append(self.pop())
        return taken

    def discard(self) -> None:
        """Drop what is buffered and what will come."""
        self.discarding = True
        self.take_all()
        for item in self._later:
            if item is not None and item[1]:
                self._owe(item[0])
        self._later = deque(item for item in self._later if item is None)


class Credit:
    """How much may still be sent to a peer that limits us."""

    def __init__(self) -> None:
        self.items = 0
        self.bytes = 0
        #: Whether the peer will take no more, so that waiting is useless.
        self.closed = False
        self._waiting = trio.lowlevel.ParkingLot()

    def grant(self, items: int, size: int) -> None:
        """Allow so many items and bytes more."""
        self.items += items
        self.bytes += size
        if self.items > 0 and self.bytes > 0:
            self._waiting.unpark_all()

    def close(self) -> None:
        """Wake whoever waits: the stream is over."""
        self.closed = True
        self._waiting.unpark_all()

    async def wait(self) -> None:
        """Return when an item may be sent, or the stream is over."""
        while not (self.items > 0 and self.bytes > 0) and not self.closed:
            await self._waiting.park()

    def spend(self, size: int) -> None:
        """Count an item of `size` bytes as sent."""
        self.items -= 1
        self.bytes -= size

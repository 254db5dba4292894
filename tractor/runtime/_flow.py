"""Items that were received and not yet taken."""

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
#: Items that a sender without backpressure sends before it has heard that the other side has opened its stream: so
#: many may be under way when that side asks for backpressure, and it takes them whatever its buffer is.
AHEAD_ITEMS = 3 * BUFFER_ITEMS

#: Body of STREAM and CREDIT frames: so many more items, and bytes, may be sent. CREDIT for no bytes is about items that
#: needed none: the other side, which has no stream open, has dropped them.
CREDIT = struct.Struct("<II")


class Inbox:
    """Received items of one context, in order, and the tasks that wait for them.

    Each side may open one stream after another; the nth of this side reads what the nth of the peer has sent, and
    nothing else, whatever their frames have met on their way.

    `give_back(items, bytes)` is called when enough credited items were taken for the sender to get credit again;
    `crowded()` when items have come for which there is little room as long as this side has opened no stream.
    """

    __slots__ = (
        "_ahead",
        "_crowded",
        "_dropped",
        "_finished",
        "_give_back",
        "_later",
        "_later_items",
        "_overflow",
        "_owed_bytes",
        "_owed_items",
        "allow_overruns",
        "allowed_bytes",
        "allowed_items",
        "awaited",
        "capacity",
        "discarding",
        "ended",
        "error",
        "items",
        "opened",
        "overrun",
        "spare",
        "waiters",
        "window",
    )

    def __init__(self, give_back: Callable[[int, int], None], crowded: Callable[[], None]) -> None:
        #: Whether this side has a stream open.
        self.opened = False
        #: Set when it opens one, while it is crowded.
        self.awaited: trio.Event | None = None
        self.capacity = BUFFER_ITEMS
        #: Items under way and here that the sender was ever given credit for.
        self.window = 0
        #: How many items and bytes of these it may still send.
        self.allowed_items = 0
        self.allowed_bytes = 0
        #: Items without credit that are taken all the same when the buffer is full.
        self.spare = AHEAD_ITEMS - BUFFER_ITEMS
        self.allow_overruns = False
        #: Whether nobody will take items any more: they are dropped on arrival.
        self.discarding = False
        #: Whether an item was lost for want of room: those behind it are dropped, and no end is seen that would belie that.
        self.overrun = False
        #: Whether the peer has closed the stream that is read here: what is buffered can still be taken.
        self.ended = False
        #: Why nothing can be taken any more.
        self.error: BaseException | None = None
        self.items: deque[tuple[Buffer, int]] = deque()
        self.waiters: dict[trio.lowlevel.Task, None] = {}
        self._overflow: deque[tuple[Buffer, int]] = deque(maxlen=OVERFLOW_ITEMS)
        #: By how many streams the peer is ahead of this side; -1 while it has not opened the one that is read here.
        self._ahead = -1
        #: Items of streams that this side will read later, and numbers: so many of them end here.
        self._later: deque[tuple[Buffer, int] | int] = deque()
        self._later_items = 0
        #: Whether the peer will open no more streams.
        self._finished = False
        self._give_back = give_back
        self._crowded = crowded
        self._owed_items = 0
        self._owed_bytes = 0
        #: Items without credit that were dropped since the sender was last told to go on.
        self._dropped = 0

    def allow(self, items: int, size: int) -> None:
        """The sender is given credit."""
        self.allowed_items += items
        self.allowed_bytes += size

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
        elif self.spare > 0:
            self.spare -= 1
            self.items.append((body, credited))
            if not self.opened:
                self._crowded()
        else:
            self.overrun = self.discarding = True
            return False
        return True

    def _put_aside(self, body: Buffer, credited: int) -> bool:
        """Drop an item that nobody will read, or keep it for a later stream of this side."""
        if self.discarding or self._ahead < 0:
            self._drop(body, credited)
            return True
        if credited or self._later_items < AHEAD_ITEMS:
            self._later.append((body, credited))
            self._later_items += 1
            return True
        self.overrun = self.discarding = True
        return False

    def _drop(self, body: Buffer, credited: int) -> None:
        if credited:
            self._owe(body)
        elif self._ahead >= 0:
            # Its sender does not know of a stream here, and waits for news after some time.
            self._dropped += 1
            if self._dropped * 2 >= BUFFER_ITEMS:
                dropped, self._dropped = self._dropped, 0
                self._give_back(dropped, 0)

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
        if self._owed_items * 2 >= self.window or self._owed_bytes * 2 >= WINDOW_BYTES:
            items, size = self._owed_items, self._owed_bytes
            self._owed_items = self._owed_bytes = 0
            self._give_back(items, size)

    # Ctrl-C must not land between the entry in the list and the wait: a later one would be ended in its place.
    @trio.lowlevel.enable_ki_protection
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
        if self.overrun:
            return
        if self._ahead > 0:
            self._end_later()
        elif self._ahead == 0:
            self.ended = True
            self.wake(trio.EndOfChannel)

    def finish(self) -> None:
        """The peer has closed its stream, if one was open, and will open no other."""
        self._finished = True
        if self._ahead > 0:
            self._end_later()
        else:
            self.ended = True
            self.wake(trio.EndOfChannel)

    def _end_later(self) -> None:
        # A peer may open and close streams for ever: that must not cost memory.
        last = self._later.pop() if self._later else 0
        if isinstance(last, int):
            self._later.append(last + 1)
        else:
            self._later += (last, 1)

    def next(self, closed: BaseException) -> list[Buffer]:
        """Go on to the next stream, this side having closed the old one; return what was not taken of that.

        `closed` is raised in tasks that still wait for an item of it.
        """
        self.wake(lambda: closed)
        left = self.take_all()
        self._ahead -= 1
        self.opened = False
        self.capacity = BUFFER_ITEMS
        self.spare = AHEAD_ITEMS - BUFFER_ITEMS
        self.ended = False
        while self._later and not self.ended:
            item = self._later.popleft()
            if isinstance(item, int):
                self.ended = True
                if item > 1:
                    self._later.appendleft(item - 1)
            else:
                self.items.append(item)
                self._later_items -= 1
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
        items, self.items = [*self.items, *self._overflow], deque()
        self._overflow.clear()
        later, self._later = self._later, deque()
        self._later_items = 0
        ends = 0
        for item in (*items, *later):
            if isinstance(item, int):
                ends += item
            else:
                self._drop(*item)
        if ends:
            self._later.append(ends)

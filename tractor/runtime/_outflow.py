"""What one side of a context may still send."""

from __future__ import annotations

from collections import deque

import trio

from tractor.runtime._flow import AHEAD_ITEMS


class Credit:
    """How much may still be sent to a peer that limits us."""

    __slots__ = ("_waiting", "bytes", "closed", "items")

    def __init__(self, items: int = 0, size: int = 0) -> None:
        self.items = items
        self.bytes = size
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


class Outflow:
    """What one side of a context may send: by credit, where either side has asked for backpressure, else freely.

    As long as this side does not know how the other opens the stream it sends to, it may go so far ahead that the
    other can take it in either case.
    """

    __slots__ = ("_mark", "_sent", "ahead", "credit", "credited", "limit")

    def __init__(self) -> None:
        self.credit = Credit()
        #: Whether items use up credit.
        self.credited = False
        #: What a sender has to wait for: credit, real or for going ahead; or nothing.
        self.limit: Credit | None = None
        #: How many streams this side has opened, less those of the other side.
        self.ahead = 0
        #: What is under way to each of these, as far as was counted when so much was left of the limit.
        self._sent: deque[int] = deque()
        self._mark = 0

    def open(self, *, ended: bool) -> None:
        """Note that this side has opened a stream; `ended`: the other side has closed that already."""
        self._count_sent()
        self.ahead += 1
        self._choose()
        if self.ahead > 0:
            self._sent.append(0)
        for credit in (self.credit, self.limit or self.credit):
            credit.closed = ended

    def opened_there(self, items: int, size: int, *, credited: bool) -> None:
        """The other side has opened a stream, with so much credit."""
        self.credit.grant(items, size)
        self._count_sent()
        self.ahead -= 1
        self.credited = self.credited or credited
        # It takes these now: only what is under way to the streams behind counts against the limit.
        self._refund(self._sent.popleft() if self._sent else 0)
        self._choose()

    def _choose(self) -> None:
        old = self.limit
        if self.credited:
            self.limit = self.credit
        elif self.ahead <= 0:
            self.limit = None
        elif old is None:
            # By items only: who has not asked for anything takes them whatever their size.
            self.limit = Credit(AHEAD_ITEMS, 2**62)
            self._mark = AHEAD_ITEMS
        if old is not None and old is not self.limit:
            old.close()

    def grant(self, items: int, size: int) -> None:
        """The other side gives credit; or says, without any bytes, that it has dropped items that needed none."""
        if size:
            self.credit.grant(items, size)
        elif not self.credited:
            self._count_sent()
            for index, sent in enumerate(self._sent):
                self._sent[index] = max(sent - items, 0)
                self._refund(min(items, sent))
                items = max(items - sent, 0)

    def _count_sent(self) -> None:
        if self._sent and self.limit is not None and not self.credited:
            self._sent[-1] += self._mark - self.limit.items
            self._mark = self.limit.items

    def _refund(self, items: int) -> None:
        if items and self.limit is not None and not self.credited:
            self._mark += items
            self.limit.grant(items, 0)

    def close(self) -> None:
        """Wake whoever waits: the stream is over."""
        self.credit.close()
        if self.limit is not None:
            self.limit.close()

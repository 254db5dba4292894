"""Big buffers that go from one interpreter of this process to another without being copied.

The kernel has no part in it: a view of the memory goes through one of Python's queues between interpreters, which keeps the
object behind it alive until the last view of it is gone, in whatever interpreter that happens. The message itself
goes through the socket, and says which of the queue's views are its own: urgent messages overtake others.

Whoever lends has a limit to how much it has lent at a time. Python hands views back by calls that wait until the
interpreter that has lent them runs some code; it has room for 300 of these and forgets about more, whose memory is lost then.
"""

from __future__ import annotations

import struct
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import count
from typing import Any

from tractor._errors import RemoteProtocolError
from tractor.ipc._transport import Buffer
from tractor.msg._laden import Laden
from tractor.msg._marshal import flatten
from tractor.wire._kinds import Kind

__all__ = ["MOST_LENT", "Lending", "count_lent"]

#: The first CPython whose interpreters are fit for it.
_SINCE = (3, 14)
#: Buffers that one interpreter has lent to others at a time; more are copied into their messages.
MOST_LENT = 32
#: How a message begins beside which there are buffers: no type of marshal's is called that. The number of the first one in
#: its queue, and how many there are.
_HEAD = struct.Struct("<cQI")
_MARK = b"L"
_CARRIERS = frozenset({Kind.START, Kind.STARTED, Kind.ITEM, Kind.RETURN})
#: What Python puts in place of a view whose interpreter is gone. That does not happen: it waits for what it has lent.
_UNBOUND = 3

#: What this interpreter has lent, from all its channels, by numbers: the hash of a view is that of all its bytes.
_lent: dict[int, weakref.ref[memoryview]] = {}
_numbers = count()


def count_lent() -> int:
    """Return how many buffers this interpreter has lent that have not come back: as long it must not be taken apart."""
    return len(_lent)


def _note(view: memoryview) -> None:
    number = next(_numbers)
    _lent[number] = weakref.ref(view, lambda _: _lent.pop(number, None))


class Lending:
    """The two queues of one channel: each end makes the one by which it lends, and tells the other its number."""

    def __init__(self) -> None:
        self._queues: Any = None
        #: By which the peer finds it; 0 where there are none.
        self.number = 0
        if sys.version_info >= _SINCE:
            self._queues = import_module("_interpqueues")
            # Which is what makes views fit for it.
            import_module("_interpreters")
            self.number = self._queues.create(0, _UNBOUND, -1)
            # It lives as long as one end needs it; what is left in it then is handed back.
            self._queues.bind(self.number)
        self._theirs = 0
        self._put = self._taken = 0
        #: Those of messages that were overtaken.
        self._early: dict[int, memoryview] = {}
        self._closed = False

    def join(self, number: int) -> None:
        """Learn by which queue the peer lends: it takes what is lent to it, too, then. Until that everything is copied."""
        if number and self.number:
            # Where the peer has closed it, it has closed the channel.
            with suppress(self._queues.QueueError):
                self._queues.bind(number)
                self._theirs = number

    def lend(self, body: Laden) -> bytes:
        """Return what is to be sent; the buffers beside the message can be claimed as soon as that is there."""
        views, body.buffers = body.buffers, []
        if not self._theirs or len(_lent) + len(views) > MOST_LENT:
            return flatten(Laden(bytes(body), views))
        first = self._put
        for view in views:
            self._queues.put(self.number, view, -1)
            _note(view)
        self._put += len(views)
        return _HEAD.pack(_MARK, first, len(views)) + memoryview(body)

    def posting(self, check: Callable[[int], None], post: Callable[..., None]) -> Callable[..., None]:
        """Return `post` for messages beside which there are buffers, too. `check` raises for what is too big."""

        def post_or_lend(kind: int, flags: int, did: int, body: Buffer = b"") -> None:
            if type(body) is Laden:
                check(len(body))
                body = self.lend(body)
            post(kind, flags, did, body)

        return post_or_lend

    def claim(self, body: Buffer) -> Laden:
        """Return a message that has come, with its buffers. Raises `RemoteProtocolError` where they are not there."""
        if not self._theirs:
            raise RemoteProtocolError("a message with buffers, and nobody to have lent them")
        try:
            _, first, count = _HEAD.unpack_from(body)
            while self._taken < first + count:
                view, _ = self._queues.get(self._theirs)
                self._early[self._taken] = view
                self._taken += 1
            views = [self._early.pop(number) for number in range(first, first + count)]
        except (KeyError, struct.error, self._queues.QueueError) as exc:
            raise RemoteProtocolError(f"a message whose buffers are not there: {exc!r}") from exc
        return Laden(bytes(memoryview(body)[_HEAD.size :]), views)

    def claiming(self, handle: Callable[[int, int, int, Any], None]) -> Callable[[int, int, int, Any], None]:
        """Return `handle` for messages with their buffers."""

        def claim_first(kind: int, flags: int, did: int, body: Any) -> None:
            if body[:1] == _MARK and kind in _CARRIERS:
                body = self.claim(body)
            handle(kind, flags, did, body)

        return claim_first

    def close(self) -> None:
        """Be done with both; the other end may still claim what was lent to it. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._early.clear()
        for number in (self.number, self._theirs):
            if number:
                with suppress(self._queues.QueueError):
                    self._queues.release(number)

"""The sending half of a channel: frames queue here and leave in as few system calls as possible.

The first frame of a scheduler tick is written straight to the transport. Further frames of the same tick are
collected and leave together just before the loop waits for I/O, so a burst costs one system call and a lone frame
waits for nobody. Only when the transport is full does a task take over and wait for it.
"""

from __future__ import annotations

from collections import deque

import trio

from tractor.ipc._transport import Buffer, Transport

#: A task that sends waits while more than this many bytes are queued.
HIGH_WATER = 256 * 1024
#: Small frames are joined into writes of about this many bytes.
BATCH = 64 * 1024
#: A body of at least this many bytes is handed to the transport without being copied.
BIG = 64 * 1024


class _TickEnd(trio.abc.Instrument):
    """Counts the ticks of one trio run and flushes what was queued in each."""

    def __init__(self) -> None:
        self.tick = 0
        self.dirty: list[Outbox] = []

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - the signature is trio's
        """Write what the tick has queued."""
        self.tick += 1
        if self.dirty:
            dirty, self.dirty = self.dirty, []
            for outbox in dirty:
                outbox.flush_at_tick_end()


_tick_end: trio.lowlevel.RunVar[_TickEnd] = trio.lowlevel.RunVar("tractor-tick-end")


def _current_tick_end() -> _TickEnd:
    try:
        return _tick_end.get()
    except LookupError:
        instrument = _TickEnd()
        trio.lowlevel.add_instrument(instrument)
        _tick_end.set(instrument)
        return instrument


#: A whole frame, or its header and a body that is not copied.
type _Frame = bytes | tuple[bytes, Buffer]


class Outbox:
    """Frames of one channel on their way out, in two lanes: urgent frames overtake data frames."""

    __slots__ = (
        "_blocked",
        "_data",
        "_inflight",
        "_marked",
        "_room",
        "_tick",
        "_tick_end",
        "_token",
        "_transport",
        "_urgent",
        "_writer",
        "broken",
        "full_since",
        "size",
    )

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._tick_end = _current_tick_end()
        self._token = trio.lowlevel.current_trio_token()
        self._urgent: deque[_Frame] = deque()
        self._data: deque[_Frame] = deque()
        self._inflight: list[Buffer] = []
        self._tick = -1
        self._marked = False
        self._blocked = False
        self._room = trio.lowlevel.ParkingLot()
        self._writer = trio.lowlevel.ParkingLot()
        #: Bytes queued and not yet taken by the transport.
        self.size = 0
        #: When the transport was last found full, in trio's clock; infinity while it is not waited for.
        self.full_since = float("inf")
        #: Why nothing can be sent any more.
        self.broken: BaseException | None = None

    def put(self, frame: bytes, *, urgent: bool = False) -> None:
        """Queue a frame; never blocks. What is put after a break is dropped."""
        if self.broken is not None:
            return
        tick = self._tick_end.tick
        if self._tick != tick and not self.size:
            self._tick = tick
            if self._write_lone(frame):
                return
        else:
            (self._urgent if urgent else self._data).append(frame)
            self.size += len(frame)
        if self.size > HIGH_WATER:
            if not self._blocked and not self._flush():
                self._wake_writer()
        elif not self._marked:
            self._marked = True
            self._tick_end.dirty.append(self)

    def _write_lone(self, frame: bytes) -> bool:
        """Write a frame past the empty lanes; False when some of it has to wait."""
        try:
            sent = self._transport.send_nowait((frame,))
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self.break_(exc)
            return True
        if sent == len(frame):
            return True
        # Not back to its lane: what has begun must be the next to leave.
        self._inflight = [memoryview(frame)[sent:]]
        self.size += len(frame) - sent
        return False

    def put_big(self, header: bytes, body: Buffer, *, urgent: bool = False) -> None:
        """Queue a frame whose body is handed to the transport without being copied."""
        if self.broken is not None:
            return
        (self._urgent if urgent else self._data).append((header, body))
        self.size += len(header) + len(body)
        if not self._blocked and not self._flush():
            self._wake_writer()

    def flush_at_tick_end(self) -> None:
        """Write what is queued; called by the loop, outside any task."""
        self._marked = False
        if not self._blocked and not self._flush():
            # The loop has fixed how long it sleeps: only a call through the token shortens that.
            self._token.run_sync_soon(self._wake_writer)

    def _wake_writer(self) -> None:
        self._blocked = True
        self._writer.unpark()

    def _gather(self) -> list[Buffer]:
        """Take about BATCH bytes of whole frames off the lanes, urgent ones first."""
        small: list[bytes] = []
        total = 0
        for lane in (self._urgent, self._data):
            while lane and total < BATCH:
                frame = lane[0]
                if isinstance(frame, tuple):
                    if small:
                        return [b"".join(small)]
                    lane.popleft()
                    return [frame[0], memoryview(frame[1])]
                small.append(frame)
                total += len(frame)
                lane.popleft()
        return [b"".join(small)] if small else []

    def _flush(self) -> bool:
        """Write until everything is gone (True) or the transport is full (False)."""
        try:
            while True:
                if not self._inflight:
                    self._inflight = self._gather()
                    if not self._inflight:
                        return True
                self._drop(self._transport.send_nowait(self._inflight))
        except BlockingIOError:
            return False
        except OSError as exc:
            self.break_(exc)
            return True

    def _drop(self, sent: int) -> None:
        self.size -= sent
        rest = self._inflight
        while rest and sent >= len(rest[0]):
            sent -= len(rest[0])
            del rest[0]
        if sent:
            rest[0] = memoryview(rest[0])[sent:]

    def break_(self, cause: BaseException) -> None:
        """Drop everything, now and in future; wake whoever waits for room."""
        if self.broken is None:
            self.broken = cause
        self._urgent.clear()
        self._data.clear()
        self._inflight = []
        self.size = 0
        self._room.unpark_all()

    @trio.lowlevel.enable_ki_protection
    async def run_writer(self) -> None:
        """Wait for the transport whenever it is full, until cancelled."""
        while True:
            if not self._blocked:
                await self._writer.park()
            try:
                while not self._flush():
                    if self.size <= HIGH_WATER:
                        self._room.unpark_all()
                    self.full_since = trio.current_time()
                    await self._transport.wait_writable()
            except (OSError, trio.ClosedResourceError) as exc:
                self.break_(exc)
            self._blocked = False
            self.full_since = float("inf")
            self._room.unpark_all()

    async def wait_room(self) -> None:
        """Return when a sender may go on."""
        while self.size > HIGH_WATER and self.broken is None:
            await self._room.park()

    async def wait_empty(self) -> None:
        """Return when everything queued was taken by the transport, or cannot be any more."""
        while self.size and self.broken is None:
            if not self._blocked and self._flush():
                return
            if not self._blocked:
                self._wake_writer()
            await self._room.park()

"""An in-memory transport: two ends in one trio run, with the same rules as a socket."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._transport import Buffer


class _Pipe:
    """Bytes on their way in one direction."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.data = bytearray()
        self.writer_gone = False
        self.reader_gone = False
        self.changed = trio.lowlevel.ParkingLot()
        self._token = trio.lowlevel.current_trio_token()

    def change(self) -> None:
        """Wake every task that waits for this pipe."""
        self.changed.unpark_all()
        if not trio.lowlevel.in_trio_task():
            # At the end of a tick the loop has fixed how long it sleeps: like a socket, this has to wake it.
            self._token.run_sync_soon(_wake, idempotent=True)


def _wake() -> None:
    """Do nothing, in the loop."""


class MemoryTransport:
    """One end of a pair made by `memory_transport_pair`."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe) -> None:
        self._in = incoming
        self._out = outgoing
        self._closed = False
        self.laddr: TCPAddress | UDSAddress | None = None
        self.raddr: TCPAddress | UDSAddress | None = None
        #: Not taken for it: what is true of a link inside one process is not what tests of others are about.
        self.same_process = False

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this transport was closed locally")

    def send_nowait(self, chunks: Sequence[Buffer]) -> int:
        """Send a prefix of `chunks`."""
        if self._closed or self._out.reader_gone:
            raise BrokenPipeError("the other end is closed")
        room = self._out.capacity - len(self._out.data)
        if room <= 0:
            raise BlockingIOError
        sent = 0
        for chunk in chunks:
            part = memoryview(chunk)[: room - sent]
            self._out.data += part
            sent += len(part)
            if sent == room:
                break
        self._out.change()
        return sent

    def recv_nowait(self, into: memoryview) -> int:
        """Fill a prefix of `into`."""
        data = self._in.data
        if self._closed:
            raise OSError("this transport was closed locally")
        if not data:
            if self._in.writer_gone:
                return 0
            raise BlockingIOError
        n = min(len(into), len(data))
        into[:n] = data[:n]
        del data[:n]
        self._in.change()
        return n

    async def wait_writable(self) -> None:
        """Wait for room."""
        self._check_open()
        while len(self._out.data) >= self._out.capacity and not self._out.reader_gone:
            await self._out.changed.park()
            self._check_open()

    async def wait_readable(self) -> None:
        """Wait for bytes or the end of the stream."""
        self._check_open()
        while not self._in.data and not self._in.writer_gone:
            await self._in.changed.park()
            self._check_open()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close this end; the other end reads what is left, then the end of the stream."""
        if not self._closed:
            self._closed = True
            self._in.reader_gone = True
            self._out.writer_gone = True
            self._in.change()
            self._out.change()


def memory_transport_pair(capacity: int = 256 * 1024) -> tuple[MemoryTransport, MemoryTransport]:
    """Return two connected ends; each direction holds at most `capacity` bytes."""
    a, b = _Pipe(capacity), _Pipe(capacity)
    return MemoryTransport(a, b), MemoryTransport(b, a)

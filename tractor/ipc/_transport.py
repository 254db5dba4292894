"""The contract between a channel and whatever moves its bytes, and the implementation over a socket."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

import trio

from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.trionics._forks import close_in_forks

type Buffer = bytes | bytearray | memoryview


class Transport(Protocol):
    """A duplex, ordered, reliable byte stream that never blocks.

    The `_nowait` methods raise `BlockingIOError` where they would have to wait, and `OSError` for a broken stream;
    the `wait_` methods return when a retry is worth while and raise `trio.ClosedResourceError` once this end is closed.
    """

    laddr: TCPAddress | UDSAddress | None
    raddr: TCPAddress | UDSAddress | None
    #: Whether the other end was made in this very process: the kernel says so, or who has made both.
    same_process: bool

    def send_nowait(self, chunks: Sequence[Buffer]) -> int:
        """Send a prefix of `chunks` in order; return its length in bytes, at least 1."""

    def recv_nowait(self, into: memoryview) -> int:
        """Fill a prefix of `into`; return its length in bytes, 0 when the peer will send no more."""

    async def wait_writable(self) -> None:
        """Return when `send_nowait` may succeed."""

    async def wait_readable(self) -> None:
        """Return when `recv_nowait` may succeed."""

    def close(self) -> None:
        """Close this end at once; idempotent."""


class SocketTransport:
    """A transport over any connected stream socket: TCP, Unix-domain, or one end of a socket pair."""

    __slots__ = ("_closed", "_sock", "laddr", "raddr", "same_process")

    def __init__(
        self,
        sock: socket.socket,
        *,
        laddr: TCPAddress | UDSAddress | None = None,
        raddr: TCPAddress | UDSAddress | None = None,
        same_process: bool = False,
    ) -> None:
        sock.setblocking(False)
        close_in_forks(sock)
        self._sock = sock
        self._closed = False
        self.laddr = laddr
        self.raddr = raddr
        self.same_process = same_process

    def send_nowait(self, chunks: Sequence[Buffer]) -> int:
        """Send a prefix of `chunks`."""
        if len(chunks) == 1:
            return self._sock.send(chunks[0])
        return self._sock.sendmsg(chunks)

    def recv_nowait(self, into: memoryview) -> int:
        """Fill a prefix of `into`."""
        return self._sock.recv_into(into)

    async def wait_writable(self) -> None:
        """Wait for room in the socket's send buffer."""
        if self._closed:
            raise trio.ClosedResourceError("this transport was closed locally")
        await trio.lowlevel.wait_writable(self._sock)

    async def wait_readable(self) -> None:
        """Wait for bytes or the end of the stream."""
        if self._closed:
            raise trio.ClosedResourceError("this transport was closed locally")
        await trio.lowlevel.wait_readable(self._sock)

    def close(self) -> None:
        """Close the socket and wake whoever waits on it."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

"""The server of one actor: listens on its addresses and hands over connections that are made."""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from tractor.ipc import _tcp, _uds
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._channel import Channel
from tractor.log import get_logger
from tractor.trionics._forks import close_in_forks

#: Seconds between attempts to accept while the process or the system is out of descriptors.
_EXHAUSTED_PAUSE = 0.1
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = get_logger(__name__)


class Server:
    """Listeners of one actor. `serve` runs until cancelled; whoever calls it owns the sockets' lifetime."""

    def __init__(self, handle: Callable[[Channel], Awaitable[None]], *, limit: int) -> None:
        self._handle = handle
        self._limit = limit
        self._listeners: dict[TCPAddress | UDSAddress, socket.socket] = {}
        #: Where the loops that accept run, while `serve` does.
        self._nursery: trio.Nursery | None = None
        self._closed = trio.Event()

    @property
    def addrs(self) -> list[TCPAddress | UDSAddress]:
        """Where this actor can be reached, ports resolved."""
        return list(self._listeners)

    def bind(self, addr: TCPAddress | UDSAddress) -> TCPAddress | UDSAddress:
        """Bind and listen, also while `serve` runs; return the resolved address. Raises `ConnectionError` for an address in use."""
        sock: socket.socket
        real: TCPAddress | UDSAddress
        match addr:
            case TCPAddress():
                sock, real = _tcp.listen(addr)
            case UDSAddress():
                sock, real = _uds.listen(addr)
        close_in_forks(sock)
        self._listeners[real] = sock
        if self._closed.is_set():
            self._closed = trio.Event()
        if self._nursery is not None:
            self._nursery.start_soon(self._accept_loop, real, sock, self._nursery)
        return real

    @trio.lowlevel.enable_ki_protection
    async def serve(self) -> None:
        """Accept on every bound address until `close` or cancellation, then close them all."""
        try:
            async with trio.open_nursery() as nursery:
                for addr, sock in self._listeners.items():
                    nursery.start_soon(self._accept_loop, addr, sock, nursery)
                self._nursery = nursery
                # Also without listeners: there may be some later.
                await self._closed.wait()
        finally:
            self._nursery = None
            self.close()

    def close(self) -> None:
        """Stop listening at once; socket files are removed. Idempotent."""
        self._closed.set()
        listeners, self._listeners = self._listeners, {}
        for addr, sock in listeners.items():
            if isinstance(addr, UDSAddress):
                # First: as soon as it refuses connections somebody else may put his own socket in its place.
                _uds.unlink(addr)
            trio.lowlevel.notify_closing(sock)
            sock.close()

    def cancel(self) -> None:
        """The same as `close`."""
        self.close()

    @trio.lowlevel.enable_ki_protection
    async def _accept_loop(
        self, addr: TCPAddress | UDSAddress, sock: socket.socket, nursery: trio.Nursery
    ) -> None:
        while sock.fileno() != -1:
            try:
                await trio.lowlevel.wait_readable(sock)
                conn, _ = sock.accept()
            except trio.ClosedResourceError:
                return
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    log.warning("cannot accept a connection", extra={"addr": str(addr), "cause": str(exc)})
                    await trio.sleep(_EXHAUSTED_PAUSE)
                continue
            try:
                match addr:
                    case TCPAddress():
                        transport = _tcp.accepted(conn)
                    case UDSAddress():
                        transport = _uds.accepted(conn, addr)
            except OSError as exc:
                conn.close()
                log.warning("connection refused", extra={"addr": str(addr), "cause": str(exc)})
                continue
            nursery.start_soon(partial(self._handle, Channel(transport, dialer=False, limit=self._limit)))

"""TCP: listen and connect."""

import socket

import trio

from tractor.ipc._addr import TCPAddress
from tractor.ipc._transport import SocketTransport

#: Seconds of silence after which the kernel asks a peer's host whether it is there, seconds between its questions, and how
#: many may stay unanswered: a host that has vanished without a word is noticed, where nothing is under way to it.
#: (No TCP_USER_TIMEOUT: on Linux that also ends a connection whose peer lives and has only been slow to read.)
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}


def listen(addr: TCPAddress) -> tuple[socket.socket, TCPAddress]:
    """Bind and listen; return the socket and the address with its real port. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in addr.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((addr.host, addr.port))
        sock.listen(128)
    except OSError as exc:
        sock.close()
        raise ConnectionError(exc.errno, f"cannot listen on {addr}: {exc.strerror or exc}") from exc
    return sock, TCPAddress(*sock.getsockname()[:2])


def accepted(sock: socket.socket) -> SocketTransport:
    """Wrap a socket that `accept` returned."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE.items():
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return SocketTransport(
        sock, laddr=TCPAddress(*sock.getsockname()[:2]), raddr=TCPAddress(*sock.getpeername()[:2])
    )


async def connect(addr: TCPAddress) -> SocketTransport:
    """Connect; raises `OSError` when nobody listens there."""
    family = socket.AF_INET6 if ":" in addr.host else socket.AF_INET
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        await sock.connect((addr.host, addr.port))
    except BaseException:
        sock.close()
        raise
    return accepted(_take(sock))


def _take(sock: trio.socket.SocketType) -> socket.socket:
    """Return a plain socket that owns the descriptor of a trio one."""
    return socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())

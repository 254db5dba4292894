"""Unix-domain sockets: listen, connect, and who is at the other end."""

import errno
import os
import socket
import stat
import struct
import sys
from contextlib import suppress

import trio

from tractor.ipc._addr import UDSAddress
from tractor.ipc._rtdir import get_rt_dir
from tractor.ipc._transport import SocketTransport

_UCRED = struct.Struct("3i")


def listen(addr: UDSAddress) -> tuple[socket.socket, UDSAddress]:
    """Bind and listen; a socket file that nobody listens on any more is replaced.

    Raises `ConnectionError` whose context is the `OSError` when the path is in use.
    """
    rt_dir = get_rt_dir()
    if addr.bindspace != rt_dir:
        addr.bindspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = os.fspath(addr.sockpath)
    try:
        unlink_stale(addr)
        sock.setblocking(False)
        sock.bind(path)
        sock.listen(128)
    except OSError as exc:
        sock.close()
        raise ConnectionError(f"cannot listen on {addr}: {exc.strerror}") from exc
    return sock, addr


def unlink_stale(addr: UDSAddress) -> None:
    """Remove the socket file of a process that was killed: one that refuses connections."""
    path = os.fspath(addr.sockpath)
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with suppress(FileNotFoundError):
                os.unlink(path)
        except OSError:
            return


def accepted(sock: socket.socket, laddr: UDSAddress) -> SocketTransport:
    """Wrap a socket that `accept` returned; raises `PermissionError` when its peer is another user."""
    check_peer(sock)
    return SocketTransport(sock, laddr=laddr)


async def connect(addr: UDSAddress) -> SocketTransport:
    """Connect; raises `OSError` when nobody listens there or the listener is another user's."""
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await sock.connect(os.fspath(addr.sockpath))
        plain = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
    except FileNotFoundError as exc:
        sock.close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, f"no such socket: {addr}") from exc
    except BaseException:
        sock.close()
        raise
    try:
        check_peer(plain)
    except BaseException:
        plain.close()
        raise
    return SocketTransport(plain, raddr=addr)


def check_peer(sock: socket.socket) -> int | None:
    """Return the peer's pid where the kernel tells it; `PermissionError` when the peer is another user than ours."""
    if sys.platform != "linux":
        return None
    pid, uid, _gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    if uid not in (os.geteuid(), 0):
        raise PermissionError(f"peer process {pid} belongs to user id {uid}, not to {os.geteuid()}")
    return int(pid)


def unlink(addr: UDSAddress) -> None:
    """Remove a listener's socket file if it is still there."""
    with suppress(OSError):
        os.unlink(addr.sockpath)

"""Unix-domain sockets: listen, connect, and who is at the other end."""

import errno
import fcntl
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import trio

from tractor.ipc._addr import UDSAddress
from tractor.ipc._rtdir import get_rt_dir
from tractor.ipc._transport import SocketTransport

_UCRED = struct.Struct("3i")
#: Seconds a socket file must be old to be swept: between its binding and its listening it refuses connections too.
_SETTLED = 1.0
#: Seconds to wait for others that are about to listen in the same directory, each for less than a millisecond.
_LOCK_TIMEOUT = 1.0
#: What a file system without locks says.
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL}
#: Seconds between attempts to connect to a listener whose queue is full, which is busy.
_QUEUE_PAUSE = 0.01
#: Files that one sweep looks into: a directory full of them is cleared by many actors, and delays none.
_SWEEP_MOST = 64


def listen(addr: UDSAddress) -> tuple[socket.socket, UDSAddress]:
    """Bind and listen; a socket file that nobody listens on any more is replaced.

    Raises `ConnectionError` whose context is the `OSError` when the path is in use.
    """
    rt_dir = get_rt_dir()
    if addr.bindspace != rt_dir:
        try:
            addr.bindspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConnectionError(f"cannot listen on {addr}: {exc.strerror}") from exc
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    path = os.fspath(addr.sockpath)
    try:
        with _locked(addr.bindspace) as is_ours:
            if is_ours:
                unlink_stale(addr)
            sock.setblocking(False)
            sock.bind(path)
            sock.listen(128)
    except OSError as exc:
        sock.close()
        raise ConnectionError(f"cannot listen on {addr}: {exc.strerror or exc}") from exc
    if addr.bindspace == rt_dir:
        sweep(rt_dir)
    return sock, addr


@contextmanager
def _locked(directory: Path) -> Iterator[bool]:
    """Keep others from replacing a socket file in the directory: two that find the same stale one must not both win.

    Yields whether it is locked: one that may not be read, or is on a file system without locks, cannot be.
    Raises `TimeoutError` where somebody else does not come to an end with it.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        yield False
        return
    is_locked = True
    try:
        until = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(errno.ETIMEDOUT, f"{directory} stays locked") from None
                time.sleep(0.001)
            except OSError as exc:
                if exc.errno not in _NO_LOCKS:
                    raise
                is_locked = False
                break
        yield is_locked
    finally:
        os.close(fd)


def sweep(rt_dir: Path) -> None:
    """Remove socket files `NAME@PID.sock` of processes that were killed before anybody could clean up after them.

    Never raises. Goes by the pid, and by nobody listening: a pid means nothing to processes of another container that
    shares this directory, and one may have been given to another process meanwhile; that file waits until it is gone.
    """
    with suppress(OSError), os.scandir(rt_dir) as entries:
        named = ((entry.path, _read_pid(entry.name)) for entry in entries)
        dead = ((path, pid) for path, pid in named if pid and not _has_process(pid))
        for path, pid in islice(dead, _SWEEP_MOST):
            with suppress(OSError):
                _remove_dead(path, pid)


def _read_pid(filename: str) -> int:
    """Return the process that a socket file is named for; 0 for any other name."""
    pid = filename.removesuffix(".sock").rpartition("@")[2]
    # More digits than any pid has do not fit into what the kernel takes.
    return int(pid) if filename.endswith(".sock") and pid.isascii() and pid.isdigit() and len(pid) < 10 else 0


def _has_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's.
        return True
    return True


def _remove_dead(path: str, pid: int) -> None:
    info = os.lstat(path)
    if (
        not stat.S_ISSOCK(info.st_mode)
        or info.st_uid != os.geteuid()
        or time.time() - info.st_mtime < _SETTLED
    ):
        return
    try:
        _is_undecided(path, 0.0)
    except ConnectionRefusedError:
        # Another sweeper may have removed it by now, and a process with the same pid may have bound it again. That one
        # has lived for as long as an interpreter needs to start, so it is seen here.
        if not _has_process(pid) and os.lstat(path).st_mtime_ns == info.st_mtime_ns:
            os.unlink(path)


def unlink_stale(addr: UDSAddress, timeout: float = 0.0) -> None:
    """Remove the socket file of a process that was killed: one that refuses connections.

    `timeout`: seconds given to a process that may be dying just now, and has not come to close this socket. One that
    lives says hello, which ends the wait.
    """
    path = os.fspath(addr.sockpath)
    until = time.monotonic() + timeout
    try:
        while stat.S_ISSOCK(os.lstat(path).st_mode) and _is_undecided(path, until - time.monotonic()):
            pass
    except ConnectionRefusedError:
        with suppress(FileNotFoundError):
            os.unlink(path)
    except OSError:
        return


def _is_undecided(path: str, patience: float) -> bool:
    """Connect and wait for a word; True when the connection was dropped instead.

    Raises `ConnectionRefusedError` when nobody listens.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(max(patience, 0.0))
        probe.connect(path)
        if patience <= 0:
            return False
        try:
            return not probe.recv(1)
        except ConnectionResetError:
            return True


def accepted(sock: socket.socket, laddr: UDSAddress) -> SocketTransport:
    """Wrap a socket that `accept` returned; raises `PermissionError` when its peer is another user."""
    pid = check_peer(sock)
    return SocketTransport(sock, laddr=laddr, same_process=pid == os.getpid())


async def connect(addr: UDSAddress) -> SocketTransport:
    """Connect; raises `OSError` when nobody listens there or the listener is another user's."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await _connect(sock, addr)
        pid = check_peer(sock)
    except BaseException:
        sock.close()
        raise
    return SocketTransport(sock, raddr=addr, same_process=pid == os.getpid())


async def _connect(sock: socket.socket, addr: UDSAddress) -> None:
    # Not trio's: that takes a full queue for a connection under way, and then for one that is made.
    while True:
        await trio.lowlevel.checkpoint()
        try:
            sock.connect(os.fspath(addr.sockpath))
        except BlockingIOError:
            await trio.sleep(_QUEUE_PAUSE)
        except FileNotFoundError as exc:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"no such socket: {addr}") from exc
        except OSError as exc:
            if exc.errno is None:
                # The path is too long.
                raise OSError(errno.ENAMETOOLONG, f"{exc}: {addr}") from exc
            raise
        else:
            return


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

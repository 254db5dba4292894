"""Unix-domain sockets: listen, connect, and who is at the other end."""

import errno
import fcntl
import os
import socket
import stat
import sys
import threading
import time
from pathlib import Path
from unittest import mock

import pytest
import trio

from tractor.ipc import _uds
from tractor.ipc._addr import UDSAddress
from tractor.ipc._rtdir import get_rt_dir


async def test_connect_and_accept(tmp_path: Path) -> None:
    """The directory is made, private; both ends know the address."""
    addr = UDSAddress(os.fspath(tmp_path / "new"), "x.sock")
    listener, same = _uds.listen(addr)
    assert same == addr
    assert stat.S_IMODE(addr.bindspace.stat().st_mode) == 0o700
    dialed = await _uds.connect(addr)
    conn, _ = listener.accept()
    accepted = _uds.accepted(conn, addr)
    try:
        assert dialed.raddr == accepted.laddr == addr
        dialed.send_nowait([b"hi"])
        await accepted.wait_readable()
        assert accepted.recv_nowait(memoryview(bytearray(9))) == 2
    finally:
        dialed.close()
        accepted.close()
        listener.close()
        _uds.unlink(addr)
    assert not addr.sockpath.exists()
    _uds.unlink(addr)


async def test_an_address_in_use_is_a_connection_error(tmp_path: Path) -> None:
    """Its context is what the system said; the socket that is in use stays."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    listener, _ = _uds.listen(addr)
    with listener:
        with pytest.raises(ConnectionError, match=f"cannot listen on {addr}") as info:
            _uds.listen(addr)
        assert type(info.value.__context__) is OSError
        assert "Address already in use" in info.value.__context__.args
        (await _uds.connect(addr)).close()


async def test_the_file_of_a_dead_listener_is_replaced(tmp_path: Path) -> None:
    """A process that was killed cannot remove its own."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    listener, _ = _uds.listen(addr)
    listener.close()
    assert addr.sockpath.exists()
    listener, _ = _uds.listen(addr)
    with listener:
        (await _uds.connect(addr)).close()


async def test_another_file_in_its_place_is_never_removed(tmp_path: Path) -> None:
    """Only sockets are ours to replace."""
    addr = UDSAddress(os.fspath(tmp_path), "precious")
    addr.sockpath.write_text("data")
    with pytest.raises(ConnectionError, match="cannot listen on"):
        _uds.listen(addr)
    assert addr.sockpath.read_text() == "data"


async def test_the_runtime_directory_is_checked_before_it_is_used() -> None:
    """A link in its place is refused, not followed."""
    place = get_rt_dir()
    addr = UDSAddress(os.fspath(place), "x.sock")
    target = place.with_name("target")
    target.mkdir()
    place.rmdir()
    place.symlink_to(target)
    try:
        with pytest.raises(PermissionError, match="Unsafe"):
            _uds.listen(addr)
        assert list(target.iterdir()) == []
    finally:
        place.unlink()
        target.rmdir()


@pytest.mark.parametrize("left", ["nothing", "a dead socket"])
async def test_nobody_there_is_a_connection_error(tmp_path: Path, left: str) -> None:
    """Whether the file is there or not."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    if left == "a dead socket":
        _uds.listen(addr)[0].close()
    with pytest.raises(ConnectionError):
        await _uds.connect(addr)


async def test_a_cancelled_connect_leaves_nothing(tmp_path: Path) -> None:
    """The descriptor is closed."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    listener, _ = _uds.listen(addr)
    with listener, trio.CancelScope() as scope:
        scope.cancel()
        await _uds.connect(addr)
    assert scope.cancelled_caught


def credentials(uid: int) -> socket.socket:
    """Return what the kernel would tell of a peer that runs as user `uid`."""
    fake = mock.create_autospec(socket.socket, instance=True)
    fake.getsockopt.return_value = _uds._UCRED.pack(4321, uid, 100)
    assert isinstance(fake, socket.socket)
    return fake


def test_a_listener_that_is_dying_is_given_time(tmp_path: Path) -> None:
    """A killed process closes its descriptors one by one: its socket file goes as soon as this one is closed."""
    addr = UDSAddress(os.fspath(tmp_path), "dying.sock")
    listener, _ = _uds.listen(addr)
    closing = threading.Timer(0.05, listener.close)
    closing.start()
    _uds.unlink_stale(addr, timeout=5)
    closing.join()
    assert not addr.sockpath.exists()


@pytest.mark.parametrize("says_hello", [True, False])
def test_a_listener_that_lives_keeps_its_file(tmp_path: Path, says_hello: bool) -> None:
    """One that answers is recognised at once, one that is busy when the time is over."""
    addr = UDSAddress(os.fspath(tmp_path), "living.sock")
    listener, _ = _uds.listen(addr)

    def answer() -> None:
        listener.setblocking(True)
        conn, _ = listener.accept()
        conn.sendall(b"hello")
        conn.close()

    thread = threading.Thread(target=answer) if says_hello else None
    if thread is not None:
        thread.start()
    began = time.monotonic()
    _uds.unlink_stale(addr, timeout=5 if says_hello else 0.05)
    assert time.monotonic() - began < 2
    if thread is not None:
        thread.join()
    assert addr.sockpath.exists()
    listener.close()
    _uds.unlink(addr)


def test_the_kernel_tells_who_the_peer_is() -> None:
    """Its process, where the kernel is one that tells; elsewhere nothing is known."""
    left, right = socket.socketpair()
    with left, right:
        assert _uds.check_peer(left) == (os.getpid() if sys.platform == "linux" else None)


def test_who_may_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same user, and root, who could read our memory anyway; nobody else."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert _uds.check_peer(credentials(1000)) == 4321
    assert _uds.check_peer(credentials(0)) == 4321
    with pytest.raises(PermissionError, match="peer process 4321 belongs to user id 1001, not to 1000"):
        _uds.check_peer(credentials(1001))


async def test_another_user_is_refused_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither may a stranger connect to us, nor do we talk to a stranger's socket; no descriptor is left behind."""

    def refuse(sock: socket.socket) -> None:
        raise PermissionError("a stranger")

    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    listener, _ = _uds.listen(addr)
    with listener:
        transport = await _uds.connect(addr)
        conn, _ = listener.accept()
        monkeypatch.setattr(_uds, "check_peer", refuse)
        with conn, pytest.raises(PermissionError, match="a stranger"):
            _uds.accepted(conn, addr)
        with pytest.raises(PermissionError, match="a stranger"):
            await _uds.connect(addr)
        transport.close()


async def test_a_path_that_is_too_long_is_an_error_that_names_it(tmp_path: Path) -> None:
    """For those who listen, and those who connect."""
    addr = UDSAddress(os.fspath(tmp_path), "x" * 120)
    with pytest.raises(ConnectionError, match=f"cannot listen on {addr}: AF_UNIX path too long"):
        _uds.listen(addr)
    with pytest.raises(OSError, match=f"AF_UNIX path too long: {addr}"):
        await _uds.connect(addr)


async def test_a_listener_whose_queue_is_full_is_busy(tmp_path: Path) -> None:
    """It is waited for; a connection that is not made is never taken for one."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(addr.sockpath))
        listener.listen(1)
        queued = [await _uds.connect(addr) for _ in range(2)]
        with trio.move_on_after(0.05) as scope:
            await _uds.connect(addr)
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def connect() -> None:
                queued.append(await _uds.connect(addr))

            nursery.start_soon(connect)
            await trio.sleep(0.03)
            assert len(queued) == 2
            listener.accept()[0].close()
            with trio.fail_after(2):
                while len(queued) < 3:
                    await trio.sleep(0.005)
        queued[2].send_nowait([b"hi"])
        for transport in queued:
            transport.close()


@pytest.mark.parametrize("why", ["no locks", "not readable"])
async def test_a_directory_that_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """Sockets are made in it all the same; there a stale one is not replaced, for two might do so at once."""

    def no_locks(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def not_readable(path: Path, _flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    if why == "no locks":
        monkeypatch.setattr(fcntl, "flock", no_locks)
    else:
        monkeypatch.setattr(os, "open", not_readable)
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    listener, _ = _uds.listen(addr)
    (await _uds.connect(addr)).close()
    listener.close()
    with pytest.raises(ConnectionError, match="Address already in use"):
        _uds.listen(addr)


async def test_a_directory_that_stays_locked_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By somebody who was stopped in the middle, or who locks it for purposes of his own."""
    monkeypatch.setattr(_uds, "_LOCK_TIMEOUT", 0.05)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(ConnectionError, match="stays locked"):
            _uds.listen(UDSAddress(os.fspath(tmp_path), "x.sock"))
    finally:
        os.close(fd)
    _uds.listen(UDSAddress(os.fspath(tmp_path), "x.sock"))[0].close()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Like every other reason for not listening."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConnectionError, match="cannot listen on"):
        _uds.listen(UDSAddress(os.fspath(tmp_path / "file" / "dir"), "x.sock"))

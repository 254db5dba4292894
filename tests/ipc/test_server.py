"""The server of one actor: what it listens on, what it hands over, and how it goes away."""

import errno
import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor._errors import TransportClosed
from tractor.ipc import _server, _uds
from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls
from tractor.ipc._channel import Channel
from tractor.ipc._dial import connect
from tractor.ipc._server import Server
from tractor.wire._kinds import Kind

type Address = TCPAddress | UDSAddress


@pytest.fixture
def addr(transport: str) -> Address:
    """A free address of each transport."""
    return get_address_cls(transport).get_random("server")


async def echo(channel: Channel) -> None:
    """Send one frame back, then close; a connection that only looked whether we are here is dropped."""
    try:
        channel.post(*await channel.receive_first())
    except TransportClosed:
        channel.abort()
    await channel.aclose()


async def ask(addr: Address, body: bytes) -> bytes:
    """Send a frame to `echo` and return what comes back."""
    channel = Channel(await connect(addr), dialer=True)
    try:
        channel.post(Kind.HELLO, 0, 0, body)
        return bytes((await channel.receive_first())[3])
    finally:
        await channel.aclose()


async def test_connections_are_handed_over(addr: Address) -> None:
    """Each in a task of its own; the address tells the port that the system chose."""
    server = Server(echo, limit=1000)
    assert server.addrs == []
    real = server.bind(addr)
    assert server.addrs == [real]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        for n in range(5):
            assert await ask(real, b"%d" % n) == b"%d" % n
        nursery.cancel_scope.cancel()
    assert server.addrs == []
    if isinstance(real, UDSAddress):
        assert not real.sockpath.exists()
    with pytest.raises(OSError, match=r"refused|no such socket"):
        await connect(real)


async def test_an_accepted_channel_is_the_answering_end(addr: Address) -> None:
    """With the server's limit, and the address it was reached at."""
    seen: list[Channel] = []

    async def keep(channel: Channel) -> None:
        seen.append(channel)
        channel.abort()

    server = Server(keep, limit=1234)
    real = server.bind(addr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        transport = await connect(real)
        while not seen:
            await trio.sleep(0.001)
        transport.close()
        nursery.cancel_scope.cancel()
    assert (seen[0].dialer, seen[0].limit, seen[0].laddr) == (False, 1234, real)


async def test_several_addresses_at_once() -> None:
    """Of both transports."""
    server = Server(echo, limit=1000)
    addrs = [server.bind(get_address_cls(key).get_random("x")) for key in ("tcp", "tcp", "uds")]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        for addr in addrs:
            assert await ask(addr, b"x") == b"x"
        nursery.cancel_scope.cancel()


async def test_closing_stops_at_once(addr: Address) -> None:
    """Connections that are being served live on; a second time is harmless."""
    server = Server(echo, limit=1000)
    real = server.bind(addr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        channel = Channel(await connect(real), dialer=True)
        await wait_all_tasks_blocked(0.01)
        server.close()
        server.close()
        with pytest.raises(OSError, match=r"refused|no such socket"):
            await connect(real)
        channel.post(Kind.HELLO, 0, 0, b"still here")
        assert (await channel.receive_first())[3] == b"still here"
        await channel.aclose()


async def test_an_address_in_use_is_refused(addr: Address) -> None:
    """And the first server does not notice."""
    first, second = Server(echo, limit=1000), Server(echo, limit=1000)
    real = first.bind(addr)
    with pytest.raises(ConnectionError, match="cannot listen"):
        second.bind(real)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.serve)
        assert await ask(real, b"x") == b"x"
        nursery.cancel_scope.cancel()


async def test_a_refused_connection_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's: quietly, and the next one is served."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    server = Server(echo, limit=1000)
    server.bind(addr)
    checks: list[socket.socket] = []
    real_check = _uds.check_peer

    def check(sock: socket.socket) -> int | None:
        checks.append(sock)
        if len(checks) == 2:
            raise PermissionError("a stranger")
        return real_check(sock)

    monkeypatch.setattr(_uds, "check_peer", check)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        with trio.fail_after(1):
            stranger = await connect(addr)
            await stranger.wait_readable()
        assert stranger.recv_nowait(memoryview(bytearray(1))) == 0
        stranger.close()
        assert await ask(addr, b"friend") == b"friend"
        nursery.cancel_scope.cancel()


class Exhausted(socket.socket):
    """A listener whose process has no descriptors left, three times."""

    failures = 3

    def accept(self) -> tuple[socket.socket, object]:
        """Fail, then work."""
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_running_out_of_descriptors_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server waits a moment and tries again; it neither spins nor dies."""
    monkeypatch.setattr(_server, "_EXHAUSTED_PAUSE", 0.02)
    server = Server(echo, limit=1000)
    real = server.bind(TCPAddress("127.0.0.1", 0))
    plain = server._listeners[real]
    server._listeners[real] = Exhausted(fileno=plain.detach())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        before = trio.current_time()
        assert await ask(real, b"patient") == b"patient"
        assert trio.current_time() - before > 0.05
        nursery.cancel_scope.cancel()


async def test_a_socket_file_is_removed_before_it_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may listen in its place as soon as it refuses: the new file must not be removed by the old server."""
    addr = UDSAddress(os.fspath(tmp_path), "x.sock")
    old, new = Server(echo, limit=1000), Server(echo, limit=1000)
    old.bind(addr)

    def replace(sock: socket.socket) -> None:
        monkeypatch.undo()
        sock.close()
        new.bind(addr)

    monkeypatch.setattr(trio.lowlevel, "notify_closing", replace)
    old.close()
    assert addr.sockpath.exists()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(new.serve)
        assert await ask(addr, b"hi") == b"hi"
        nursery.cancel_scope.cancel()

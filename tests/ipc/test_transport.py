"""The transport over a connected stream socket."""

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.ipc._addr import TCPAddress
from tractor.ipc._transport import SocketTransport


@pytest.fixture
def ends() -> Iterator[tuple[SocketTransport, socket.socket]]:
    """A transport, and the plain blocking socket at its other end."""
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours)
    theirs.settimeout(5)
    yield transport, theirs
    theirs.close()
    ours.close()


async def test_bytes_go_both_ways(ends: tuple[SocketTransport, socket.socket]) -> None:
    """One chunk, or several in one system call."""
    transport, peer = ends
    assert transport.send_nowait([b"one"]) == 3
    assert transport.send_nowait([b"two", bytearray(b"three"), memoryview(b"four")]) == 12
    assert peer.recv(100) == b"onetwothreefour"
    peer.send(b"back")
    into = memoryview(bytearray(100))
    await transport.wait_readable()
    assert bytes(into[: transport.recv_nowait(into)]) == b"back"
    transport.close()


async def test_it_never_blocks(ends: tuple[SocketTransport, socket.socket]) -> None:
    """The socket is made non-blocking."""
    transport, peer = ends
    with pytest.raises(BlockingIOError):
        transport.recv_nowait(memoryview(bytearray(1)))
    with pytest.raises(BlockingIOError):
        while True:
            transport.send_nowait([b"x" * 65536])
    with trio.move_on_after(0.02) as scope:
        await transport.wait_writable()
    assert scope.cancelled_caught
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            peer.recv(65536)
    with trio.fail_after(1):
        await transport.wait_writable()
    assert transport.send_nowait([b"x"]) == 1
    transport.close()


async def test_the_end_of_the_stream_reads_as_nothing(ends: tuple[SocketTransport, socket.socket]) -> None:
    """And a broken one is an `OSError`."""
    transport, peer = ends
    peer.close()
    await transport.wait_readable()
    assert transport.recv_nowait(memoryview(bytearray(1))) == 0
    with pytest.raises(OSError, match="Broken pipe"):
        transport.send_nowait([b"x"])
    transport.close()


@pytest.mark.parametrize("wait", ["wait_readable", "wait_writable"])
async def test_closing_wakes_whoever_waits(ends: tuple[SocketTransport, socket.socket], wait: str) -> None:
    """With `ClosedResourceError`, before and after; closing twice is harmless."""
    transport, _ = ends
    woken = trio.Event()

    async def waiter() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(transport, wait)()
        woken.set()

    async with trio.open_nursery() as nursery:
        if wait == "wait_writable":
            with pytest.raises(BlockingIOError):
                while True:
                    transport.send_nowait([b"x" * 65536])
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        transport.close()
        transport.close()
    assert woken.is_set()
    with pytest.raises(trio.ClosedResourceError):
        await getattr(transport, wait)()
    with pytest.raises(OSError, match="Bad file descriptor"):
        transport.recv_nowait(memoryview(bytearray(1)))


def test_it_knows_its_addresses() -> None:
    """Those it was told."""
    ours, theirs = socket.socketpair()
    here, there = TCPAddress("127.0.0.1", 1), TCPAddress("127.0.0.1", 2)
    transport = SocketTransport(ours, laddr=here, raddr=there)
    assert (transport.laddr, transport.raddr) == (here, there)
    ours.close()
    theirs.close()

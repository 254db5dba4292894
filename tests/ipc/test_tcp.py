"""TCP: listen and connect."""

import socket

import pytest
import trio

from tractor.ipc import _tcp
from tractor.ipc._addr import TCPAddress


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_connect_and_accept(host: str) -> None:
    """Port 0 becomes a real one; small frames are not delayed; both ends know where they are."""
    listener, addr = _tcp.listen(TCPAddress(host, 0))
    assert addr.host == host
    assert addr.port
    dialed = await _tcp.connect(addr)
    conn, _ = listener.accept()
    accepted = _tcp.accepted(conn)
    try:
        assert dialed.raddr == accepted.laddr == addr
        assert dialed.laddr == accepted.raddr
        for transport in (dialed, accepted):
            assert transport._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not transport._sock.get_inheritable()
        dialed.send_nowait([b"hi"])
        await accepted.wait_readable()
        assert accepted.recv_nowait(memoryview(bytearray(9))) == 2
    finally:
        dialed.close()
        accepted.close()
        listener.close()


async def test_an_address_in_use_is_a_connection_error() -> None:
    """It names the address."""
    listener, addr = _tcp.listen(TCPAddress("127.0.0.1", 0))
    with listener, pytest.raises(ConnectionError, match=f"cannot listen on {addr}"):
        _tcp.listen(addr)


async def test_nobody_there_is_an_os_error() -> None:
    """And no descriptor is left behind."""
    listener, addr = _tcp.listen(TCPAddress("127.0.0.1", 0))
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        await _tcp.connect(addr)


async def test_a_cancelled_connect_leaves_nothing() -> None:
    """The descriptor is closed."""
    listener, addr = _tcp.listen(TCPAddress("127.0.0.1", 0))
    with listener, trio.CancelScope() as scope:
        scope.cancel()
        await _tcp.connect(addr)
    assert scope.cancelled_caught

"""Connecting, and channels made of connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from tractor import Channel
from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls
from tractor.ipc._dial import connect
from tractor.ipc._mem import memory_transport_pair
from tractor.ipc._server import Server
from tractor.wire._kinds import MAX_BODY, Kind

type Address = TCPAddress | UDSAddress

#: Every way to spell an address.
SPELLINGS: dict[str, Callable[[Address], Any]] = {
    "object": lambda addr: addr,
    "tuple": lambda addr: addr.unwrap(),
    "list": lambda addr: list(addr.unwrap()),
    "multiaddr": lambda addr: addr.maddr,
}


async def echo(channel: Channel) -> None:
    """Send one frame back."""
    kind, flags, did, body = await channel.receive_first()
    channel.post(kind, flags, did, bytes(body))
    await channel.aclose()


async def converse(channel: Channel) -> None:
    """Check that what is sent comes back, and close."""
    channel.post(Kind.HELLO, 0, 0, b"hi")
    assert bytes((await channel.receive_first())[3]) == b"hi"
    await channel.aclose()


@pytest.fixture
def addr(transport: str, tmp_path: Path) -> Address:
    """Where nobody listens yet."""
    return get_address_cls(transport).get_random("dialled")


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_channel_is_opened_by_address(addr: Address, spelling: str) -> None:
    """However it is spelt; the channel knows both ends."""
    server = Server(echo, limit=MAX_BODY)
    real = server.bind(addr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        channel = await Channel.from_addr(SPELLINGS[spelling](real), limit=1234)
        assert (channel.dialer, channel.limit, channel.connected()) == (True, 1234, True)
        assert channel.raddr == real
        assert channel.maddr == real.maddr
        if isinstance(real, TCPAddress):
            assert isinstance(channel.laddr, TCPAddress)
            assert channel.laddr.port
        await converse(channel)
        assert (channel.closed, channel.connected()) == (True, False)
        nursery.cancel_scope.cancel()


async def test_a_connection_made_in_another_way_is_taken_over(addr: Address) -> None:
    """The stream is of no more use, and closing it harms nobody."""
    server = Server(echo, limit=MAX_BODY)
    real = server.bind(addr)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve)
        if isinstance(real, TCPAddress):
            stream = await trio.open_tcp_stream(real.host, real.port)
        else:
            stream = await trio.open_unix_socket(real.sockpath)
        channel = Channel.from_stream(stream)
        await stream.aclose()
        assert channel.connected()
        assert channel.maddr == ""
        await converse(channel)
        nursery.cancel_scope.cancel()


async def test_where_nobody_listens(addr: Address) -> None:
    """The system's error, for a channel and for a bare connection."""
    server = Server(echo, limit=1000)
    real = server.bind(addr)
    server.close()
    with pytest.raises(OSError, match=r"refused|no such socket"):
        await connect(real)
    with pytest.raises(OSError, match=r"refused|no such socket"):
        await Channel.from_addr(real)


@pytest.mark.parametrize("bad", [None, 5, "nowhere", ("localhost", 80), ("127.0.0.1", 99999), ()])
async def test_what_is_no_address_is_refused(bad: Any) -> None:
    """Before anything is opened."""
    with pytest.raises((TypeError, ValueError)):
        await Channel.from_addr(bad)


async def test_older_names_of_what_a_channel_knows() -> None:
    """They work; the one that is ambiguous says what to use."""
    transport, other = memory_transport_pair()
    channel = Channel(transport, dialer=True)
    assert channel.msgstream is channel.transport is transport
    with pytest.warns(DeprecationWarning, match=r"use Channel\.aid"):
        assert channel.uid is None
    channel.aid = Aid("peer", "u-1", 7)
    with pytest.warns(DeprecationWarning, match=r"use Channel\.aid"):
        assert channel.uid == ("peer", "u-1")
    channel.cancel_called = True
    assert channel._cancel_called
    channel.peer_addrs = [TCPAddress("127.0.0.1", 5)]
    assert channel.maddr == "/ip4/127.0.0.1/tcp/5"
    await channel.aclose()
    other.close()

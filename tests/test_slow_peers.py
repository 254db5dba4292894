"""Peers that are slow, silent or gone without a word: they cost little, and nobody else waits for them."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

import tractor
from tests.programs import bodies, victims
from tests.rawpeer import CONTEXT, HANG, MODULE, RawPeer, make_start, open_raw, open_scene
from tests.resident import Address, open_resident
from tractor import Portal
from tractor.ipc._addr import TCPAddress
from tractor.ipc._transport import SocketTransport
from tractor.wire._frame import pack_header
from tractor.wire._kinds import MAX_BODY, Kind

MEGABYTE = 1024 * 1024
#: KiB by which an actor may grow for each such peer, beside what the peer has really sent.
EACH = 3 * 1024
PEERS = 5

WHOLE = pack_header(Kind.START, 0, 1, MAX_BODY)

#: What a peer says, and then nothing; the bytes of a message that is not complete count.
BEGINNINGS: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "a byte": (HANG[:1], 0),
    "half a header": (HANG[:9], 0),
    "half a frame": (HANG[:-3], 0),
    "the header of the largest message": (WHOLE, 0),
    "that and its first byte": (WHOLE + b"x", 0),
    "that and 4 MiB of it": (WHOLE + bytes(4 * MEGABYTE), 4 * MEGABYTE),
    "a request that does not end": (HANG, 0),
}


@asynccontextmanager
async def open_child(transport: str) -> AsyncGenerator[tuple[Portal, Address]]:
    """Run an actor in a process of its own; it accepts messages of the usual size."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("victim", enable_modules=[MODULE])
        await portal.run(victims.measure)
        yield portal, portal.chan.peer_addrs[0]
        await nursery.cancel()


async def check_gone(portal: Portal, before: dict[str, int]) -> None:
    """The victim holds what it held before."""
    after = await portal.run(victims.measure)
    with trio.move_on_after(2):
        while {**after, "memory": 0} != {**before, "memory": 0}:
            await trio.sleep(0.01)
            after = await portal.run(victims.measure)
    assert {**after, "memory": 0} == {**before, "memory": 0}


def check_memory(grown: int, limit: int) -> None:
    """An actor has grown by less than so many KiB; one that shares its process has no memory of its own to look at.

    See docs/interpreters.md#what-only-a-process-has.
    """
    assert bodies.SHARED or grown < limit


async def finish(peer: RawPeer, said: bytes, done: trio.Event) -> None:
    """Shake hands, say it, and wait for the end of the test."""
    await peer.shake()
    await peer.send(said)
    await done.wait()


@pytest.mark.parametrize("name", BEGINNINGS)
async def test_peers_that_begin_and_fall_silent(name: str, transport: str) -> None:
    """Several: each costs what it has sent, twice at most, and a bit; when they go, it is all given back."""
    said, size = BEGINNINGS[name]
    async with open_child(transport) as (portal, addr):
        before = await portal.run(victims.measure)
        done = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(PEERS):
                stream = await open_stream(addr)
                nursery.start_soon(hold, stream, said, done)
            with trio.fail_after(5):
                while (await portal.run(victims.measure))["peers"] < before["peers"] + PEERS:
                    await trio.sleep(0.01)
            await trio.sleep(0.1)
            during = await portal.run(victims.measure)
            grown = during["memory"] - before["memory"]
            check_memory(grown, PEERS * (EACH + 2 * size // 1024))
            with trio.fail_after(1):
                assert await portal.run(victims.add, a=1, b=1) == 2
            done.set()
        await check_gone(portal, before)


async def open_stream(addr: Address) -> trio.SocketStream:
    """Connect."""
    if isinstance(addr, TCPAddress):
        return await trio.open_tcp_stream(addr.host, addr.port)
    return await trio.open_unix_socket(addr.sockpath)


async def hold(stream: trio.SocketStream, said: bytes, done: trio.Event) -> None:
    """Be a peer that shakes hands, says something, and waits for the end of the test."""
    async with stream:
        await finish(RawPeer(stream), said, done)


async def test_a_message_that_drips_in(transport: str) -> None:
    """It costs what has come of it; whoever else asks meanwhile is answered, and at the end so is the slow one."""
    body = make_start(1, f"{MODULE}:pass_on", data=bytes(8 * MEGABYTE))
    async with open_child(transport) as (portal, addr), open_raw(addr) as peer:
        before = await portal.run(victims.measure)
        await peer.shake()
        step = len(body) // 24
        slowest = 0.0
        for at in range(0, len(body), step):
            await peer.send(body[at : at + step])
            began = trio.current_time()
            grown = (await portal.run(victims.measure))["memory"] - before["memory"]
            slowest = max(slowest, trio.current_time() - began)
            check_memory(grown, EACH + 2 * at // 1024 + 2 * step // 1024)
        with trio.fail_after(5):
            answer = await peer.receive()
        assert answer is not None
        assert (answer[0], len(answer[3]) > 8 * MEGABYTE) == (Kind.RETURN, True)
        assert slowest < 1


async def test_a_peer_that_reads_nothing_stops_what_streams_to_it(transport: str) -> None:
    """Its endpoint waits; it costs a bounded amount, and ends with the connection."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="deaf")
        await peer.send(make_start(1, f"{MODULE}:pour", CONTEXT))
        chan = (await scene.wait_peer("deaf")).channel
        with trio.fail_after(5):
            unread = -1
            while unread != (unread := chan.unread) or unread < 1000:
                await trio.sleep(0.05)
        assert unread < 512 * 1024
        assert await scene.portal.run(victims.add, a=1, b=1) == 2


@pytest.mark.parametrize("end", ["dialled", "accepted"])
async def test_a_host_that_has_vanished_is_noticed(end: str) -> None:
    """The kernel asks a TCP peer that says nothing for a while whether it is there; over a socket file it knows."""
    binds: list[Address] = [TCPAddress("127.0.0.1", 0)]
    async with open_resident("here", binds=binds) as here, open_resident("there") as there:
        router = await there.actor.connect(here.actor.server.addrs[0])
        find: Callable[[], tractor.Channel] = lambda: here.actor.peers[there.actor.aid.uuid][0].channel  # noqa: E731
        while there.actor.aid.uuid not in here.actor.peers:
            await trio.sleep(0.001)
        transport = (router.channel if end == "dialled" else find()).transport
        assert isinstance(transport, SocketTransport)
        sock = transport._sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle, every, count = (
            sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle + every * count <= 60

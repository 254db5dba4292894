"""A peer that is nothing but a socket: it says whatever a test wants, right or wrong; and the actor it says it to."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio

import tractor
from tests.programs import victims
from tests.resident import Address, open_resident
from tractor import Portal
from tractor.ipc._addr import TCPAddress, get_address_cls
from tractor.msg._boxed import Boxed
from tractor.msg._codec import get_codec
from tractor.msg._types import PROTOCOL_VERSION, Hello, Start
from tractor.runtime._router import Router
from tractor.wire._frame import FrameReader, pack
from tractor.wire._kinds import Flag, Frame, Kind

encode = get_codec().encode

MODULE = victims.__name__
#: Bytes; what the victim accepts as one message.
LIMIT = 1024 * 1024
CONTEXT = int(Flag.CONTEXT)


def make_hello(**changes: Any) -> bytes:
    """Return the frame a stranger begins with, with some fields changed."""
    hello = Hello(PROTOCOL_VERSION, "stranger", f"stranger-{os.urandom(8).hex()}", 1, False, False, [], b"")
    return pack(Kind.HELLO, 0, 0, encode(hello._replace(**changes)))


def make_start(did: int, target: str, flags: int = 0, **kwargs: Any) -> bytes:
    """Return the frame of a request."""
    return pack(Kind.START, flags, did, encode(Start(target, kwargs)))


#: A call and a context that do nothing but wait.
HANG = make_start(1, f"{MODULE}:hang")
SLEEPER = make_start(1, f"{MODULE}:sleeper", CONTEXT)


def load_error(frame: Frame) -> Boxed:
    """Return the error that an ERROR frame carries."""
    assert frame[0] == Kind.ERROR, frame
    boxed: Boxed = get_codec().decoder(Boxed)(frame[3])
    return boxed


class RawPeer:
    """One connection, and the frames that came by it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._reader = FrameReader()
        self._frames: list[Frame] = []

    async def send(self, *parts: bytes) -> None:
        """Send bytes; a peer that has hung up meanwhile is no error."""
        try:
            await self.stream.send_all(b"".join(parts))
        except trio.BrokenResourceError:
            pass

    def send_eof(self) -> None:
        """Say that nothing more will come."""
        try:
            self.stream.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    async def receive(self) -> Frame | None:
        """Return the next frame, or None when the other side has hung up."""
        while not self._frames:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._frames += self._reader.feed(data)
        return self._frames.pop(0)

    async def receive_rest(self) -> list[Frame]:
        """Return every frame until the other side hangs up."""
        frames: list[Frame] = []
        while (frame := await self.receive()) is not None:
            frames.append(frame)
        return frames

    async def shake(self, **changes: Any) -> None:
        """Exchange hellos."""
        await self.send(make_hello(**changes))
        frame = await self.receive()
        assert frame is not None
        assert frame[0] == Kind.HELLO


@asynccontextmanager
async def open_raw(addr: Address) -> AsyncGenerator[RawPeer]:
    """Connect for the length of the block."""
    if isinstance(addr, TCPAddress):
        stream = await trio.open_tcp_stream(addr.host, addr.port)
    else:
        stream = await trio.open_unix_socket(addr.sockpath)
    async with stream:
        yield RawPeer(stream)


@dataclass
class Scene:
    """An actor under attack, and the portal of a good peer to it."""

    actor: tractor.Actor
    addr: Address
    portal: Portal

    async def wait_peer(self, uuid: str) -> Router:
        """Return the actor's end of the connection of a raw peer, which the actor may not have taken note of yet."""
        with trio.fail_after(1):
            while uuid not in self.actor.peers:
                await trio.sleep(0.001)
        return self.actor.peers[uuid][0]


@asynccontextmanager
async def open_scene(transport: str, *modules: str) -> AsyncGenerator[Scene]:
    """Run a victim around the block; after it the victim has to answer, and to hold what it held before."""
    binds: list[Address] = [get_address_cls(transport).get_random("victim")]
    async with (
        open_resident("victim", MODULE, *modules, binds=binds, limit=LIMIT) as victim,
        open_resident("friend") as friend,
    ):
        addr = victim.actor.server.addrs[0]
        portal = Portal(await friend.actor.connect(addr))
        await portal.run(victims.add, a=1, b=1)
        before = count_all(victim.actor)
        yield Scene(victim.actor, addr, portal)
        with trio.move_on_after(2):
            while count_all(victim.actor) != before:
                await trio.sleep(0.005)
        assert count_all(victim.actor) == before
        with trio.fail_after(1):
            assert await portal.run(victims.add, a=1, b=2) == 3
        assert not victim.actor.cancel_called


def count_all(actor: tractor.Actor) -> dict[str, int]:
    """Return what the actor holds, and how many tasks there are."""
    return {
        "peers": len(actor.peers),
        "served": len(actor.served),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
    }

"""Peers that ask for too much, or for what there is not: an error for them, and nothing changes for others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

import tractor
from tests.programs import victims
from tests.rawpeer import (
    CONTEXT,
    LIMIT,
    MODULE,
    SLEEPER,
    encode,
    load_error,
    make_start,
    open_raw,
    open_scene,
)
from tests.resident import Address, open_resident
from tractor import Portal, RemoteActorError
from tractor.ipc import _channel
from tractor.ipc._addr import get_address_cls
from tractor.runtime._flow import CREDIT
from tractor.wire._frame import pack
from tractor.wire._kinds import Flag, Kind

#: Mistakes: how to make one, what it raises, and what that says.
ERRORS: dict[str, tuple[Callable[[Portal], Any], type[Exception], str]] = {
    "module": (lambda portal: portal.run_from_ns("os", "getcwd"), RemoteActorError, "'os' is not exposed"),
    "module of a module": (
        lambda portal: portal.run_from_ns(MODULE, "os.getcwd"),
        RemoteActorError,
        "'os', found by way of",
    ),
    "function": (
        lambda portal: portal.run_from_ns(MODULE, "nothing"),
        RemoteActorError,
        "no attribute 'nothing'",
    ),
    "method": (lambda portal: portal.run_from_ns("self", "nothing"), RemoteActorError, "no method 'nothing'"),
    "plain function": (
        lambda portal: portal.run_from_ns(MODULE, "plain"),
        RemoteActorError,
        "async function",
    ),
    "context": (lambda portal: portal.run_from_ns(MODULE, "echo"), RemoteActorError, "is a context endpoint"),
    "signature": (
        lambda portal: portal.run_from_ns(MODULE, "add", a=1, c=2),
        RemoteActorError,
        "unexpected keyword argument 'c'",
    ),
    "arguments": (
        lambda portal: portal.run_from_ns(MODULE, "add", a=1),
        RemoteActorError,
        "missing 1 required",
    ),
    "argument": (
        lambda portal: portal.run_from_ns(MODULE, "add", a=object(), b=1),
        TypeError,
        "cannot send an object of type 'object'",
    ),
    "result": (
        lambda portal: portal.run(victims.make_object),
        RemoteActorError,
        "cannot send an object of type 'object'",
    ),
    "size of a result": (
        lambda portal: portal.run(victims.make, size=LIMIT),
        RemoteActorError,
        "over the channel's limit",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_a_mistake_of_a_good_peer_is_a_clear_error(name: str, transport: str) -> None:
    """Of that request only."""
    ask, kind, text = ERRORS[name]
    async with open_scene(transport) as scene:
        with pytest.raises(kind, match=text):
            await ask(scene.portal)


async def test_a_message_over_the_senders_limit_is_refused_where_it_is_made(transport: str) -> None:
    """Nothing was sent, so the connection lives."""
    binds: list[Address] = [get_address_cls(transport).get_random("victim")]
    async with (
        open_resident("victim", MODULE, binds=binds) as victim,
        open_resident("friend", limit=LIMIT) as friend,
    ):
        portal = Portal(await friend.actor.connect(victim.actor.server.addrs[0]))
        with pytest.raises(ValueError, match=f"over the channel's limit of {LIMIT} bytes"):
            await portal.run(victims.pass_on, data=bytes(LIMIT))
        assert portal._router.dialogs == {}
        assert await portal.run(victims.pass_on, data=b"x") == b"x"


async def test_a_message_over_the_receivers_limit_costs_the_connection(transport: str) -> None:
    """The caller is told that it is lost; another one can be made."""
    async with open_scene(transport) as scene, open_resident("other") as other:
        portal = Portal(await other.actor.connect(scene.addr))
        with trio.fail_after(1), pytest.raises(tractor.TransportClosed):
            await portal.run(victims.pass_on, data=bytes(LIMIT))
        portal = Portal(await other.actor.connect(scene.addr))
        assert await portal.run(victims.add, a=1, b=1) == 2


#: Frames that a peer repeats for ever, without ever reading: what it says first, and what again and again.
FLOODS: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "requests": (b"", lambda n: make_start(2 * n + 3, f"{MODULE}:make", size=500)),
    "requests that fail": (b"", lambda n: make_start(2 * n + 3, f"{MODULE}:nothing")),
    "malformed requests": (b"", lambda n: pack(Kind.START, CONTEXT, 2 * n + 3, b"")),
    "items without credit": (
        pack(Kind.STREAM, int(Flag.BACKPRESSURE), 1, CREDIT.pack(1, 1)),
        lambda _: pack(Kind.ITEM, int(Flag.CREDITED), 1, encode(bytes(1000))),
    ),
    "items without credit of a stream not opened there": (
        pack(Kind.STREAM, 0, 1, CREDIT.pack(1, 1)),
        lambda _: pack(Kind.ITEM, int(Flag.CREDITED), 1, encode(bytes(1000))),
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_peer_that_asks_and_never_listens_is_cut_off(
    name: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held for it stays bounded, and others are served meanwhile."""
    first, again = FLOODS[name]
    monkeypatch.setattr(_channel, "UNREAD_LIMIT", 1024 * 1024)
    monkeypatch.setattr(_channel, "UNREAD_TIMEOUT", 0.1)
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="flood")
        if first:
            await peer.send(SLEEPER)
            frame = await peer.receive()
            assert frame is not None
            assert frame[0] == Kind.STARTED
            await peer.send(first)
        held = 0
        n = 0
        with trio.fail_after(20):
            while routers := scene.actor.peers.get("flood"):
                held = max(held, routers[0].channel._outbox.size)
                if n % 5000 == 0:
                    assert await scene.portal.run(victims.add, a=n, b=1) == n + 1
                with trio.move_on_after(0.2):
                    await peer.send(*map(again, range(n, n + 50)))
                n += 50
        assert held < 4 * 1024 * 1024


async def test_a_peer_that_listens_late_is_not_cut_off(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits for it, as long as it asks for no more than that."""
    monkeypatch.setattr(_channel, "UNREAD_LIMIT", 1024 * 1024)
    monkeypatch.setattr(_channel, "UNREAD_TIMEOUT", 0.1)
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="late")
        # In one piece: on a busy machine one after the other would be asking for more, later than the limit.
        await peer.send(*(make_start(2 * n + 1, f"{MODULE}:make", size=500_000) for n in range(30)))
        await trio.sleep(0.3)
        assert scene.actor.peers["late"][0].channel.ignored()
        with trio.fail_after(5):
            frames = [await peer.receive() for _ in range(30)]
        assert [frame and frame[0] for frame in frames] == [Kind.RETURN] * 30
        await peer.send(make_start(99, f"{MODULE}:add", a=1, b=1))
        assert await peer.receive() == (Kind.RETURN, 0, 99, encode(2))


@pytest.mark.parametrize("flags", [0, int(Flag.BACKPRESSURE)])
async def test_what_may_be_sent_without_backpressure_is_bounded(flags: int, transport: str) -> None:
    """A peer that overruns a stream is told so, and its items are dropped."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        await peer.send(SLEEPER)
        await peer.receive()
        await peer.send(pack(Kind.STREAM, flags, 1, CREDIT.pack(1, 1)))
        for _ in range(200):
            await peer.send(pack(Kind.ITEM, 0, 1, encode(bytes(1000))))
        with trio.fail_after(1):
            while (frame := await peer.receive()) is not None and frame[0] != Kind.ERROR:
                pass
        assert frame is not None
        assert load_error(frame).boxed_type == "StreamOverrun"

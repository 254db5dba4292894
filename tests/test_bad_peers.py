"""Peers that misbehave on the socket: refused, and the actor goes on working."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import tractor
from tests.programs import victims
from tests.rawpeer import (
    CONTEXT,
    HANG,
    LIMIT,
    MODULE,
    SLEEPER,
    encode,
    load_error,
    make_hello,
    make_start,
    open_raw,
    open_scene,
)
from tractor.msg._types import PROTOCOL_VERSION, Bye, Cancel
from tractor.runtime import _actor
from tractor.wire._frame import pack, pack_header
from tractor.wire._kinds import HEADER, MAGIC, Kind

BYE = pack(Kind.BYE, 0, 0, encode(Bye("crashed", None, "", None)))
GARBAGE = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n" + bytes(range(256))

#: What a stranger says at once, and is hung up on for.
BAD_BEGINNINGS = {
    "garbage": GARBAGE,
    "zeros": bytes(4096),
    "a length of 4 GiB": HEADER.pack(0xFFFFFFFF, MAGIC, Kind.HELLO, 0, 0) + bytes(100),
    "a hello over the limit": pack_header(Kind.HELLO, 0, 0, 64 * 1024 + 1) + bytes(100),
    "an empty hello": pack(Kind.HELLO, 0, 0, b""),
    "a malformed hello": pack(Kind.HELLO, 0, 0, encode(["x"] * 8)),
    "a nested hello": pack(Kind.HELLO, 0, 0, b"\x91" * 60000),
    "a hello in a dialog": pack(Kind.HELLO, 0, 1, make_hello()[HEADER.size :]),
    "an older version": make_hello(protocol=PROTOCOL_VERSION - 1),
    "a newer version": make_hello(protocol=PROTOCOL_VERSION + 1),
    "a wrong token": make_hello(token=b"let me in, I am your child......"),
    "addresses that are none": make_hello(addrs=["/unix/", "\0"]),
    "a goodbye": BYE,
    "a malformed goodbye": pack(Kind.BYE, 0, 0, b"\xc1"),
    "a request before the hello": HANG + make_hello(),
    "a result before the hello": pack(Kind.RETURN, 0, 1, b"\xc0"),
}

#: What a peer says that has shaken hands, and is hung up on for.
BAD_FRAMES = {
    "garbage": GARBAGE,
    "a message over the limit": pack_header(Kind.START, 0, 1, LIMIT + 1) + bytes(5000),
    "an unknown kind": HEADER.pack(0, MAGIC, 99, 0, 1),
    "unknown flags": HEADER.pack(0, MAGIC, Kind.START, 0x80, 1),
    "a second hello": make_hello(),
    "an error of the channel": pack(Kind.ERROR, 0, 0, b"\xc0"),
    "a malformed goodbye": pack(Kind.BYE, 0, 0, b"\xc1"),
    "an item of no dialog": pack(Kind.ITEM, 0, 1, b"\x01"),
    "a cancellation of no dialog": pack(Kind.CANCEL, 0, 77, encode(Cancel(("x", "y"), ""))),
    "an item of a dialog of ours": pack(Kind.ITEM, 0, 2, b"\x01"),
    "a request with an id of ours": make_start(2, f"{MODULE}:hang"),
    "a request without an id": make_start(0, f"{MODULE}:hang"),
    "a request that is there already": HANG + HANG,
    "a request with an older id": make_start(9, f"{MODULE}:add", a=1, b=1) + make_start(7, f"{MODULE}:hang"),
    "an item of a call": HANG + pack(Kind.ITEM, 0, 1, b"\x01"),
    "a result of one's own call": HANG + pack(Kind.RETURN, 0, 1, b"\x01"),
    "a malformed cancellation": HANG + pack(Kind.CANCEL, 0, 1, b"\xc1"),
    "a cancellation by nobody": HANG + pack(Kind.CANCEL, 0, 1, encode([1, 2])),
    "a malformed stream": SLEEPER + pack(Kind.STREAM, 0, 1, b"x"),
    "a malformed credit": SLEEPER + pack(Kind.CREDIT, 0, 1, b"\xff" * 7),
    "a malformed error": SLEEPER + pack(Kind.ERROR, 0, 1, b"\x93"),
    "an item before the stream": SLEEPER + pack(Kind.ITEM, 0, 1, b"\x01"),
    "a start of the started": SLEEPER + pack(Kind.STARTED, 0, 1, b"\xc0"),
    "a context of a context": SLEEPER + SLEEPER,
}


@pytest.mark.parametrize("name", BAD_BEGINNINGS)
async def test_a_stranger_who_does_not_say_a_proper_hello_is_hung_up_on(name: str, transport: str) -> None:
    """At once, and without a word but our own hello."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.send(BAD_BEGINNINGS[name])
        with trio.fail_after(1):
            frames = await peer.receive_rest()
        assert [frame[0] for frame in frames] in ([], [Kind.HELLO])


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_peer_that_breaks_the_rules_is_hung_up_on(name: str, transport: str) -> None:
    """What it has asked for is cancelled; nobody else notices."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        await peer.send(BAD_FRAMES[name])
        with trio.fail_after(1):
            await peer.receive_rest()


@pytest.mark.parametrize("by", ["byte", "frame"])
async def test_how_the_bytes_arrive_makes_no_difference(by: str, transport: str) -> None:
    """A peer may be slow, once it is known."""
    said = make_start(1, f"{MODULE}:add", a=20, b=22)
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        for begin in range(0, len(said), 1 if by == "byte" else len(said)):
            await peer.send(said[begin : begin + (1 if by == "byte" else len(said))])
            await trio.sleep(0)
        assert await peer.receive() == (Kind.RETURN, 0, 1, encode(42))


@pytest.mark.parametrize("how", ["silent", "one byte", "byte by byte", "never finished"])
async def test_a_stranger_has_to_say_hello_in_time(
    how: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However busy it looks."""
    async with open_scene(transport) as scene:
        monkeypatch.setattr(_actor, "HANDSHAKE_TIMEOUT", 0.2)
        async with open_raw(scene.addr) as peer, trio.open_nursery() as nursery:
            before = trio.current_time()

            async def drip() -> None:
                for byte in make_hello(name="x" * 1000):
                    await peer.send(bytes([byte]))
                    await trio.sleep(0.01)

            match how:
                case "one byte":
                    await peer.send(make_hello()[:1])
                case "byte by byte":
                    nursery.start_soon(drip)
                case "never finished":
                    await peer.send(pack_header(Kind.HELLO, 0, 0, 60000), bytes(59999))
            with trio.fail_after(1):
                await peer.receive_rest()
            assert trio.current_time() - before >= 0.19
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("said", ["nothing", "part of a hello", "hello", "a request", "part of a request"])
async def test_a_peer_may_hang_up_at_any_moment(said: str, transport: str) -> None:
    """Also only half, for it cannot be told anything any more that matters."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        match said:
            case "part of a hello":
                await peer.send(make_hello()[:30])
            case "hello" | "a request" | "part of a request":
                await peer.shake()
        if said == "a request":
            await peer.send(HANG)
            with trio.fail_after(1):
                while not scene.actor.served:
                    await trio.sleep(0.001)
        elif said == "part of a request":
            await peer.send(HANG[:-1])
        peer.send_eof()
        with trio.fail_after(1):
            await peer.receive_rest()


@pytest.mark.parametrize("flags", [0, CONTEXT])
@pytest.mark.parametrize("body", [b"", b"\xc1", encode("text"), encode(["x:y", 5]), b"\x91" * 5000])
async def test_a_malformed_request_is_answered(body: bytes, flags: int, transport: str) -> None:
    """With an error; the connection goes on."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        await peer.send(pack(Kind.START, flags, 1, body), make_start(3, f"{MODULE}:add", a=1, b=1))
        with trio.fail_after(1):
            frames = [await peer.receive(), await peer.receive()]
        by_id = {frame[2]: frame for frame in frames if frame is not None}
        assert load_error(by_id[1]).boxed_type == "TypeError"
        assert "malformed request" in load_error(by_id[1]).message
        assert by_id[3][0] == Kind.RETURN


async def test_frames_of_a_dialog_that_is_over_are_ignored(transport: str) -> None:
    """They may have crossed its end."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        await peer.send(make_start(1, f"{MODULE}:add", a=1, b=1))
        assert await peer.receive() == (Kind.RETURN, 0, 1, encode(2))
        for kind in (Kind.CANCEL, Kind.ITEM, Kind.STOP, Kind.CREDIT, Kind.STREAM, Kind.ERROR):
            await peer.send(pack(kind, 0, 1, b"late"))
        await peer.send(make_start(3, f"{MODULE}:add", a=2, b=2))
        with trio.fail_after(1):
            assert await peer.receive() == (Kind.RETURN, 0, 3, encode(4))


async def test_a_probe_is_greeted_and_let_go(transport: str) -> None:
    """It only wanted to know who is there."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(is_probe=True)
        with trio.fail_after(1):
            assert await peer.receive() is None


@pytest.mark.parametrize("who", ["victim", "friend"])
async def test_a_stranger_with_the_uuid_of_another_changes_nothing(who: str, transport: str) -> None:
    """Who already is a peer stays one, also when the other hangs up."""
    async with open_scene(transport) as scene:
        uuid = scene.actor.aid.uuid if who == "victim" else next(iter(scene.actor.peers))
        async with open_raw(scene.addr) as peer:
            await peer.shake(uuid=uuid)
            await peer.send(make_start(1, f"{MODULE}:add", a=1, b=1))
            assert await peer.receive() == (Kind.RETURN, 0, 1, encode(2))


async def test_who_knows_the_token_but_is_somebody_else_is_hung_up_on(transport: str) -> None:
    """Whoever was waiting for a child decides that, and the connection is closed."""
    async with open_scene(transport) as scene:
        heard: list[str] = []

        async def welcome(channel: tractor.Channel, hello: Any) -> None:
            heard.append(hello.uuid)

        scene.actor.expected[b"secret"] = welcome
        async with open_raw(scene.addr) as peer:
            await peer.shake(token=b"secret", uuid="impostor")
            with trio.fail_after(1):
                assert await peer.receive() is None
        assert heard == ["impostor"]
        assert scene.actor.expected == {}


async def test_a_child_process_survives_them_all(transport: str) -> None:
    """One after the other and at once; it holds no more than before, in memory neither."""
    async with tractor.open_nursery(enable_transports=[transport], max_msg_size=LIMIT) as nursery:
        portal = await nursery.start_actor("victim", enable_modules=[MODULE])
        addr = portal.chan.peer_addrs[0]

        async def attack(shake: bool, said: bytes) -> None:
            async with open_raw(addr) as peer:
                if shake:
                    await peer.shake()
                await peer.send(said)
                with trio.fail_after(5):
                    await peer.receive_rest()

        async def attack_all() -> None:
            async with trio.open_nursery() as attackers:
                for said in BAD_BEGINNINGS.values():
                    attackers.start_soon(attack, False, said)
                for said in BAD_FRAMES.values():
                    attackers.start_soon(attack, True, said)

        for _ in range(10):
            await attack_all()
        before = await portal.run(victims.measure)
        for _ in range(20):
            await attack_all()
        after = await portal.run(victims.measure)
        with trio.move_on_after(2):
            while {**after, "memory": 0} != {**before, "memory": 0}:
                await trio.sleep(0.01)
                after = await portal.run(victims.measure)
        assert {**after, "memory": 0} == {**before, "memory": 0}
        assert after["memory"] < before["memory"] + 32 * 1024
        assert await portal.run(victims.add, a=1, b=1) == 2
        await nursery.cancel()

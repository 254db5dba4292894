"""Peers that lie within a dialog: whoever waits for them is told what they did, and they are hung up on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.programs import victims
from tests.rawpeer import LIMIT, MODULE, SLEEPER, RawPeer, Scene, encode, make_start, open_raw, open_scene
from tractor import MsgTypeError, Portal, TransportClosed
from tractor._errors import RemoteProtocolError
from tractor.msg._types import Bye, Cancel
from tractor.runtime._flow import CREDIT
from tractor.wire._frame import pack
from tractor.wire._kinds import Flag, Kind

CREDITED, BACKPRESSURE = int(Flag.CREDITED), int(Flag.BACKPRESSURE)
CANCEL = encode(Cancel(("x", "y"), ""))
#: The first dialog that the victim starts with a peer that has dialled.
OURS = 2


def frame(kind: Kind, body: bytes = b"\xc0", flags: int = 0, did: int = OURS) -> bytes:
    """Return a frame of the dialog that the victim has started."""
    return pack(kind, flags, did, body)


STARTED = frame(Kind.STARTED)
STREAM = frame(Kind.STREAM, CREDIT.pack(100, 100_000))
ITEM, STOP, RETURN = frame(Kind.ITEM), frame(Kind.STOP, b""), frame(Kind.RETURN)

#: What a peer may not say that was asked for a call.
LIES_OF_CALLS = {
    "it has started": STARTED,
    "a stream": STREAM,
    "an item": ITEM,
    "an end of items": STOP,
    "credit": frame(Kind.CREDIT, CREDIT.pack(1, 1)),
    "a cancellation": frame(Kind.CANCEL, CANCEL),
    "a start": frame(Kind.START),
    "an error that is none": frame(Kind.ERROR, b"\x93\x01\x02\x03"),
    "an error cut short": frame(Kind.ERROR, b"\xdc\xff\xff"),
    "a result of a call that was never made": frame(Kind.RETURN, did=OURS + 2),
}

#: The same for a context; each is the last of some frames.
LIES_OF_CONTEXTS = {
    "a result before the start": RETURN,
    "an item before the start": ITEM,
    "a stream before the start": STREAM,
    "credit before the start": frame(Kind.CREDIT, CREDIT.pack(1, 1)),
    "two starts": STARTED * 2,
    "an item without a stream": STARTED + ITEM,
    "an end without a stream": STARTED + STOP,
    "two streams at once": STARTED + STREAM * 2,
    "two ends": STARTED + STREAM + STOP * 2,
    "an item after the end": STARTED + STREAM + STOP + ITEM,
    "a cancellation": STARTED + frame(Kind.CANCEL, CANCEL),
    "a malformed stream": STARTED + frame(Kind.STREAM, b"x"),
    "malformed credit": STARTED + frame(Kind.CREDIT, bytes(9)),
    "an item without credit": STARTED + STREAM + frame(Kind.ITEM, flags=CREDITED),
    "an error that is none": frame(Kind.ERROR, b"\x01"),
}

#: What a peer says last that has asked for a context.
LIES_OF_OPENERS = {
    "that it has started": pack(Kind.STARTED, 0, 1, b"\xc0"),
    "a result": pack(Kind.RETURN, 0, 1, b"\xc0"),
    "two streams at once": pack(Kind.STREAM, 0, 1, CREDIT.pack(1, 1)) * 2,
    "two ends": pack(Kind.STREAM, 0, 1, CREDIT.pack(1, 1)) + pack(Kind.STOP, 0, 1, b"") * 2,
    "two cancellations": pack(Kind.CANCEL, 0, 1, CANCEL) * 2,
    "more items than credit": (
        pack(Kind.STREAM, BACKPRESSURE, 1, CREDIT.pack(1, 1)) + pack(Kind.ITEM, CREDITED, 1, b"\x01") * 65
    ),
    "more bytes than credit": (
        pack(Kind.STREAM, BACKPRESSURE, 1, CREDIT.pack(1, 1))
        + pack(Kind.ITEM, CREDITED, 1, bytes(LIMIT // 2)) * 3
    ),
    "a question with a book in it": pack(Kind.PING, 0, 0, bytes(65)),
}


@asynccontextmanager
async def open_liar(transport: str) -> AsyncGenerator[tuple[Scene, RawPeer, Portal]]:
    """Connect a raw peer to a victim, and yield the victim's portal to it."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="liar")
        yield scene, peer, Portal(await scene.wait_peer("liar"))


async def find_out(wait: Callable[[], Awaitable[Any]], peer: RawPeer, said: bytes) -> TransportClosed:
    """Let the peer say something, once it was asked; return what whoever has asked is told."""
    caught: list[TransportClosed] = []

    async def watch() -> None:
        with pytest.raises(TransportClosed) as info:
            await wait()
        caught.append(info.value)

    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            asked = await peer.receive()
            assert asked is not None
            assert (asked[0], asked[2]) == (Kind.START, OURS)
            await peer.send(said)
            await peer.receive_rest()
    return caught[0]


def check_verdict(error: TransportClosed) -> None:
    """It names the peer and says that the protocol was broken."""
    assert error.peer.startswith("stranger@")
    assert isinstance(error.src_exc, RemoteProtocolError)
    assert error.__cause__ is error.src_exc
    assert str(error.src_exc) in str(error)


@pytest.mark.parametrize("name", LIES_OF_CALLS)
async def test_a_lie_about_a_call(name: str, transport: str) -> None:
    """The caller hears of it at once."""
    async with open_liar(transport) as (_, peer, portal):
        check_verdict(await find_out(lambda: portal.run(victims.hang), peer, LIES_OF_CALLS[name]))


@pytest.mark.parametrize("waits", ["in the block", "for an item"])
@pytest.mark.parametrize("name", LIES_OF_CONTEXTS)
async def test_a_lie_about_a_context(name: str, waits: str, transport: str) -> None:
    """Wherever its opener is."""

    async def use() -> None:
        async with portal.open_context(victims.sleeper) as (ctx, _):
            if waits == "in the block":
                await trio.sleep_forever()
            async with ctx.open_stream() as stream:
                while True:
                    await stream.receive()

    async with open_liar(transport) as (_, peer, portal):
        check_verdict(await find_out(use, peer, LIES_OF_CONTEXTS[name]))


@pytest.mark.parametrize("name", LIES_OF_OPENERS)
async def test_a_lie_of_an_opener(name: str, transport: str) -> None:
    """Its endpoint is cancelled with the connection."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        await peer.send(SLEEPER)
        started = await peer.receive()
        assert started is not None
        assert started[0] == Kind.STARTED
        await peer.send(LIES_OF_OPENERS[name])
        with trio.fail_after(1):
            await peer.receive_rest()


@pytest.mark.parametrize("late", [ITEM, RETURN, STARTED, STOP, STREAM, frame(Kind.ERROR), frame(Kind.CREDIT)])
async def test_what_follows_a_result_does_not_touch_it(late: bytes, transport: str) -> None:
    """The peer is hung up on; the context has ended before that, and keeps what it has."""
    async with open_liar(transport) as (_, peer, portal):
        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.receive)
                await wait_all_tasks_blocked()
                nursery.start_soon(peer.send, STARTED + STREAM + ITEM + RETURN + late)
                async with portal.open_context(victims.sleeper) as (ctx, _):
                    await portal._router.wait_lost()
                    async with ctx.open_stream() as stream:
                        assert [item async for item in stream] == [None]
                    assert await ctx.wait_for_result() is None
        assert ctx.maybe_error is None


@pytest.mark.parametrize("kind", [Kind.STARTED, Kind.RETURN])
async def test_a_value_that_cannot_be_read_costs_one_request(kind: Kind, transport: str) -> None:
    """It is no breach of the protocol: another call gets its answer."""

    async def serve() -> None:
        said = {
            Kind.STARTED: frame(Kind.STARTED, b"\xc1"),
            Kind.RETURN: STARTED + frame(Kind.RETURN, b"\xc1"),
        }
        await peer.receive()
        await peer.send(said[kind])
        while (asked := await peer.receive()) is not None and asked[0] != Kind.START:
            pass
        await peer.send(frame(Kind.RETURN, encode(42), did=OURS + 2))

    async with open_liar(transport) as (_, peer, portal), trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        with trio.fail_after(2):
            with pytest.raises(MsgTypeError):
                async with portal.open_context(victims.sleeper) as (ctx, _):
                    await ctx.wait_for_result()
            assert await portal.run(victims.add, a=1, b=1) == 42


async def test_who_has_said_goodbye_and_goes_on_is_served(transport: str) -> None:
    """A goodbye says how one ends, not when; only the last one counts."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="leaver")
        for how in ("crashed", "returned"):
            await peer.send(pack(Kind.BYE, 0, 0, encode(Bye(how, None, "", None))))
        await peer.send(make_start(1, f"{MODULE}:add", a=1, b=1))
        with trio.fail_after(1):
            assert await peer.receive() == (Kind.RETURN, 0, 1, encode(2))
        bye: Any = (await scene.wait_peer("leaver")).channel.bye
        assert bye.how == "returned"


async def test_credit_without_end_makes_nobody_send_without_end(transport: str) -> None:
    """More than the other side could ever take: the sender still waits for the connection to have room."""
    absurd = CREDIT.pack(2**32 - 1, 2**32 - 1)
    sent = 0

    async def pour() -> None:
        nonlocal sent
        async with portal.open_context(victims.sleeper) as (ctx, _):
            async with ctx.open_stream(backpressure=True) as stream:
                while True:
                    await stream.send(bytes(10_000))
                    sent += 10_000

    async with open_liar(transport) as (_, peer, portal), trio.open_nursery() as nursery:
        nursery.start_soon(pour)
        await peer.receive()
        await peer.send(STARTED, frame(Kind.STREAM, absurd, BACKPRESSURE), frame(Kind.CREDIT, absurd) * 1000)
        before = -1
        while before != (before := sent):
            await trio.sleep(0.05)
        assert portal.chan.unread < 512 * 1024
        assert portal._router.lost is None
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("uid", ["victim", "friend", "both"])
async def test_who_claims_to_be_somebody_else_hears_nothing_of_theirs(uid: str, transport: str) -> None:
    """Dialogs belong to a connection, not to a name: neither answers nor cancellations cross."""
    async with open_scene(transport) as scene:
        friend = next(iter(scene.actor.peers))
        heard: list[str] = []

        async def hang() -> None:
            try:
                await scene.portal.run(victims.hang)
            except trio.Cancelled:
                heard.append("cancelled here")
                raise

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            while not scene.actor.served:
                await trio.sleep(0.001)
            async with open_raw(scene.addr) as peer:
                await peer.shake(uuid=friend if uid != "victim" else scene.actor.aid.uuid, name="friend")
                # The ids of their dialogs, on the liar's connection.
                for did in (1, 3, 5):
                    await peer.send(pack(Kind.CANCEL, 0, did, CANCEL))
                with trio.fail_after(1):
                    assert await peer.receive() is None
            assert len(scene.actor.served) == 1
            assert await scene.portal.run(victims.add, a=1, b=1) == 2
            assert heard == []
            nursery.cancel_scope.cancel()
        assert heard == ["cancelled here"]


async def test_a_peer_cannot_answer_what_another_was_asked(transport: str) -> None:
    """A result for a dialog of ours, by a connection that it did not go to."""
    async with open_liar(transport) as (scene, honest, portal), open_raw(scene.addr) as liar:
        await liar.shake(uuid="liar")
        answer: list[Any] = []

        async def ask() -> None:
            answer.append(await portal.run(victims.add, a=1, b=1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            asked = await honest.receive()
            assert asked is not None
            await liar.send(pack(Kind.RETURN, 0, asked[2], encode("lie")))
            with trio.fail_after(1):
                assert await liar.receive() is None
            assert answer == []
            await honest.send(pack(Kind.RETURN, 0, asked[2], encode("truth")))
        assert answer == ["truth"]

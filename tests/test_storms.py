"""Peers that say the same without end: what they may say costs a bounded amount, and others are served meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import trio

import tractor
from tests.programs import floods, victims
from tests.rawpeer import (
    CONTEXT,
    MODULE,
    SLEEPER,
    RawPeer,
    encode,
    load_error,
    make_start,
    open_raw,
    open_scene,
)
from tractor import TransportClosed
from tractor.ipc import _channel
from tractor.ipc._transport import Buffer, SocketTransport
from tractor.msg._types import Bye, Cancel
from tractor.runtime._flow import CREDIT
from tractor.runtime._link import Link
from tractor.runtime._serve import ServedContext
from tractor.wire._frame import pack
from tractor.wire._kinds import Flag, Kind

#: KiB by which the actor may grow, for whatever comes.
GROWTH = 16 * 1024
#: Requests of one peer that it serves at a time.
REQUESTS = 200
CREDITED = int(Flag.CREDITED)
CANCEL = encode(Cancel(("x", "y"), ""))
MOST = CREDIT.pack(2**32 - 1, 2**32 - 1)


class Storm(NamedTuple):
    """What is said first, how many frames it is answered with, what is said how often after that, and what before it."""

    first: bytes
    answers: int
    again: Callable[[int], bytes]
    times: int
    second: bytes = b""


ADD = make_start(1, f"{MODULE}:add", a=1, b=1)
OPEN = pack(Kind.STREAM, 0, 1, CREDIT.pack(1, 1))

STORMS = {
    "requests and cancellations": Storm(
        b"",
        0,
        lambda n: make_start(2 * n + 1, f"{MODULE}:hang") + pack(Kind.CANCEL, 0, 2 * n + 1, CANCEL),
        2_000,
    ),
    "contexts and cancellations": Storm(
        b"",
        0,
        lambda n: (
            make_start(2 * n + 1, f"{MODULE}:sleeper", CONTEXT) + pack(Kind.CANCEL, 0, 2 * n + 1, CANCEL)
        ),
        2_000,
    ),
    "requests that are never cancelled": Storm(
        b"", 0, lambda n: make_start(2 * n + 1, f"{MODULE}:hang"), 10_000
    ),
    "streams opened and closed": Storm(SLEEPER, 2, lambda _: OPEN + pack(Kind.STOP, 0, 1, b""), 50_000),
    "credit": Storm(SLEEPER, 2, lambda _: pack(Kind.CREDIT, 0, 1, MOST), 100_000, OPEN),
    "credit for no bytes": Storm(
        SLEEPER, 2, lambda _: pack(Kind.CREDIT, 0, 1, CREDIT.pack(9, 0)), 100_000, OPEN
    ),
    "items that overrun": Storm(SLEEPER, 2, lambda _: pack(Kind.ITEM, 0, 1, bytes(1000)), 20_000, OPEN),
    "items of a dialog that is over": Storm(ADD, 1, lambda _: pack(Kind.ITEM, 0, 1, bytes(1000)), 20_000),
    "results of a dialog that is over": Storm(ADD, 1, lambda _: pack(Kind.RETURN, 0, 1, bytes(1000)), 20_000),
    "questions": Storm(b"", 0, lambda _: pack(Kind.PING, 0, 0, b"there?"), 20_000),
    "answers to no question": Storm(b"", 0, lambda _: pack(Kind.PONG, 0, 0, b""), 50_000),
    "goodbyes": Storm(
        b"", 0, lambda n: pack(Kind.BYE, 0, 0, encode(Bye("crashed", None, "x" * 1000, None))), 10_000
    ),
}


async def wait_answer(peer: RawPeer, did: int) -> None:
    """Read until that request is answered: all that was said before it has been taken in."""
    while (frame := await peer.receive()) is not None:
        if frame[2] == did:
            return
    pytest.fail("hung up on")


async def rage(peer: RawPeer, storm: Storm) -> None:
    """Say it all, reading whatever comes back."""
    await peer.shake(uuid="storm")
    await peer.send(storm.first)
    for _ in range(storm.answers):
        await peer.receive()
    await peer.send(storm.second)
    last = 2**40 + 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_answer, peer, last)
        for begin in range(0, storm.times, 500):
            await peer.send(*map(storm.again, range(begin, min(begin + 500, storm.times))))
        await peer.send(make_start(last, f"{MODULE}:add", a=1, b=1))


@pytest.mark.parametrize("name", STORMS)
async def test_a_storm_passes(name: str, transport: str) -> None:
    """While it lasts others are answered; then everything is as it was."""
    async with tractor.open_nursery(enable_transports=[transport], max_requests=REQUESTS) as nursery:
        portal = await nursery.start_actor("victim", enable_modules=[MODULE, floods.__name__])
        before = await portal.run(victims.measure)
        memory = await portal.run(floods.begin_measuring)
        slowest = 0.0
        over = trio.Event()

        async def look() -> None:
            nonlocal slowest
            while not over.is_set():
                began = trio.current_time()
                await portal.run(victims.add, a=1, b=1)
                slowest = max(slowest, trio.current_time() - began)
                await trio.sleep(0.02)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(look)
            async with open_raw(portal.chan.peer_addrs[0]) as peer:
                await rage(peer, STORMS[name])
            over.set()
        after = await portal.run(victims.measure)
        with trio.move_on_after(3):
            while {**after, "memory": 0} != {**before, "memory": 0}:
                await trio.sleep(0.01)
                after = await portal.run(victims.measure)
        grown = await portal.run(floods.read_peak) - memory
        print(f"{name}: grown by {grown} KiB, an answer took at most {slowest * 1e3:.0f} ms")  # noqa: T201
        assert {**after, "memory": 0} == {**before, "memory": 0}
        assert grown < GROWTH
        assert slowest < 2
        await nursery.cancel()


@pytest.mark.parametrize("flags", [0, CONTEXT])
async def test_a_request_too_many_is_answered_at_once(flags: int, transport: str) -> None:
    """What follows in its dialog is ignored; the others go on, and so does the connection."""
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        scene.actor.max_requests = 2
        await peer.shake()
        for did in (1, 3, 5):
            await peer.send(make_start(did, f"{MODULE}:{'sleeper' if flags else 'hang'}", flags))
        with trio.fail_after(1):
            while (frame := await peer.receive()) is not None and frame[2] != 5:
                pass
        assert frame is not None
        assert load_error(frame).boxed_type == "TooManyRequests"
        await peer.send(pack(Kind.STREAM, 0, 5, CREDIT.pack(1, 1)), pack(Kind.CANCEL, 0, 5, CANCEL))
        await peer.send(pack(Kind.CANCEL, 0, 1, CANCEL))
        with trio.fail_after(1):
            while (frame := await peer.receive()) is not None and frame[:3] != (Kind.ERROR, 0, 1):
                pass
        assert frame is not None
        assert load_error(frame).boxed_type == "ContextCancelled"
        await peer.send(make_start(7, f"{MODULE}:add", a=1, b=1))
        with trio.fail_after(1):
            while (frame := await peer.receive()) is not None and frame[2] != 7:
                pass
        assert frame == (Kind.RETURN, 0, 7, encode(2))


async def test_a_peer_that_sends_by_credit_it_never_reads_is_cut_off(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can guess what it would have read; the credit that waits for it must not pile up."""
    monkeypatch.setattr(_channel, "UNREAD_LIMIT", 5000)
    monkeypatch.setattr(_channel, "UNREAD_TIMEOUT", 0.0)
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="guesser")
        await peer.send(make_start(1, f"{MODULE}:swallow", CONTEXT))
        await peer.receive()
        await peer.send(OPEN)
        (served,) = scene.actor.served
        assert isinstance(served, ServedContext)
        full, real_send, real_wait = (
            served.chan.transport,
            SocketTransport.send_nowait,
            SocketTransport.wait_writable,
        )

        # As if the connection had filled up: what it takes before that differs from kernel to kernel.
        def send(transport: SocketTransport, chunks: Sequence[Buffer]) -> int:
            if transport is full:
                raise BlockingIOError
            return real_send(transport, chunks)

        async def wait(transport: SocketTransport) -> None:
            if transport is full:
                await trio.sleep_forever()
            await real_wait(transport)

        monkeypatch.setattr(SocketTransport, "send_nowait", send)
        monkeypatch.setattr(SocketTransport, "wait_writable", wait)
        granted = [1]
        real = Link.grant

        def count(link: Link, kind: Kind, *args: int) -> None:
            granted[0] += 1
            real(link, kind, *args)

        monkeypatch.setattr(Link, "grant", count)
        sent = 0
        with trio.fail_after(30):
            while served.chan.connected():
                if sent < granted[0]:
                    sent += 1
                    await peer.send(pack(Kind.ITEM, CREDITED, 1, b"\x01"))
                else:
                    await trio.sleep(0)
        with pytest.raises(TransportClosed, match="does not read its credit"):
            raise served.chan.loss()
        assert served.chan.unread == 0


async def test_a_peer_that_reads_too_slowly_is_cut_off(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a little now and then is not enough, when what waits for it is too much."""
    monkeypatch.setattr(_channel, "UNREAD_LIMIT", 50_000)
    monkeypatch.setattr(_channel, "UNREAD_MOST", 5_000_000)
    async with open_scene(transport) as scene, open_raw(scene.addr) as peer:
        await peer.shake(uuid="slow")
        router = await scene.wait_peer("slow")
        refused = held = did = 0
        with trio.fail_after(20):
            while router.lost is None:
                await peer.send(
                    *(make_start(n, f"{MODULE}:make", size=900_000) for n in range(did + 1, did + 100, 2))
                )
                did += 100
                await peer.stream.receive_some(10)
                held = max(held, router.channel.unread)
                refused += router.channel.crowded()
        # Those 50 had been asked for before there was too much.
        assert refused
        assert held < 2 * 5_000_000 + 50 * 1_000_000

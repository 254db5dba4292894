"""An actor: its identity, its peers, and connections to others."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.rawpeer import make_hello
from tests.resident import Resident, find_router, join, open_pair, open_resident
from tractor._errors import RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._addr import get_address_cls
from tractor.ipc._channel import Channel
from tractor.ipc._dial import connect
from tractor.ipc._mem import memory_transport_pair
from tractor.ipc._server import Server
from tractor.msg._codec import get_codec
from tractor.msg._types import Bye, Hello
from tractor.runtime import _actor
from tractor.runtime._actor import Actor
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._portal import Portal
from tractor.runtime._router import Router
from tractor.runtime._vars import RuntimeVars
from tractor.wire._kinds import Kind

HERE = __name__


async def name_of_actor() -> str:
    """Return where this runs."""
    return tractor.current_actor().name


async def sleep() -> None:
    """Sleep until cancelled."""
    await trio.sleep_forever()


@asynccontextmanager
async def listening(name: str, transport: str, *modules: str) -> AsyncGenerator[Resident]:
    """Run an actor that can be connected to."""
    address = get_address_cls(transport).get_random(name)
    async with open_resident(name, *modules, binds=[address]) as resident:
        yield resident


async def test_what_an_actor_knows_of_itself(transport: str) -> None:
    """Identity, roles, exposed modules and addresses."""
    async with listening("me", transport, HERE) as me:
        actor = me.actor
        assert actor.aid == Aid("me", actor.aid.uuid, os.getpid())
        assert (actor.name, actor.uid, actor.pid) == ("me", ("me", actor.aid.uuid), os.getpid())
        assert (actor.is_root, actor.is_registrar) == (False, False)
        assert actor.enable_modules == {HERE: __file__}
        assert actor.accept_addrs == [addr.unwrap() for addr in actor.server.addrs]
        assert actor.accept_addr == actor.accept_addrs[0]
        assert repr(actor) == f"<Actor me@{os.getpid()}>"
        with pytest.raises(RuntimeError, match="no parent"):
            actor.get_parent()


async def test_actors_find_each_other_by_address(transport: str) -> None:
    """The connection works both ways, and each lists the other; several may exist at once."""
    async with listening("alice", transport, HERE) as alice, listening("bob", transport, HERE) as bob:
        router = await alice.actor.connect(bob.actor.server.addrs[0])
        assert router.peer == bob.actor.aid
        assert router.channel.peer_addrs == bob.actor.server.addrs
        assert await Portal(router).run(name_of_actor) == "bob"
        back = find_router(bob.actor, alice.actor.aid)
        assert back is not None
        assert back.peer.pid == os.getpid()
        second = await alice.actor.connect(bob.actor.server.addrs[0])
        assert alice.actor.peers[bob.actor.aid.uuid] == [router, second]
        await second.channel.aclose()
        await router.channel.aclose()
        await wait_all_tasks_blocked(0.01)
        assert alice.actor.peers == bob.actor.peers == {}


async def test_nobody_there_is_an_os_error(transport: str) -> None:
    """And leaves nothing."""
    async with listening("alice", transport) as alice:
        async with listening("bob", transport) as bob:
            address = bob.actor.server.addrs[0]
        with pytest.raises(OSError, match=r"refused|no such socket"):
            await alice.actor.connect(address)
        assert alice.actor.peers == {}


async def test_a_peer_that_is_leaving_refuses(transport: str) -> None:
    """Its goodbye instead of a hello counts as nobody there."""

    async def refuse(channel: Channel) -> None:
        channel.post(Kind.BYE, 0, 0, get_codec().encode(Bye("cancelled", None, "closing time", None)))
        await channel.aclose()

    server = Server(refuse, limit=10_000)
    address = server.bind(get_address_cls(transport).get_random("leaver"))
    async with trio.open_nursery() as nursery, listening("alice", transport) as alice:
        nursery.start_soon(server.serve)
        with pytest.raises(ConnectionRefusedError, match="is leaving"):
            await alice.actor.connect(address)
        nursery.cancel_scope.cancel()


async def keep_silent(channel: Channel) -> None:
    """Say nothing until cancelled."""
    try:
        await trio.sleep_forever()
    finally:
        channel.abort()


@pytest.mark.parametrize("does", ["nothing", "half a hello", "garbage", "hangs up"])
async def test_a_listener_that_is_no_actor(
    does: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempt fails, in time, and nothing is left."""
    monkeypatch.setattr(_actor, "HANDSHAKE_TIMEOUT", 0.05)

    async def misbehave(channel: Channel) -> None:
        if does == "half a hello":
            channel.transport.send_nowait([make_hello()[:20]])
        if does in ("nothing", "half a hello"):
            await keep_silent(channel)
        elif does == "garbage":
            channel.transport.send_nowait([b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"])
        channel.abort()

    server = Server(misbehave, limit=10_000)
    address = server.bind(get_address_cls(transport).get_random("stranger"))
    async with trio.open_nursery() as nursery, listening("alice", transport) as alice:
        nursery.start_soon(server.serve)
        silent = does in ("nothing", "half a hello")
        text = {True: r"did not say hello within 0\.05 s", False: "not a frame|closed by the peer"}[silent]
        with pytest.raises(TimeoutError if silent else TransportClosed, match=text):
            await alice.actor.connect(address)
        assert alice.actor.peers == {}
        nursery.cancel_scope.cancel()


async def test_a_cancelled_connect_leaves_nothing(transport: str) -> None:
    """Neither a descriptor nor a peer."""
    server = Server(keep_silent, limit=10_000)
    address = server.bind(get_address_cls(transport).get_random("silent"))
    async with trio.open_nursery() as nursery, listening("alice", transport) as alice:
        nursery.start_soon(server.serve)
        with trio.move_on_after(0.02) as scope:
            await alice.actor.connect(address)
        assert scope.cancelled_caught
        assert alice.actor.peers == {}
        nursery.cancel_scope.cancel()


async def dial(resident: Resident, *, token: bytes = b"", is_probe: bool = False) -> Channel:
    """Connect as a bare peer and say hello."""
    channel = Channel(await connect(resident.actor.server.addrs[0]), dialer=True)
    say_hello(channel, Aid("stranger", "u-99", 1, is_probe=is_probe), [], token=token)
    await hear_hello(channel)
    return channel


async def closed_by_peer(channel: Channel) -> bool:
    """Wait for the peer to hang up."""
    with trio.move_on_after(1) as scope:
        await channel.run(lambda *frame: None)
    await channel.aclose()
    return not scope.cancelled_caught


async def test_a_probe_is_answered_but_is_no_peer(transport: str) -> None:
    """It only wants to know who is there."""
    async with listening("alice", transport) as alice:
        channel = await dial(alice, is_probe=True)
        assert channel.aid == alice.actor.aid
        assert alice.actor.peers == {}
        assert await closed_by_peer(channel)


async def test_a_wrong_token_is_refused(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is dropped; whoever is expected can still come, once."""
    welcomed: list[Hello | Bye] = []
    done = trio.Event()

    async def welcome(channel: Channel, hello: Hello | Bye) -> None:
        welcomed.append(hello)
        channel.abort()
        done.set()

    async with listening("alice", transport) as alice:
        alice.actor.expected[b"right"] = welcome
        assert await closed_by_peer(await dial(alice, token=b"wrong"))
        assert "wrong token" in caplog.text
        assert alice.actor.peers == {}
        channel = await dial(alice, token=b"right")
        await done.wait()
        assert welcomed[0].token == b"right"
        assert await closed_by_peer(channel)
        assert await closed_by_peer(await dial(alice, token=b"right"))
        assert len(welcomed) == 1


async def test_a_farewell_with_a_token_is_heard_by_whoever_expects_it(transport: str) -> None:
    """A child that cannot come up says so instead of a hello; the goodbye of a stranger is dropped."""
    heard: list[Hello | Bye] = []

    async def listen(channel: Channel, first: Hello | Bye) -> None:
        heard.append(first)

    async with listening("alice", transport) as alice:
        alice.actor.expected[b"right"] = listen
        for token in (b"", b"wrong", b"right", b"right"):
            bye = Bye("failed to boot", None, "no luck", None, token)
            channel = Channel(await connect(alice.actor.server.addrs[0]), dialer=True)
            channel.post(Kind.BYE, 0, 0, get_codec().encode(bye))
            assert await closed_by_peer(channel)
            assert len(heard) == (token == b"right")
        assert heard == [Bye("failed to boot", None, "no luck", None, b"right")]
        assert alice.actor.peers == {}


async def test_a_channel_has_one_router() -> None:
    """However often it is asked for."""
    async with open_resident("alice") as alice:
        channel = Channel(memory_transport_pair()[0], dialer=True)
        channel.aid = Aid("peer", "u-1")
        router = alice.actor.add_router(channel)
        assert alice.actor.add_router(channel) is router
        assert alice.actor.peers == {"u-1": [router]}
        channel.abort()


async def test_the_loss_of_a_peer_is_announced() -> None:
    """To whoever has asked, after the peer is off the list."""
    async with open_pair(HERE) as pair:
        lost: list[tuple[Aid, bool]] = []

        def note(router: Router) -> None:
            lost.append((router.peer, router.peer.uuid in pair.alice.actor.peers))

        pair.alice.actor.on_peer_lost.append(note)
        pair.bob.actor.cancel_soon()
        await pair.bob.gone.wait()
        await wait_all_tasks_blocked()
        assert lost == [(pair.bob.actor.aid, False)]


@pytest.mark.parametrize("kind", [Kind.HELLO, Kind.ERROR, Kind.BYE])
async def test_a_frame_that_has_no_place_ends_the_connection(kind: Kind) -> None:
    """A second hello, an error about the channel, a malformed goodbye: the peer cannot be trusted any more."""
    async with open_pair(HERE) as pair:
        pair.portal.chan.post(kind, 0, 0, b"\xc1")
        await wait_all_tasks_blocked()
        assert isinstance(pair.back.chan._lost, RemoteProtocolError)
        assert not pair.portal.chan.connected()
        other, _ = await join(pair.alice, pair.bob)
        assert await other.run(name_of_actor) == "bob"


async def test_cancelling_is_once() -> None:
    """The first caller counts; a later one may still hasten the end."""
    async with open_resident("alice") as alice:
        actor = alice.actor
        actor.cancel_soon(canceller=("first", "u-1"), detail="enough")
        actor.cancel_soon(canceller=("second", "u-2"), how="exited", grace=5)
        assert actor.cancel_called
        assert actor.cancel_caller == ("first", "u-1")
        assert actor.bye == Bye("cancelled", ("first", "u-1"), "enough", None)
        deadline: Any = actor.cancel_deadline
        assert deadline == pytest.approx(trio.current_time() + 5, abs=1)
        await alice.gone.wait()
        assert actor.cancel_complete.is_set()


def test_an_actor_that_does_not_run_says_so() -> None:
    """Rather than an attribute error."""

    async def main() -> None:
        actor = Actor("idle", variables=RuntimeVars(), modules={})
        with pytest.raises(AssertionError, match="is not running"):
            actor.start_request(sleep)
        with pytest.raises(AssertionError, match="is not running"):
            _ = actor.services
        assert actor.lift_shields() == 0

    trio.run(main)


@pytest.mark.parametrize("text", ["short", "x" * 2_000_000])
def test_a_crash_is_told_in_a_goodbye_of_bearable_size(text: str) -> None:
    """Whatever the error said."""

    async def main() -> None:
        actor = Actor("crasher", variables=RuntimeVars(_max_msg_size=20_000), modules={})
        actor.crashed(ValueError(text))
        assert actor.bye.how == "crashed"
        assert actor.bye.detail.startswith("ValueError: ")
        assert actor.bye.error is not None
        assert actor.bye.error.src_type == "ValueError"
        assert len(get_codec().encode(actor.bye)) < 20_000

    trio.run(main)

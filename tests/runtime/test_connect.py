"""A portal over a channel that the program has opened itself."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Resident, open_resident, run_fast
from tractor import Channel, Portal, TransportClosed
from tractor.ipc._addr import get_address_cls
from tractor.ipc._mem import memory_transport_pair
from tractor.runtime import open_portal
from tractor.runtime._actor import HANDSHAKE_TIMEOUT
from tractor.runtime._state import entered

HERE = __name__


async def whoami() -> str:
    """Return the name of the actor this runs in."""
    return tractor.current_actor().name


async def dial(peer: Resident) -> Channel:
    """Open a channel to an actor."""
    return await Channel.from_addr(peer.actor.server.addrs[0])


@pytest.mark.parametrize("shield", [True, False])
@pytest.mark.parametrize("own", [True, False])
async def test_who_knows_an_address_needs_no_name(transport: str, own: bool, shield: bool) -> None:
    """The portal works like any other; with the block the channel is closed, at both ends."""
    binds = [get_address_cls(transport).get_random("bob")]
    async with open_resident("alice") as alice, open_resident("bob", HERE, binds=list(binds)) as bob:
        with entered(alice.actor):
            async with trio.open_nursery() as nursery:
                channel = await dial(bob)
                async with open_portal(channel, nursery if own else None, shield=shield) as portal:
                    assert portal.aid == bob.actor.aid
                    assert portal.chan is channel
                    assert await portal.run(whoami) == "bob"
                    assert alice.actor.peers.keys() == {bob.actor.aid.uuid}
        assert channel.closed
        with pytest.raises(TransportClosed, match="closed locally"):
            await portal.run(whoami)
        with trio.fail_after(2):
            while bob.actor.peers or alice.actor.peers:
                await trio.sleep(0.001)


async def test_a_channel_that_is_served_gets_another_portal(transport: str) -> None:
    """Nothing is served twice; a portal can be made of it directly, too."""
    async with (
        open_resident("alice") as alice,
        open_resident("bob", HERE, binds=[get_address_cls(transport).get_random("bob")]) as bob,
    ):
        with entered(alice.actor):
            async with open_portal(await dial(bob)) as first:
                again = Portal(first.chan)
                assert again.chan is first.chan
                assert again._router is first._router
                assert await again.run(whoami) == "bob"
                async with open_portal(first.chan) as second:
                    assert await second.run(whoami) == "bob"
                assert not first.chan.connected()


async def test_the_caller_may_serve_the_channel_itself(transport: str) -> None:
    """Then nothing is heard before it does."""
    async with (
        open_resident("alice") as alice,
        open_resident("bob", HERE, binds=[get_address_cls(transport).get_random("bob")]) as bob,
    ):
        with entered(alice.actor):
            async with open_portal(await dial(bob), start_msg_loop=False) as portal:
                with trio.move_on_after(0.05) as scope:
                    await portal.run(whoami)
                assert scope.cancelled_caught
                alice.spawn(alice.actor.serve_channel, portal.chan)
                assert await portal.run(whoami) == "bob"


async def test_what_is_no_actor_is_refused() -> None:
    """And its channel closed."""
    ours, theirs = memory_transport_pair()
    async with open_resident("alice") as alice:
        with entered(alice.actor):
            theirs.send_nowait([b"HTTP/1.1 400 Bad Request\r\n\r\n"])
            with pytest.raises(TransportClosed, match="not a frame"):
                async with open_portal(Channel(ours, dialer=True)):
                    pytest.fail("entered")
            assert theirs.recv_nowait(memoryview(bytearray(4096)))
            await wait_all_tasks_blocked()
            assert theirs.recv_nowait(memoryview(bytearray(4096))) == 0
    theirs.close()


async def test_an_actor_that_is_leaving_is_not_there(transport: str) -> None:
    """It says goodbye instead of hello, or nothing, or before it could be asked for anything."""
    async with (
        open_resident("alice") as alice,
        open_resident("bob", HERE, binds=[get_address_cls(transport).get_random("bob")]) as bob,
    ):
        with entered(alice.actor):
            channel = await dial(bob)
            bob.actor.cancel_soon()
            await bob.gone.wait()
            with pytest.raises((OSError, TransportClosed)), trio.fail_after(2):
                async with open_portal(channel) as portal:
                    await portal.run(whoami)
            assert not channel.connected()


def test_what_says_nothing_is_given_up_on() -> None:
    """After ten seconds."""

    async def main() -> None:
        ours, theirs = memory_transport_pair()
        async with open_resident("alice") as alice:
            with entered(alice.actor):
                began = trio.current_time()
                with pytest.raises(TimeoutError, match="did not say hello"):
                    async with open_portal(Channel(ours, dialer=True)):
                        pytest.fail("entered")
                assert trio.current_time() - began == pytest.approx(HANDSHAKE_TIMEOUT)
        theirs.close()

    run_fast(main)


async def test_without_an_actor_there_is_no_portal() -> None:
    """Somebody has to say hello; and a channel that nobody serves makes none."""
    ours, theirs = memory_transport_pair()
    channel = Channel(ours, dialer=True)
    with pytest.raises(tractor.NoRuntime):
        async with open_portal(channel):
            pytest.fail("entered")
    with pytest.raises(RuntimeError, match=r"served by no actor; .*open_portal"):
        Portal(channel)
    with pytest.raises(TypeError, match="made of a channel"):
        Portal(("127.0.0.1", 80))  # type: ignore[arg-type]
    channel.abort()
    theirs.close()

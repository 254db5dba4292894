"""`get_root` and `get_peer_by_name`: actors that need no registry to be found."""

import pytest
import trio

import tractor
from tests.programs import seekers
from tractor.discovery import get_peer_by_name, get_root

MODULES = [seekers.__name__]


async def test_every_actor_reaches_its_root(transport: str) -> None:
    """The root itself, a child over the channel that it has, a grandchild over one that lasts as long as its block."""
    async with tractor.open_nursery(enable_transports=[transport], enable_modules=MODULES) as nursery:
        root = tractor.current_actor().aid.uid
        async with get_root() as portal:
            assert portal.aid.uid == root
            assert await portal.run(seekers.ping) == "root"
        kid = await nursery.start_actor("kid", enable_modules=MODULES)
        name, uid, connections = await kid.run(seekers.ask_root)
        assert (name, tuple(uid)) == ("root", root)
        assert connections[0] == connections[2] == 1
        name, uid, connections = await kid.run(seekers.in_grandchild, leaf="leaf", func="ask_root")  # type: ignore[misc]
        assert (name, tuple(uid)) == ("root", root)
        assert connections[1] >= 1
        await nursery.cancel()


async def test_the_addresses_of_the_root_are_those_of_the_channel_to_it(transport: str) -> None:
    """A child is told where its root listens; that is whom its parent's channel leads to."""
    async with tractor.open_nursery(enable_transports=[transport], enable_modules=MODULES) as nursery:
        addrs = tractor.current_actor().accept_addrs
        kid = await nursery.start_actor("kid", enable_modules=MODULES)
        told = await kid.run(seekers.tell_root_addrs)
        assert [tuple(addr) for addr in told] == addrs
        await nursery.cancel()


async def test_peers_are_those_that_are_connected(transport: str) -> None:
    """By name or uuid: a root knows its children, a child its parent, siblings nothing of each other."""
    async with tractor.open_nursery(enable_transports=[transport], enable_modules=MODULES) as nursery:
        kids = [await nursery.start_actor(name, enable_modules=MODULES) for name in ("twin", "twin", "other")]
        uids = [kid.aid.uid for kid in kids]
        assert [chan.aid and chan.aid.uid for chan in get_peer_by_name("twin")] == uids[:2]
        assert [chan.aid and chan.aid.uid for chan in get_peer_by_name(uids[1][1])] == [uids[1]]
        assert get_peer_by_name("nobody") == []
        seen = await kids[2].run(seekers.list_peers, names=["root", "twin"])
        assert [tuple(uid) for uid in seen["root"]] == [tractor.current_actor().aid.uid]
        assert seen["twin"] == []
        await kids[0].cancel_actor()
        with trio.fail_after(5):
            while len(get_peer_by_name("twin")) > 1:
                await trio.sleep(0.01)
        assert [chan.aid and chan.aid.uid for chan in get_peer_by_name("twin")] == uids[1:2]
        await nursery.cancel()


async def test_outside_of_an_actor_there_is_neither() -> None:
    """As for everything that asks the runtime."""
    with pytest.raises(tractor.NoRuntime):
        get_peer_by_name("root")
    with pytest.raises(tractor.NoRuntime):
        async with get_root():
            pass

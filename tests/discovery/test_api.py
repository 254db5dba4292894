"""Finding actors by name: what callers get, also when the registry is wrong or absent."""

import os
from typing import Any

import pytest
import trio

import tractor
from tests.programs import seekers
from tests.resident import open_resident
from tractor import Portal, RemoteActorError
from tractor.discovery._api import LocalPortal, prefer_addr
from tractor.discovery._registrar import Registrar, become_registrar
from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls

MODULES = [seekers.__name__]


def find_entry(actor: tractor.Actor, name: str) -> list[str] | None:
    """Return what the registrar knows of a name."""
    assert isinstance(actor.registrar, Registrar)
    return actor.registrar.find(name)


async def test_an_actor_is_found_by_its_name_or_uuid(transport: str) -> None:
    """The channel that there is already is used; it is not closed with the portal, nor with the block."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        for name in ("kid", portal.aid.uuid):
            async with tractor.find_actor(name, raise_on_none=True) as found:
                assert found.aid == portal.aid
                assert found.chan is portal.chan
                await found.aclose()
                assert await found.run(seekers.ping) == "kid"
        assert await portal.run(seekers.ping) == "kid"
        await nursery.cancel()


@pytest.mark.parametrize("name", ["nobody", "ki", "", "kid.x"])
async def test_an_unknown_name_yields_none(name: str) -> None:
    """Or raises where that was asked for, or yields an empty list."""
    async with tractor.open_root_actor() as root:
        assert isinstance(root.registrar, Registrar)
        root.registrar.register(tractor.current_actor().aid, ["/ip4/127.0.0.1/tcp/1"], "x")
        async with tractor.find_actor(name) as found:
            assert found is None
        async with tractor.find_actor(name, only_first=False) as several:
            assert several == []
        with pytest.raises(RuntimeError, match=f"no actor called '{name}'"):
            async with tractor.find_actor(name, raise_on_none=True):
                pytest.fail("entered")


async def test_several_registries_yield_a_portal_each() -> None:
    """A list of those that know the actor; without it the first that does."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        async with open_resident(
            "reg", is_registrar=True, binds=[get_address_cls("tcp").get_random("x")]
        ) as other:
            empty = become_registrar(other.actor)
            regaddrs = [other.actor.accept_addr, tractor.current_actor().accept_addr]
            async with tractor.find_actor("kid", registry_addrs=regaddrs, only_first=False) as found:
                assert [one.aid for one in found] == [portal.aid]
            empty.register(portal.aid, [addr.maddr for addr in portal.chan.peer_addrs], "x")
            async with tractor.find_actor("kid", registry_addrs=regaddrs, only_first=False) as found:
                assert [one.aid for one in found] == [portal.aid] * 2
                assert [await one.run(seekers.ping) for one in found] == ["kid"] * 2
            async with tractor.find_actor("kid", registry_addrs=regaddrs) as one:
                assert one.aid == portal.aid
        await nursery.cancel()


async def test_of_several_actors_of_one_name_the_newest_is_found() -> None:
    """Each of them by its uuid; the next oldest when the newest has gone."""
    async with tractor.open_nursery() as nursery:
        older = await nursery.start_actor("twin", enable_modules=MODULES)
        newer = await nursery.start_actor("twin", enable_modules=MODULES)
        async with tractor.find_actor("twin") as found:
            assert found.aid == newer.aid
        async with tractor.find_actor(older.aid.uuid) as found:
            assert found.aid == older.aid
        await newer.cancel_actor()
        with trio.fail_after(2):
            while find_entry(tractor.current_actor(), newer.aid.uuid):
                await trio.sleep(0.005)
        async with tractor.find_actor("twin") as found:
            assert found.aid == older.aid
        await nursery.cancel()


async def test_the_root_is_found_from_everywhere(transport: str) -> None:
    """By itself, by a child, and by a grandchild, which has no connection to it."""
    async with tractor.open_nursery(enable_transports=[transport], enable_modules=MODULES) as nursery:
        async with tractor.find_actor("root") as found:
            assert found.aid == tractor.current_actor().aid
            assert await found.run(seekers.ping) == "root"
        async with tractor.wait_for_actor("root") as found:
            assert await found.run(seekers.ping) == "root"
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        assert await portal.run(seekers.find_and_ping, name="root") == "root"
        assert await portal.run(seekers.find_and_ping, name="kid") == "kid"
        for func in ("find_and_ping", "wait_and_ping"):
            for name in ("root", "kid", "leaf"):
                answer = await portal.run(seekers.in_grandchild, leaf="leaf", func=func, name=name)
                assert answer == name
        await nursery.cancel()


async def test_an_actor_that_no_longer_listens_counts_as_none(transport: str) -> None:
    """Its entry is deleted; whoever has a channel to it goes on using it."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        root = tractor.current_actor()
        portal = await nursery.start_actor("deaf", enable_modules=MODULES)
        seeker = await nursery.start_actor("seeker", enable_modules=MODULES)
        assert await seeker.run(seekers.find_and_ping, name="deaf") == "deaf"
        await portal.run(seekers.close_listener)
        assert find_entry(root, "deaf")
        assert await seeker.run(seekers.find_and_ping, name="deaf") is None
        assert find_entry(root, "deaf") is None
        async with tractor.find_actor("deaf") as found:
            assert found is None
        assert await portal.run(seekers.ping) == "deaf"
        await nursery.cancel()


async def test_a_stale_entry_is_deleted_by_the_registrar_itself_too() -> None:
    """The parent that looks for its own child is told the truth, not given its live channel."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("deaf", enable_modules=MODULES)
        await portal.run(seekers.close_listener)
        async with tractor.find_actor("deaf") as found:
            assert found is None
        assert find_entry(tractor.current_actor(), "deaf") is None
        assert await portal.run(seekers.ping) == "deaf"
        await nursery.cancel()


async def test_waiting_ends_as_soon_as_the_actor_is_there(transport: str) -> None:
    """Near and far, before and after it has come."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        waiter = await nursery.start_actor("waiter", enable_modules=MODULES)
        answers: list[str] = []

        async def wait_near() -> None:
            answers.append(await seekers.wait_and_ping("late"))

        async def wait_far() -> None:
            answers.append(await waiter.run(seekers.wait_and_ping, name="late"))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait_near)
            tasks.start_soon(wait_far)
            await trio.sleep(0.05)
            assert answers == []
            await nursery.start_actor("late", enable_modules=MODULES)
        assert answers == ["late"] * 2
        assert await seekers.wait_and_ping("late") == "late"
        await nursery.cancel()


async def test_waiting_can_be_cancelled() -> None:
    """Near and far; the registrar keeps no request of it."""
    async with tractor.open_nursery() as nursery:
        root = tractor.current_actor()
        waiter = await nursery.start_actor("waiter", enable_modules=MODULES)
        for far in (False, True):
            before = trio.current_time()
            with trio.move_on_after(0.1) as scope:
                if far:
                    await waiter.run(seekers.wait_and_ping, name="never")
                else:
                    await seekers.wait_and_ping("never")
            assert scope.cancelled_caught
            assert trio.current_time() - before < 0.4
        await trio.sleep(0.02)
        assert [list(router.dialogs) for routers in root.peers.values() for router in routers] == [[]]
        assert await waiter.run(seekers.ping) == "waiter"
        await nursery.cancel()


async def test_waiting_skips_a_stale_entry() -> None:
    """It goes on until somebody is there who answers."""
    async with tractor.open_nursery() as nursery:
        root = tractor.current_actor()
        deaf = await nursery.start_actor("kid", enable_modules=MODULES)
        await deaf.run(seekers.close_listener)
        with trio.fail_after(5):
            async with trio.open_nursery() as tasks:
                answers: list[str] = []

                async def wait() -> None:
                    async with tractor.wait_for_actor("kid") as portal:
                        answers.append(portal.aid.uuid)

                tasks.start_soon(wait)
                while find_entry(root, "kid"):
                    await trio.sleep(0.005)
                fresh = await nursery.start_actor("kid", enable_modules=MODULES)
        assert answers == [fresh.aid.uuid]
        await nursery.cancel()


async def test_a_query_connects_to_nobody() -> None:
    """It yields the address as a plain tuple, and the registry it comes from."""
    async with tractor.open_nursery() as nursery:
        root = tractor.current_actor()
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        await portal.run(seekers.close_listener)
        async with tractor.query_actor("kid") as (addr, registry):
            assert addr == portal.chan.peer_addrs[0].unwrap()
            assert isinstance(registry, LocalPortal)
        assert find_entry(root, "kid")
        async with tractor.query_actor("nobody") as (addr, _):
            assert addr is None
        with pytest.raises(RuntimeError, match="the current actor is the registrar"):
            async with tractor.query_actor("registrar"):
                pytest.fail("entered")
        await nursery.cancel()


async def test_the_registry_is_near_in_the_registrar_and_far_elsewhere(transport: str) -> None:
    """Also in a grandchild, which connects to it; by its address it may be had from anywhere."""
    async with tractor.open_nursery(enable_transports=[transport], enable_modules=MODULES) as nursery:
        root = tractor.current_actor()
        for addr in (None, root.accept_addr, root.server.addrs[0], root.server.addrs[0].maddr):
            async with tractor.get_registry(addr) as registry:
                assert isinstance(registry, LocalPortal)
                assert list(await registry.run_from_ns("self", "get_registry")) == [f"root.{root.aid.uuid}"]
                assert registry.aid == registry.actor.aid == root.aid
                # Its own functions too, and no others.
                assert await registry.run_from_ns(MODULES[0], "ping") == "root"
                with pytest.raises(tractor.ModuleNotExposed):
                    await registry.run_from_ns("os", "getpid")
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        assert await portal.run(seekers.list_names) == ["kid", "root"]
        for func in ("list_names", "ask_by_way_of_root"):
            names = await portal.run(seekers.in_grandchild, leaf="leaf", func=func)
            assert names == ["kid", "leaf", "root"]
        await nursery.cancel()


@pytest.mark.parametrize("addr", [("127.0.0.1", 1), "/ip4/127.0.0.1/tcp/1", ("/nonexistent", "x.sock")])
async def test_an_address_without_a_registrar_is_an_error(addr: Any) -> None:
    """An `OSError`, whichever question was asked."""
    async with tractor.open_root_actor():
        for ask in (
            lambda: tractor.get_registry(addr),
            lambda: tractor.query_actor("kid", addr),
            lambda: tractor.wait_for_actor("kid", addr),
            lambda: tractor.find_actor("kid", [addr]),
        ):
            with pytest.raises(OSError, match=r"refused|no such socket|No such file"):
                async with ask():
                    pytest.fail("entered")


async def test_an_actor_that_is_no_registrar_says_so() -> None:
    """It listens, but has no such method; the channel to it is used again."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        async with tractor.get_registry(portal.chan.peer_addrs[0]) as registry:
            assert isinstance(registry, Portal)
            with pytest.raises(RemoteActorError, match="exposes no method 'find_actor'"):
                await registry.run_from_ns("self", "find_actor", name="kid")
        assert registry.chan is portal.chan
        await nursery.cancel()


async def test_a_block_that_raises_closes_what_it_opened() -> None:
    """And the error is what it was. A channel that two blocks use is closed by the last one."""
    async with (
        tractor.open_root_actor() as root,
        open_resident("stranger", __name__, binds=[get_address_cls("tcp").get_random("x")]) as stranger,
    ):
        assert isinstance(root.registrar, Registrar)
        addrs = [addr.maddr for addr in stranger.actor.server.addrs]
        root.registrar.register(stranger.actor.aid, addrs, "x")
        for ask in (tractor.find_actor, tractor.wait_for_actor):
            with pytest.raises(ZeroDivisionError):
                async with ask("stranger") as found:
                    async with tractor.find_actor("stranger") as again:
                        assert again.chan is found.chan
                    assert found.chan.connected()
                    raise ZeroDivisionError
            assert not found.chan.connected()
        await trio.sleep(0.02)
        assert root.peers == {}


def test_the_nearest_of_several_addresses_is_preferred() -> None:
    """Unix-domain, then loopback, then the rest; the last of its sort."""
    far, other, near, near6, uds = (
        "/ip4/10.0.0.1/tcp/1",
        "/ip4/10.0.0.2/tcp/1",
        "/ip4/127.0.0.1/tcp/2",
        "/ip6/::1/tcp/3",
        f"/unix{os.path.join('/', 'x', 'y.sock')}",
    )
    assert prefer_addr([far, near, uds]) == UDSAddress("/x", "y.sock")
    assert prefer_addr([far, near6]) == TCPAddress("::1", 3)
    assert prefer_addr([near6, near]) == TCPAddress("127.0.0.1", 2)
    assert prefer_addr([other, far]) == TCPAddress("10.0.0.1", 1)

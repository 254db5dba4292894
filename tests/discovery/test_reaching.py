"""Reaching whom a registrar names: the right one, over a channel that stays, and nobody is forgotten by mistake."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.discovery.conftest import free_address
from tests.programs import seekers
from tests.resident import Resident, open_resident
from tractor._ids import Aid
from tractor.discovery._client import registries_of
from tractor.discovery._registrar import Registrar
from tractor.ipc._addr import get_address_cls, parse_maddr


@asynccontextmanager
async def open_town(transport: str) -> AsyncGenerator[tuple[tractor.Actor, Registrar, Resident]]:
    """Run a root that keeps the names, and an actor `ann` of another tree that is registered there."""
    binds = [get_address_cls(transport).get_random("ann")]
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root,
        open_resident("ann", seekers.__name__, binds=binds) as ann,
    ):
        assert isinstance(root.registrar, Registrar)
        root.registrar.register(ann.actor.aid, [addr.maddr for addr in ann.actor.server.addrs], "x")
        yield root, root.registrar, ann


async def test_an_address_that_is_somebody_elses_by_now(transport: str) -> None:
    """A port is used again: whoever listens there is not taken for another actor, and keeps its entry."""
    async with open_town(transport) as (root, registrar, ann):
        addrs = [addr.maddr for addr in ann.actor.server.addrs]
        registrar.table.remove(ann.actor.aid.uuid)
        # As a registrar that has not heard of the new one yet.
        registrar.register(Aid("old", "u1"), addrs, "x")
        async with tractor.find_actor("old") as found:
            assert found is None
        assert registrar.find("old") is None
        registrar.register(ann.actor.aid, addrs, "x")
        async with tractor.find_actor("ann") as found:
            assert found.aid == ann.actor.aid
        await trio.sleep(0.02)
        assert root.peers == {}


async def test_any_address_of_an_actor_will_do(tmp_path: Path) -> None:
    """The best one has gone, as when somebody has cleared the directory of the sockets; it is not forgotten for that."""
    gone = free_address("uds", tmp_path)
    async with open_town("tcp") as (_, registrar, ann):
        addrs = [*(addr.maddr for addr in ann.actor.server.addrs), gone]
        registrar.register(ann.actor.aid, addrs, "x")
        async with tractor.find_actor("ann") as found:
            assert found.aid == ann.actor.aid
        assert registrar.find("ann") == addrs


async def test_an_actor_without_an_address_counts_as_none() -> None:
    """It cannot be reached, nor asked for its address."""
    async with open_town("tcp") as (_, registrar, ann):
        registrar.register(ann.actor.aid, [], "x")
        async with tractor.query_actor("ann") as (addr, _registry):
            assert addr is None
        async with tractor.find_actor("ann") as found:
            assert found is None


async def test_what_is_our_own_fault_deletes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors: that is an error, and says nothing about the actor."""

    async def fail(_addr: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with open_town("tcp") as (_, registrar, _ann):
        with monkeypatch.context() as patch:
            patch.setattr("tractor.runtime._actor.connect", fail)
            with pytest.raises(OSError, match="Too many open files"):
                async with tractor.find_actor("ann"):
                    pytest.fail("entered")
        assert registrar.find("ann")


async def test_a_visitors_channel_is_not_used_for_an_answer(transport: str) -> None:
    """It closes with the visitor's block: who looks the visitor up has a channel that stays for its own block."""
    async with open_town(transport) as (root, registrar, ann):
        registries_of(ann.actor).links.clear()
        visit = await registries_of(ann.actor).loans.connect(root.server.addrs[0])
        with trio.fail_after(2):
            while ann.actor.aid.uuid not in root.peers:
                await trio.sleep(0.005)
        async with tractor.find_actor("ann") as found:
            await registries_of(ann.actor).loans.give_back(visit)
            await trio.sleep(0.02)
            assert await found.run(seekers.ping) == "ann"
        assert registrar.find("ann")


async def test_a_channel_that_is_lost_while_it_is_asked_is_replaced() -> None:
    """The actor is there: it is dialed again, and not deleted."""
    async with open_town("tcp") as (root, registrar, ann):
        known = await root.connect(ann.actor.server.addrs[0])

        async def hang_up(_served: object) -> bool:
            ann.actor.peers[root.aid.uuid][0].channel.abort()
            return True

        ann.actor.self_methods["is_listening"] = hang_up
        async with tractor.find_actor("ann") as found:
            assert found.chan is not known.channel
            assert await found.run(seekers.ping) == "ann"
        assert registrar.find("ann")


async def test_connections_that_fail_half_way_leave_nothing(transport: str) -> None:
    """Cancelled during the handshake, or when the peer has died: no channel is kept, and none is counted."""
    async with open_town(transport) as (root, _registrar, ann):
        loans = registries_of(root).loans
        for steps in range(12):
            with trio.CancelScope() as scope:

                async def cancel_later(steps: int = steps, scope: trio.CancelScope = scope) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                root.services.start_soon(cancel_later)
                async with tractor.find_actor("ann"):
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            assert not loans._users
        async with tractor.find_actor("ann") as found:
            assert await found.run(seekers.ping) == "ann"
            ann.actor.peers[root.aid.uuid][-1].channel.abort()
            with pytest.raises(tractor.TransportClosed):
                await found.run(seekers.ping)
        assert not loans._users
        await trio.sleep(0.02)
        assert root.peers == {}


@pytest.mark.parametrize("name", ["", "\udc80"])
async def test_what_nobody_can_be_called_is_not_looked_for(name: str) -> None:
    """An empty name is not everybody's."""
    async with open_town("tcp"):
        async with tractor.find_actor(name) as found:
            assert found is None
        async with tractor.query_actor(name) as (addr, _):
            assert addr is None
        with pytest.raises(ValueError, match="no actor is ever called"):
            async with tractor.wait_for_actor(name):
                pytest.fail("entered")


async def test_a_name_that_is_no_text_is_a_mistake() -> None:
    """Of the caller's, wherever it is asked."""
    wrong: list[Any] = [None, 5, b"ann"]
    async with open_town("tcp"):
        for name in wrong:
            for ask in (tractor.find_actor, tractor.wait_for_actor, tractor.query_actor, tractor.watch):
                with pytest.raises(TypeError, match="is a str"):
                    async with ask(name):
                        pytest.fail("entered")


@pytest.mark.parametrize("name", ["../x", "a\0b", "n" * 5000, "a\nb", "a.b", "é/ü", " "])
async def test_names_that_look_like_something_else(name: str, transport: str, tmp_path: Path) -> None:
    """An actor may have them; its socket stays inside its directory."""
    registry = parse_maddr(free_address(transport, tmp_path))
    own = parse_maddr(free_address(transport, tmp_path).replace("registry", "own"))
    async with (
        tractor.open_root_actor(name=name, registry_addrs=[registry], enable_transports=[transport]) as root,
        open_resident(name, binds=[type(own).get_random(name, own.bindspace)]) as ann,  # type: ignore[arg-type]
    ):
        assert ann.actor.server.addrs[0].bindspace == own.bindspace
        assert isinstance(root.registrar, Registrar)
        root.registrar.register(ann.actor.aid, [addr.maddr for addr in ann.actor.server.addrs], "x")
        for ask in (tractor.find_actor, tractor.wait_for_actor):
            async with ask(name) as found:
                assert found.aid == ann.actor.aid
                assert found.aid.name == name


@pytest.mark.parametrize("name", ["\udc80", "x\ud800", "n" * 20_000])
async def test_names_that_cannot_be_said_are_refused(name: str) -> None:
    """By those who would give them."""
    with pytest.raises(ValueError, match="an actor's name must be"):
        async with tractor.open_root_actor(name=name, registry_addrs=[]):
            pytest.fail("entered")
    async with tractor.open_nursery(registry_addrs=[]) as nursery:
        with pytest.raises(ValueError, match="an actor's name must be"):
            await nursery.start_actor(name)


async def test_an_ip6_registry(tmp_path: Path) -> None:
    """From end to end, in any spelling of the address; others listen beside it."""
    port = int(free_address("tcp", tmp_path).rpartition("/")[2])
    async with tractor.open_nursery(
        registry_addrs=[("0:0:0:0:0:0:0:1", port)], enable_modules=[seekers.__name__]
    ) as nursery:
        root = tractor.current_actor()
        assert root.accept_addrs == [("::1", port)]
        await nursery.start_actor("kid", enable_modules=[seekers.__name__])
        async with tractor.get_registry(f"/ip6/::1/tcp/{port}") as registry:
            assert await registry.run_from_ns("self", "is_registry")
        async with tractor.find_actor("kid") as found:
            assert await found.run(seekers.find_and_ping, name="root") == "root"
        await nursery.cancel()

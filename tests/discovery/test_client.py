"""What an actor has registered is registered again where a registrar was lost and there is another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

import tractor
from tests.discovery.conftest import Program, free_address, open_program
from tests.resident import open_resident
from tractor.discovery import _client
from tractor.discovery._client import Registries, register, registries_of, unregister
from tractor.discovery._registrar import Registrar, become_registrar, local_registrar
from tractor.ipc._addr import get_address_cls, parse_maddr

ENDINGS = ["gracefully", "SIGINT", "SIGTERM", "SIGKILL"]
X = "/ip4/127.0.0.1/tcp/1001"


async def list_names() -> list[str]:
    """Return who is registered with this actor's registrar."""
    async with tractor.get_registry() as portal:
        entries = await portal.run_from_ns("self", "get_registry")
    return sorted(entry.split(".")[0] for entry in entries)


async def wait_for_names(expected: list[str], seconds: float = 3) -> None:
    """Wait until exactly these are registered."""
    names: list[str] = []
    with trio.move_on_after(seconds):
        while names != expected:
            try:
                names = await list_names()
            except (OSError, tractor.TransportClosed, tractor.RemoteActorError):
                names = ["no registrar"]
            await trio.sleep(0.01)
    assert names == expected


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.parametrize("where", ["in the tree", "elsewhere"])
async def test_the_registry_holds_exactly_who_is_alive(
    registry: str, transport: str, how: str, where: str
) -> None:
    """However a program with children ends; in the registrar's own program, or with the registrar in another."""
    async with open_program("keeper", registry) as keeper:
        if where == "elsewhere":
            await keeper.hear()
        else:
            await keeper.end("SIGKILL")
        others = ["keeper", "me"] if where == "elsewhere" else ["me"]
        async with tractor.open_root_actor(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ) as root:
            assert root.is_registrar is (where == "in the tree")
            async with open_program("guest", registry, "kid1", "kid2") as guest:
                await guest.hear()
                assert await list_names() == sorted(["guest", "kid1", "kid2", *others])
                await guest.end(how)
                await wait_for_names(others)
                async with tractor.find_actor("kid1") as found:
                    assert found is None


async def _hear_all(*programs: Program) -> None:
    for program in programs:
        await program.hear()


@pytest.mark.parametrize("how", ENDINGS)
async def test_a_lost_registrar_is_replaced(registry: str, transport: str, how: str) -> None:
    """By one of the programs that used it; the others, and their children, are registered there."""
    async with open_program("old", registry, "old-kid") as old:
        await old.hear()
        async with open_program("one", registry, "one-kid") as one, open_program("two", registry) as two:
            await _hear_all(one, two)
            async with tractor.open_nursery(
                name="me", registry_addrs=[registry], enable_transports=[transport]
            ) as nursery:
                await nursery.start_actor("my-kid", enable_modules=["tests.programs.townsfolk"])
                assert len(await list_names()) == 7
                await old.end(how)
                await wait_for_names(["me", "my-kid", "one", "one-kid", "two"])
                # A program that comes now finds all of them.
                async with open_program("late", registry) as late:
                    assert not (await late.hear())["registrar"]
                    async with tractor.find_actor("late") as found:
                        assert found.aid.pid == late.pid
                await nursery.cancel()


async def test_a_child_finds_the_new_registrar(registry: str, transport: str) -> None:
    """It asks at the same address as its parent."""
    async with open_program("old", registry) as old:
        await old.hear()
        async with tractor.open_nursery(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ) as nursery:
            portal = await nursery.start_actor("kid", enable_modules=["tests.programs.seekers"])
            assert await portal.run_from_ns("tests.programs.seekers", "list_names") == ["kid", "me", "old"]
            await old.end("SIGKILL")
            await wait_for_names(["kid", "me"])
            assert await portal.run_from_ns("tests.programs.seekers", "list_names") == ["kid", "me"]
            await nursery.cancel()


async def test_a_registrar_that_is_stopped_is_not_replaced(registry: str, transport: str) -> None:
    """It lives and may go on: there must never be two. Who asks meanwhile waits no longer than its own scope."""
    async with open_program("old", registry) as old:
        await old.hear()
        async with tractor.open_root_actor(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ) as root:
            os.kill(old.pid, signal.SIGSTOP)
            try:
                with trio.move_on_after(0.3) as scope:
                    await list_names()
                assert scope.cancelled_caught
                assert not root.is_registrar
            finally:
                os.kill(old.pid, signal.SIGCONT)
            await wait_for_names(["me", "old"])


async def test_entries_of_who_does_not_answer_are_hidden_until_it_does(
    registry: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process keeps its connection; its lease runs out all the same."""
    monkeypatch.setattr("tractor.discovery._registrar.PING_EVERY", 0.1)
    async with tractor.open_root_actor(name="me", registry_addrs=[registry], enable_transports=[transport]):
        async with open_program("guest", registry, "kid") as guest:
            await guest.hear()
            os.kill(guest.pid, signal.SIGSTOP)
            try:
                await wait_for_names(["me"])
                async with tractor.find_actor("guest") as found:
                    assert found is None
            finally:
                os.kill(guest.pid, signal.SIGCONT)
            await wait_for_names(["guest", "kid", "me"])


async def test_a_registrar_that_cannot_be_reached_costs_no_more_than_a_moment() -> None:
    """The child is not registered; nobody fails for it, and it is tried again."""
    async with open_resident("orphan") as orphan:
        actor = orphan.actor
        await register(actor, actor.aid, [X])
        actor.registries = Registries(actor, [parse_maddr("/ip4/127.0.0.1/tcp/1")])
        await register(actor, actor.aid, [X])
        unregister(actor, actor.aid)
        with pytest.raises(OSError, match="refused"):
            await registries_of(actor).router()
        await trio.sleep(0.05)
        assert not actor.cancel_called


async def test_a_registrar_that_comes_back_is_told_everything(tmp_path: Path, transport: str) -> None:
    """What was registered while it was away too; and not what was taken back meanwhile."""
    registry = parse_maddr(free_address(transport, tmp_path))
    # No root, so that it does not take over.
    async with open_resident("asker") as asker:
        actor = asker.actor
        actor.registries = Registries(actor, [registry])
        kid, gone = (
            tractor.Actor("kid", variables=actor.vars, modules={}),
            tractor.Actor("gone", variables=actor.vars, modules={}),
        )
        for _ in range(2):
            async with open_resident("reg", binds=[registry]) as keeper:
                registrar = become_registrar(keeper.actor)
                await register(actor, actor.aid, [X])
                with trio.fail_after(5):
                    while registrar.find("asker") is None:
                        await trio.sleep(0.01)
                await register(actor, gone.aid, [])
            await register(actor, kid.aid, [])
            unregister(actor, gone.aid)
        async with open_resident("reg", binds=[registry]) as keeper:
            registrar = become_registrar(keeper.actor)
            with trio.fail_after(5):
                while registrar.find("asker") is None or registrar.find("kid") is None:
                    await trio.sleep(0.01)
            assert registrar.find("gone") is None


async def test_who_takes_over_keeps_what_it_has_registered(
    registry: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is its own registrar from then on, and still asks the other ones."""
    monkeypatch.setattr(_client, "RETRY_FIRST", 0.01)
    async with open_program("old", registry) as old:
        await old.hear()
        async with tractor.open_nursery(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ) as nursery:
            root = tractor.current_actor()
            await nursery.start_actor("kid", enable_modules=["tests.programs.townsfolk"])
            await old.end("gracefully")
            with trio.fail_after(5):
                while not root.is_registrar:
                    await trio.sleep(0.01)
            registrar = local_registrar(root)
            assert isinstance(registrar, Registrar)
            assert sorted(entry.name for entry in registrar.table) == ["kid", "me"]
            assert registries_of(root).links == []
            assert registry in [addr.maddr for addr in root.server.addrs]
            await nursery.cancel()
        assert get_address_cls(transport).proto_key == transport

"""What an actor has registered is registered again where a registrar was lost and there is another."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

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


async def test_a_root_that_ends_or_does_not_listen_takes_over_nothing(tmp_path: Path, transport: str) -> None:
    """Also when that begins while it asks who is there: nobody would ever answer at the address."""
    free = [parse_maddr(free_address(transport, tmp_path).replace("registry", f"r{n}")) for n in range(3)]
    async with tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root:
        registries = Registries(root, free)

        async def take_over(link: _client.RegistryLink, told: list[bool]) -> None:
            told.append(await registries.take_over(link, {}))

        told: list[bool] = []
        root.cancel_called = True
        await take_over(registries.links[0], told)
        root.cancel_called = False
        async with trio.open_nursery() as tasks:
            tasks.start_soon(take_over, registries.links[1], told)
            await trio.lowlevel.checkpoint()
            root.cancel_called = True
        root.cancel_called = False
        assert await registries.take_over(registries.links[2], {})
        root.server.close()
        await take_over(registries.links[0], told)
        assert told == [False] * 3
        assert root.server.addrs == []


async def test_of_two_registrars_one_is_lost(tmp_path: Path, transport: str) -> None:
    """A program takes its place, and stays registered with the other one; everybody is found at both."""
    one, two = (free_address(transport, tmp_path).replace("registry", name) for name in ("one", "two"))
    async with open_program("one", one) as first, open_program("two", two) as second:
        await _hear_all(first, second)
        async with tractor.open_root_actor(
            name="me", registry_addrs=[one, two], enable_transports=[transport]
        ) as root:
            await first.end("SIGKILL")
            with trio.fail_after(5):
                while not root.is_registrar:
                    await trio.sleep(0.01)
            for addr, names in ((one, ["me"]), (two, ["me", "two"])):
                async with tractor.get_registry(addr) as portal:
                    entries = await portal.run_from_ns("self", "get_registry")
                assert sorted(entry.split(".")[0] for entry in entries) == names
            async with tractor.find_actor("two") as found:
                assert found.aid.pid == second.pid
            async with tractor.find_actor("me", only_first=False) as found:
                assert [portal.aid for portal in found] == [root.aid] * 2


async def test_a_registrar_that_was_stuck_is_told_what_it_has_missed(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An actor that came meanwhile is registered as soon as it answers; one that went meanwhile is not."""
    monkeypatch.setattr(_client, "REGISTER_TIMEOUT", 0.05)
    binds = [get_address_cls(transport).get_random("reg")]
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root,
        open_resident("reg", binds=binds) as keeper,
    ):
        registrar = become_registrar(keeper.actor)
        answer = keeper.actor.self_methods["register_actor"]
        stuck = trio.Event()

        async def hesitate(served: Any, **kwargs: Any) -> None:
            await stuck.wait()
            await answer(served, **kwargs)

        root.registrar = None
        root.registries = Registries(root, keeper.actor.server.addrs)
        kid, gone = (tractor.Actor(name, variables=root.vars, modules={}).aid for name in ("kid", "gone"))
        keeper.actor.self_methods["register_actor"] = hesitate
        for aid in (kid, gone):
            await register(root, aid, [])
        unregister(root, gone)
        await trio.sleep(0.1)
        assert registrar.entries() == {}
        stuck.set()
        with trio.fail_after(2):
            while registrar.find("kid") is None:
                await trio.sleep(0.005)
        await trio.sleep(0.05)
        assert [entry.name for entry in registrar.table] == ["kid"]


async def test_an_actor_that_goes_while_it_is_registered_is_not_left_there(transport: str) -> None:
    """The registrar may take note of its end first: what was said too late is taken back."""
    binds = [get_address_cls(transport).get_random("reg")]
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root,
        open_resident("reg", binds=binds) as keeper,
    ):
        registrar = become_registrar(keeper.actor)
        answer = keeper.actor.self_methods["register_actor"]

        async def be_slow(served: Any, **kwargs: Any) -> None:
            await trio.sleep(0.05)
            await answer(served, **kwargs)

        keeper.actor.self_methods["register_actor"] = be_slow
        root.registrar = None
        root.registries = Registries(root, keeper.actor.server.addrs)
        kid = tractor.Actor("kid", variables=root.vars, modules={}).aid
        async with trio.open_nursery() as tasks:
            tasks.start_soon(register, root, kid, [X])
            await trio.sleep(0.02)
            unregister(root, kid)
        with trio.fail_after(1):
            while registrar.entries():
                await trio.sleep(0.005)
        await trio.sleep(0.1)
        assert registrar.entries() == {}


async def test_a_question_that_its_registrar_takes_along_is_asked_again(transport: str) -> None:
    """The one that comes after it answers."""
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root,
        open_resident("old", binds=[get_address_cls(transport).get_random("old")]) as old,
    ):
        (addr,) = old.actor.server.addrs
        become_registrar(old.actor)
        root.registrar = None
        root.registries = Registries(root, [addr])
        await register(root, root.aid, [own.maddr for own in root.server.addrs])
        asked: list[str] = []

        async def leave(served: Any, name: str) -> None:
            asked.append(name)
            old.actor.server.close()
            served.router.channel.abort()

        old.actor.self_methods["look_up"] = leave
        async with tractor.find_actor("root") as found:
            assert found.aid == root.aid
        assert asked == ["root"]
        assert root.is_registrar
        assert addr in root.server.addrs

"""The registrar: how entries appear, how they go, and what its methods answer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import tractor
from tests.programs import bodies, seekers
from tests.programs.bodies import SLAIN, slay
from tests.resident import join, open_resident
from tractor import ActorFailure, ModuleNotExposed, RemoteActorError, TransportClosed
from tractor.discovery._api import LocalPortal
from tractor.discovery._client import register, registries_of, unregister
from tractor.discovery._registrar import Registrar, become_registrar
from tractor.ipc._addr import get_address_cls
from tractor.runtime._portal import Portal

MODULES = [seekers.__name__, bodies.__name__]
X, Y = "/ip4/127.0.0.1/tcp/1001", "/ip4/127.0.0.1/tcp/1002"

#: The two ways to a registrar's methods.
WAYS = pytest.mark.parametrize("way", ["local", "channel"])


@asynccontextmanager
async def open_registrar(way: str) -> AsyncGenerator[tuple[Registrar, Portal | LocalPortal]]:
    """Run an actor that is a registrar, with an empty table, and yield a way to ask it."""
    async with open_resident("reg", is_registrar=True) as keeper, open_resident("asker") as asker:
        registrar = become_registrar(keeper.actor)
        portal, _ = await join(asker, keeper)
        yield registrar, LocalPortal(keeper.actor, registrar) if way == "local" else portal


def names(actor: tractor.Actor) -> list[str]:
    """Return who is registered with this actor."""
    assert isinstance(actor.registrar, Registrar)
    return [entry.name for entry in actor.registrar.table]


async def wait_for_names(actor: tractor.Actor, expected: list[str]) -> None:
    """Wait a moment until exactly these are registered."""
    with trio.move_on_after(1):
        while names(actor) != expected:
            await trio.sleep(0.005)
    assert names(actor) == expected


@WAYS
async def test_the_methods_answer_alike_near_and_far(way: str) -> None:
    """Adding, finding, listing and removing."""
    async with open_registrar(way) as (registrar, portal):

        async def ask(method: str, **kwargs: Any) -> Any:
            return await portal.run_from_ns("self", method, **kwargs)

        assert await ask("is_registry") is True
        assert await ask("get_registry") == {}
        assert await ask("find_actor", name="ann") is None
        await ask("register_actor", uid=("ann", "u1"), addrs=[X])
        await ask("register_actor", uid=("ann", "u2"), addrs=[Y])
        assert await ask("get_registry") == {"ann.u1": [X], "ann.u2": [Y]}
        assert await ask("find_actor", name="ann") == [Y]
        assert await ask("find_actor", name="u1") == [X]
        assert await ask("wait_for_actor", name="ann") == [Y]
        await ask("unregister_actor", uid=("ann", "u2"))
        assert await ask("find_actor", name="ann") == [X]
        await ask("unregister_actor", uid=("ann", "u2"))
        assert tuple(await ask("delete_addr", addr=["127.0.0.1", 1001])) == ("ann", "u1")
        assert await ask("delete_addr", addr=X) is None
        assert len(registrar.table) == 0


@WAYS
async def test_waiting_ends_with_the_registration(way: str) -> None:
    """Of that very name; any number of tasks may wait."""
    async with open_registrar(way) as (registrar, portal):
        answers: list[list[str]] = []

        async def wait() -> None:
            answers.append(await portal.run_from_ns("self", "wait_for_actor", name="ann"))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
            await trio.sleep(0.01)
            await portal.run_from_ns("self", "register_actor", uid=("bob", "u1"), addrs=[X])
            await trio.sleep(0.01)
            assert answers == []
            await portal.run_from_ns("self", "register_actor", uid=("ann", "u2"), addrs=[Y])
        assert answers == [[Y]] * 3
        assert len(registrar.table) == 2


@WAYS
async def test_what_is_no_method_or_no_address_is_an_error(way: str) -> None:
    """The registrar lives on, and its table is as it was."""
    async with open_registrar(way) as (registrar, portal):
        kind: Any = (
            RemoteActorError
            if way == "channel"
            else (AttributeError, ModuleNotExposed, ValueError, TypeError)
        )
        mistakes: list[tuple[str, str, dict[str, Any]]] = [
            ("self", "drop_table", {}),
            ("self", "__init__", {}),
            ("other", "find_actor", {"name": "ann"}),
            ("self", "find_actor", {"nom": "ann"}),
            ("self", "register_actor", {"uid": ("ann", "u1"), "addrs": ["nowhere"]}),
            ("self", "register_actor", {"uid": "x", "addrs": [X]}),
            *(
                ("self", "register_actor", {"uid": uid, "addrs": [X]})
                for uid in (
                    "xy",
                    None,
                    5,
                    ["a"],
                    ["a", 5],
                    [5, "a"],
                    ["", "u"],
                    ["a", ""],
                    ["a", ["u"]],
                    {"a": 1},
                )
            ),
            *(
                ("self", "register_actor", {"uid": ["a", "u"], "addrs": addrs})
                for addrs in (None, X, 5, [5], [None], [["127.0.0.1", 1]], {X: 1}, ["x" * 10**6])
            ),
            ("self", "unregister_actor", {"uid": [5]}),
            ("self", "delete_addr", {"addr": 5}),
        ]
        for namespace, method, kwargs in mistakes:
            with pytest.raises(kind):
                await portal.run_from_ns(namespace, method, **kwargs)
        assert len(registrar.table) == 0
        assert await portal.run_from_ns("self", "is_registry")


async def test_a_registrar_that_cannot_be_reached_costs_no_more_than_a_moment() -> None:
    """The child is not registered; nobody fails for it."""
    async with open_resident("orphan") as orphan:
        actor = orphan.actor
        await register(actor, actor.aid, [X])
        actor.vars._registry_addrs = ["/ip4/127.0.0.1/tcp/1"]
        await register(actor, actor.aid, [X])
        unregister(actor, actor.aid)
        await trio.sleep(0.05)
        assert not actor.cancel_called


async def test_a_child_is_registered_before_its_portal_is_handed_out(transport: str) -> None:
    """With the addresses it listens on; it goes with the child, and the root is always there."""
    async with tractor.open_root_actor(enable_transports=[transport]) as root:
        assert names(root) == ["root"]
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            assert names(root) == ["root", "kid"]
            assert isinstance(root.registrar, Registrar)
            addrs = root.registrar.find("kid")
            assert addrs is not None
            assert addrs == [addr.maddr for addr in portal.chan.peer_addrs]
            assert await portal.run(seekers.list_names) == ["kid", "root"]
            await portal.cancel_actor()
        assert names(root) == ["root"]


@pytest.mark.parametrize("how", ["nursery", "portal", "hard"])
async def test_a_child_that_was_ended_is_unregistered(how: str) -> None:
    """When its nursery says that it is gone, its entry is gone too."""
    async with tractor.open_root_actor() as root, tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        assert names(root) == ["root", "kid"]
        if how == "portal":
            await portal.cancel_actor()
            await wait_for_names(root, ["root"])
        else:
            await nursery.cancel(hard_kill=how == "hard")
            assert names(root) == ["root"]


async def test_a_killed_child_is_unregistered() -> None:
    """Before the nursery's block has been left."""
    seen: list[str] = []
    async with tractor.open_root_actor() as root:
        with pytest.raises(ActorFailure):
            async with tractor.open_nursery() as nursery:
                portal = await nursery.start_actor("kid", enable_modules=MODULES)
                await slay(portal)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await wait_for_names(root, ["root"])
                    seen = names(root)
        assert seen == ["root"]


async def test_grandchildren_are_registered_by_their_parent() -> None:
    """With the tree's registrar, and they go with themselves."""
    async with tractor.open_root_actor() as root, tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("mid", enable_modules=MODULES)
        answer = await portal.run(seekers.in_grandchild, leaf="leaf", func="list_names")
        assert answer == ["leaf", "mid", "root"]
        await wait_for_names(root, ["root", "mid"])
        await nursery.cancel()


async def test_a_killed_actor_takes_the_entries_of_its_children_along() -> None:
    """They die with it, and there is nobody left who could unregister them."""
    async with tractor.open_root_actor() as root:
        with pytest.raises((ActorFailure, BaseExceptionGroup)):
            async with tractor.open_nursery() as nursery:
                portal = await nursery.start_actor("mid", enable_modules=MODULES)
                with pytest.raises(TransportClosed, match=SLAIN):
                    async with portal.open_context(seekers.keep_child, name="leaf") as (_, _):
                        assert names(root) == ["root", "mid", "leaf"]
                        await slay(portal)
                        await trio.sleep_forever()
        await wait_for_names(root, ["root"])


async def test_a_second_connection_of_a_peer_may_close() -> None:
    """As long as the first one is up, the peer and its children stay registered."""
    async with tractor.open_root_actor(enable_modules=MODULES) as root, tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("mid", enable_modules=MODULES)
        async with portal.open_context(seekers.keep_child, name="leaf") as (ctx, _):
            second = Portal(await root.connect(portal.chan.peer_addrs[0]))
            assert second.chan is not portal.chan
            assert await second.run(seekers.ping) == "mid"
            await second.aclose()
            await trio.sleep(0.05)
            assert names(root) == ["root", "mid", "leaf"]
            await ctx.cancel()
        await nursery.cancel()


async def test_a_connection_of_the_registrar_to_itself_may_close(transport: str) -> None:
    """It is no peer of itself: its own entry stays."""
    async with tractor.open_root_actor(enable_transports=[transport], enable_modules=MODULES) as root:
        async with tractor.find_actor("root") as portal:
            assert portal is not None
            assert await portal.run(seekers.ping) == "root"
        await trio.sleep(0.05)
        assert names(root) == ["root"]


@pytest.mark.parametrize("first", ["a stranger", "a connection for a block"])
async def test_no_other_channel_is_taken_for_that_of_the_registrar(first: str) -> None:
    """Not a stranger's who says that he is one, and not one that is closed with the block it was opened for."""
    binds = [get_address_cls("tcp").get_random("x")]
    async with (
        open_resident("reg", is_registrar=True, binds=binds) as keeper,
        open_resident("liar", is_registrar=True, binds=binds) as liar,
        open_resident("asker") as asker,
    ):
        become_registrar(keeper.actor)
        asker.actor.vars._registry_addrs = [addr.maddr for addr in keeper.actor.server.addrs]
        other = await asker.actor.connect((liar if first == "a stranger" else keeper).actor.server.addrs[0])
        router = await registries_of(asker.actor).router()
        assert router is not other
        assert router.peer == keeper.actor.aid
        await other.channel.aclose()
        assert await Portal(router).run_from_ns("self", "is_registry")
        assert await registries_of(asker.actor).router() is router


async def test_tasks_that_ask_at_the_same_time_share_one_channel() -> None:
    """The others are closed; a new one is made when it is lost."""
    async with (
        open_resident("reg", is_registrar=True, binds=[get_address_cls("tcp").get_random("x")]) as keeper,
        open_resident("asker") as asker,
    ):
        become_registrar(keeper.actor)
        asker.actor.vars._registry_addrs = [addr.maddr for addr in keeper.actor.server.addrs]
        found = []

        async def ask() -> None:
            found.append(await registries_of(asker.actor).router())

        for expected in (1, 2):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(ask)
            assert len(set(found)) == expected
            await trio.sleep(0.02)
            assert asker.actor.peers == {keeper.actor.aid.uuid: [found[-1]]}
            await found[-1].channel.aclose()
            await trio.sleep(0.02)

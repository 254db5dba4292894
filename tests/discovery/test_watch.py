"""Who arrives and who leaves, as it happens."""

from __future__ import annotations

import pytest
import trio

import tractor
from tests.discovery.conftest import open_program
from tests.programs import seekers
from tests.resident import open_resident
from tractor._ids import Aid
from tractor.discovery._answers import NoRegistrar
from tractor.discovery._client import Registries
from tractor.discovery._registrar import Registrar
from tractor.discovery._watch import Presence, Watch, _Roll
from tractor.ipc._addr import get_address_cls


async def hear(events: Watch, count: int) -> list[tuple[bool, str]]:
    """Return the next events in short, in any order."""
    told = []
    with trio.fail_after(5):
        for _ in range(count):
            event = await events.receive()
            told.append((event.present, event.aid.name))
    return sorted(told)


@pytest.mark.parametrize("where", ["in the registrar", "elsewhere"])
async def test_arrivals_and_departures(registry: str, transport: str, where: str) -> None:
    """First those who are there."""
    async with open_program("keeper", registry) as keeper:
        if where == "elsewhere":
            await keeper.hear()
        else:
            await keeper.end("SIGKILL")
        async with tractor.open_root_actor(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ):
            async with tractor.watch() as events, tractor.watch("kid") as kids:
                there = ["keeper", "me"] if where == "elsewhere" else ["me"]
                assert await hear(events, len(there)) == [(True, name) for name in there]
                async with open_program("guest", registry, "kid") as guest:
                    await guest.hear()
                    assert await hear(events, 2) == [(True, "guest"), (True, "kid")]
                    assert await hear(kids, 1) == [(True, "kid")]
                    await guest.end("SIGKILL")
                    assert await hear(events, 2) == [(False, "guest"), (False, "kid")]
                    assert await hear(kids, 1) == [(False, "kid")]


async def test_it_goes_on_when_the_registrar_is_lost(registry: str, transport: str) -> None:
    """Who is not found at the new one has left; the others have not been away."""
    async with open_program("old", registry) as old:
        await old.hear()
        async with open_program("guest", registry) as guest:
            await guest.hear()
            async with tractor.open_root_actor(
                name="me", registry_addrs=[registry], enable_transports=[transport]
            ):
                async with tractor.watch("old") as events, tractor.watch("new") as news:
                    assert await hear(events, 1) == [(True, "old")]
                    await old.end("SIGKILL")
                    assert await hear(events, 1) == [(False, "old")]
                    async with open_program("old", registry) as again:
                        await again.hear()
                        assert await hear(events, 1) == [(True, "old")]
                        async with tractor.wait_for_actor("old") as portal:
                            assert portal.aid.pid == again.pid
                    with trio.move_on_after(0.1) as scope:
                        await news.receive()
                    assert scope.cancelled_caught


async def test_waiting_for_an_actor_outlives_the_registrar(registry: str, transport: str) -> None:
    """The question is asked again wherever names are kept then."""
    async with open_program("old", registry) as old:
        await old.hear()
        async with tractor.open_root_actor(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ):
            found: list[str] = []

            async def wait() -> None:
                async with tractor.wait_for_actor("late") as portal:
                    found.append(portal.aid.name)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await trio.sleep(0.1)
                await old.end("SIGKILL")
                await trio.sleep(0.1)
                async with open_program("late", registry) as late:
                    await late.hear()
                    with trio.fail_after(5):
                        while not found:
                            await trio.sleep(0.01)
            assert found == ["late"]


async def test_nobody_to_ask_is_an_error() -> None:
    """Outside of an actor, or where there is no registrar to begin with."""
    with pytest.raises(tractor.NoRuntime):
        async with tractor.watch():
            pytest.fail("entered")


async def test_who_does_not_listen_misses_only_what_has_passed(registry: str, transport: str) -> None:
    """Nothing piles up: what is told is the difference to what was told before."""
    async with tractor.open_root_actor(name="me", registry_addrs=[registry], enable_transports=[transport]):
        async with tractor.watch("guest") as events:
            for _ in range(3):
                async with open_program("guest", registry) as guest:
                    await guest.hear()
            async with open_program("guest", registry) as last:
                uuid = (await last.hear())["uuid"]
                seen: dict[str, bool] = {}
                with trio.move_on_after(1):
                    async for event in events:
                        assert seen.get(event.aid.uuid) is not event.present
                        seen[event.aid.uuid] = event.present
                assert [one for one, present in seen.items() if present] == [uuid]
                assert len(seen) <= 4


@pytest.mark.parametrize("where", ["in the registrar", "elsewhere"])
async def test_what_the_block_raises_leaves_bare(registry: str, transport: str, where: str) -> None:
    """No group around it; a cancellation is one, and the next watch begins afresh."""
    async with tractor.open_nursery(
        name="me", registry_addrs=[registry], enable_transports=[transport]
    ) as nursery:
        if where == "elsewhere":
            portal = await nursery.start_actor("kid", enable_modules=["tests.programs.seekers"])
            assert await portal.run(seekers.leave_a_watch) == ["ZeroDivisionError", "cancelled", "left"]
        else:
            assert await seekers.leave_a_watch() == ["ZeroDivisionError", "cancelled", "left"]
        await nursery.cancel()


async def test_what_is_no_registrar_ends_a_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever for the news of a liar: the block is cancelled, and the error says why."""
    binds = [get_address_cls("tcp").get_random("liar")]
    async with (
        tractor.open_root_actor(registry_addrs=[]) as root,
        open_resident("liar", __name__, is_registrar=True, binds=binds) as liar,
    ):
        # As in an actor whose registrar is somebody else.
        root.registrar = None
        monkeypatch.setattr("tractor.discovery._watch.tell_changes", tell_nonsense)
        root.registries = Registries(root, liar.actor.server.addrs)
        with pytest.raises(NoRegistrar, match="makes no sense"), trio.fail_after(2):
            async with tractor.watch() as events:
                await events.receive()


@tractor.context
async def tell_nonsense(ctx: tractor.Context[None, object, None], name: str) -> None:
    """Send what is no list of actors."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.send([[name, 5, "x"]])
        await trio.sleep_forever()


async def test_who_is_hidden_has_left_for_those_who_watch(transport: str) -> None:
    """And has come when it answers again; each is told once."""
    async with tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root:
        assert isinstance(root.registrar, Registrar)
        table = root.registrar.table
        async with tractor.watch("ann") as events:
            root.registrar.register(Aid("ann", "u1"), ["/ip4/127.0.0.1/tcp/1"], "keeper")
            assert await hear(events, 1) == [(True, "ann")]
            for answers in (False, True):
                for _ in range(2):
                    table.note_answer("keeper", answers)
                assert await hear(events, 1) == [(answers, "ann")]
            table.note_answer("keeper", False)
            assert await hear(events, 1) == [(False, "ann")]
            table.remove_kept_by("keeper")
            with trio.move_on_after(0.05) as scope:
                await events.receive()
            assert scope.cancelled_caught


def test_the_difference_between_two_looks() -> None:
    """Departures first, arrivals in the order in which they registered; an actor that has moved leaves and arrives."""
    roll = _Roll()
    a, b, moved = ("a", "1", ["/x"]), ("b", "2", ["/y"]), ("a", "1", ["/z"])

    def told(changes: list[Presence]) -> list[tuple[bool, str, list[str]]]:
        return [(change.present, change.aid.uuid, change.addrs) for change in changes]

    assert told(roll.update([b, a])) == [(True, "1", ["/x"]), (True, "2", ["/y"])]
    assert told(roll.update([b, a])) == []
    assert told(roll.update([b, moved])) == [(False, "1", ["/x"]), (True, "1", ["/z"])]
    assert told(roll.update([])) == [(False, "1", ["/z"]), (False, "2", ["/y"])]

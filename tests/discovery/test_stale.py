"""Entries of actors that cannot be reached any more."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

import tractor
from tests.discovery.conftest import open_program
from tests.programs import townsfolk
from tractor.devx import dump_on_hang
from tractor.discovery._registrar import Registrar

MODULES = [townsfolk.__name__]


@pytest.mark.parametrize("where", ["in the tree", "elsewhere"])
async def test_stale_entry_is_deleted(registry: str, transport: str, where: str, tmp_path: Path) -> None:
    """The sub-actor has torn down its own server and sleeps for ever; the channel to its parent still works."""
    with dump_on_hang(seconds=20, path=tmp_path / "hang"):
        async with open_program("keeper", registry) as keeper:
            if where == "elsewhere":
                await keeper.hear()
            else:
                await keeper.end("SIGKILL")
            async with tractor.open_nursery(
                name="me", registry_addrs=[registry], enable_transports=[transport]
            ) as nursery:
                portal = await nursery.start_actor("stale", enable_modules=MODULES)
                async with tractor.find_actor("stale") as found:
                    assert found.aid == portal.aid
                async with portal.open_context(townsfolk.stop_listening_and_sleep) as (ctx, _):
                    async with tractor.find_actor("stale") as found:
                        assert found is None
                    async with tractor.get_registry() as registrar:
                        entries = await registrar.run_from_ns("self", "get_registry")
                    assert not [entry for entry in entries if entry.startswith("stale.")]
                    assert portal.chan.connected()
                    await ctx.cancel()
                await nursery.cancel()
    assert not (tmp_path / "hang").exists()


async def test_a_stranger_that_does_not_listen_is_deleted_as_well(registry: str, transport: str) -> None:
    """Somebody of another program, to whom there is no channel yet: the dial is refused."""
    async with open_program("guest", registry, "kid") as guest:
        await guest.hear()
        async with tractor.open_root_actor(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ):
            async with tractor.find_actor("kid") as portal:
                await portal.run(townsfolk.stop_listening)
            async with tractor.find_actor("kid") as found:
                assert found is None
            async with tractor.query_actor("kid") as (addr, _):
                assert addr is None
            async with tractor.find_actor("guest") as found:
                assert found.aid.pid == guest.pid


async def test_one_that_does_not_answer_is_not_deleted(
    registry: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is busy: not found now, in bounded time, and found again later."""
    monkeypatch.setattr("tractor.discovery._api.DIAL_TIMEOUT", 0.3)
    async with tractor.open_nursery(
        name="me", registry_addrs=[registry], enable_transports=[transport]
    ) as nursery:
        root = tractor.current_actor()
        portal = await nursery.start_actor("busy", enable_modules=MODULES)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(lambda: portal.run(townsfolk.block, seconds=1.5))
            await trio.sleep(0.1)
            async with tractor.find_actor("busy") as found:
                assert found is None
            assert isinstance(root.registrar, Registrar)
            assert root.registrar.find("busy") is not None
        async with tractor.find_actor("busy") as found:
            assert found.aid == portal.aid
        await nursery.cancel()


async def test_of_two_of_a_name_the_one_that_can_be_reached_is_found(registry: str, transport: str) -> None:
    """The newest does not listen any more; the other one does."""
    async with tractor.open_nursery(
        name="me", registry_addrs=[registry], enable_transports=[transport]
    ) as nursery:
        older = await nursery.start_actor("twin", enable_modules=MODULES)
        newer = await nursery.start_actor("twin", enable_modules=MODULES)
        async with tractor.find_actor("twin") as found:
            assert found.aid == newer.aid
        await newer.run(townsfolk.stop_listening)
        async with tractor.find_actor("twin") as found:
            assert found.aid == older.aid
        await nursery.cancel()

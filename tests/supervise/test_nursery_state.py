"""What a nursery says of itself while it is open, while it is cancelled, and when it has been left."""

import sys
from ast import literal_eval
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, branches
from tests.programs.bodies import is_there, slay
from tests.programs.watch import is_alive
from tests.supervise.kids import MODULES, start
from tractor.supervise._nursery import ActorNursery

REGISTRAR = """
import sys
from tractor import run_daemon
async def say(actor):
    print(actor.accept_addr, flush=True)
run_daemon([], name="registrar", registry_addrs=[sys.argv[1]], enable_transports=[sys.argv[2]], on_ready=say)
"""


def state(nursery: ActorNursery) -> tuple[bool, bool, bool]:
    """Return the three facts that users look at."""
    return nursery.cancel_called, nursery.cancelled_caught, nursery.exited.is_set()


async def test_a_nursery_that_nobody_cancels() -> None:
    """It is left, and that is all."""
    async with tractor.open_nursery() as nursery:
        assert state(nursery) == (False, False, False)
        await nursery.run_in_actor(actors.add, a=1, b=2)
    assert state(nursery) == (False, False, True)


async def test_a_nursery_that_is_cancelled() -> None:
    """It is still open then; that no error came of it is only known when it is left."""
    async with tractor.open_nursery() as nursery:
        await start(nursery)
        await nursery.cancel()
        assert state(nursery) == (True, False, False)
    assert state(nursery) == (True, True, True)


async def test_a_nursery_that_is_cancelled_and_left_with_an_error() -> None:
    """The error is what came of it, whether before or after."""
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_nursery() as nursery:
            await start(nursery)
            await nursery.cancel()
            raise ValueError("mine")
    assert state(nursery) == (True, False, True)


async def test_a_nursery_whose_body_fails() -> None:
    """Its children are cancelled for that."""
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_nursery() as nursery:
            await start(nursery)
            raise ValueError("mine")
    assert state(nursery) == (True, False, True)


async def test_a_nursery_that_is_cancelled_from_outside() -> None:
    """The cancellation passes through it: the scope around is what has caught it."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            await start(nursery)
            scope.cancel()
            await trio.sleep_forever()
    assert state(nursery) == (True, False, True)


async def test_the_old_name_of_cancel_called() -> None:
    """Programs that use it are told."""
    async with tractor.open_nursery() as nursery:
        with pytest.warns(DeprecationWarning, match="cancel_called"):
            assert nursery.cancelled is False
        await nursery.cancel()
        with pytest.warns(DeprecationWarning, match="cancel_called"):
            assert nursery.cancelled is True


@pytest.mark.parametrize("how", ["well", "error", "cancelled", "death"])
async def test_others_may_wait_until_a_nursery_has_been_left(how: str) -> None:
    """However that comes about: its children are gone by then."""
    nurseries: list[ActorNursery] = []
    pids: list[int] = []
    opened = trio.Event()

    async def hold() -> None:
        with trio.CancelScope() as scope:
            async with tractor.open_nursery() as nursery:
                portal = await start(nursery)
                nurseries.append(nursery)
                pids.append(await portal.run(actors.get_body))
                opened.set()
                if how == "cancelled":
                    scope.cancel()
                if how == "well":
                    await nursery.cancel()
                    return
                if how == "error":
                    raise ValueError("mine")
                if how == "death":
                    await slay(portal)
                await trio.sleep_forever()

    async def watch() -> None:
        await opened.wait()
        await nurseries[0].exited.wait()
        assert not is_alive(pids[0])
        watched.set()

    watched = trio.Event()
    async with tractor.open_root_actor():
        async with trio.open_nursery() as watchers:
            watchers.start_soon(watch)
            try:
                await hold()
            except (ValueError, tractor.ActorFailure):
                assert how in ("error", "death")
    assert watched.is_set()


async def test_any_task_of_the_actor_may_use_a_nursery() -> None:
    """One that was there before it, and is not below its block: start, run, cancel."""
    nurseries: list[ActorNursery] = []
    opened, used = trio.Event(), trio.Event()

    async def use() -> None:
        await opened.wait()
        portal = await start(nurseries[0], "from-elsewhere")
        assert await portal.run(actors.add, a=1, b=2) == 3
        adder = await nurseries[0].run_in_actor(actors.add, a=3, b=4)
        assert await adder.wait_for_result() == 7
        await nurseries[0].cancel()
        used.set()

    async with tractor.open_root_actor(), trio.open_nursery() as tasks:
        tasks.start_soon(use)
        async with tractor.open_nursery() as nursery:
            nurseries.append(nursery)
            opened.set()
            await used.wait()
        assert state(nursery) == (True, True, True)


@asynccontextmanager
async def open_registrar(folder: Path, transport: str) -> AsyncGenerator[Any]:
    """Run another program that keeps the names; yield its address."""
    given = f"/unix{folder}/r.sock" if transport == "uds" else "/ip4/127.0.0.1/tcp/0"
    argv = [sys.executable, "-c", REGISTRAR, given, transport]
    async with trio.open_nursery() as tasks:
        process: trio.Process = await tasks.start(partial(trio.run_process, argv, stdout=PIPE, check=False))
        assert process.stdout is not None
        async with process.stdout:
            try:
                told = b""
                while not told.endswith(b"\n"):
                    told += await process.stdout.receive_some()
                yield literal_eval(told.decode())
            finally:
                process.terminate()


@pytest.mark.parametrize("count", [2, 4, 8])
async def test_children_of_one_name_are_each_cancelled(count: int, transport: str, tmp_path: Path) -> None:
    """Also where another program keeps the names; each portal's channel is closed then."""
    async with open_registrar(tmp_path, transport) as registry:
        await cancel_same(count, registry, transport)


async def cancel_same(count: int, registry: Any, transport: str) -> None:
    """Start as many actors of one name, and cancel them."""
    async with tractor.open_nursery(registry_addrs=[registry], enable_transports=[transport]) as nursery:
        assert not tractor.current_actor().is_registrar
        portals: list[tractor.Portal] = []

        async def start_one() -> None:
            portals.append(await start(nursery, "same"))

        async with trio.open_nursery() as starts:
            for _ in range(count):
                starts.start_soon(start_one)
        async with tractor.find_actor("same") as found:
            assert isinstance(found, tractor.Portal)
            assert found.aid in [portal.aid for portal in portals]
        began = trio.current_time()
        await nursery.cancel()
        assert trio.current_time() - began < 15 + 5 * count
        assert not any(portal.chan.connected() for portal in portals)
        assert not any(is_there(portal) for portal in portals)
    assert nursery.cancelled_caught


async def test_whoever_cancels_an_actor_has_cancelled_all_below(tmp_path: Path, transport: str) -> None:
    """Its process ends after those of its children, which end after theirs."""
    path = tmp_path / "pids"
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(grace=30, enable_transports=[transport]) as nursery:
            portal = await nursery.start_actor("top", enable_modules=[*MODULES, branches.__name__])

            async def call() -> None:
                with pytest.raises(tractor.ContextCancelled):
                    await portal.run(actors.nest, depth=2, target="sleep_forever", path=str(path))

            tasks.start_soon(call)
            with trio.fail_after(30):
                while not path.exists() or path.read_text().count("\n") < 3:
                    await trio.sleep(0.01)
            pids = [int(line) for line in path.read_text().split()]
            assert all(map(is_alive, pids))
            assert await portal.cancel_actor(timeout=20)
            # It is acknowledged when the requests have ended, and with them the nurseries in them.
            assert not any(map(is_alive, pids[1:]))
    assert not is_alive(pids[0])

"""The child that a fork server makes before it is asked for one."""

import os
import signal
from pathlib import Path

import trio

import tractor
from tests.programs import actors, forked
from tests.spawn.test_backend import SOON, is_alive
from tests.spawn.test_forkserver import find_servers, open_forks, start
from tests.spawn.test_trio import read_command
from tractor.testing import _procs


def find_spares(server: int) -> list[int]:
    """Return the pids of the spares that a server has."""
    found = (_procs.read_proc(pid) for pid in _procs.all_pids())
    pids = [proc.pid for proc in found if proc is not None and proc.parent == server and proc.state != "Z"]
    return [pid for pid in pids if read_command(pid)[0] == f"_forkserver[spare of {server}]"]


async def wait_spare() -> tuple[int, int]:
    """Return the server of this process and its spare, when there is one."""
    (server,) = find_servers()
    with trio.fail_after(SOON):
        while not (found := find_spares(server)):
            await trio.sleep(0.01)
    assert len(found) == 1
    return server, found[0]


async def wait_gone(pid: int) -> None:
    """Return when a process was reaped."""
    with trio.fail_after(SOON):
        while _procs.read_proc(pid) is not None:
            await trio.sleep(0.01)


async def test_the_next_child_is_the_spare() -> None:
    """It is like any other: of its parent's environment and directory as they are when it is wanted."""
    async with open_forks() as nursery:
        await start(nursery, "first")
        _, spare = await wait_spare()
        os.environ["GREETING"] = "later"
        try:
            portal = await start(nursery, "second")
        finally:
            del os.environ["GREETING"]
        seen = await portal.run(forked.look)
        assert seen["pid"] == spare
        assert seen["greeting"] == b"later"
        assert seen["cwd"] == str(Path.cwd())
        assert seen["collects"]
        assert seen["blocked"] == []
        assert read_command(spare)[0].startswith("_subactor[second@")
        _, another = await wait_spare()
        assert another != spare
    assert not is_alive(another)


async def test_an_actor_below_gets_the_spare_as_well() -> None:
    """The server is the same for all actors of a tree."""
    async with open_forks() as nursery:
        portal = await start(nursery, "first")
        _, spare = await wait_spare()
        _, below = await portal.run(forked.look_below)
        assert below["pid"] == spare


async def test_a_spare_that_is_killed_is_no_loss() -> None:
    """The next child is forked when it is wanted; nobody is left to be reaped."""
    async with open_forks() as nursery:
        await start(nursery, "first")
        server, spare = await wait_spare()
        os.kill(spare, signal.SIGKILL)
        await wait_gone(spare)
        portal = await start(nursery, "second")
        assert await portal.run(actors.add, a=1, b=2) == 3
        assert find_servers() == [server]


async def test_a_spare_does_not_outlive_its_server() -> None:
    """However that ends."""
    async with open_forks() as nursery:
        await start(nursery, "first")
        server, spare = await wait_spare()
        os.kill(server, signal.SIGKILL)
        await wait_gone(spare)


async def test_several_at_once_do_not_wait_for_spares() -> None:
    """The first gets the one there is."""
    async with open_forks() as nursery:
        await start(nursery, "first")
        _, spare = await wait_spare()
        portals: list[tractor.Portal] = []

        async def add(name: str) -> None:
            portals.append(await start(nursery, name))

        async with trio.open_nursery() as starting:
            for number in range(6):
                starting.start_soon(add, f"kid{number}")
        pids = [(await portal.run(forked.look))["pid"] for portal in portals]
        assert len(set(pids)) == 6
        assert spare in pids

"""What is special about children that `multiprocessing` starts."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import multi, unready
from tests.spawn.test_backend import SOON, is_alive, open_child
from tractor._errors import Exit
from tractor.spawn import _mp
from tractor.spawn._backend import UNKNOWN_STATUS
from tractor.testing import _procs

FORKS = "mp_forkserver"
HERE = [multi.__name__]


@pytest.fixture(params=["mp_spawn", FORKS])
def key(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the children are made."""
    monkeypatch.delenv("TRACTOR_SPAWN_METHOD", raising=False)
    chosen: str = request.param
    return chosen


@asynccontextmanager
async def open_kids(key: str, **root: Any) -> AsyncGenerator[tractor.ActorNursery]:
    """Open a nursery, and end its children behind the block."""
    async with tractor.open_nursery(start_method=key, registry_addrs=[], **root) as nursery:
        yield nursery
        await nursery.cancel()


def find_helpers(word: str) -> list[int]:
    """Return the pids of those processes of ours in whose command line this is."""
    found = (_procs.read_proc(pid) for pid in _procs.all_pids())
    return [proc.pid for proc in found if proc and proc.parent == os.getpid() and word in proc.command()]


def find_server() -> int:
    """Return the pid of the only server."""
    (server,) = find_helpers("multiprocessing.forkserver")
    return server


async def test_it_is_a_process_of_the_library(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a name, a parent and a key; but not one of those that a program may wait for."""
    async with open_kids(key) as nursery:
        await nursery.start_actor("first")
        monkeypatch.setenv("GREETING", "hello")
        seen = await (await nursery.start_actor("kid", enable_modules=HERE)).run(multi.look)
        assert seen["name"] == "kid"
        assert seen["parent"] == [os.getpid(), True]
        assert seen["authkey"] == bytes(multiprocessing.current_process().authkey)
        assert seen["ppid"] == (find_server() if key == FORKS else os.getpid())
        assert seen["greeting"] == "hello"
        assert multiprocessing.active_children() == []


@pytest.mark.parametrize("inner", ["mp_spawn", FORKS])
async def test_it_may_have_children_of_its_own(key: str, inner: str) -> None:
    """Each with the server of its own parent."""
    async with open_kids(key) as nursery:
        portal = await nursery.start_actor("kid", enable_modules=HERE)
        seen = await portal.run(multi.look_below, key=inner)
        assert seen["name"] == "below"
        assert seen["parent"] == [portal.aid.pid, True]


def test_the_main_module_is_run_once_in_a_child(key: str, tmp_path: Path) -> None:
    """By us and not by the library too; nor does a server run it."""
    path = tmp_path / "runs"
    subprocess.run([sys.executable, multi.__file__, key, str(path)], check=True, timeout=30)
    assert path.read_text().split() == ["__main__", "__mp_main__"]


async def test_what_an_actor_does_with_the_library_is_done_to_the_end(key: str, tmp_path: Path) -> None:
    """Its finalizers run, and nothing of its shared memory is left."""
    path = tmp_path / "note"
    async with open_kids(key) as nursery:
        portal = await nursery.start_actor("kid", enable_modules=HERE)
        assert await portal.run(multi.use, path=str(path)) == 42
    assert path.read_text() == "finalized"


@pytest.mark.parametrize("options", [{"cwd": "/"}, {"daemon": True, "gil": "own"}])
async def test_options_are_refused(key: str, options: dict[str, Any]) -> None:
    """There are none that `multiprocessing` would take."""
    with pytest.raises(
        tractor.ActorFailure, match=f"{key}' does not know .*proc_kwargs must be empty"
    ) as info:
        async with open_kids(key) as nursery:
            await nursery.start_actor("kid", proc_kwargs=options)
    assert type(info.value.__cause__) is TypeError


async def test_the_exit_of_a_child_that_somebody_else_has_waited_for() -> None:
    """That it is gone is seen; nobody can tell how it ended."""
    async with open_child("mp_spawn") as running:
        await running.wait_up()
        os.kill(running.child.pid, signal.SIGKILL)
        os.waitpid(running.child.pid, 0)  # noqa: ASYNC222 - it ends now
        exit_ = await running.wait_end()
    assert (exit_.how, exit_.code) == ("died", None)
    assert "something else in this process has waited for it" in exit_.detail


# The server.


async def test_a_server_comes_with_the_first_child_and_goes_with_the_root() -> None:
    """So does the resource tracker, where the program does not use that itself."""
    code = (
        "import sys, trio; sys.path[:0] = ['.']; from tests.spawn import test_mp\n"
        "if __name__ == '__main__': trio.run(test_mp.see_helpers_go)"
    )
    done = await trio.run_process([sys.executable, "-c", code], capture_stdout=True)
    assert done.stdout.split() == [b"0", b"1", b"1", b"0", b"0"]


async def see_helpers_go() -> None:
    """Say how many there are: before the first child, with two, and behind the root."""
    for name in ("shared_memory", "synchronize"):
        sys.modules.pop(f"multiprocessing.{name}", None)
    async with open_kids(FORKS) as nursery:
        counts = [len(find_helpers("multiprocessing."))]
        for name in ("first", "second"):
            await nursery.start_actor(name)
        counts += [
            len(find_helpers(f"multiprocessing.{what}")) for what in ("forkserver", "resource_tracker")
        ]
    counts += [len(find_helpers(f"multiprocessing.{what}")) for what in ("forkserver", "resource_tracker")]
    sys.stdout.write(" ".join(map(str, counts)))


async def test_a_child_of_a_lost_server_is_ended_all_the_same() -> None:
    """Whatever is done to it; its exit status is the only thing that nobody knows."""
    for step, how in (("hang_up", "died"), ("interrupt", "died"), ("kill", "killed")):
        async with open_child(FORKS) as running:
            await running.wait_up()
            os.kill(find_server(), signal.SIGKILL)
            getattr(running.child, step)()
            assert await running.wait_end() == Exit(how, None, UNKNOWN_STATUS)  # type: ignore[arg-type]
            assert not is_alive(running.child.pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_server_that_is_lost_is_replaced(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or does not do its work; its children go on."""
    monkeypatch.setattr(_mp, "FORK_TIMEOUT", 0.3)
    monkeypatch.setattr(_mp, "STATUS_TIMEOUT", 0.2)
    async with open_kids(FORKS) as nursery:
        old = await nursery.start_actor("old", enable_modules=HERE)
        server = find_server()
        os.kill(server, number)
        with trio.fail_after(SOON):
            young = await nursery.start_actor("young", enable_modules=HERE)
        assert (await old.run(multi.look))["name"] == "old"
        assert (await young.run(multi.look))["ppid"] == find_server() != server


async def test_a_server_that_is_not_ready_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, and the start has failed."""
    monkeypatch.setattr(_mp, "START_TIMEOUT", 0.01)
    async with open_kids(FORKS) as nursery:
        with pytest.raises(tractor.ActorFailure, match=r"was not ready within 0\.01 s"):
            await nursery.start_actor("kid")
        assert find_helpers("multiprocessing.forkserver") == []


async def test_a_start_that_is_cancelled_does_not_wait_for_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However long that takes to import what it is to have; the next start makes another."""
    monkeypatch.setenv("UNREADY", "sleep")
    async with open_kids(FORKS, forkserver_preload=[unready.__name__]) as nursery:
        began = trio.current_time()
        with trio.move_on_after(0.5) as scope:
            await nursery.start_actor("kid")
        assert scope.cancelled_caught
        assert trio.current_time() - began < 3.0
        monkeypatch.delenv("UNREADY")
        assert (await (await nursery.start_actor("kid", enable_modules=HERE)).run(multi.look))[
            "name"
        ] == "kid"


async def test_what_is_preloaded_is_imported_once() -> None:
    """In the server; what it cannot import is left to the children that need it."""
    async with open_kids(FORKS, forkserver_preload=[multi.__name__, "nowhere.to.be.found"]) as nursery:
        for name in ("first", "second"):
            seen = await (await nursery.start_actor(name, enable_modules=HERE)).run(multi.look)
            assert seen["imported_in"] == find_server()


async def test_a_server_that_a_preloaded_module_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start has failed, and not only after its time is over."""
    monkeypatch.setenv("UNREADY", "exit")
    async with open_kids(FORKS, forkserver_preload=[unready.__name__]) as nursery:
        with trio.fail_after(SOON), pytest.raises(tractor.ActorFailure, match="ended before it had forked"):
            await nursery.start_actor("kid")

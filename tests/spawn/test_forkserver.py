"""The fork server: what it makes, what it preloads, and what becomes of its children when it is lost."""

import os
import signal
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, forked
from tests.programs.watch import Tree, find_marked
from tests.spawn.test_backend import SOON, is_alive, make_spec, open_child
from tests.spawn.test_trio import read_command
from tractor._errors import Exit
from tractor.spawn import _forklink
from tractor.spawn._backend import UNKNOWN_STATUS
from tractor.testing import _procs

KEY = "forkserver"


def find_servers() -> list[int]:
    """Return the pids of the fork servers that this process has started."""
    found = (_procs.read_proc(pid) for pid in _procs.all_pids())
    ours = [
        proc.pid for proc in found if proc is not None and proc.parent == os.getpid() and proc.state != "Z"
    ]
    return [pid for pid in ours if read_command(pid)[0] == f"_forkserver[of {os.getpid()}]"]


def links_of(pid: int) -> list[str]:
    """Return what the descriptors of a process refer to; the one that lists them, if it is ours, is gone by then."""
    names = []
    for fd in list(Path(f"/proc/{pid}/fd").iterdir()):
        with suppress(FileNotFoundError):
            names.append(os.readlink(fd))
    return names


@asynccontextmanager
async def open_forks(**root: Any) -> AsyncGenerator[tractor.ActorNursery]:
    """Open a nursery whose children are forked, and end them behind the block."""
    async with tractor.open_nursery(start_method=KEY, registry_addrs=[], **root) as nursery:
        yield nursery
        await nursery.cancel()


async def start(nursery: tractor.ActorNursery, name: str = "kid", **proc_kwargs: Any) -> tractor.Portal:
    """Start a child that can tell what it has."""
    return await nursery.start_actor(
        name, enable_modules=[forked.__name__, actors.__name__], proc_kwargs=proc_kwargs
    )


# The server.


async def test_one_server_makes_all_children_of_a_tree() -> None:
    """It comes with the first child, has one thread, says whose it is, and is gone with the root."""
    async with open_forks() as nursery:
        assert find_servers() == []
        first, second = await start(nursery, "first"), await start(nursery, "second")
        (server,) = find_servers()
        assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
        above, below = await first.run(forked.look_below)
        seen = [above, below, await second.run(forked.look)]
        assert {one["server"] for one in seen} == {server}
        assert len({one["pid"] for one in seen}) == 3
        assert not any(one["pid"] == server for one in seen)
    assert not is_alive(server)


async def test_the_server_keeps_its_children_in_shared_memory() -> None:
    """No collection writes to what it had before; what a child makes itself is collected as ever."""
    async with open_forks() as nursery:
        seen = await (await start(nursery)).run(forked.look)
    assert seen["frozen"]
    assert seen["collects"]


async def test_a_server_that_is_killed_takes_nobody_along() -> None:
    """Its children go on and are still ended in order; that nobody can tell how they ended is no failure of theirs."""
    async with open_forks() as nursery:
        old = await start(nursery, "old")
        (server,) = find_servers()
        os.kill(server, signal.SIGKILL)
        assert await old.run(actors.add, a=1, b=2) == 3
        young = await start(nursery, "young")
        (another,) = find_servers()
        assert another != server
        assert (await young.run(forked.look))["server"] == another


async def test_a_child_of_a_lost_server_is_ended_all_the_same() -> None:
    """Whatever is done to it; its exit status is the only thing that nobody knows."""
    for step, how in (("hang_up", "died"), ("interrupt", "died"), ("kill", "killed")):
        async with open_child(KEY) as running:
            await running.wait_up()
            (server,) = find_servers()
            os.kill(server, signal.SIGKILL)
            getattr(running.child, step)()
            assert await running.wait_end() == Exit(how, None, UNKNOWN_STATUS)  # type: ignore[arg-type]
            assert not is_alive(running.child.pid)


async def test_a_server_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that it does not answer is done by a new one; how its children end is not waited for long."""
    monkeypatch.setattr(_forklink, "FORK_TIMEOUT", 0.2)
    monkeypatch.setattr(_forklink, "STATUS_TIMEOUT", 0.2)
    async with open_forks() as nursery:
        await start(nursery, "old")
        (server,) = find_servers()
        os.kill(server, signal.SIGSTOP)
        with trio.fail_after(SOON):
            await start(nursery, "young")
        assert server not in find_servers()


async def test_a_child_of_a_server_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The news of its exit does not come; that it is gone is seen."""
    monkeypatch.setattr(_forklink, "STATUS_TIMEOUT", 0.1)
    async with open_child(KEY) as running:
        await running.wait_up()
        (server,) = find_servers()
        os.kill(server, signal.SIGSTOP)
        running.child.kill()
        assert await running.wait_end() == Exit("killed", None, UNKNOWN_STATUS)


async def test_a_server_that_is_not_ready_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, and the start has failed."""
    monkeypatch.setattr(_forklink, "START_TIMEOUT", 0.001)
    async with open_forks() as nursery:
        with pytest.raises(tractor.ActorFailure, match=r"the fork server was not ready within 0\.001 s"):
            await start(nursery)
        assert find_servers() == []


async def test_a_server_that_cannot_start_says_why() -> None:
    """Such as one that does not find our modules; a later start tries again."""
    spec = make_spec()
    spec.sys_path[:] = []
    with pytest.RaisesGroup(pytest.RaisesExc(tractor.RuntimeFailure, match="No module named 'tractor'")):
        async with open_child(KEY, spec):
            raise AssertionError("unreachable")


async def test_a_grandchild_when_the_server_is_lost() -> None:
    """Its parent starts a server of its own, which is gone with it."""
    async with open_forks() as nursery:
        portal = await start(nursery)
        above, below = await portal.run(forked.look_below, kill_server=True)
        assert above["server"] != below["server"]
        own = _procs.read_proc(below["server"])
        assert own is not None
        assert own.parent == above["pid"]
    assert not is_alive(below["server"])


@pytest.mark.parametrize("first", ["root", "server"])
@pytest.mark.parametrize("what", ["sleep", "block"])
def test_nothing_outlives_a_root_that_was_killed(first: str, what: str, tmp_path: Path) -> None:
    """Neither its server nor what that has made, also where the deepest actor never looks up or the server goes first."""
    tree = Tree(tmp_path, "nest.py", "uds", what, TRACTOR_SPAWN_METHOD=KEY)
    with tree.running():
        pids = [tree.pid_of(f"level{number}") for number in range(3)]
        family = {proc.pid: proc for proc in find_marked(tree.mark)}
        server = family[family[pids[0]].parent]
        assert server.command().startswith("_forkserver[of")
        if first == "server":
            os.kill(server.pid, signal.SIGKILL)
        tree.wait_gone(tree.kill("root"))


async def test_a_fork_of_ours_does_not_keep_the_server() -> None:
    """It holds no end of our connection."""
    async with open_forks() as nursery:
        await start(nursery)
        (server,) = find_servers()
        reader, writer = os.pipe()
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            # Threads of ours that are idle do no harm to a fork that does nothing.
            pid = os.fork()
        if pid == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    assert not is_alive(server)
    os.close(reader)
    os.close(writer)
    os.waitpid(pid, 0)  # noqa: ASYNC222 - it ends with the pipe


# What it preloads.


async def test_what_is_preloaded_is_imported_once() -> None:
    """In the server, before the first fork."""
    async with open_forks(forkserver_preload=[forked.__name__]) as nursery:
        for name in ("first", "second"):
            seen = await (await start(nursery, name)).run(forked.look)
            assert seen["imported_in"] == seen["server"]
    async with open_forks() as nursery:
        seen = await (await start(nursery)).run(forked.look)
        assert seen["imported_in"] == seen["pid"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "raise LookupError('the other half')",
            r"it could not import 'odd', of .*LookupError: the other half",
        ),
        ("raise SystemExit(3)", "it could not import 'odd'"),
        ("import os\nprint('last words')\nos.abort()", "ended before it was ready; it wrote:"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "'odd', of forkserver_preload, cannot be preloaded: a fork would lose the threads that run: Thread-1",
        ),
        (
            "import _interpreters\n_interpreters.create()",
            "'odd', of forkserver_preload, cannot be preloaded: a fork of a process that holds a sub-interpreter",
        ),
    ],
)
async def test_what_cannot_be_preloaded_is_an_error(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first start, with the reason; nothing is forked then."""
    (tmp_path / "odd.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    async with open_forks(forkserver_preload=["odd"]) as nursery:
        with pytest.raises(tractor.ActorFailure, match=f"(?s){message}"):
            await start(nursery)
        assert find_servers() == []


async def test_an_interpreter_that_comes_later_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that a hook of a preloaded module makes: the fork would crash."""
    (tmp_path / "sly.py").write_text(
        "import _interpreters, os, threading\nos.register_at_fork(after_in_parent=_interpreters.create)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with open_forks(forkserver_preload=["sly"]) as nursery:
        assert await (await start(nursery)).run(actors.add, a=1, b=2) == 3
        with pytest.raises(
            tractor.ActorFailure, match="a fork of a process that holds a sub-interpreter crashes"
        ):
            await start(nursery, "second")


async def test_a_list_of_modules_is_wanted() -> None:
    """A name alone would be taken for a list of letters."""
    for given in ("numpy", [1]):
        with pytest.raises(TypeError, match="forkserver_preload is a list of module names"):
            async with open_forks(forkserver_preload=given):
                raise AssertionError("unreachable")

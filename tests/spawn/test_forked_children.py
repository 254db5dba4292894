"""What children that are forks of a server are like, what they hold, and how they end."""

import gc
import importlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, forked
from tests.spawn.descriptors import few_left
from tests.spawn.test_backend import SOON, make_spec, open_child, share_backend
from tests.spawn.test_forkserver import KEY, find_servers, links_of, open_forks, start
from tests.spawn.test_trio import name_of
from tractor._errors import Exit
from tractor.testing import _procs

# What a child is like.


async def test_a_child_is_like_the_process_that_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that is at this moment, not as the server is."""
    async with open_forks() as nursery:
        before = await (await start(nursery, "before")).run(forked.look)
        assert (before["greeting"], before["cwd"], before["argv"]) == (None, os.getcwd(), sys.argv)
        monkeypatch.setenv("GREETING", "caf\udce9")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["somebody", "else"])
        umask = os.umask(0o027)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        try:
            portal = await start(nursery, "after")
        finally:
            os.umask(umask)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        seen = await portal.run(forked.look)
    assert seen["greeting"] == b"caf\xe9"
    assert (seen["cwd"], seen["argv"], seen["umask"]) == (str(tmp_path), ["somebody", "else"], 0o027)
    assert (before["ignores_hup"], seen["ignores_hup"]) == (False, True)
    assert (before["blocked"], seen["blocked"]) == ([], [int(signal.SIGUSR2)])
    assert before["session"] == os.getsid(0)
    assert before["limit"] == os.sysconf("SC_OPEN_MAX")


async def test_a_child_finds_what_was_written_after_the_server_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a directory that the server has looked into."""
    (tmp_path / "early_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    async with open_forks(forkserver_preload=["early_module"]) as nursery:
        await start(nursery, "first")
        (tmp_path / "late_module.py").write_text("async def answer():\n    return 42\n")
        importlib.invalidate_caches()
        portal = await nursery.start_actor("second", enable_modules=["late_module"])
        assert await portal.run_from_ns("late_module", "answer") == 42


async def test_children_are_random_each_in_its_own_way() -> None:
    """Though they are copies of one process, and so in what `multiprocessing` keeps secret."""
    random.seed(1)
    async with open_forks(forkserver_preload=[forked.__name__]) as nursery:
        seen = [await (await start(nursery, name)).run(forked.look) for name in ("first", "second", "third")]
    assert len({one["random"] for one in seen}) == 3
    assert len({bytes(one["authkey"]) for one in seen}) == 3


async def test_options_reach_the_child(tmp_path: Path) -> None:
    """As `trio.lowlevel.open_process` takes them."""
    reader, writer = os.pipe()
    try:
        async with open_forks() as nursery:
            portal = await start(
                nursery,
                cwd=tmp_path,
                env={**os.environ, "GREETING": "hello"},
                pass_fds=(writer,),
                umask=0o077,
                start_new_session=True,
            )
            seen = await portal.run(forked.look)
            await portal.run(actors.write_fd, fd=writer, text="from below")
        assert os.read(reader, 100) == b"from below"
    finally:
        os.close(reader)
        os.close(writer)
    assert (seen["cwd"], seen["greeting"], seen["umask"]) == (str(tmp_path), b"hello", 0o077)
    assert seen["session"] == seen["pid"]


async def test_a_child_has_the_streams_it_was_given(tmp_path: Path) -> None:
    """And what it has printed is there when it has ended."""
    (tmp_path / "in").write_text("read me")
    with (
        open(tmp_path / "in") as stdin,
        open(tmp_path / "out", "w") as stdout,
        open(tmp_path / "err", "w") as err,
    ):
        async with open_forks() as nursery:
            portal = await start(nursery, stdin=stdin, stdout=stdout, stderr=err.fileno())
            assert await portal.run(forked.read_and_write, text="to") == "read me"
            both = await start(
                nursery, "both", stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT
            )
            assert await both.run(forked.read_and_write, text="both to") == ""
    assert sorted((tmp_path / "out").read_text().splitlines()) == ["both to err", "both to out", "to out"]
    assert (tmp_path / "err").read_text() == "to err\n"


async def test_a_child_prints_where_we_would(capfd: pytest.CaptureFixture[str]) -> None:
    """Also where that has changed since the server was started, as a test's captured output does."""
    async with open_forks() as nursery:
        await start(nursery, "first")
        portal = await start(nursery)
        await portal.run(forked.read_and_write, text="here")
    assert capfd.readouterr() == ("here out\n", "here err\n")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"creationflags": 1, "shell": True},
            TypeError,
            "does not know creationflags, shell; proc_kwargs may have: cwd",
        ),
        ({"stdin": subprocess.PIPE}, ValueError, "stdin=PIPE: nobody would"),
        ({"cwd": "/nowhere/at/all"}, FileNotFoundError, "/nowhere/at/all"),
        ({"pass_fds": (999_999,)}, OSError, "Bad file descriptor"),
        ({"pass_fds": tuple([0] * 250)}, ValueError, "pass_fds has 250 descriptors; the kernel passes 253"),
    ],
)
async def test_options_that_a_fork_cannot_have_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """By the start, with their names; the server is as good as before."""
    async with open_forks() as nursery:
        with pytest.raises(tractor.ActorFailure, match=message) as caught:
            await start(nursery, **options)
        assert isinstance(caught.value.__cause__, error)
        assert await (await start(nursery)).run(actors.add, a=1, b=2) == 3


# Its descriptors.


async def test_a_child_holds_nothing_that_is_not_its_own() -> None:
    """No descriptor of ours nor of the server, no end of a sibling's channel or lifeline, not the record of its boot."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        async with open_child(KEY) as first, open_child(KEY) as second, open_child(KEY) as third:
            for running in (first, second, third):
                await running.wait_up()
            pids = [os.getpid(), *find_servers(), *(one.child.pid for one in (first, second, third))]
            terminal = {name_of(number) for number in range(3)}
            held: list[set[str]] = []
            for pid in pids:
                names = links_of(pid)
                assert pid == os.getpid() or not [name for name in names if "memfd" in name]
                held.append({name for name in names if name.startswith(("socket:", "pipe:"))} - terminal)
            for number, names_ in enumerate(held):
                for others in held[number + 1 :]:
                    assert not names_ & others
            assert len({len(names_) for names_ in held[2:]}) == 1
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_child_has_two_descriptors_more_than_one_that_was_executed() -> None:
    """Its connection to the server, what it watches its parent by, and nothing else."""
    counts = []
    for key in ("trio", KEY):
        async with open_child(key) as running:
            await running.wait_up()
            counts.append(len(links_of(running.child.pid)))
    assert counts[1] - counts[0] == 2


async def test_a_parent_without_standard_streams_can_have_children(tmp_path: Path) -> None:
    """A daemon may have closed them: its children have /dev/null there, and no socket of theirs."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, trio, tractor\n"
        "async def look():\n"
        "    return [os.readlink(f'/proc/self/fd/{fd}') for fd in range(3)]\n"
        "async def main():\n"
        "    async with tractor.open_nursery(start_method='forkserver', registry_addrs=[]) as nursery:\n"
        "        portal = await nursery.run_in_actor(look)\n"
        "        open(sys.argv[1], 'w').write(' '.join(await portal.wait_for_result()))\n"
        "if __name__ == '__main__':\n"
        "    for fd in range(3): os.close(fd)\n"
        "    trio.run(main)\n"
    )
    out = tmp_path / "out"
    with trio.fail_after(SOON):
        await trio.run_process([sys.executable, str(script), str(out)])
    assert out.read_text().split()[:2] == ["/dev/null", "/dev/null"]


@pytest.mark.parametrize("left", range(1, 16, 2))
async def test_without_descriptors_nothing_is_left_open(left: int) -> None:
    """Wherever in the start of a child they run out; with enough of them again it works."""
    async with share_backend(KEY):
        async with open_child(KEY) as running:
            await running.wait_up()
        with few_left(left):
            try:
                async with open_child(KEY):
                    pass
            except* OSError:
                pass
        gc.collect()
        async with open_child(KEY) as running:
            await running.wait_up()


# Its end.


@pytest.mark.parametrize("code", [0, 1, 7, 255])
async def test_an_exit_status_arrives_as_it_is(code: int) -> None:
    """Through the server, which is the one that can know it."""
    with pytest.raises(tractor.ActorFailure) as caught:
        async with open_forks() as nursery:
            portal = await start(nursery)
            with pytest.raises(tractor.TransportClosed):
                await portal.run(actors.exit_hard, code=code)
            await trio.sleep_forever()
    assert caught.value.exit is not None
    assert caught.value.exit.code == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1])
async def test_a_signal_arrives_as_it_is(number: signal.Signals) -> None:
    """One that was not ours: the child has died of it."""
    async with open_child(KEY) as running:
        await running.wait_up()
        os.kill(running.child.pid, number)
        assert await running.wait_end() == Exit("died", -number)


async def test_no_zombie_is_left() -> None:
    """A child is reaped by the time it is said to be gone."""
    async with open_child(KEY) as running:
        await running.wait_up()
        running.child.kill()
        await running.wait_end()
        assert _procs.read_proc(running.child.pid) is None


async def test_the_record_of_a_failed_boot_is_kept() -> None:
    """Also what goes wrong before the child is like any other."""
    async with open_child(KEY, make_spec(env={"": "no name"})) as running:
        exit_ = await running.wait_end()
        assert (exit_.how, exit_.code) == ("died", 1)
        assert "Invalid argument" in running.child.boot_output()

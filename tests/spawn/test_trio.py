"""What is special about children that are processes."""

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.spawn.descriptors import few_left
from tests.spawn.test_backend import SOON, is_alive, make_spec, open_child
from tractor._errors import Exit
from tractor.spawn import _output, _trio
from tractor.spawn._backend import ChildSpec


def read_command(pid: int) -> list[str]:
    """Return a process's command line as it was given."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def name_of(fd: int) -> str:
    """Return what a descriptor of ours refers to."""
    return os.readlink(f"/proc/self/fd/{fd}")


def test_the_command_line_says_who_the_child_is() -> None:
    """For people who look at a list of processes; it holds no secret and no address."""
    spec = make_spec(name="it's me")
    command = _trio._command(spec, [7, 9])
    assert command[0] == sys.executable
    assert command[command.index("--uid") + 1] == f"(\"it's me\", '{spec.uuid}')"
    assert command[command.index("--fds") + 1] == "7,9"


async def test_once_up_a_child_has_a_readable_title() -> None:
    """`_subactor[name@pid]`."""
    async with open_child("trio", make_spec(name="somebody")) as running:
        await running.wait_up()
        pid = running.child.pid
        assert read_command(pid)[0] == f"_subactor[somebody@{pid}]"


def test_a_child_gets_the_interpreters_own_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent was started with holds for its children; the entry's own folder is never on their path."""
    monkeypatch.setattr(subprocess, "_args_from_interpreter_flags", lambda: ["-X", "dev", "-bb"])
    assert _trio._command(make_spec(), [7, 9])[1:5] == ["-X", "dev", "-bb", "-P"]


async def test_a_child_holds_nothing_that_is_not_its_own() -> None:
    """No descriptor of the parent, no end of a sibling's channel or lifeline, and not the record of its own boot."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        async with open_child("trio") as first, open_child("trio") as second:
            await first.wait_up()
            await second.wait_up()
            ours = {
                name_of(int(fd.name))
                for fd in Path("/proc/self/fd").iterdir()
                if int(fd.name) > 2 and fd.exists()
            }
            ours |= {name_of(fd) for fd in (reader, writer, first.child.channel.fileno())}
            held = [
                [os.readlink(fd) for fd in Path(f"/proc/{one.child.pid}/fd").iterdir()]
                for one in (first, second)
            ]
            for targets in held:
                assert not {
                    target for target in targets if target.startswith(("socket:", "pipe:"))
                } & ours - {name_of(n) for n in range(3)}
                assert not [target for target in targets if "memfd" in target]
            assert len(held[0]) == len(held[1])
    finally:
        os.close(reader)
        os.close(writer)


async def test_options_reach_the_process(tmp_path: Path) -> None:
    """Working directory, environment and further descriptors, as `trio.lowlevel.open_process` takes them."""
    reader, writer = os.pipe()
    env = {**os.environ, "GREETING": "hello"}
    try:
        spec = make_spec(cwd=tmp_path, env=env, pass_fds=(writer,))
        async with open_child("trio", spec) as running:
            await running.wait_up()
            proc = Path(f"/proc/{running.child.pid}")
            assert os.readlink(proc / "cwd") == str(tmp_path)
            assert b"GREETING=hello" in (proc / "environ").read_bytes().split(b"\0")
            assert os.readlink(proc / "fd" / str(writer)) == name_of(writer)
    finally:
        os.close(reader)
        os.close(writer)


async def test_a_callers_own_stderr_is_left_alone() -> None:
    """Then nothing is kept for a report, and the child writes where it was told to."""
    reader, writer = os.pipe()
    try:
        async with open_child("trio", make_spec(boot=b"\xc1", stderr=writer)) as running:
            assert (await running.wait_end()).how == "died"
            assert running.child.boot_output() == ""
        os.close(writer)
        writer = -1
        with open(reader) as file:
            reader = -1
            assert "DecodeError" in file.read()
    finally:
        for fd in (reader, writer):
            if fd != -1:
                os.close(fd)


async def test_a_parent_without_stderr_can_have_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon may have closed it; the child goes on writing to where its boot was recorded."""
    real = os.dup

    def dup(fd: int) -> int:
        if fd == 2:
            raise OSError("closed")
        return real(fd)

    monkeypatch.setattr(os, "dup", dup)
    async with open_child("trio") as running:
        with trio.fail_after(SOON):
            await running.wait_up()


@pytest.mark.parametrize("memory_file", [True, False])
async def test_only_the_end_of_the_output_is_kept(memory_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that floods its stderr before it is up costs a bounded amount of report, with and without memfd."""
    if not memory_file:
        monkeypatch.delattr(os, "memfd_create")
    spec = make_spec(boot=b"\xc1")
    async with open_child("trio", spec) as running:
        await running.wait_end()
        output = running.child.boot_output()
    assert "DecodeError" in output
    monkeypatch.setattr(_output, "_TAIL", 100)
    async with open_child("trio", spec) as running:
        await running.wait_end()
        assert 0 < len(running.child.boot_output()) <= 100


async def test_an_interpreter_that_does_not_know_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedded one may not; the error says so."""
    monkeypatch.setattr(sys, "executable", "")
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="sys.executable")):
        async with open_child("trio"):
            raise AssertionError("unreachable")


@pytest.mark.parametrize("left", range(7))
async def test_without_descriptors_nothing_is_left_open(left: int) -> None:
    """Wherever in the start of a child they run out; with enough of them again it works."""
    with (
        few_left(left),
        pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Too many open files")),
    ):
        async with open_child("trio"):
            pytest.fail(f"{left} were enough")
    gc.collect()
    async with open_child("trio") as running:
        await running.wait_up()


async def test_a_process_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    """The error is the operating system's; the leak check behind this test finds what was not closed."""
    with pytest.RaisesGroup(FileNotFoundError):
        async with open_child("trio", make_spec(cwd=tmp_path / "nowhere")):
            raise AssertionError("unreachable")


async def test_a_child_that_finds_no_modules_dies_and_says_why() -> None:
    """Whatever ended without our doing has died, and its exit status is reported."""
    spec = make_spec()
    async with open_child("trio", ChildSpec(spec.name, spec.uuid, ["/nowhere"], spec.boot)) as running:
        assert await running.wait_end() == Exit("died", 1)
        assert "ModuleNotFoundError" in running.child.boot_output()


async def test_the_signal_that_killed_a_child_is_reported() -> None:
    """Somebody else's kill is not ours."""
    async with open_child("trio") as running:
        await running.wait_up()
        os.kill(running.child.pid, signal.SIGKILL)
        assert await running.wait_end() == Exit("died", -signal.SIGKILL)
        assert str(running.exit) == "killed by SIGKILL"


async def test_a_process_that_ended_before_the_kill_was_not_killed() -> None:
    """The report tells what happened, not what was tried."""
    async with open_child("trio", make_spec(boot=b"\xc1")) as running:
        process = running.child._process  # type: ignore[attr-defined]
        with trio.fail_after(SOON):
            while is_alive(process.pid):
                await trio.sleep(0)
            # The news has not reached the backend yet.
            running.child.kill()
        assert (await running.wait_end()) == Exit("died", 1)


async def test_a_process_that_does_not_react_to_a_kill_is_abandoned_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As one may not that waits for a dead disk: the backend lets go after `kill_grace`, and says what is left."""
    spec = make_spec()
    began = 0.0
    short = ChildSpec(spec.name, spec.uuid, spec.sys_path, spec.boot, kill_grace=0.2)
    async with open_child("trio", short) as running:
        await running.wait_up()
        monkeypatch.setattr(running.child, "kill", lambda: None)
        began = trio.current_time()
    assert 0.1 < trio.current_time() - began < 2.0
    assert running.child.exit == Exit("abandoned", None, "it does not even react to SIGKILL")
    with trio.fail_after(SOON):
        await running.child._process.wait()  # type: ignore[attr-defined]


async def test_what_a_child_writes_once_up_goes_where_ours_does(capfd: pytest.CaptureFixture[str]) -> None:
    """Its stderr is recorded only until then."""
    async with open_child("trio") as running:
        await running.wait_up()
        link = os.readlink(f"/proc/{running.child.pid}/fd/2")
        assert link == name_of(2)

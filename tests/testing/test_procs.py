"""Finding and ending the processes of a session."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tractor.testing import _procs

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def wait_until(true: Callable[[], bool]) -> None:
    """Return once `true()` is; fail after ten seconds."""
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, "waited ten seconds in vain"
        time.sleep(0.005)


@contextmanager
def running(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, its stdin and stdout pipes, and end it with the block."""
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def orphan(env: dict[str, str]) -> int:
    """Start a process whose parent is gone, and return its pid."""
    start = f"import subprocess; print(subprocess.Popen({SLEEP!r}, stdout=subprocess.DEVNULL).pid)"
    argv = [sys.executable, "-S", "-c", start]
    done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, timeout=30, check=True)
    return int(done.stdout)


def test_a_process_is_read_with_its_parent_and_command() -> None:
    """The fields come from the right columns, also after a name with blanks and brackets."""
    with running(["/bin/sh", "-c", "printf 'a) b (' > /proc/self/comm; echo; read x; :"]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        proc = _procs.read_proc(process.pid)
        assert proc is not None
        assert (proc.pid, proc.parent) == (process.pid, os.getpid())
        assert proc.started > 0
        assert str(proc).startswith(
            f"{process.pid} ({proc.state}, child of {os.getpid()}): /bin/sh -c printf"
        )


def test_a_pid_nobody_has_reads_as_none() -> None:
    """A process that ended and was reaped is not there."""
    with running(["/bin/true"]) as process:
        process.wait()
    assert _procs.read_proc(process.pid) is None


def test_a_zombie_is_read_by_its_name() -> None:
    """A zombie has no command line any more, only the name in brackets."""
    with running(["/bin/true"]) as process:
        wait_until(lambda: (proc := _procs.read_proc(process.pid)) is not None and proc.state == "Z")
        assert str(_procs.read_proc(process.pid)).endswith(": [true]")


def test_the_family_has_children_and_grandchildren_and_nobody_else() -> None:
    """Descent is followed through processes that are not among the pids asked for."""
    start = (
        f"import subprocess, sys; p = subprocess.Popen({SLEEP!r}); print(p.pid, flush=True); sys.stdin.read()"
    )
    with running([sys.executable, "-S", "-c", start]) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        try:
            pids = _procs.all_pids()
            assert {os.getpid(), child.pid, grandchild} <= pids
            family = [proc.pid for proc in _procs.find_family(os.getpid(), "no-such-mark", pids)]
            assert {child.pid, grandchild} <= set(family)
            assert not {os.getpid(), os.getppid(), 1} & set(family)
            assert [proc.pid for proc in _procs.find_family(os.getpid(), "-", [grandchild])] == [grandchild]
            assert _procs.find_family(grandchild, "no-such-mark", pids) == []
        finally:
            _procs.kill(_procs.find_family(os.getpid(), "no-such-mark", [grandchild]))


@pytest.mark.parametrize(
    ("marked", "found"),
    [("/s-1", True), ("/s-1/inner-2", True), ("/s-10", False), ("/outer/s-1", False), ("", False)],
)
def test_an_orphan_belongs_to_the_session_whose_mark_it_carries(marked: str, found: bool) -> None:
    """The mark of the session or of one inside it counts; one that merely looks alike does not."""
    here = os.environ[_procs.MARK]
    pid = orphan({_procs.MARK: here + marked})
    # The environment is not yet the new one while the orphan is between fork and exec.
    wait_until(lambda: b"time.sleep" in _procs.read_bytes(pid, "cmdline"))
    proc = _procs.read_proc(pid)
    assert proc is not None
    try:
        assert (_procs.find_family(os.getpid(), f"{here}/s-1", [pid]) == [proc]) is found
    finally:
        assert _procs.kill([proc], wait=10) == []


def test_kill_ends_and_reaps_a_child_that_ignores_everything_else() -> None:
    """No zombie is left, and killing what is gone already does nothing."""
    with running(["/bin/sh", "-c", "trap '' TERM INT; echo; read line"]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        family = _procs.find_family(os.getpid(), "no-such-mark", [process.pid])
        assert [proc.pid for proc in family] == [process.pid]
        assert _procs.kill(family, wait=10) == []
        assert _procs.read_proc(process.pid) is None
        assert _procs.kill(family) == []


def test_kill_spares_a_process_that_got_the_pid_later() -> None:
    """A pid with another start time is somebody else's."""
    with running(SLEEP) as process:
        proc = _procs.read_proc(process.pid)
        assert proc is not None
        earlier = _procs.Proc(proc.pid, proc.parent, proc.state, proc.started - 1)
        assert not _procs.is_there(earlier)
        assert _procs.kill([earlier]) == []
        assert process.poll() is None

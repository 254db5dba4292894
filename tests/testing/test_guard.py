"""The guard beside a session, seen from a session outside it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tractor.testing import _procs

#: A child that outlives whatever happens to its parents, and writes its pid to a file.
START_CHILD = """
    import os, subprocess, sys, time

    def start_child():
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        with open("pid", "w") as file:
            file.write(str(child.pid))
"""


def run_hung(pytester: pytest.Pytester, body: str) -> tuple[pytest.RunResult, Path]:
    """Run a session whose test gets a second, and return its result and the path of its stacks."""
    pytester.makeconftest("from tractor.testing import _plugin\n_plugin.GUARD_MARGIN = 1")
    pytester.makepyfile(START_CHILD + body)
    result = pytester.runpytest_subprocess("-p", "tractor.testing._plugin", timeout=30)
    path = re.search(r"this is also in (\S+)", result.stderr.str())
    assert path is not None, result.stderr.str()
    return result, Path(path[1])


@pytest.mark.parametrize(
    "hang",
    ["threading.Event().wait()", "ctypes.PyDLL(None).sleep(60)", "trio.run(shielded)"],
    ids=["waiting", "holding the interpreter lock", "shielded in trio"],
)
def test_a_hung_test_ends_the_session_with_stacks_and_nothing_left(
    hang: str, pytester: pytest.Pytester
) -> None:
    """The report names the test, its children and where every thread is; file and stderr have the same."""
    body = f"""
    import ctypes, pytest, threading, trio

    async def shielded():
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    @pytest.mark.fence(0)
    def test_that_hangs():
        start_child()
        {hang}
    """
    result, path = run_hung(pytester, body)
    assert result.ret == -signal.SIGKILL
    child = int((pytester.path / "pid").read_text())
    report = path.read_text()
    path.unlink()
    assert report in result.stderr.str()
    assert "test_that_hangs: still running after 1.0 s" in report
    assert re.search(rf"process {child} \(.*time\.sleep\(60\)", report)
    assert "in test_that_hangs\n" in report
    proc = _procs.read_proc(child)
    assert proc is None or proc.state == "Z"


def test_an_interrupt_is_meant_for_the_session(pytester: pytest.Pytester) -> None:
    """The guard outlives it: it has the session's name, and is found by whoever looks for that."""
    result, _ = run_hung(
        pytester,
        """
    import pytest, signal, threading
    from tractor.testing import _procs

    @pytest.mark.fence(0)
    def test_that_hangs():
        procs = filter(None, map(_procs.read_proc, _procs.all_pids()))
        (guard,) = [proc.pid for proc in procs if proc.parent == os.getpid()]
        os.kill(guard, signal.SIGINT)
        start_child()
        threading.Event().wait()
    """,
    )
    assert result.ret == -signal.SIGKILL
    assert "KeyboardInterrupt" not in result.stderr.str()


def test_a_fixture_that_hangs_is_bounded_too(pytester: pytest.Pytester) -> None:
    """The wall time of a test has its fixtures in it."""
    body = """
    import pytest

    @pytest.fixture
    def slow():
        yield
        time.sleep(60)

    @pytest.mark.fence(0)
    def test_with_slow(slow):
        pass
    """
    result, path = run_hung(pytester, body)
    path.unlink()
    assert result.ret == -signal.SIGKILL
    assert "test_with_slow: still running" in result.stderr.str()


def test_each_test_has_its_own_time(pytester: pytest.Pytester) -> None:
    """Several tests may together take longer than one of them may."""
    pytester.makeconftest("from tractor.testing import _plugin\n_plugin.GUARD_MARGIN = 1.2")
    pytester.makepyfile("""
    import pytest, time

    @pytest.mark.fence(0)
    @pytest.mark.parametrize("n", range(3))
    def test_quick_enough(n):
        time.sleep(0.5)
    """)
    result = pytester.runpytest_subprocess("-p", "tractor.testing._plugin", timeout=30)
    result.assert_outcomes(passed=3)


def test_a_session_killed_outright_leaves_nothing(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL runs no clean-up in the session, so the guard does it: processes, directory and empty dump file."""
    pytester.makepyfile(
        START_CHILD
        + """
    import signal, tempfile

    def test_that_is_killed():
        start_child()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    )
    # For the place of directory and dump file; the inner pytest keeps its own files elsewhere.
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    args = ("-p", "tractor.testing._plugin", "--capture=no")
    assert pytester.runpytest_subprocess(*args, timeout=30).ret == -signal.SIGKILL
    child = int((pytester.path / "pid").read_text())
    deadline = time.monotonic() + 10
    while (proc := _procs.read_proc(child)) is not None and proc.state != "Z":
        assert time.monotonic() < deadline, "the child survived its session"
        time.sleep(0.01)
    while any(path.name.startswith("tractor-") for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline, f"left: {list(tmp_path.iterdir())}"
        time.sleep(0.01)


def test_stopping_the_guard_leaves_no_trace(tmp_path: Path) -> None:
    """Its process, its descriptors, the empty file and the private directory are gone at once."""
    code = """
import os, pathlib
from tractor.testing import _guard, _procs
before = os.listdir("/proc/self/fd")
guard = _guard.Guard("mark", pathlib.Path("stacks.txt"), "private")
assert os.path.exists("stacks.txt")
assert _procs.read_proc(guard.pid).parent == os.getpid()
guard.arm(60, "some test")
guard.stop()
assert os.listdir("/proc/self/fd") == before
assert _procs.read_proc(guard.pid) is None
"""
    (tmp_path / "private").mkdir()
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=30, check=True)
    assert list(tmp_path.iterdir()) == []

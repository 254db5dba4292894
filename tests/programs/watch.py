"""What tests do to a tree of processes from outside: start it, follow it, hurt it, and see it gone."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tractor.testing import _procs

HERE = Path(__file__).parent
#: In the environment of every process of a tree, also of those whose parents are gone.
MARK = "TREE_UNDER_TEST"
#: Seconds a tree may take to be ready for the test.
READY = 30.0
#: Seconds in which a tree has to be gone, by the project's own promise.
GONE = 2.0


def find_marked(mark: str) -> list[_procs.Proc]:
    """Return the processes that carry this mark and run; those that nobody has reaped yet do not."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for pid in _procs.all_pids():
        if wanted in _procs.read_bytes(pid, "environ").split(b"\0"):
            proc = _procs.read_proc(pid)
            if proc is not None and proc.state != "Z":
                found.append(proc)
    return found


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process that runs."""
    proc = _procs.read_proc(pid)
    return proc is not None and proc.state != "Z"


def wait_until[T](condition: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true value of `condition()`; `AssertionError` with `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)
    return value


def find_sockets(directory: Path) -> list[Path]:
    """Return the socket files below a directory."""
    return [path for path in directory.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]


class Tree:
    """One program of `tests/programs` that runs as a tree of actors, watched from outside.

    Its processes write their reports, one JSON object per line, to the file named by its first argument.
    """

    def __init__(self, folder: Path, script: str, *args: str, **env: str) -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        # Not below `folder`, whose path may leave no room for the names of sockets; the session removes it.
        self.runtime_dir = Path(os.environ["XDG_RUNTIME_DIR"], f"tree-{time.monotonic_ns()}")
        self.runtime_dir.mkdir()
        self.stderr = folder / "stderr"
        self._report = folder / "report"
        self._report.touch()
        self._argv = [sys.executable, str(HERE / script), str(self._report), *args]
        self.env = {
            **os.environ,
            MARK: self.mark,
            "PYTHONPATH": str(HERE.parents[1]),
            "XDG_RUNTIME_DIR": str(self.runtime_dir),
            **env,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self, *argv: str, pass_fds: tuple[int, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """Run it for the block, or a command `argv` that runs it in another way; what is left of it behind that is killed."""
        command = argv or self._argv
        with self.stderr.open("wb") as stderr:
            process = subprocess.Popen(
                command, env=self.env, stdout=subprocess.DEVNULL, stderr=stderr, pass_fds=pass_fds
            )
        try:
            yield process
        finally:
            _procs.kill(find_marked(self.mark))
            process.wait()

    @property
    def argv(self) -> list[str]:
        """What to run, for tests that run it in another way."""
        return self._argv

    def reports(self) -> list[dict[str, Any]]:
        """Return what was reported so far."""
        lines = self._report.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def wait_for(self, **facts: object) -> dict[str, Any]:
        """Return the first report with these facts."""

        def find() -> dict[str, Any] | None:
            found = [one for one in self.reports() if facts.items() <= one.items()]
            return found[0] if found else None

        try:
            found = wait_until(find, READY, f"a report with {facts}")
        except AssertionError as exc:
            raise AssertionError(f"{exc}; its stderr: {self.stderr.read_text()}") from None
        assert found is not None
        return found

    def pid_of(self, actor: str) -> int:
        """Return the pid of an actor that has reported."""
        pid: int = self.wait_for(actor=actor)["pid"]
        return pid

    def kill(self, actor: str, number: int = signal.SIGKILL) -> float:
        """Send a signal to one actor's process; return when, in monotonic seconds."""
        pid = self.pid_of(actor)
        moment = time.monotonic()
        os.kill(pid, number)
        return moment

    def wait_gone(self, since: float, within: float = GONE) -> float:
        """Return how many seconds after `since` the last process was gone; `AssertionError` for those that stay."""
        while left := find_marked(self.mark):
            late = time.monotonic() - since
            assert late < within, f"still there after {late:.2f} s: {[str(proc) for proc in left]}"
            time.sleep(0.005)
        return time.monotonic() - since


def note(report: str, **facts: object) -> None:
    """Report something from inside a tree; safe from any number of processes."""
    fd = os.open(report, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, json.dumps(facts).encode() + b"\n")
    finally:
        os.close(fd)

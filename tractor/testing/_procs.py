"""What /proc says about the processes of one test session. Linux only."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass

#: Set in the environment of a session, so that a process is recognised even after its parents are gone.
MARK = "TRACTOR_TEST_SESSION"


@dataclass(frozen=True, slots=True)
class Proc:
    """One process as it was read; `pid` and `started` (clock ticks since boot) together identify it."""

    pid: int
    parent: int
    state: str
    started: int

    def __str__(self) -> str:
        return f"{self.pid} ({self.state}, child of {self.parent}): {self.command()}"

    def command(self) -> str:
        """Return the command line; the name in brackets for one that has none, as a zombie has not."""
        words = read_bytes(self.pid, "cmdline").replace(b"\0", b" ").strip()
        return (words or b"[%s]" % read_bytes(self.pid, "comm").strip()).decode(errors="replace")


def read_bytes(pid: int, name: str) -> bytes:
    """Return the content of /proc/<pid>/<name>, empty when the process is gone or somebody else's."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def read_proc(pid: int) -> Proc | None:
    """Return the process with this pid, a zombie included, or None."""
    # The name in the second field may hold blanks and brackets, so the rest is what follows the last one.
    fields = read_bytes(pid, "stat").rpartition(b")")[2].split()
    if not fields or fields[0] in (b"X", b"x"):
        return None
    return Proc(pid, int(fields[1]), fields[0].decode(), int(fields[19]))


def all_pids() -> frozenset[int]:
    """Return the pid of every process that can be seen from here."""
    return frozenset(int(name) for name in os.listdir("/proc") if name.isdecimal())


def find_family(root: int, mark: str, among: Iterable[int]) -> list[Proc]:
    """Return those processes `among` these pids that belong to the session of process `root`.

    They descend from `root`, or carry `mark` as the session's or an enclosing session's mark in their environment.
    """
    found = (read_proc(pid) for pid in sorted(among) if pid != root)
    return [
        proc for proc in found if proc is not None and (_descends(proc, root) or _carries(proc.pid, mark))
    ]


def kill(procs: Iterable[Proc], *, wait: float = 1.0) -> list[Proc]:
    """End these processes by SIGKILL and reap those that are our children; a zombie of another parent counts as ended.

    Returns the ones still there after `wait` seconds.
    """
    left = [proc for proc in procs if is_there(proc)]
    for proc in left:
        try:
            os.kill(proc.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
    deadline = time.monotonic() + wait
    while True:
        left = [proc for proc in left if not _reap(proc.pid) and is_there(proc, zombies=False)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.005)


def is_there(proc: Proc, *, zombies: bool = True) -> bool:
    """Tell whether this very process still exists, if only as a zombie where `zombies` count."""
    now = read_proc(proc.pid)
    return now is not None and now.started == proc.started and (zombies or now.state != "Z")


def _descends(proc: Proc, root: int) -> bool:
    parent: Proc | None = proc
    while parent is not None and parent.parent > 1:
        if parent.parent == root:
            return True
        parent = read_proc(parent.parent)
    return False


def _carries(pid: int, mark: str) -> bool:
    # A session inside a session extends its mark: "outer" becomes "outer/inner".
    for variable in read_bytes(pid, "environ").split(b"\0"):
        name, _, value = variable.partition(b"=")
        if name == MARK.encode():
            return f"{value.decode(errors='replace')}/".startswith(f"{mark}/")
    return False


def _reap(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False

"""A process beside the test session that outlives its hangs.

It ends a session whose test exceeds its wall time, after writing every thread's stack, and it kills what the session
started when the session itself ends by any means, SIGKILL included. A process and no thread: it works while the
session is stuck in C code with the interpreter lock held, and tests may still fork without a warning. A program of its
own and no fork: the session may have threads already, or interpreters.
"""

import faulthandler
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from tractor.testing import _procs

#: Makes the session write its stacks; faulthandler answers it in C, whatever the interpreter does.
DUMP_SIGNAL = signal.SIGALRM


class Guard:
    """The session's end. Create it while the process's stderr is the real one."""

    def __init__(self, mark: str, dump: Path, private: str) -> None:
        """Start the process.

        `mark`: the session's (see `_procs.MARK`); `dump`: the file for the stacks, removed in the end when nothing had
        to be written; `private`: the session's own directory, removed in any case.
        """
        self._dump = dump.open("w")
        faulthandler.register(DUMP_SIGNAL, file=self._dump, all_threads=True)
        command = [sys.executable, "-m", __name__, str(os.getpid()), mark, str(dump), private]
        # It belongs to the session around this one, if there is one: not to this one, which it outlives.
        outer = mark.rpartition("/")[0]
        # Somebody who interrupts every pytest there is means the sessions; they end, and their guards after them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=2,
                env={**os.environ, _procs.MARK: outer},
                # Away from the terminal's Ctrl-C.
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._process.stdin is not None
        self._writer = self._process.stdin.fileno()
        self.pid = self._process.pid

    def arm(self, seconds: float, test: str) -> None:
        """End the session unless `disarm()` or `arm()` is called within that many seconds; `test` is for the report."""
        os.write(self._writer, f"{seconds} {test}\n".encode())

    def disarm(self) -> None:
        """Let the session take its time again."""
        os.write(self._writer, b"\n")

    def stop(self) -> None:
        """End the process, which kills and removes what the session left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        faulthandler.unregister(DUMP_SIGNAL)
        self._dump.close()


def _run(session: int, mark: str, dump: Path, private: str) -> NoReturn:
    try:
        overdue = _watch(session)
        if overdue is not None:
            _note(session, mark, dump, overdue)
        _procs.kill(_family(session, mark))
        if overdue is not None:
            try:
                os.write(2, f"\n{dump.read_text()}The session ends here; this is also in {dump}\n".encode())
            finally:
                os.kill(session, signal.SIGKILL)
        elif dump.stat().st_size == 0:
            dump.unlink()
        shutil.rmtree(private, ignore_errors=True)
    finally:
        # Nobody waits for more.
        os._exit(0)


def _watch(session: int) -> str | None:
    """Return what was overdue, or None once the session is over."""
    deadline, overdue, rest = None, "", b""
    while os.getppid() == session:
        now = time.monotonic()
        if deadline is not None and now >= deadline:
            return overdue
        # The bound of a second is for a session that died while a forked child holds its end of the pipe.
        if not select.select([0], [], [], 1.0 if deadline is None else min(1.0, deadline - now))[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        if lines:
            seconds, _, test = lines[-1].decode().partition(" ")
            deadline = time.monotonic() + float(seconds) if seconds else None
            overdue = f"{test}: still running after {seconds} s"
    return None


def _note(session: int, mark: str, dump: Path, overdue: str) -> None:
    family = "".join(f"  process {proc}\n" for proc in _family(session, mark))
    os.kill(session, DUMP_SIGNAL)
    size, deadline = 0, time.monotonic() + 2.0
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if 0 < size == dump.stat().st_size:
            break
        size = dump.stat().st_size
    with dump.open("a") as file:
        file.write(f"\n{overdue}\n{family}")


def _family(session: int, mark: str) -> list[_procs.Proc]:
    return _procs.find_family(session, mark, _procs.all_pids() - {os.getpid()})


if __name__ == "__main__":
    _run(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4])

"""Processes whose parent is a server, or a library: what is known of them here is known by a pidfd."""

from __future__ import annotations

import io
import os
import signal
from contextlib import suppress

import trio

from tractor._errors import Exit
from tractor.spawn._trio import ProcessChild

#: Seconds a start may take while a server imports what it is to have, and any other.
START_TIMEOUT = 30.0
FORK_TIMEOUT = 5.0
#: Seconds a server has to say how a child ended that is certainly gone.
STATUS_TIMEOUT = 1.0


class WatchedProcess:
    """One of them, from before its start."""

    def __init__(self) -> None:
        self.pid = -1
        self.returncode: int | None = None
        #: Why nobody can tell how it ended, though it has.
        self.unknown = ""
        self._pidfd = -1
        #: What is open as long as it is watched: objects, which are closed as well where a loop is torn.
        self._kept: list[io.FileIO] = []

    def watch(self, pidfd: int | None = None) -> None:
        """From now on know the process, whatever has its number later; one that is gone already is known by nothing."""
        with suppress(ProcessLookupError):
            self._pidfd = self.keep(os.pidfd_open(self.pid) if pidfd is None else pidfd, "r")

    def keep(self, fd: int, mode: str) -> int:
        """Have a descriptor closed with it."""
        self._kept.append(io.FileIO(fd, mode))
        return fd

    def send_signal(self, sig: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self._pidfd != -1:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, sig)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> None:
        """Return when it is gone."""
        if self._pidfd != -1:
            await trio.lowlevel.wait_readable(self._pidfd)
        if self.returncode is None and not self.unknown:
            await self.ask()

    async def ask(self) -> None:
        """Find out how it ended, and note that as `returncode`, or why that is not known."""
        raise NotImplementedError

    def close(self) -> None:
        """Forget it."""
        self._pidfd = -1
        while self._kept:
            self._kept.pop().close()


class WatchedChild(ProcessChild):
    """A child in such a process."""

    _process: WatchedProcess

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended and was reaped, by whomever."""
        return super().is_gone or bool(self._process.unknown)

    def conclude(self) -> Exit:
        """Note how the process ended, and what it wrote."""
        if not self._process.unknown:
            return super().conclude()
        self._keep_output()
        self.exit = Exit("killed" if self.killed else "died", None, self._process.unknown)
        return self.exit

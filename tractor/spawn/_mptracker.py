"""Helpers of `multiprocessing`, its fork server and the resource tracker that comes with it: ended with the actors they came for."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver, process, resource_tracker
from typing import Any

import trio

from tractor.log import get_logger

log = get_logger(__name__)

#: Seconds a process of `multiprocessing` has to end that nobody needs any more, and one that was killed.
_LEAVE_TIMEOUT = 3.0
_KILL_TIMEOUT = 5.0
#: Those modules by which a program makes what the tracker removes when the program does not.
_TRACKED = ("multiprocessing.shared_memory", "multiprocessing.synchronize")


class Server(forkserver.ForkServer):
    """One that does not outlive the interpreter whose loop was torn while it ran."""

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        alive: int | None = self._forkserver_alive_fd  # type: ignore[attr-defined]
        if alive is not None:
            close(alive)


class Tracker:
    """The only one of this process, shared with the program.

    It is ended together with the last backend that needs it, unless it was there before, or the program has children or
    resources of `multiprocessing` itself: then it ends with the program, as it does without us.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._is_ours = False
        self._tracker: Any = resource_tracker._resource_tracker

    @property
    def fd(self) -> int | None:
        """What a child inherits, that there be one tracker for all; None where there is none yet."""
        fd: int | None = self._tracker._fd
        return fd

    def enter(self) -> None:
        """Another backend may have it started."""
        with self._lock:
            if not self._users:
                self._is_ours = self.fd is None
            self._users += 1

    async def leave(self) -> None:
        """A backend has ended."""
        with self._lock:
            self._users -= 1
            if self._users or not self._is_ours or self._is_used():
                return
            fd, self._tracker._fd = self._tracker._fd, None
            pid, self._tracker._pid = self._tracker._pid, None
        if fd is not None:
            os.close(fd)
        if pid is not None and not await wait_gone(pid, kill=False):
            log.warning("the resource tracker of multiprocessing does not end", extra={"pid": pid})

    def _is_used(self) -> bool:
        children: Any = process._children  # type: ignore[attr-defined]
        return bool(children) or any(name in sys.modules for name in _TRACKED)


TRACKER = Tracker()


@trio.lowlevel.enable_ki_protection
async def wait_gone(pid: int, *, kill: bool) -> bool:
    """Wait for a child of this process that was told to end, for a bounded time, and reap it; return whether it is gone.

    `kill`: end it by force where it does not end.
    """
    try:
        file = io.FileIO(os.pidfd_open(pid), "r")
    except ProcessLookupError:
        return True
    with file:
        pidfd = file.fileno()
        for patience in (_LEAVE_TIMEOUT, _KILL_TIMEOUT) if kill else (_LEAVE_TIMEOUT,):
            with trio.move_on_after(patience, shield=True):
                await trio.lowlevel.wait_readable(pidfd)
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)  # noqa: ASYNC222 - it is gone
                return True
            if kill:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return False

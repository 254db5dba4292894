"""What a process of `multiprocessing` runs that is to be an actor."""

from __future__ import annotations

import os
import signal
import socket
import sys
from multiprocessing import process, reduction
from typing import Any


class ActorProcess(process.BaseProcess):
    """Made by the parent, pickled, and run in the child.

    `fds`: of its channel, its lifeline, the record of what it writes before it is up and, where there is one, the stderr it is
    to have from then on. `backend`: see `run_child`.
    """

    #: What it uses `multiprocessing` for itself is done as the program has it.
    _start_method = None

    def __init__(self, name: str, fds: list[int], backend: dict[str, Any]) -> None:
        super().__init__(name=name)
        self._fds = fds
        self._backend = backend
        self._environ = dict(os.environ)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_fds": [reduction.DupFd(fd) for fd in self._fds]}

    def run(self) -> None:
        """Be the actor, and end the process with it."""
        # Until the child has its own handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        from tractor._child._boot import run_to_exit

        run_to_exit(self._live)

    def _live(self) -> int:
        from tractor._child.__main__ import receive
        from tractor._child._boot import run_child

        channel, lifeline_fd, record, *terminal = (fd.detach() for fd in self._fds)  # type: ignore[attr-defined]
        for fd in (channel, lifeline_fd, *terminal):
            os.set_inheritable(fd, False)
        # From here on what goes wrong is reported.
        os.dup2(record, 2)
        os.close(record)
        # A server has those of the moment at which it was started.
        if self._environ != os.environ:
            os.environ.clear()
            os.environ.update(self._environ)
        lifeline = socket.socket(fileno=lifeline_fd)
        sys.path[:] = receive(lifeline).decode(errors="surrogateescape").split("\0")
        boot = receive(lifeline)
        stderr = terminal[0] if terminal else None
        return run_child(boot, socket.socket(fileno=channel), lifeline, stderr, **self._backend)

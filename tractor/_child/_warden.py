"""The warden: a thread that watches the lifeline and ends this actor when it is hung up.

It needs neither the channel nor a trio loop that turns. When the parent is alive, the parent takes the last steps of
the ladder (signals); when it is dead, the warden does.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import trio

from tractor.ipc import _uds
from tractor.ipc._addr import UDSAddress
from tractor.log import get_logger
from tractor.runtime._actor import Actor

log = get_logger(__name__)

#: Seconds after the hang-up at which shields are lifted, the running code is interrupted, and the process killed.
LIFT_AFTER = 0.1
INTERRUPT_AFTER = 0.3
KILL_AFTER = 0.5


class Warden:
    """Watches one lifeline, from the first moment of a child to its last."""

    def __init__(self, lifeline: socket.socket) -> None:
        self._lifeline = lifeline
        self._parent_pid = os.getppid()
        self._actor: Actor | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._finished = threading.Event()
        #: Whether the parent has hung up; from then on an interrupt may land anywhere.
        self.hung_up = False
        #: Socket files of a parent that may die without removing them.
        self.parent_addrs: list[UDSAddress] = []

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="tractor-warden", daemon=True).start()

    def guard(self, actor: Actor) -> None:
        """Say whom to cancel; called inside the trio loop as soon as there is one."""
        self._actor = actor
        self._token = trio.lowlevel.current_trio_token()

    def finished(self) -> None:
        """The actor has ended: there is nothing left to enforce."""
        self._finished.set()
        if self.is_orphan():
            for addr in self.parent_addrs:
                _uds.unlink(addr)

    def is_orphan(self) -> bool:
        """Whether the parent's process is gone."""
        return os.getppid() != self._parent_pid

    def _watch(self) -> None:
        with suppress(OSError):
            while self._lifeline.recv(64):
                pass
        self.hung_up = True
        self._in_loop(self._cancel)
        if self._finished.wait(LIFT_AFTER):
            return
        self._in_loop(self._lift)
        if self._finished.wait(INTERRUPT_AFTER - LIFT_AFTER) or not self._wait_orphaned():
            return
        os.kill(os.getpid(), signal.SIGINT)
        if not self._finished.wait(KILL_AFTER - INTERRUPT_AFTER):
            self._remove_sockets()
            os.kill(os.getpid(), signal.SIGKILL)

    def _wait_orphaned(self) -> bool:
        """Wait until the actor has ended (False) or the parent has (True): whoever lives uses force."""
        while not self.is_orphan():
            if self._finished.wait(0.05):
                return False
        return True

    def _in_loop(self, func: Callable[[], None]) -> None:
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(func)

    def _cancel(self) -> None:
        if self._actor is not None:
            self._actor.cancel_soon(how="orphaned", detail="its parent has hung up")

    def _lift(self) -> None:
        if self._actor is not None and (lifted := self._actor.lift_shields()):
            log.warning("shields lifted, for the parent has hung up", extra={"count": lifted})

    def _remove_sockets(self) -> None:
        own = self._actor.server.addrs if self._actor is not None else []
        for addr in (*own, *self.parent_addrs):
            if isinstance(addr, UDSAddress):
                _uds.unlink(addr)

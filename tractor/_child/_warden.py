"""The warden: a thread that watches the lifeline and ends this actor when it is hung up.

It needs neither the channel nor a trio loop that turns. One that does not turn it interrupts. When the parent is alive,
the parent takes the last steps of the ladder; when it is dead, or does not take them, the warden does.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import trio

from tractor._child._flag import Flag
from tractor.ipc import _uds
from tractor.ipc._addr import UDSAddress
from tractor.log import get_logger
from tractor.runtime._actor import Actor
from tractor.trionics._forks import close_in_forks

log = get_logger(__name__)

#: Seconds after the hang-up at which shields are lifted, the running code is interrupted, and the process killed.
LIFT_AFTER = 0.1
INTERRUPT_AFTER = 0.3
KILL_AFTER = 0.5
#: Seconds in which a loop that turns has run what it was given.
TURN = 0.02
#: Seconds after which a parent whose process lives is not going to use force: it was an interpreter, and is gone.
FORSAKEN_AFTER = 1.5
#: Seconds an actor that has ended waits for a dying parent to have closed its sockets.
SEE_OFF = 0.25


class Warden:
    """Watches one lifeline, from the first moment of a child to its last.

    `parent_pid`: the parent's, which may be dead by now.
    """

    def __init__(self, lifeline: socket.socket, parent_pid: int) -> None:
        # Its other end tells the parent that this process is gone, whatever forks of it are left.
        close_in_forks(lifeline)
        self._lifeline = lifeline
        self._parent_pid = parent_pid
        #: The parent's process where it is not the one that made this one, or None.
        self._parent: select.poll | None = None
        self._actor: Actor | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._finished = Flag()
        #: Whether the parent has hung up; from then on an interrupt may land anywhere.
        self.hung_up = False
        #: Whether the actor has ended because its channel to the parent was lost.
        self.parent_lost = False
        #: Socket files of a parent that may die without removing them.
        self.parent_addrs: list[UDSAddress] = []

    def start(self) -> None:
        """Begin to watch."""
        if os.getppid() != self._parent_pid:
            with suppress(OSError):
                parent = select.poll()
                parent.register(os.pidfd_open(self._parent_pid), select.POLLIN)
                self._parent = parent
        threading.Thread(target=self._watch, name="tractor-warden", daemon=True).start()

    def guard(self, actor: Actor) -> None:
        """Say whom to cancel; called inside the trio loop as soon as there is one."""
        self._actor = actor
        self._token = trio.lowlevel.current_trio_token()
        if self.hung_up:
            # The thread had nobody to cancel then.
            self._cancel()

    def finished(self) -> None:
        """The actor has ended: only the process is left to be seen off."""
        self._finished.set()
        if self.parent_lost or self.hung_up or self.is_orphan():
            # A dying process hangs up before it is dead, and one that lives may hang up too: its sockets tell.
            for addr in self.parent_addrs:
                _uds.unlink_stale(addr, timeout=SEE_OFF)

    @property
    def is_finished(self) -> bool:
        """Whether the actor has ended."""
        return self._finished.is_set()

    def is_orphan(self) -> bool:
        """Whether the parent's process is gone."""
        if self._parent is not None:
            return bool(self._parent.poll(0))
        return os.getppid() != self._parent_pid

    def _watch(self) -> None:
        with suppress(OSError):
            while self._lifeline.recv(64):
                pass
        began = time.monotonic()
        kill_at = began + KILL_AFTER
        self.hung_up = True
        self._in_loop(self._cancel)
        # One whose parent lives was asked before. An orphan was not, and gets its time.
        if self._token is not None and not self.is_orphan() and not self._turns() and not self.is_finished:
            self._say_interrupting()
            os.kill(os.getpid(), signal.SIGINT)
        if not self._finished.wait(began + LIFT_AFTER - time.monotonic()):
            self._in_loop(self._lift)
        self._finished.wait(INTERRUPT_AFTER - LIFT_AFTER)
        # Whoever lives uses force: the parent, else this thread.
        while not self.is_orphan() and time.monotonic() < began + FORSAKEN_AFTER:
            time.sleep(0.05)
        if not self._finished.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            kill_at = max(kill_at, time.monotonic() + KILL_AFTER - INTERRUPT_AFTER)
        # Also when the actor has ended: a thread of the user's may keep the process for ever.
        time.sleep(max(0.0, kill_at - time.monotonic()))
        self._remove_sockets()
        os.kill(os.getpid(), signal.SIGKILL)

    @staticmethod
    def _say_interrupting() -> None:
        log.warning("interrupting what keeps the loop from turning", extra={"pid": os.getpid()})

    def _in_loop(self, func: Callable[[], None]) -> None:
        if self._token is not None:
            # A loop that was torn is over as well, but does not know it.
            with suppress(trio.RunFinishedError, OSError):
                self._token.run_sync_soon(func)

    def _turns(self, within: float = TURN) -> bool:
        """Whether the loop runs what it is given `within` so many seconds. There may be none yet, or none any more."""
        turned = Flag()
        self._in_loop(turned.set)
        return turned.wait(within)

    def _cancel(self) -> None:
        if self._actor is not None:
            # Children of this actor have to be gone before force is used here, or they would be orphans in their turn.
            self._actor.cancel_soon(how="orphaned", detail="its parent has hung up", grace=INTERRUPT_AFTER)

    def _lift(self) -> None:
        if self._actor is not None and (lifted := self._actor.lift_shields()):
            log.warning("shields lifted, for the parent has hung up", extra={"count": lifted})

    def _remove_sockets(self) -> None:
        own = self._actor.server.addrs if self._actor is not None else []
        for addr in (*own, *self.parent_addrs):
            if isinstance(addr, UDSAddress):
                _uds.unlink(addr)

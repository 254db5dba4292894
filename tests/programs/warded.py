"""A process with a warden, and with an actor that only notes what it is told.

Usage: python warded.py REPORT LIFELINE PARENT_PID HOW [SOCKET…]

LIFELINE is an inherited descriptor. HOW is what the process does about its end: `obey` the cancellation, `late` (obey half
a second after it), `lift` (end when shields are lifted), `block` (until it is interrupted), `deaf` (for ever), `linger`
(obey, but leave a thread), `slow` (take half a second until there is anybody to cancel), `over` (end unasked). The socket
files are the parent's; the last one, if any, is this actor's own.
"""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import trio

from tests.programs.watch import note
from tractor._child._warden import Warden
from tractor.ipc._addr import UDSAddress
from tractor.runtime._actor import Actor


class NotingActor:
    """What a warden sees of an actor."""

    def __init__(self, report: str, addrs: list[UDSAddress]) -> None:
        self.cancelled = trio.Event()
        self.lifted = trio.Event()
        self.server = SimpleNamespace(addrs=addrs)
        self._report = report

    def cancel_soon(self, *, how: str, detail: str, grace: float) -> None:
        """Note it."""
        note(self._report, event="cancel", how=how, detail=detail, grace=grace, at=time.monotonic())
        self.cancelled.set()

    def lift_shields(self) -> int:
        """Note it."""
        note(self._report, event="lift", at=time.monotonic())
        self.lifted.set()
        return 1


async def live(report: str, warden: Warden, how: str, addrs: list[UDSAddress]) -> None:
    """Be the actor, in the way that was asked for."""
    actor = NotingActor(report, addrs)
    if how != "slow":
        warden.guard(cast("Actor", actor))
    note(report, event="ready", pid=os.getpid())
    if how == "slow":
        await trio.sleep(0.5)
        warden.guard(cast("Actor", actor))
    if how == "over":
        return
    if how in ("block", "deaf"):
        await block(report)
    await (actor.lifted if how == "lift" else actor.cancelled).wait()
    if how == "late":
        await trio.sleep(0.5)
    if how == "linger":
        threading.Thread(target=time.sleep, args=(60,)).start()


async def block(report: str) -> None:
    """Sleep in C code until interrupted."""
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        note(report, event="interrupted", at=time.monotonic())
        raise


def main(report: str, lifeline: str, parent_pid: str, how: str, *sockets: str) -> None:
    """Be the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN if how == "deaf" else signal.default_int_handler)
    warden = Warden(socket.socket(fileno=int(lifeline)), int(parent_pid))
    addrs = [UDSAddress.from_path(Path(path)) for path in sockets]
    warden.parent_addrs = addrs[:-1]
    warden.start()
    try:
        trio.run(live, report, warden, how, addrs[-1:], restrict_keyboard_interrupt_to_checkpoints=False)
    finally:
        warden.finished()
        note(report, event="finished", at=time.monotonic(), hung_up=warden.hung_up, over=warden.is_finished)
    if how == "over":
        time.sleep(1.0)


if __name__ == "__main__":
    main(*sys.argv[1:])

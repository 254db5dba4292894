"""A fork of the server that is made before it is asked for, so that the next child need not wait for one."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence

from tractor._child._rehearsal import rehearse
from tractor.spawn._forklink import MAX_FDS, NUMBER


class Spare:
    """What the server knows of its spare. `sock`: where it waits for its descriptors."""

    def __init__(self, pid: int, pidfd: int, sock: socket.socket) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self._sock = sock

    def give(self, fds: Sequence[int]) -> bool:
        """Make a child of it; False where it has gone meanwhile."""
        try:
            socket.send_fds(self._sock, [NUMBER.pack(len(fds))], fds)
        except OSError:
            return False
        self.close()
        return True

    def close(self) -> None:
        """Forget it; one that has become no child ends."""
        self._sock.close()

    def end(self) -> None:
        """It was not needed: end it, and wait until it is gone."""
        self.close()
        # One that has ended already is still there for that.
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


def await_need(sock: socket.socket, title: str) -> list[int]:
    """Be the spare: get ready, and return the descriptors of the child that it is to be; ends with the server."""
    sys.modules["setproctitle"].setproctitle(title)
    rehearse()
    said, fds, _, _ = socket.recv_fds(sock, 64, MAX_FDS, socket.MSG_CMSG_CLOEXEC)
    if len(said) != NUMBER.size or NUMBER.unpack(said)[0] != len(fds):
        # The server is gone, or does not need it.
        os._exit(1)
    sock.close()
    return fds

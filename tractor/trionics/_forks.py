"""Sockets that a fork of this process must not keep open, or their peers would not see this process end."""

import os
import socket
from weakref import WeakSet

_ours: WeakSet[socket.socket] = WeakSet()


def close_in_forks(sock: socket.socket) -> None:
    """Have every later fork of this process close its copy of `sock`; here it stays as it is."""
    _ours.add(sock)


def _close_copies() -> None:
    for sock in list(_ours):
        sock.close()


# A fork that executes another program closes them anyway: sockets are not inheritable (PEP 446).
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)

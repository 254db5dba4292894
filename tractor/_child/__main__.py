"""Entry point of a child's process, run by path: it must work before `tractor` can be found.

Usage: python __main__.py --uid "('NAME', 'UUID')" --fds CHANNEL,LIFELINE[,STDERR]

The lifeline brings two length-prefixed parts: the parent's module search path, then the spawn specification.
"""

import signal

if __name__ == "__main__":
    # An interrupt that lands in an import may be lost there, with no more than a complaint on stderr; it waits until the
    # child has its own handlers.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

import os
import socket
import sys


def receive(lifeline: socket.socket) -> bytes:
    """Return the next part of what the parent says."""
    data = bytearray()
    size = 4
    while len(data) < size:
        chunk = lifeline.recv(size - len(data))
        if not chunk:
            # The parent has died or changed its mind: nobody is left to report to.
            sys.exit(1)
        data += chunk
        if size == 4 and len(data) == 4:
            size += int.from_bytes(data, "little")
    return bytes(data[4:])


if __name__ == "__main__":
    fds = [int(fd) for fd in sys.argv[sys.argv.index("--fds") + 1].split(",")]
    for fd in fds:
        os.set_inheritable(fd, False)
    lifeline = socket.socket(fileno=fds[1])
    sys.path[:] = receive(lifeline).decode(errors="surrogateescape").split("\0")
    boot = receive(lifeline)

    from tractor._child._boot import exit_process, run_child

    exit_process(run_child(boot, socket.socket(fileno=fds[0]), lifeline, fds[2] if len(fds) > 2 else None))

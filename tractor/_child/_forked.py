"""What a fork of the server does before it is a child like any other: everything that a new process has by itself."""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import random
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from tractor._child.__main__ import receive
from tractor._child._boot import run_child, run_to_exit

#: Those every child is given: where its status is said (which stays with the server), its lifeline, its channel, its working
#: directory, stdin, stdout and stderr. Behind them come the stderr it is to have once it is up, if there is one, and
#: `pass_fds`.
LEAST_FDS = 7
_MOST_FDS = 2**31 - 1


def be_child(fds: list[int], server: socket.socket, *, limits: tuple[int, int]) -> NoReturn:
    """Be the child that was asked for. `limits`: on open files, as they were before the server raised them."""
    run_to_exit(partial(_live, fds, server, limits))


def _live(fds: list[int], server: socket.socket, limits: tuple[int, int]) -> int:
    # From here on what goes wrong is reported.
    os.dup2(fds[5], 2)
    lifeline = socket.socket(fileno=fds[0])
    state = json.loads(receive(lifeline))
    sys_path = receive(lifeline).decode(errors="surrogateescape").split("\0")
    boot = receive(lifeline)
    fds[0] = lifeline.detach()
    own = arrange([*fds, server.detach()], state["pass_fds"])
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    become(state)
    sys.path[:] = sys_path
    gc.enable()
    terminal = own[2] if len(own) > 3 else None
    return run_child(
        boot,
        socket.socket(fileno=own[1]),
        socket.socket(fileno=own[0]),
        terminal,
        key="forkserver",
        inherited=socket.socket(fileno=own[-1]),
        preload=state["preload"],
    )


def arrange(fds: list[int], pass_fds: list[int]) -> list[int]:
    """Put every descriptor where it belongs, close all others, and return where the child's own are now.

    `fds`: lifeline, channel, working directory, stdin, stdout, stderr, terminal if there is one, one for each of `pass_fds`,
    connection to the server. Returned are lifeline, channel, terminal if there is one, connection.
    """
    os.fchdir(fds[2])
    first_passed = len(fds) - 1 - len(pass_fds)
    own = [*fds[:2], *fds[6:first_passed], fds[-1]]
    targets = dict(zip([0, 1, 2, *pass_fds], [*fds[3:6], *fds[first_passed:-1]], strict=True))
    # Out of the way first: a descriptor may have the number that another is to have.
    above = max(targets) + 1
    kept = find_libffi()
    if taken := kept & targets.keys():
        raise OSError(f"descriptors of these numbers cannot be passed to a fork: {sorted(taken)}")
    sources = {target: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for target, fd in targets.items()}
    own = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in own]
    for target, source in sources.items():
        os.dup2(source, target, inheritable=True)
    keep = sorted({*targets, *own, *kept})
    for last, following in zip([-1, *keep], [*keep, _MOST_FDS], strict=True):
        # A range without anything in it would be taken for one without an end.
        if last + 1 < following:
            os.closerange(last + 1, following)
    return own


def find_libffi() -> set[int]:
    """Return what libffi holds open: it maps more of its own code from there when it needs more, whatever has that number."""
    found = set()
    for fd in map(int, os.listdir("/proc/self/fd")):
        with suppress(FileNotFoundError):
            if "/libffi" in os.readlink(f"/proc/self/fd/{fd}"):
                found.add(fd)
    return found


def become(state: dict[str, Any]) -> None:
    """Be like the process that has asked for this one: its environment, arguments, signals; and random in a way of our own."""
    if state["new_session"]:
        os.setsid()
    os.umask(state["umask"])
    _set_environ(state["env"])
    sys.argv[:] = state["argv"]
    _reset_signals(state["ignored"], state["blocked"])
    random.seed()
    _reset_multiprocessing()
    _open_streams()


def _set_environ(env: dict[str, str]) -> None:
    before = dict(os.environ)
    for name in before.keys() - env.keys():
        del os.environ[name]
    for name, value in env.items():
        if before.get(name) != value:
            os.environ[name] = value
    time.tzset()


def _reset_signals(ignored: list[int], blocked: list[int]) -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        default: Any = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        # Some of the C library's own cannot be set.
        with suppress(OSError):
            signal.signal(number, signal.SIG_IGN if number in ignored else default)
    # An interrupt waits until the child has its own handlers.
    signal.pthread_sigmask(signal.SIG_SETMASK, {*blocked, signal.SIGINT})


def _reset_multiprocessing() -> None:
    # As it does itself in its own children, where a preloaded module has loaded it.
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        util._run_after_forkers()
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)


def _open_streams() -> None:
    """Make `sys.stdin`, `sys.stdout` and `sys.stderr` anew: how they buffer depends on what is behind them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _open_stream(number, "r" if number == 0 else "w", getattr(sys, f"__{name}__"))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(fd: int, mode: str, like: Any) -> io.TextIOWrapper:
    # As the interpreter does it, also for `-u` and PYTHONUNBUFFERED.
    unbuffered = isinstance(like.buffer, io.RawIOBase)
    raw = io.FileIO(fd, mode, closefd=False)
    buffered: Any = io.BufferedReader if mode == "r" else io.BufferedWriter
    return io.TextIOWrapper(
        raw if unbuffered else buffered(raw),
        encoding=like.encoding,
        errors=like.errors,
        newline=None if mode == "r" else "\n",
        line_buffering=fd == 2 or os.isatty(fd),
        write_through=unbuffered,
    )

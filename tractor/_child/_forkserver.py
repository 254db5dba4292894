"""The fork server: a small process that has imported what children need, and forks when one is wanted.

It has one thread, never runs trio and holds no interpreter but its own, so that a fork of it is as good as a new process.
It ends with whoever started it.
"""

from __future__ import annotations

import ctypes
import gc
import math
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

from tractor._child._boot import restore_stderr
from tractor._child._forked import LEAST_FDS, be_child
from tractor._child._spare import Spare, await_need
from tractor.msg._codec import get_codec
from tractor.msg._types import Bye, Cancel, Hello, SpawnSpec, Start
from tractor.spawn._forklink import MAX_FDS, MOST_WORDS, NUMBER, READY, REFUSED

#: What is imported where it is first needed, which in a child is soon.
_LATE = (
    "platformdirs.unix",
    "setproctitle",
    "tractor.ipc._tcp",
    "tractor.ipc._uds",
    "tractor.spawn._forkserver",
)
_PR_SET_PDEATHSIG = 1
#: Seconds after a request until the next child is forked in advance: at once it would disturb the one that is just starting.
_SPARE_AFTER = 0.1


class Request(NamedTuple):
    """What a fork of the server has: the descriptors it was given, and its own connection to the server."""

    fds: list[int]
    server: socket.socket


class Server:
    """Forks on request. `root`: the connection to whoever started it."""

    def __init__(self, root: socket.socket) -> None:
        self._root = root
        self._poll = select.poll()
        #: Connections, one for each actor there is, by descriptor.
        self._actors: dict[int, socket.socket] = {}
        #: Children that were not reaped yet, by pidfd: their pid, and where to say how they ended.
        self._children: dict[int, tuple[int, socket.socket]] = {}
        self._spare: Spare | None = None
        #: When there is to be one, in seconds of `time.monotonic()`.
        self._spare_at = math.inf
        self._add(root)

    def run(self) -> Request:
        """Serve until the root hangs up, which ends this process; returns in each of its forks."""
        while True:
            wait = self._spare_at - time.monotonic()
            ready = self._poll.poll(max(0.0, wait) * 1000 if wait < math.inf else None)
            if not ready and (request := self._make_spare()):
                return request
            for fd, _ in ready:
                if fd in self._children:
                    self._reap(fd)
                elif self._spare is not None and fd == self._spare.pidfd:
                    self._drop_spare()
                elif fd in self._actors and (request := self._serve(self._actors[fd])):
                    return request

    def _add(self, actor: socket.socket) -> None:
        self._actors[actor.fileno()] = actor
        self._poll.register(actor, select.POLLIN)

    def _serve(self, actor: socket.socket) -> Request | None:
        """Do what an actor asks for; returns something only in the fork."""
        fds: list[int] = []
        try:
            said, fds, _, _ = socket.recv_fds(
                actor, 64, MAX_FDS, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        if not said:
            self._remove(actor)
            return None
        is_fork = False
        try:
            complete = len(said) == NUMBER.size and NUMBER.unpack(said)[0] == len(fds) >= LEAST_FDS
            if not fds:
                return None
            status = socket.socket(fileno=fds.pop(0))
            try:
                if not complete:
                    raise OSError("its descriptors have not arrived; it may have too many files open")
                refuse_company()
                request = self._fork(status, fds)
                is_fork = request is not None
                return request
            except (OSError, RuntimeError) as exc:
                with suppress(OSError):
                    status.send(REFUSED + str(exc).encode()[:MOST_WORDS])
                status.close()
                return None
        finally:
            if not is_fork:
                for fd in fds:
                    os.close(fd)

    def _fork(self, status: socket.socket, fds: list[int]) -> Request | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            made = self._use_spare([*fds, theirs.fileno()]) or _fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if made is None:
            status.close()
            ours.close()
            self._close()
            return Request(fds, theirs)
        theirs.close()
        pid, pidfd = made
        self._add(ours)
        self._children[pidfd] = (pid, status)
        self._poll.register(pidfd, select.POLLIN)
        with suppress(OSError):
            # Who is gone by now has closed the child's lifeline as well.
            socket.send_fds(status, [NUMBER.pack(pid)], [pidfd])
        self._spare_at = time.monotonic() + _SPARE_AFTER
        return None

    def _use_spare(self, fds: list[int]) -> tuple[int, int] | None:
        spare = self._spare
        if spare is None or not spare.give(fds):
            return None
        self._spare = None
        return spare.pid, spare.pidfd

    def _make_spare(self) -> Request | None:
        """Fork a child that has yet to be asked for, once nothing is to do; returns something only there."""
        self._spare_at = math.inf
        if self._spare is not None:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            refuse_company()
            made = _fork()
        except (OSError, RuntimeError):
            # Whoever asks for a child next is told.
            ours.close()
            theirs.close()
            return None
        if made is None:
            ours.close()
            self._close()
            *fds, server = await_need(theirs, f"_forkserver[spare of {os.getppid()}]")
            return Request(fds, socket.socket(fileno=server))
        theirs.close()
        self._spare = Spare(*made, ours)
        self._poll.register(self._spare.pidfd, select.POLLIN)
        return None

    def _drop_spare(self) -> None:
        """Forget one that has ended by itself."""
        assert self._spare is not None
        self._poll.unregister(self._spare.pidfd)
        self._spare.end()
        self._spare = None

    def _reap(self, pidfd: int) -> None:
        pid, status = self._children.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with status, suppress(OSError):
            status.send(NUMBER.pack(code))

    def _remove(self, actor: socket.socket) -> None:
        if actor is self._root:
            if self._spare is not None:
                self._spare.end()
            os._exit(0)
        self._poll.unregister(actor)
        del self._actors[actor.fileno()]
        actor.close()

    def _close(self) -> None:
        """Let go of everything, in a fork."""
        for actor in self._actors.values():
            actor.close()
        for pidfd, (_, status) in self._children.items():
            os.close(pidfd)
            status.close()
        if self._spare is not None:
            self._spare.close()
            os.close(self._spare.pidfd)


def _fork() -> tuple[int, int] | None:
    """Return the pid of a fork, and a pidfd; None in the fork itself."""
    pid = os.fork()
    if pid == 0:
        return None
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def main(boot: dict[str, Any]) -> NoReturn:
    """Be the server. `boot`: its descriptors, who started it, where it finds its modules, and those it is to import."""
    die_with(boot["parent"])
    root = socket.socket(fileno=boot["fds"][0])
    _prepare(root, boot)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A child costs it three descriptors.
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    # What it says of directories would be out of date in a child; to forget it there costs a millisecond.
    sys.path_importer_cache.clear()
    # Or a collection in any child would write to, and so copy, the memory that all of them share.
    gc.collect()
    gc.freeze()
    gc.disable()
    # Where nobody is left to read it, that is seen at once: an interrupt of the terminal may have ended the root meanwhile.
    with suppress(BrokenPipeError):
        root.send(READY)
    request = Server(root).run()
    be_child(*request, limits=limits)


def _prepare(root: socket.socket, boot: dict[str, Any]) -> None:
    for fd in boot["fds"]:
        os.set_inheritable(fd, False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    # Whoever ignores it has no children to wait for.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for module in _LATE:
        import_module(module)
    for message in (Bye, Cancel, Hello, SpawnSpec, Start):
        get_codec().decoder(message)
    try:
        import_all(boot["preload"])
    except RuntimeError as exc:
        root.send(REFUSED + str(exc).encode(errors="replace")[:MOST_WORDS])
        os._exit(1)
    sys.modules["setproctitle"].setproctitle(f"_forkserver[of {boot['parent']}]")
    sys.stdout.flush()
    restore_stderr(boot["fds"][1] if len(boot["fds"]) > 1 else None, keep=False)
    os.dup2(2, 1)
    # It must not keep anybody's directory.
    os.chdir("/")


def import_all(modules: Iterable[str]) -> None:
    """Import what the program wants its children to have; `RuntimeError` where that is not possible."""
    for name in modules:
        try:
            import_module(name)
        except (Exception, SystemExit) as exc:
            raise RuntimeError(
                f"it could not import {name!r}, of forkserver_preload:\n{''.join(traceback.format_exception(exc))}"
            ) from exc
        try:
            refuse_company()
        except RuntimeError as exc:
            raise RuntimeError(f"{name!r}, of forkserver_preload, cannot be preloaded: {exc}") from exc


def refuse_company() -> None:
    """Raise `RuntimeError` where this process must not be forked."""
    if threading.active_count() > 1:
        others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        raise RuntimeError(f"a fork would lose the threads that run: {', '.join(others)}")
    interpreters = sys.modules.get("_interpreters")
    if interpreters is not None and len(interpreters.list_all()) > 1:
        raise RuntimeError("a fork of a process that holds a sub-interpreter crashes")


def die_with(parent: int) -> None:
    """Have the kernel end this process with `parent`, whatever else keeps that from being seen."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

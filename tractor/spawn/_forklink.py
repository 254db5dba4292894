"""One actor's connection to the fork server, that process itself, and what the server makes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import trio

from tractor._errors import RuntimeFailure
from tractor.spawn._backend import UNKNOWN_STATUS
from tractor.spawn._output import anonymous_file
from tractor.spawn._trio import interpreter_command, is_standard
from tractor.spawn._watched import FORK_TIMEOUT, START_TIMEOUT, STATUS_TIMEOUT, WatchedProcess
from tractor.trionics._forks import close_in_forks

#: Descriptors that the kernel passes in one message.
MAX_FDS = 253
#: What the server says of a child on the socket made for that: first its pid, then how it ended.
NUMBER = struct.Struct("<i")
#: In place of a number, before a text: why there is no child.
REFUSED = b"!"
#: What the server says once it has imported everything.
READY = b"ready"
#: Bytes of a message that says why not.
MOST_WORDS = 32_768

#: Seconds it has to end when it is not needed any more, before it is killed.
_LEAVE_TIMEOUT = 0.5
#: Seconds to wait for a server that was killed.
_KILL_TIMEOUT = 5.0

#: libffi keeps a descriptor for itself, and children would rather have the low ones for `pass_fds`.
_CODE = """
import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
import json, os, sys
boot = json.load(open(0, closefd=False)); sys.path[:] = boot["sys_path"]
pile = [os.dup(0) for _ in range(200)]
from tractor._child._forkserver import main
for fd in pile: os.close(fd)
main(boot)
"""


class ServerLostError(Exception):
    """The server is not there any more, or does not do its work."""


class ForkedProcess(WatchedProcess):
    """A process whose parent is the server. `status`: where that says how it ended."""

    def __init__(self, pid: int, pidfd: int, status: socket.socket) -> None:
        super().__init__()
        self.pid = pid
        self.watch(pidfd)
        self._status = status

    async def ask(self) -> None:
        """Hear how it ended."""
        said = b""
        with trio.move_on_after(STATUS_TIMEOUT, shield=True):
            said = await _receive(self._status)
        if len(said) == NUMBER.size:
            (self.returncode,) = NUMBER.unpack(said)
        else:
            self.unknown = UNKNOWN_STATUS


class ServerLink:
    """A connection to a server, and its process where that is our child."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes] | None, record: int) -> None:
        close_in_forks(sock)
        sock.setblocking(False)
        self.sock = sock
        self._process = process
        self._record = record

    async def wait_ready(self) -> None:
        """Return once the server is; raise `RuntimeFailure` with the reason if it never will be."""
        said = b""
        with trio.move_on_after(START_TIMEOUT) as patience:
            said = await _receive(self.sock)
        if patience.cancelled_caught:
            raise RuntimeFailure(f"the fork server was not ready within {START_TIMEOUT:g} s")
        if said.startswith(REFUSED):
            text = said.removeprefix(REFUSED).decode(errors="replace")
            raise RuntimeFailure(f"the fork server could not start: {text}")
        if said != READY:
            written = os.pread(self._record, MOST_WORDS, 0).decode(errors="replace")
            raise RuntimeFailure(f"the fork server ended before it was ready; it wrote: {written}")
        self._close_record()

    def request(self, fds: Iterable[int]) -> None:
        """Ask for a child that gets these descriptors."""
        fds = list(fds)
        try:
            socket.send_fds(self.sock, [NUMBER.pack(len(fds))], fds)
        except OSError as exc:
            if exc.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
                raise ServerLostError(str(exc)) from exc
            raise

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Let go of the server; one that was started here is gone then."""
        self.sock.close()
        self._close_record()
        if self._process is None or self._process.returncode is not None:
            return
        with io.FileIO(os.pidfd_open(self._process.pid), "r") as file:
            pidfd = file.fileno()
            with trio.move_on_after(_LEAVE_TIMEOUT, shield=True):
                await trio.lowlevel.wait_readable(pidfd)
            self._process.kill()
            with trio.move_on_after(_KILL_TIMEOUT, shield=True):
                await trio.lowlevel.wait_readable(pidfd)
            self._process.poll()

    def _close_record(self) -> None:
        if self._record != -1:
            os.close(self._record)
            self._record = -1


def exec_server(boot: dict[str, Any]) -> ServerLink:
    """Start a server."""
    with ExitStack() as stack, ExitStack() as failed:
        ours, theirs = message_pair()
        failed.enter_context(ours)
        stack.enter_context(theirs)
        fds = [theirs.fileno()]
        if is_standard(2):
            fds.append(os.dup(2))
            stack.callback(os.close, fds[-1])
        facts = anonymous_file(stack)
        os.write(facts, json.dumps({**boot, "parent": os.getpid(), "fds": fds}).encode())
        os.lseek(facts, 0, os.SEEK_SET)
        record = os.dup(anonymous_file(stack))
        failed.callback(os.close, record)
        # Ctrl-C in a terminal comes to the server as well, which has nothing to do with it. Nor has its death with that of
        # the thread that starts it, which would be the end of a server started by one of trio's worker threads.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process = subprocess.Popen(
                [*interpreter_command(), "-c", _CODE],
                stdin=facts,
                stdout=record,
                stderr=record,
                pass_fds=fds,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        failed.pop_all()
    return ServerLink(ours, process, record)


async def hear_start(status: socket.socket) -> ForkedProcess:
    """Return the process that the server has made; raise `OSError` where it could not."""
    said = b""
    fds: list[int] = []
    with trio.move_on_after(FORK_TIMEOUT, shield=True) as patience:
        while True:
            try:
                said, fds, _, _ = socket.recv_fds(status, MOST_WORDS, 1)
                break
            except BlockingIOError:
                await trio.lowlevel.wait_readable(status)
            except OSError as exc:
                raise ServerLostError(str(exc)) from exc
    if patience.cancelled_caught:
        raise ServerLostError(f"it did not fork within {FORK_TIMEOUT:g} s")
    if len(said) == NUMBER.size and len(fds) == 1:
        os.set_inheritable(fds[0], False)
        return ForkedProcess(NUMBER.unpack(said)[0], fds[0], status)
    for fd in fds:
        os.close(fd)
    if said.startswith(REFUSED):
        raise OSError(
            f"the fork server could not fork: {said.removeprefix(REFUSED).decode(errors='replace')}"
        )
    raise ServerLostError("it ended before it had forked")


def message_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends whose messages stay whole, with the descriptors in them; ours, the first, does not block."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    return ours, theirs


async def _receive(sock: socket.socket) -> bytes:
    """Return the next message, or b"" where none will come."""
    while True:
        try:
            return sock.recv(MOST_WORDS + 1)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        except OSError:
            return b""

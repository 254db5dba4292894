"""The backend `trio`: a child is a fresh interpreter in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

import trio

from tractor._errors import Exit
from tractor.spawn._backend import Child, ChildSpec
from tractor.trionics._forks import close_in_forks

_ENTRY = str(Path(__file__).parent.parent / "_child" / "__main__.py")
#: Bytes of a failed child's stderr that are reported.
_TAIL = 4096


class ProcessChild:
    """A child in a process of its own."""

    def __init__(
        self, process: trio.Process, channel: socket.socket, lifeline: socket.socket, stderr: int
    ) -> None:
        self._process = process
        self._lifeline = lifeline
        self._stderr = stderr
        self.pid = process.pid
        self.where = f"pid {process.pid}"
        self.channel = channel
        self.exit: Exit | None = None
        self.killed = False
        self._output = ""

    def hang_up(self) -> None:
        """Close the lifeline."""
        if self._lifeline.fileno() != -1:
            trio.lowlevel.notify_closing(self._lifeline)
            self._lifeline.close()

    def has_let_go(self) -> bool:
        """Whether nobody is left at the other end of the lifeline; a child never writes to it."""
        try:
            return not self._lifeline.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def interrupt(self) -> None:
        """Send SIGINT."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.killed = True
        self._process.kill()

    def boot_output(self) -> str:
        """Return the end of what it wrote to stderr before it was up."""
        if self._stderr == -1 or self.exit is not None:
            return self._output
        size = os.fstat(self._stderr).st_size
        return os.pread(self._stderr, _TAIL, max(0, size - _TAIL)).decode(errors="replace")

    @trio.lowlevel.enable_ki_protection
    async def send_boot(self, blob: bytes) -> None:
        """Write what the child reads first; a child that dies meanwhile is somebody else's finding."""
        left = memoryview(blob)
        with suppress(OSError, trio.ClosedResourceError):
            while left:
                try:
                    left = left[self._lifeline.send(left) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._lifeline)

    def conclude(self) -> Exit:
        """Note how the process ended, and what it wrote: the file is closed next."""
        self._output = self.boot_output()
        code = self._process.returncode
        if code is None:
            self.exit = Exit("abandoned", None, "it does not even react to SIGKILL")
        elif self.killed and code == -signal.SIGKILL:
            self.exit = Exit("killed", code)
        else:
            self.exit = Exit("returned" if code == 0 else "died", code)
        return self.exit


@trio.lowlevel.enable_ki_protection
async def trio_proc(
    spec: ChildSpec, *, task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED
) -> Exit:
    """Run one child as a process; see `Backend`."""
    with ExitStack() as stack:
        child = await _start(spec, stack)
        async with trio.open_nursery() as nursery:
            paths = "\0".join(spec.sys_path).encode(errors="surrogateescape")
            blob = b"".join(len(part).to_bytes(4, "little") + part for part in (paths, spec.boot))
            nursery.start_soon(child.send_boot, blob)
            task_status.started(child)
            try:
                await child._process.wait()
            finally:
                if child._process.returncode is None:
                    child.kill()
                    with trio.move_on_after(spec.kill_grace, shield=True):
                        await child._process.wait()
                child.conclude()
            nursery.cancel_scope.cancel()
        assert child.exit is not None
        return child.exit


async def _start(spec: ChildSpec, stack: ExitStack) -> ProcessChild:
    """Create the process and the two socket pairs; what stays here is closed by `stack`."""
    options = dict(spec.options)
    with ExitStack() as theirs, ExitStack() as untaken:
        # Closed here only on failure: whoever takes the channel does it otherwise.
        channel, their_channel = socket.socketpair()
        untaken.enter_context(channel)
        theirs.enter_context(their_channel)
        lifeline, their_lifeline = socket.socketpair()
        stack.enter_context(lifeline)
        theirs.enter_context(their_lifeline)
        lifeline.setblocking(False)
        close_in_forks(lifeline)
        close_in_forks(channel)
        fds = [their_channel.fileno(), their_lifeline.fileno()]
        stderr = -1
        if "stderr" not in options:
            # What the child writes before it is up is kept for the report of a failed boot; from then on it
            # writes to the stderr it would have had.
            stderr = _anonymous_file(stack)
            options["stderr"] = stderr
            with suppress(OSError):
                fds.append(os.dup(2))
                theirs.callback(os.close, fds[-1])
        pass_fds = (*options.pop("pass_fds", ()), *fds)
        process = await trio.lowlevel.open_process(_command(spec, fds), pass_fds=pass_fds, **options)
        untaken.pop_all()
    return ProcessChild(process, channel, lifeline, stderr)


def _command(spec: ChildSpec, fds: list[int]) -> list[str]:
    if not sys.executable:
        raise RuntimeError(
            "cannot start a process: this interpreter does not know its own path (sys.executable)"
        )
    # The same flags as ours (-O, -W, -X, …), as multiprocessing does; -P keeps the entry's folder off the path.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    uid = f"({spec.name!r}, {spec.uuid!r})"
    return [sys.executable, *flags, "-P", _ENTRY, "--uid", uid, "--fds", ",".join(map(str, fds))]


def _anonymous_file(stack: ExitStack) -> int:
    """Return a descriptor of a file without a name, closed by `stack`."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("tractor-boot-stderr")
        stack.callback(os.close, fd)
        return fd
    return stack.enter_context(tempfile.TemporaryFile()).fileno()

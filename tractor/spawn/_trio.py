"""The backend `trio`: a child is a fresh interpreter in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import trio

from tractor._errors import Exit
from tractor.spawn._backend import Child, ChildSpec, encode_paths, has_let_go
from tractor.spawn._output import BootOutput
from tractor.trionics._forks import close_in_forks

_ENTRY = str(Path(__file__).parent.parent / "_child" / "__main__.py")


class Process(Protocol):
    """What a child needs of its process."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it; None while it runs."""

    def send_signal(self, sig: signal.Signals) -> None:
        """Send it a signal, if it is still there."""

    def kill(self) -> None:
        """End it by SIGKILL."""

    async def wait(self) -> Any:
        """Return when it is gone."""


class Ends(NamedTuple):
    """What connects a child to its parent: our ends, and the descriptors that it is to get."""

    channel: socket.socket
    lifeline: socket.socket
    #: What keeps what it writes to stderr before it is up, if anything does.
    output: BootOutput | None
    #: Of its channel, of its lifeline and, where there is one, of the stderr it is to have once it is up.
    theirs: list[int]


class ProcessChild:
    """A child in a process of its own."""

    def __init__(self, process: Process, ends: Ends) -> None:
        self._process = process
        self._lifeline = ends.lifeline
        self._output = ends.output
        self.pid = process.pid
        self.where = f"pid {process.pid}"
        self.channel = ends.channel
        self.exit: Exit | None = None
        self.killed = False

    def hang_up(self) -> None:
        """Close the lifeline."""
        if self._lifeline.fileno() != -1:
            trio.lowlevel.notify_closing(self._lifeline)
            self._lifeline.close()

    def has_let_go(self) -> bool:
        """Whether nobody is left at the other end of the lifeline; a child never writes to it."""
        return has_let_go(self._lifeline)

    def interrupt(self) -> None:
        """Send SIGINT."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.killed = True
        self._process.kill()

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended and was reaped."""
        return self._process.returncode is not None

    def boot_output(self) -> str:
        """Return the end of what it wrote to stderr before it was up."""
        return self._output.read() if self._output is not None else ""

    @trio.lowlevel.enable_ki_protection
    async def live(self, told: bytes, *, kill_grace: float, task_status: trio.TaskStatus[Child]) -> Exit:
        """Tell the child what it reads first, hand it out, and return how it ended; see `Backend`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell, told)
            task_status.started(self)
            try:
                await self._process.wait()
            finally:
                if not self.is_gone:
                    self.kill()
                    with trio.move_on_after(kill_grace, shield=True):
                        await self._process.wait()
                self.conclude()
            nursery.cancel_scope.cancel()
        assert self.exit is not None
        return self.exit

    @trio.lowlevel.enable_ki_protection
    async def _tell(self, told: bytes) -> None:
        """Write to the lifeline; a child that dies meanwhile is somebody else's finding."""
        left = memoryview(told)
        with suppress(OSError, trio.ClosedResourceError):
            while left:
                try:
                    left = left[self._lifeline.send(left) :]
                except BlockingIOError:
                    await trio.lowlevel.wait_writable(self._lifeline)

    def _keep_output(self) -> None:
        if self._output is not None:
            self._output.conclude()

    def conclude(self) -> Exit:
        """Note how the process ended, and what it wrote: the file is closed next."""
        self._keep_output()
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
        told = join_parts(encode_paths(spec.sys_path), spec.boot)
        return await child.live(told, kill_grace=spec.kill_grace, task_status=task_status)


async def _start(spec: ChildSpec, stack: ExitStack) -> ProcessChild:
    """Create the process and what connects us; what stays here is closed by `stack`."""
    options = dict(spec.options)
    with ExitStack() as theirs, ExitStack() as untaken:
        ends = make_ends(stack, theirs, untaken, record="stderr" not in options)
        if ends.output is not None:
            options["stderr"] = ends.output.fd
        pass_fds = (*options.pop("pass_fds", ()), *ends.theirs)
        process = await trio.lowlevel.open_process(_command(spec, ends.theirs), pass_fds=pass_fds, **options)
        untaken.pop_all()
    return ProcessChild(process, ends)


def join_parts(*parts: bytes) -> bytes:
    """Return what a child reads first, each part with its length before it."""
    return b"".join(len(part).to_bytes(4, "little") + part for part in parts)


def make_ends(stack: ExitStack, theirs: ExitStack, untaken: ExitStack, *, record: bool) -> Ends:
    """Connect a child that is about to be made.

    `stack` closes what stays here, `theirs` what the child has got by then, and `untaken` the channel, which is for
    whoever takes it, unless it fails. `record`: whether what the child writes before it is up is kept for the report of a
    failed boot; from then on it writes to the stderr it would have had.
    """
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
    output = BootOutput(stack) if record else None
    if record and is_standard(2):
        with suppress(OSError):
            fds.append(os.dup(2))
            theirs.callback(os.close, fds[-1])
    return Ends(channel, lifeline, output, fds)


def is_standard(fd: int) -> bool:
    """Whether 0, 1 or 2 is a stream for children, too: a daemon may have closed it, and the number is another's then."""
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


def _command(spec: ChildSpec, fds: list[int]) -> list[str]:
    uid = f"({spec.name!r}, {spec.uuid!r})"
    return [*interpreter_command(), _ENTRY, "--uid", uid, "--fds", ",".join(map(str, fds))]


def interpreter_command() -> list[str]:
    """Return the beginning of a command that runs another interpreter like this one."""
    if not sys.executable:
        raise RuntimeError(
            "cannot start a process: this interpreter does not know its own path (sys.executable)"
        )
    # The same flags as ours (-O, -W, -X, …), as multiprocessing does; -P keeps the entry's folder off the path.
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-P"]

"""The backends `mp_spawn` and `mp_forkserver`: a child is a process of the standard library's `multiprocessing`.

What starts it, and what it finds when it begins, is as that library has it: `current_process()`, `parent_process()`, the
authentication key, the resource tracker. Everything else is as with the other backends: the child itself replays the main
module, not the library; it is watched by a pidfd; and it is not in `active_children()`, which a program may wait for.
"""

from __future__ import annotations

import errno
import io
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from multiprocessing import forkserver, process, reduction, spawn, util
from multiprocessing.context import set_spawning_popen
from typing import Any, Self

import trio

from tractor._errors import Exit, RuntimeFailure
from tractor.spawn._backend import UNKNOWN_STATUS, Child, ChildSpec, encode_paths
from tractor.spawn._mptracker import TRACKER, Server, wait_gone
from tractor.spawn._trio import Ends, join_parts, make_ends
from tractor.spawn._watched import FORK_TIMEOUT, START_TIMEOUT, STATUS_TIMEOUT, WatchedChild, WatchedProcess
from tractor.trionics._watch import watch_cancellation

#: What a server imports before the modules of the program.
PRELOAD = (
    "tractor._child._multi",
    "tractor._child._boot",
    "tractor.spawn._mp",
    "tractor.ipc._tcp",
    "tractor.ipc._uds",
    "platformdirs.unix",
    "setproctitle",
)
#: Seconds between two attempts to end what a start waits for.
_AGAIN = 0.05

#: How a connection to a server fails that is not there any more.
_LOST = (errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ENOENT, errno.ENOTCONN)


class MpProcess(WatchedProcess):
    """A process of `multiprocessing`: also what that library calls its `Popen`."""

    def __init__(self) -> None:
        super().__init__()
        self._fds: list[int] = []

    def launch(self, actor: process.BaseProcess) -> None:
        """Start it; this blocks."""
        raise NotImplementedError

    def _write_data(self, actor: process.BaseProcess) -> bytes:
        """Return what it is to read first; the main module is not among it, so that the library does not import that."""
        data = spawn.get_preparation_data(actor.name)
        for name in ("init_main_from_name", "init_main_from_path"):
            data.pop(name, None)
        file = io.BytesIO()
        set_spawning_popen(self)  # type: ignore[arg-type]
        try:
            reduction.dump(data, file)
            reduction.dump(actor, file)
        finally:
            set_spawning_popen(None)
        return file.getvalue()


class SpawnedProcess(MpProcess):
    """A fresh interpreter, and a child of this process."""

    class DupFd:
        """A descriptor as the child has it: under the same number."""

        def __init__(self, fd: int) -> None:
            self.fd = fd

        def detach(self) -> int:
            """Return it."""
            return self.fd

    def duplicate_for_child(self, fd: int) -> int:
        """Have the child inherit it."""
        self._fds.append(fd)
        return fd

    def launch(self, actor: process.BaseProcess) -> None:
        """Start it, and tell it what it is, which takes as long as its interpreter does where that is much."""
        data = self._write_data(actor)
        if (tracker := TRACKER.fd) is not None:
            self._fds.append(tracker)
        theirs, ours = os.pipe()
        self.keep(ours, "w")
        # An interrupt waits until the child has its own handlers. The mask of a thread is that of what it starts.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            util._flush_std_streams()  # type: ignore[attr-defined]
            command = spawn.get_command_line(tracker_fd=tracker, pipe_handle=theirs)
            self.pid = util.spawnv_passfds(os.fsencode(spawn.get_executable()), command, [*self._fds, theirs])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            os.close(theirs)
        self.watch()
        with open(ours, "wb", closefd=False) as file:
            file.write(data)

    async def ask(self) -> None:
        """Find out how it ended."""
        try:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])  # noqa: ASYNC222 - it is gone
        except ChildProcessError:
            self.unknown = "its exit status is unknown, for something else in this process has waited for it"


class ServedProcess(MpProcess):
    """A fork of a server."""

    def __init__(self, server: forkserver.ForkServer) -> None:
        super().__init__()
        self._server = server
        self._status = -1

    class DupFd:
        """A descriptor as the child has it: by its place among those that were sent."""

        def __init__(self, index: int) -> None:
            self.index = index

        def detach(self) -> int:
            """Return it."""
            fds: list[int] = forkserver.get_inherited_fds()  # type: ignore[assignment]
            return fds[self.index]

    def duplicate_for_child(self, fd: int) -> int:
        """Send it to the child."""
        self._fds.append(fd)
        return len(self._fds) - 1

    def launch(self, actor: process.BaseProcess) -> None:
        """Have it forked, by a server that is started where there is none."""
        data = self._write_data(actor)
        self._status, ours = self._server.connect_to_new_process(self._fds)
        self.keep(self._status, "r")
        self.keep(ours, "w")
        with open(ours, "wb", closefd=False) as file:
            file.write(data)
        self.pid = forkserver.read_signed(self._status)
        self.watch()

    async def ask(self) -> None:
        """Find out how it ended."""
        with trio.move_on_after(STATUS_TIMEOUT, shield=True), suppress(EOFError, OSError):
            await trio.lowlevel.wait_readable(self._status)
            self.returncode = forkserver.read_signed(self._status)
        if self.returncode is None:
            self.unknown = UNKNOWN_STATUS


async def mp_spawn(
    spec: ChildSpec, *, task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED
) -> Exit:
    """Run one child as a fresh interpreter that `multiprocessing` starts; see `Backend`.

    Raises `TypeError` for any options.
    """
    _check(spec, "mp_spawn")
    with ExitStack() as stack:
        child = SpawnedProcess()
        stack.callback(child.close)
        ends = await _launch(child, spec, stack, FORK_TIMEOUT, child.kill, {})
        return await _live(WatchedChild(child, ends), spec, task_status)


class MpForkServer:
    """The backend of one actor: the fork server of `multiprocessing` that it starts with its first child; see `Backend`.

    `preload`: modules that the server imports; one that cannot be imported is left to the child that needs it, as
    `multiprocessing` does.
    """

    def __init__(self, *, preload: Iterable[str] = ()) -> None:
        preload = list(preload)
        self._backend = {"key": "mp_forkserver", "preload": preload}
        # Not the one that `multiprocessing` has for everybody: this one ends with the actor.
        self._server = Server()
        self._server.set_forkserver_preload([*PRELOAD, *preload])
        self._turn = trio.Lock()
        #: Whether the server has forked before.
        self._ready = False

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        TRACKER.enter()
        return self

    async def __aexit__(self, *_: object) -> None:
        """End the server, and the resource tracker that came with it, where the program does not use that itself."""
        await self._stop()
        await TRACKER.leave()

    @trio.lowlevel.enable_ki_protection
    async def __call__(
        self, spec: ChildSpec, *, task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED
    ) -> Exit:
        """Run one child as a fork of the server; see `Backend`.

        Raises `TypeError` for any options, `RuntimeFailure` where the server does not start, and `OSError` where the system
        has no room for another process.
        """
        _check(spec, "mp_forkserver")
        with ExitStack() as stack:
            async with self._turn:
                child, ends = await self._fork(spec, stack)
            return await _live(WatchedChild(child, ends), spec, task_status)

    async def _fork(self, spec: ChildSpec, stack: ExitStack) -> tuple[ServedProcess, Ends]:
        """Have a child forked; once more, by a new server, where the one there is was lost."""
        for patience in (FORK_TIMEOUT if self._ready else START_TIMEOUT, START_TIMEOUT):
            child = ServedProcess(self._server)
            with ExitStack() as kept:
                kept.callback(child.close)
                try:
                    ends = await _launch(child, spec, kept, patience, self._kill, self._backend)
                except (EOFError, OSError) as exc:
                    if isinstance(exc, OSError) and exc.errno not in _LOST:
                        raise
                    was_ready = self._ready
                    await self._stop()
                    await trio.lowlevel.checkpoint_if_cancelled()
                    if not was_ready:
                        raise RuntimeFailure(
                            f"the fork server of multiprocessing has ended before it had forked, or was not ready within "
                            f"{patience:g} s; what it wrote went to stderr"
                        ) from exc
                else:
                    self._ready = True
                    stack.push(kept.pop_all())
                    return child, ends
        raise RuntimeFailure("the fork server of multiprocessing was lost twice")

    def _kill(self) -> None:
        if (pid := self._server._forkserver_pid) is not None:  # type: ignore[attr-defined]
            os.kill(pid, signal.SIGKILL)

    async def _stop(self) -> None:
        """End the server, as its own `_stop()` does it, but at once."""
        server: Any = self._server
        self._ready = False
        if server._forkserver_pid is None:
            return
        os.close(server._forkserver_alive_fd)
        if not util.is_abstract_socket_namespace(server._forkserver_address):
            with suppress(FileNotFoundError):
                os.unlink(server._forkserver_address)
        pid, server._forkserver_pid = server._forkserver_pid, None
        server._forkserver_alive_fd = server._forkserver_address = server._forkserver_authkey = None
        # It has nothing to clean up, but would take its time for it.
        os.kill(pid, signal.SIGKILL)
        await wait_gone(pid, kill=True)


async def _launch(
    child: MpProcess,
    spec: ChildSpec,
    stack: ExitStack,
    patience: float,
    give_up: Callable[[], None],
    backend: dict[str, Any],
) -> Ends:
    """Start a child, in a thread because that blocks, and return our ends of what connects us, closed by `stack`.

    `give_up` ends what the thread waits for when that takes more than `patience` seconds, or is not wanted any more and takes
    longer than a fork does. `backend`: see `run_child`.
    """
    waiting = trio.CancelScope()

    async def lose_patience() -> None:
        with waiting:
            await trio.sleep(patience)
        while True:
            # There may be nothing to end yet.
            give_up()
            await trio.sleep(_AGAIN)

    def on_cancel(_: trio.Cancelled) -> None:
        if patience > FORK_TIMEOUT:
            waiting.cancel()

    left: BaseException | None = None
    with ExitStack() as theirs, ExitStack() as untaken:
        ends = make_ends(stack, theirs, untaken, record=True)
        assert ends.output is not None
        actor: process.BaseProcess = import_module("tractor._child._multi").ActorProcess(
            spec.name, [*ends.theirs[:2], ends.output.fd, *ends.theirs[2:]], backend
        )
        async with watch_cancellation(on_cancel):
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(lose_patience)
                    try:
                        await trio.to_thread.run_sync(partial(child.launch, actor))
                    except BaseException as exc:  # noqa: BLE001 - raised below, bare
                        left = exc
                    nursery.cancel_scope.cancel()
        if left is not None:
            if child.pid > 0:
                # It was not told what it is.
                child.kill()
                with trio.move_on_after(STATUS_TIMEOUT, shield=True):
                    await child.wait()
            raise left
        untaken.pop_all()
    return ends


async def _live(child: WatchedChild, spec: ChildSpec, task_status: trio.TaskStatus[Child]) -> Exit:
    told = join_parts(encode_paths(spec.sys_path), spec.boot)
    return await child.live(told, kill_grace=spec.kill_grace, task_status=task_status)


def _check(spec: ChildSpec, key: str) -> None:
    if not hasattr(os, "pidfd_open"):
        raise RuntimeError(f"the start method {key!r} needs Linux, for its pidfd")
    if spec.options:
        raise TypeError(
            f"the start method {key!r} does not know {', '.join(sorted(spec.options))}; multiprocessing has no options for a "
            "process, so proc_kwargs must be empty"
        )

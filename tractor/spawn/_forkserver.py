"""The backend `forkserver`: a child is a fork of one small process that has imported what all children need.

That process, the server, is started with the first child and serves all actors of a tree, each over a connection of its
own. It is the parent of all of them: what their parents here know of them they know by a pidfd, and what only it can know,
their exit status, it tells.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Self

import trio

from tractor._errors import Exit, RuntimeFailure
from tractor.spawn._backend import Child, ChildSpec, encode_paths
from tractor.spawn._forklink import (
    MAX_FDS,
    ForkedProcess,
    ServerLink,
    ServerLostError,
    exec_server,
    hear_start,
    message_pair,
)
from tractor.spawn._trio import Ends, is_standard, join_parts, make_ends
from tractor.spawn._watched import WatchedChild

#: What `proc_kwargs` may have.
OPTIONS = ("cwd", "env", "pass_fds", "start_new_session", "stderr", "stdin", "stdout", "umask")


class ForkedChild(WatchedChild):
    """A child that was forked. `told`: how many bytes of what it reads first were written already."""

    def __init__(self, process: ForkedProcess, ends: Ends, told: int) -> None:
        super().__init__(process, ends)
        self.told = told


class ForkServer:
    """The backend of one actor: how it reaches the server; see `Backend`.

    `preload`: modules that a server imports which is started here. `inherited`: a connection to one that is there already.
    """

    def __init__(self, *, preload: Iterable[str] = (), inherited: socket.socket | None = None) -> None:
        if not hasattr(os, "pidfd_open"):
            raise RuntimeError("the start method 'forkserver' needs Linux, for its pidfd")
        self._preload = list(preload)
        self._link = None if inherited is None else ServerLink(inherited, None, -1)
        # One request at a time: the server forks one after the other anyway.
        self._turn = trio.Lock()

    async def __aenter__(self) -> Self:
        """Nothing is started yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the server."""
        await self._drop()

    @trio.lowlevel.enable_ki_protection
    async def __call__(
        self, spec: ChildSpec, *, task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED
    ) -> Exit:
        """Run one child as a fork of the server; see `Backend`.

        Raises `TypeError` for options that a fork cannot have, `RuntimeFailure` where there is no server and none can be
        started, and `OSError` where the system has no room for another process or lacks what the options name.
        """
        refused = sorted(set(spec.options) - set(OPTIONS))
        if refused:
            raise TypeError(
                f"the start method 'forkserver' does not know {', '.join(refused)}; proc_kwargs may have: "
                f"{', '.join(OPTIONS)}"
            )
        told = join_parts(self._describe(spec.options), encode_paths(spec.sys_path), spec.boot)
        with ExitStack() as stack:
            async with self._turn:
                child = await self._start(spec, told, stack)
            return await child.live(told[child.told :], kill_grace=spec.kill_grace, task_status=task_status)

    async def _start(self, spec: ChildSpec, told: bytes, stack: ExitStack) -> ForkedChild:
        """Have a child forked; once more, by a new server, where the one there is was lost."""
        lost: ServerLostError | None = None
        for _ in range(2):
            if self._link is None:
                await self._open(spec.sys_path)
            try:
                with ExitStack() as kept:
                    child = await self._fork(spec, told, kept)
                    stack.push(kept.pop_all())
                    return child
            except ServerLostError as exc:
                lost = exc
                await self._drop()
        raise RuntimeFailure(f"a fork server was lost twice: {lost}") from lost

    async def _open(self, sys_path: list[str]) -> None:
        self._link = exec_server({"sys_path": sys_path, "preload": self._preload})
        try:
            await self._link.wait_ready()
        except BaseException:
            await self._drop()
            raise

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.aclose()

    async def _fork(self, spec: ChildSpec, told: bytes, stack: ExitStack) -> ForkedChild:
        """Ask for one child; what stays here is closed by `stack`. A child that is not taken reads the end of its lifeline."""
        assert self._link is not None
        options = spec.options
        with ExitStack() as theirs, ExitStack() as untaken:
            status, their_status = message_pair()
            stack.enter_context(status)
            theirs.enter_context(their_status)
            ends = make_ends(stack, theirs, untaken, record="stderr" not in options)
            channel, lifeline, *terminal = ends.theirs
            stdio = _open_stdio(options, -1 if ends.output is None else ends.output.fd, theirs)
            passed = [_fileno(fd) for fd in options.get("pass_fds", ())]
            fds = [their_status.fileno(), lifeline, channel, _open_cwd(options, theirs), *stdio]
            if len(fds) + len(terminal) + len(passed) > MAX_FDS:
                raise ValueError(
                    f"pass_fds has {len(passed)} descriptors; the kernel passes {MAX_FDS} in all"
                )
            # What it reads first is there before it is.
            count = ends.lifeline.send(told)
            self._link.request([*fds, *terminal, *passed])
            theirs.close()
            process = await hear_start(status)
            stack.callback(process.close)
            untaken.pop_all()
        return ForkedChild(process, ends, count)

    def _describe(self, options: Mapping[str, Any]) -> bytes:
        """Return what a child is to be like beside its descriptors: this process as it is now, but for the options."""
        ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
        given = options.get("env")
        env: Mapping[Any, Any] = os.environ if given is None else given
        state = {
            "pass_fds": [_fileno(fd) for fd in options.get("pass_fds", ())],
            "env": {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()},
            "argv": list(sys.argv),
            "umask": options.get("umask", -1) if options.get("umask", -1) != -1 else _read_umask(),
            "ignored": ignored,
            "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
            "new_session": bool(options.get("start_new_session")),
            "preload": self._preload,
        }
        return json.dumps(state).encode()


def _open_stdio(options: Mapping[str, Any], record: int, stack: ExitStack) -> list[int]:
    """Return the descriptors that are to be the child's stdin, stdout and stderr."""
    fds: list[int] = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        given = options.get(name)
        if given == subprocess.PIPE:
            raise ValueError(f"{name}=PIPE: nobody would read or write it; give a descriptor of your own")
        if given == subprocess.STDOUT and name == "stderr":
            fds.append(fds[1])
        elif name == "stderr" and record != -1:
            fds.append(record)
        elif given is None and is_standard(number):
            fds.append(number)
        elif given is None or given == subprocess.DEVNULL:
            fds.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            stack.callback(os.close, fds[-1])
        else:
            fds.append(_fileno(given))
    return fds


def _open_cwd(options: Mapping[str, Any], stack: ExitStack) -> int:
    """Return a descriptor of the child's working directory: ours may have been removed or renamed."""
    given = options.get("cwd")
    fd = os.open("." if given is None else given, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    stack.callback(os.close, fd)
    return fd


def _fileno(given: Any) -> int:
    return given if isinstance(given, int) else int(given.fileno())


def _read_umask() -> int:
    # The system call would change it for a moment, for other threads as well.
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    raise RuntimeError("/proc/self/status has no umask")

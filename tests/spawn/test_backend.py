"""Backends by their keys, and what all tests of them use: a child alone, without a nursery around it.

What supervision may expect of any child is in test_backend_contract.py and its neighbours.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio

from tests.programs import actors
from tractor._errors import Exit
from tractor._ids import Aid, new_uuid
from tractor.ipc._channel import Channel
from tractor.ipc._transport import SocketTransport
from tractor.msg._codec import get_codec
from tractor.msg._types import Hello, SpawnSpec
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._vars import RuntimeVars
from tractor.spawn._backend import (
    Backend,
    Child,
    ChildSpec,
    load_backend,
    open_backend,
)
from tractor.spawn._subint import InterpreterChild
from tractor.supervise._spec import _search_path
from tractor.testing import _procs

#: Seconds in which an idle child has come up, or is gone after it was told to go.
SOON = 10.0


#: The backend of the block around: its children share what it keeps.
_shared: ContextVar[Backend | None] = ContextVar("_shared", default=None)


def make_spec(*, name: str = "kid", boot: bytes | None = None, **options: Any) -> ChildSpec:
    """Describe a child that exposes the functions of `tests.programs.actors`."""
    uuid = new_uuid()
    spec = SpawnSpec(
        name=name,
        uuid=uuid,
        parent=("root", new_uuid(), os.getpid()),
        parent_addrs=[],
        connect_to=[],
        token=b"",
        main={},
        runtime_vars=RuntimeVars().for_child(),
        enable_modules={actors.__name__: ""},
        registry_addrs=[],
        bind_addrs=[],
        loglevel="",
    )
    return ChildSpec(
        name, uuid, _search_path(), get_codec().encode(spec) if boot is None else boot, options=options
    )


class Running:
    """A child, our end of its channel, and how it ended."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.channel = Channel(SocketTransport(child.channel), dialer=True)
        self.ended = trio.Event()
        self.exit: Exit | None = None

    async def wait_up(self) -> Hello:
        """Shake hands."""
        say_hello(self.channel, Aid("root", new_uuid(), os.getpid()), [])
        return await hear_hello(self.channel)

    async def wait_end(self) -> Exit:
        """Return what the backend returned."""
        with trio.fail_after(SOON):
            await self.ended.wait()
        assert self.exit is not None
        return self.exit


@asynccontextmanager
async def share_backend(key: str, **options: Any) -> AsyncGenerator[Backend]:
    """Yield the backend that makes all children of the block; opened where none was opened around it."""
    if (found := _shared.get()) is not None:
        yield found
        return
    async with open_backend(key, **options) as backend:
        token = _shared.set(backend)
        try:
            yield backend
        finally:
            _shared.reset(token)


@asynccontextmanager
async def open_child(key: str, spec: ChildSpec | None = None) -> AsyncGenerator[Running]:
    """Run a child around the block; the backend is cancelled behind it, and only then the channel is closed."""
    running: Running | None = None

    class Status:
        """Notes a child also where a start that is cancelled would not hand it over."""

        def __init__(self, status: trio.TaskStatus[Running]) -> None:
            self._status = status

        def started(self, value: Any = None) -> None:
            nonlocal running
            running = Running(value)
            self._status.started(running)

    async def run(backend: Backend, task_status: trio.TaskStatus[Running]) -> None:
        exit_ = await backend(spec or make_spec(), task_status=Status(task_status))
        assert running is not None
        running.exit = exit_
        running.ended.set()

    try:
        async with share_backend(key) as backend, trio.open_nursery() as nursery:
            with trio.fail_after(SOON):
                child: Running = await nursery.start(run, backend)
            try:
                yield child
            finally:
                nursery.cancel_scope.cancel()
    finally:
        if running is not None:
            running.channel.abort()


def is_alive(pid: int) -> bool:
    """Tell whether there is such a process that runs."""
    proc = _procs.read_proc(pid)
    return proc is not None and proc.state != "Z"


def is_there(child: Child) -> bool:
    """Tell whether there is still what the child is made of."""
    if isinstance(child, InterpreterChild):
        import _interpreters

        return child.number in [number for number, _ in _interpreters.list_all()]
    return is_alive(child.pid)


def test_an_unknown_key_is_refused_with_the_known_ones() -> None:
    """A typo is found where it was made."""
    with pytest.raises(ValueError, match=r"unknown start method 'thread'.*'trio'"):
        load_backend("thread")

"""What supervision may expect of a child, whatever it is made of."""

import os
import socket
import sys
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
    BACKENDS,
    SHARING,
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


@pytest.fixture(params=[key for key in sorted(BACKENDS) if key != "subint" or sys.version_info >= (3, 14)])
def backend(request: pytest.FixtureRequest) -> str:
    """The key of the backend under test: every one that this Python has."""
    key: str = request.param
    return key


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


async def test_what_a_backend_keeps_ends_with_the_block(backend: str) -> None:
    """Where it keeps something; before it is needed there is nothing."""
    before = _procs.all_pids()
    async with share_backend(backend):
        async with open_child(backend) as running:
            await running.wait_up()
            child = running.child.where
        async with open_child(backend) as running:
            await running.wait_up()
            assert running.child.where != child
    ours = [_procs.read_proc(pid) for pid in _procs.all_pids() - before]
    assert not [proc for proc in ours if proc is not None and proc.parent == os.getpid()]


async def test_a_child_comes_up_on_its_inherited_channel(backend: str) -> None:
    """It is there once started, knows its own name, and says where it listens."""
    spec = make_spec(name="somebody")
    async with open_child(backend, spec) as running:
        assert running.child.exit is None
        assert is_there(running.child)
        assert str(running.child.pid) in running.child.where
        with trio.fail_after(SOON):
            hello = await running.wait_up()
        assert (hello.name, hello.uuid, hello.pid) == ("somebody", spec.uuid, running.child.pid)
        assert len(hello.addrs) == 1


async def test_hanging_up_ends_a_child_in_order(backend: str) -> None:
    """The channel is not needed for it."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.hang_up()
        assert await running.wait_end() == Exit("returned", 0)
        assert running.child.exit == Exit("returned", 0)
        assert not is_there(running.child)


async def test_hanging_up_twice_is_no_error(backend: str) -> None:
    """Neither is it after the end."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.hang_up()
        running.child.hang_up()
        await running.wait_end()
        running.child.hang_up()


async def test_hanging_up_ends_a_child_that_is_not_up_yet(backend: str) -> None:
    """However little of it there is already."""
    async with open_child(backend) as running:
        running.child.hang_up()
        assert (await running.wait_end()).how in ("returned", "died")


async def test_an_interrupt_ends_an_idle_child(backend: str) -> None:
    """In order: nothing was running that had to be torn."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.interrupt()
        assert await running.wait_end() == Exit("returned", 0)


async def test_killing_a_child_is_reported_as_that(backend: str) -> None:
    """The report says that it was our doing, and with what."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.kill()
        exit_ = await running.wait_end()
        assert exit_.how == "killed"
        assert str(exit_) == ("killed" if backend in SHARING else "killed by SIGKILL")
        assert not is_there(running.child)


async def test_steps_taken_after_the_end_do_nothing(backend: str) -> None:
    """The ladder need not know that it has come too late."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.kill()
        first = await running.wait_end()
        running.child.hang_up()
        running.child.interrupt()
        running.child.kill()
        assert running.child.exit == first


async def test_a_cancelled_backend_kills_and_waits(backend: str) -> None:
    """Once it lets go, the child is gone and the record says so."""
    async with open_child(backend) as running:
        await running.wait_up()
    assert running.child.exit is not None
    assert running.child.exit.how == "killed"
    assert not is_there(running.child)
    assert running.exit is None


async def test_a_backend_that_is_cancelled_at_once_leaves_nothing(backend: str) -> None:
    """Not even a child that has not read its specification."""
    with trio.move_on_after(0.01):
        async with open_child(backend):
            await trio.sleep_forever()


async def test_the_parents_end_of_the_channel_belongs_to_whoever_took_it(backend: str) -> None:
    """What a child said before its end can still be read behind it."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.kill()
        await running.wait_end()
        assert running.child.channel.fileno() != -1
        assert running.child.channel.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM


async def test_a_child_that_cannot_read_its_specification_tells_why(backend: str) -> None:
    """What it wrote before it was up is kept, also behind its end."""
    async with open_child(backend, make_spec(boot=b"\xc1")) as running:
        exit_ = await running.wait_end()
        assert exit_.how == "died"
        assert exit_.code == 1
        assert "DecodeError" in running.child.boot_output()


async def test_a_specification_larger_than_any_buffer_arrives(backend: str) -> None:
    """The parent's loop goes on turning meanwhile, and nobody waits for the other."""
    spec = make_spec()
    path = [*spec.sys_path, *(f"/nowhere/{number:0200}" for number in range(10_000))]
    async with open_child(backend, ChildSpec(spec.name, spec.uuid, path, spec.boot)) as running:
        with trio.fail_after(SOON):
            await running.wait_up()


async def test_no_child_holds_the_lifeline_of_another(backend: str) -> None:
    """Each is ended alone, whatever order they were made in."""
    async with open_child(backend) as first, open_child(backend) as second, open_child(backend) as third:
        for running in (first, second, third):
            await running.wait_up()
        for running in (second, first, third):
            running.child.hang_up()
            assert await running.wait_end() == Exit("returned", 0)
            left = [one for one in (first, second, third) if one.exit is None]
            assert all(is_there(one.child) for one in left)


async def test_no_child_holds_the_channel_of_another(backend: str) -> None:
    """The end of a child is the end of its channel, or whoever reads it would wait for ever."""
    async with open_child(backend) as first, open_child(backend) as second:
        await first.wait_up()
        await second.wait_up()
        first.child.kill()
        await first.wait_end()
        with trio.fail_after(SOON):
            await first.channel.run(lambda *frame: None)
        assert not first.channel.connected()
        assert second.channel.connected()


async def test_a_child_lets_go_of_its_lifeline_when_it_dies(backend: str) -> None:
    """And not before; so the parent can tell its death from the loss of the channel alone."""
    async with open_child(backend) as running:
        assert not running.child.has_let_go()
        await running.wait_up()
        assert not running.child.has_let_go()
        running.child.kill()
        with trio.fail_after(SOON):
            while not running.child.has_let_go():
                await trio.sleep(0.001)
        await running.wait_end()
        assert running.child.has_let_go()


async def test_a_child_that_was_hung_up_on_has_let_go(backend: str) -> None:
    """Nothing will be seen there any more; its end is near anyway."""
    async with open_child(backend) as running:
        await running.wait_up()
        running.child.hang_up()
        assert running.child.has_let_go()
        await running.wait_end()


async def test_many_at_once(backend: str) -> None:
    """Starting them together is not slower than one after the other, and none is mixed up with another."""
    names: list[str] = []

    async def run_one(name: str) -> None:
        async with open_child(backend, make_spec(name=name)) as running:
            names.append((await running.wait_up()).name)
            running.child.hang_up()
            await running.wait_end()

    with trio.fail_after(SOON * 2):
        async with share_backend(backend), trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(run_one, f"kid{number}")
    assert sorted(names) == [f"kid{number}" for number in range(8)]

"""A child under supervision whose body only pretends: its clock is fake, its steps are recorded."""

import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor._errors import Exit, TransportClosed
from tractor._ids import Aid, new_uuid
from tractor.ipc._channel import Channel
from tractor.ipc._transport import SocketTransport
from tractor.msg._codec import get_codec
from tractor.msg._errbox import pack_error
from tractor.msg._types import Bye
from tractor.runtime._actor import Actor
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._portal import Portal
from tractor.spawn._backend import Child, ChildSpec
from tractor.supervise._child import SupervisedChild
from tractor.supervise._lifecycle import Phase
from tractor.supervise._root import open_root_actor
from tractor.wire._kinds import Kind

GRACE = 2.0
BOOT_TIMEOUT = 30.0

#: What a child of this kind obeys; the kill is obeyed by all.
ALL = ("hang up", "interrupt", "kill")


class FakeChild:
    """A body that is nothing but a socket; it ends at the first step that it `obeys`."""

    where = "nowhere"
    pid = os.getpid()

    def __init__(self, obeys: tuple[str, ...]) -> None:
        self.channel, self.there = socket.socketpair()
        self.exit: Exit | None = None
        self.steps: list[tuple[str, float]] = []
        self.ended = trio.Event()
        #: Whether its end of the lifeline is closed; set by a test for a body that takes long to die.
        self.let_go = False
        self._obeys = obeys

    def _take(self, step: str) -> None:
        self.steps.append((step, round(trio.current_time(), 3)))
        if step in self._obeys:
            self.end(Exit("killed", -9) if step == "kill" else Exit("returned", 0))

    def end(self, how: Exit) -> None:
        """Be gone."""
        self.exit = self.exit or how
        self.ended.set()

    def hang_up(self) -> None:
        """Take the step."""
        self.let_go = True
        self._take("hang up")

    def has_let_go(self) -> bool:
        """Tell whether the lifeline is closed, at either end."""
        return self.let_go or self.exit is not None

    def interrupt(self) -> None:
        """Take the step."""
        self._take("interrupt")

    def kill(self) -> None:
        """Take the step."""
        self._take("kill")

    def boot_output(self) -> str:
        """Return what it wrote."""
        return "Traceback: no luck\n"


class World:
    """A supervised child, its fake body, and what the test hears of them."""

    def __init__(
        self, actor: Actor, obeys: tuple[str, ...], life: Callable[["World"], Awaitable[None]]
    ) -> None:
        self.actor = actor
        self.body = FakeChild(obeys)
        self.uuid = new_uuid()
        self.changes: list[Phase] = []
        self.there = Channel(SocketTransport(self.body.there), dialer=False)
        self._life = life
        self.child = SupervisedChild(
            actor,
            self._run,
            ChildSpec("kid", self.uuid, [], b""),
            bind_addrs=[],
            token=b"",
            grace=GRACE,
            boot_timeout=BOOT_TIMEOUT,
            on_change=lambda child: self.changes.append(child.phase),
        )

    async def _run(self, spec: ChildSpec, *, task_status: trio.TaskStatus[Child]) -> Exit:
        """Be the backend."""
        task_status.started(self.body)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._life, self)
                await self.body.ended.wait()
                nursery.cancel_scope.cancel()
        finally:
            self.there.abort()
            self.body.exit = self.body.exit or Exit("killed", -9)
        return self.body.exit

    async def come_up(self) -> None:
        """Shake hands as the child."""
        say_hello(self.there, Aid("kid", self.uuid, os.getpid()), [])
        await hear_hello(self.there)

    async def wait_up(self) -> Portal:
        """Return the portal of a child that comes up."""
        await self.child.up.wait()
        assert self.child.portal is not None
        return self.child.portal

    async def wait_loss(self) -> TransportClosed:
        """Wait for an answer of a child that gives none; return what is said instead."""
        portal = await self.wait_up()
        with pytest.raises(TransportClosed) as caught:
            await portal.run_from_ns("any", "thing")
        return caught.value

    def steps_since(self, began: float) -> list[tuple[str, float]]:
        """Return the steps that were taken, and how many seconds after `began`."""
        return [(step, round(at - began, 2)) for step, at in self.body.steps]

    async def leave(self, how: str, exit_: Exit, error: BaseException | None = None) -> None:
        """Be a child that says how it ends, and then ends."""
        self.say_bye(how, error)
        await wait_all_tasks_blocked()
        self.body.end(exit_)
        await trio.sleep_forever()

    def say_bye(self, how: str, error: BaseException | None = None) -> None:
        """Say goodbye as the child."""
        boxed = None if error is None else pack_error(error, ("kid", self.uuid))
        self.there.post(Kind.BYE, 0, 0, get_codec().encode(Bye(how, None, "for a reason", boxed)))


async def never_speak(world: World) -> None:
    """Be a child that hangs while it boots."""
    await trio.sleep_forever()


async def come_up(world: World) -> None:
    """Be a child that comes up and then answers nobody."""
    await world.come_up()
    await world.there.run(lambda *frame: None)


@asynccontextmanager
async def open_world(
    life: Callable[[World], Awaitable[None]], *, obeys: tuple[str, ...] = ALL
) -> AsyncGenerator[World]:
    """Run a child around the block, until it is gone."""
    async with open_root_actor() as actor:
        world = World(actor, obeys, life)
        actor.services.start_soon(world.child.run)
        yield world
        await world.child.gone.wait()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a test in no time."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


def in_no_time[**P](test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Have a test run on a clock that jumps whenever all its tasks wait."""

    @wraps(test)
    def run_test(*args: P.args, **kwargs: P.kwargs) -> None:
        run(partial(test, *args, **kwargs))

    return run_test

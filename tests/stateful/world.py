"""Runs one program: two actors, or three, joined in memory, on a clock that jumps and with a scheduler that follows a seed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from trio._core import _run as trio_run
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.resident import find_router
from tests.stateful import judge
from tests.stateful.players import open_plan
from tests.stateful.programs import END, Opener, Program
from tests.stateful.records import Record
from tests.stateful.stage import STAGE, Stage
from tests.stateful.wire import Wire
from tractor.ipc._channel import Channel
from tractor.ipc._mem import MemoryTransport, memory_transport_pair
from tractor.runtime import _stream
from tractor.runtime._actor import Actor
from tractor.runtime._expose import find_modules
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._lifetime import run_actor
from tractor.runtime._link import Link
from tractor.runtime._portal import Portal
from tractor.runtime._vars import RuntimeVars
from tractor.trionics._shields import lift_shields

#: Seconds after which a program that has not ended never will: clean-ups and the runtime's own bounds are far shorter.
FENCE = END + 60
#: Seconds in which everything that was cancelled at END has ended, whatever a script's shields want.
SETTLE = 20.0
#: Turns of the loop after which the same is believed; a program takes a few hundred.
MAX_TICKS = 50_000
#: When the books of both ends are compared, where nothing moves.
LOOKS = (0.25, 1.5, END)


@contextmanager
def scheduled_by(seed: int) -> Iterator[None]:
    """Let trio order the tasks of a tick by a seed, as it does for hypothesis."""
    names = vars(trio_run)
    before, state = names["_ALLOW_DETERMINISTIC_SCHEDULING"], trio_run._r.getstate()
    names["_ALLOW_DETERMINISTIC_SCHEDULING"] = True
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        names["_ALLOW_DETERMINISTIC_SCHEDULING"] = before
        trio_run._r.setstate(state)


@contextmanager
def watching(links: list[Link]) -> Iterator[None]:
    """Keep every end of a context that the runtime makes, because some are never handed to anybody, and its clock ours."""
    original = Link.__init__

    def note(self: Link, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        links.append(self)

    patch = pytest.MonkeyPatch()
    patch.setattr(Link, "__init__", note)
    # Or how long a reader goes on depends on how fast this machine is.
    patch.setattr(_stream, "perf_counter", trio.current_time)
    # Programs leave tasks behind all the time.
    logger = logging.getLogger("tractor")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        patch.undo()


def play(program: Program) -> Record:
    """Run a program and return what was seen, faults included."""
    stage = Stage()
    token = STAGE.set(stage)
    try:
        with scheduled_by(program.seed), watching(stage.record.links):
            trio.run(World(program, stage).main, clock=MockClock(autojump_threshold=0))
    finally:
        STAGE.reset(token)
    judge.judge_end(stage.record)
    return stage.record


@dataclass(eq=False)
class Seat:
    """An actor of the program, and its main task's way to begin."""

    actor: Actor
    up: trio.Event = field(default_factory=trio.Event)
    gone: bool = False


class _Ticks(trio.abc.Instrument):
    """Ends a run whose tasks never wait: the clock will not jump for it."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self.count = 0
        self._give_up = give_up

    def before_io_wait(self, timeout: float) -> None:
        """Count."""
        self.count += 1
        if self.count % MAX_TICKS == 0:
            self._give_up()


class World:
    """One run of a program."""

    def __init__(self, program: Program, stage: Stage) -> None:
        self.program = program
        self.stage = stage
        self.record = stage.record
        self.seats: dict[str, Seat] = {}
        #: Carol's handles on the two.
        self.third: dict[str, Portal] = {}
        self.curtain = trio.Event()
        self.idle = trio.Event()
        self.over = trio.Event()
        self.playing = len(program.openers)
        self.began = 0.0
        #: Around everything, and what is inside of it.
        self.fence = trio.CancelScope()
        self.nurseries: list[trio.Nursery] = []
        #: Around each opener, as a user's own scopes are, by actor.
        self.scopes: dict[str, list[trio.CancelScope]] = {"alice": [], "bob": []}

    async def main(self) -> None:
        """Play the program within the fence."""
        self.wire = Wire(self.program.capacity, self.program.delays)
        self.stage.latency = sum(self.program.delays or ())
        trio.lowlevel.add_instrument(_Ticks(self._give_up))
        trio.lowlevel.spawn_system_task(self._guard)
        with self.fence:
            try:
                async with trio.open_nursery() as nursery:
                    self.nurseries.append(nursery)
                    await self._play(nursery)
            except* Exception as group:  # noqa: BLE001 - whatever it is
                self.record.blame(f"the runtime raised {group!r}")

    async def _guard(self) -> None:
        await trio.sleep(FENCE)
        while True:
            self._give_up()
            await trio.sleep(1)

    def _give_up(self) -> None:
        """End the program by force, having noted what it was at."""
        if not self.fence.cancel_called:
            self.record.blame(f"the program has not ended after {trio.current_time() - self.began:.0f} s")
            self.record.state = self.describe()
            self.fence.cancel()
        for nursery in self.nurseries:
            lift_shields(nursery)

    def describe(self) -> list[str]:
        """Return the state of both ends of every context, and where every task waits."""
        lines = []
        for link in self.record.links:
            inbox, outflow = link._inbox, link._outflow
            limit = outflow.limit
            lines.append(
                f"  {link} {link._dialog}: {len(inbox.items)} items, {len(inbox.waiters)} readers, ended {inbox.ended}; "
                f"may send {'all' if limit is None else limit.items}; settled {link._settled.is_set()}, parked {link._parked}"
            )
        return lines + describe_tasks()

    async def _play(self, nursery: trio.Nursery) -> None:
        async with trio.open_nursery() as actors:
            self.nurseries.append(actors)
            await self._raise_curtain(nursery, actors)
            self.began = trio.current_time()
            nursery.start_soon(self._look)
            for when, what, whom in self.program.weather:
                nursery.start_soon(self._weather, when, what, whom)
            await self._finish()
            self.over.set()
        nursery.cancel_scope.cancel()

    async def _raise_curtain(self, nursery: trio.Nursery, actors: trio.Nursery) -> None:
        names = ["alice", "bob"]
        if any(what == "third" for _, what, _ in self.program.weather):
            names.append("carol")
        for name in names:
            seat = self.seats[name] = Seat(
                Actor(name, variables=RuntimeVars(), modules=find_modules(["tests.stateful.players"]))
            )
            self.stage.uids[name] = seat.actor.uid
            actors.start_soon(self._live, seat)
            await seat.up.wait()
        self.wire.lay(nursery)
        ends = self.wire.ends
        portals = await self._join("alice", "bob", ends["alice"], ends["bob"])
        self.stage.portals = {"alice": portals[0], "bob": portals[1]}
        if "carol" in names:
            for name in ("alice", "bob"):
                self.third[name], _ = await self._join("carol", name, *memory_transport_pair())
        self.curtain.set()

    async def _join(
        self, dialer: str, other: str, near: MemoryTransport, far: MemoryTransport
    ) -> tuple[Portal, Portal]:
        left, right = self.seats[dialer].actor, self.seats[other].actor
        right.services.start_soon(right._serve_connection, Channel(far, dialer=False))
        channel = Channel(near, dialer=True)
        say_hello(channel, left.aid, [])
        await hear_hello(channel)
        router = left.add_router(channel)
        left.services.start_soon(left.serve_channel, channel)
        while not (back := find_router(right, left.aid)):
            await trio.sleep(0.001)
        return Portal(router), Portal(back)

    async def _live(self, seat: Seat) -> None:
        """The life of an actor, and its main task."""
        async with run_actor(seat.actor, []):
            seat.up.set()
            await self.curtain.wait()
            async with trio.open_nursery() as nursery:
                for opener in self.program.openers:
                    if opener.actor == seat.actor.name:
                        nursery.start_soon(self._open, opener)
            await self.over.wait()
        seat.gone = True

    async def _open(self, opener: Opener) -> None:
        try:
            with trio.CancelScope() as scope:
                self.scopes[opener.actor].append(scope)
                await trio.sleep(opener.after)
                await open_plan(self.stage, opener.actor, opener.plan)
        except (Exception, BaseExceptionGroup, KeyboardInterrupt, SystemExit) as exc:  # noqa: BLE001 - it is in the record
            self.record.tell(opener.actor, f"an opener's task raised {exc!r}")
        finally:
            self.playing -= 1
            if not self.playing:
                self.idle.set()

    async def _weather(self, when: float, what: str, whom: str) -> None:
        """Let something happen that neither script has asked for."""
        await trio.sleep(when)
        actor, record = self.seats[whom].actor, self.record
        record.tell("weather", (what, whom))
        if what in {"outer", "interrupt"}:
            reason = "KeyboardInterrupt" if what == "interrupt" else None
            for scope in self.scopes[whom]:
                scope.cancel(reason=reason)
            return
        if what == "stall":
            record.stalled = self.wire.stall(whom) or record.stalled
            return
        record.link_harmed = True
        match what:
            case "cut":
                self.wire.cut(whom)
            case "half":
                self.wire.halve(whom)
            case "abort":
                self.stage.portals[whom].chan.abort()
            case "aclose":
                await self.stage.portals[whom].aclose()
            case "third":
                record.ended_by[whom].add(self.seats["carol"].actor.uid)
                await self.third[whom].cancel_actor()
        record.tell("weather", f"{what} at {actor.name} is done")

    async def _look(self) -> None:
        """Compare the books of both ends now and then."""
        for when in LOOKS:
            await trio.sleep(when - trio.current_time() + self.began)
            await wait_all_tasks_blocked()
            if self.wire.moving or self.record.stalled:
                continue
            if not self.record.link_harmed:
                judge.judge_still(self.stage)
            judge.judge_losses(self.stage)

    async def _finish(self) -> None:
        """Wait for the openers, end those that would not, and see what is left."""
        with trio.move_on_after(END + 0.1):
            await self.idle.wait()
        for scopes in self.scopes.values():
            for scope in scopes:
                scope.cancel()
        await self.idle.wait()
        actors = [self.seats[name].actor for name in ("alice", "bob")]
        # A request may be under way whose opener has gone already.
        await trio.sleep(2 * self.stage.latency)
        with trio.move_on_after(SETTLE):
            while any(actor.served for actor in actors):
                await trio.sleep(0.5)
        await trio.sleep(2 * self.stage.latency)
        await wait_all_tasks_blocked()
        if not self.record.stalled:
            judge.judge_rest(self.stage, actors)


def describe_tasks() -> list[str]:
    """Return where every task waits."""
    lines = []
    root = trio.lowlevel.current_root_task()
    todo = [root] if root is not None else []
    while todo:
        task = todo.pop()
        todo += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        frames = [
            f"{frame.f_code.co_qualname}:{line}"
            for frame, line in task.iter_await_frames()
            if "/trio/" not in frame.f_code.co_filename
        ]
        lines.append(f"  {task.name}: {' < '.join(frames[::-1][:6])}")
    return lines

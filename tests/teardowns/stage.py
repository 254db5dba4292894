"""Plays one plan after the other, and judges each: is it over in time, is nothing left, was the truth told?"""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

import tractor
from tests.programs import torn
from tests.teardowns.plans import Kind, Plan
from tractor.supervise._child import SupervisedChild
from tractor.testing import _leaks

#: Seconds that a busy machine may take beyond what is meant.
SLACK = 6.0
#: Seconds after a teardown in which what was on its way out has to be gone.
SETTLE = 4.0
HERE = [torn.__name__]


class BodyError(Exception):
    """What a body raises."""


@dataclass
class Outcome:
    """What became of a plan."""

    plan: Plan
    took: float = 0.0
    faults: list[str] = field(default_factory=list)


class Scene:
    """One teardown: the children, whoever waits for them, and what all are told."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.told: list[BaseException] = []
        #: The same, of those that could not even begin.
        self.early: list[BaseException] = []
        self.waiting = 0
        self.children: list[SupervisedChild] = []
        self.raised: BaseException | None = None
        self.cancelled_caught = False
        self.began = 0.0

    async def play(self, mark: str) -> Outcome:
        """Do what the plan says."""
        outcome = Outcome(self.plan)
        sockets = _leaks.find_socket_dir()
        before = _leaks.take_snapshot(sockets)
        async with trio.open_nursery() as tasks:
            with trio.CancelScope() as scope:
                await self._act(tasks, scope)
            self.cancelled_caught = scope.cancelled_caught
            outcome.took = trio.current_time() - self.began
            with trio.move_on_after(SLACK):
                while self.waiting:
                    await trio.sleep(0.002)
            if self.waiting:
                outcome.faults.append(f"{self.waiting} are still waiting for a child that is gone")
            tasks.cancel_scope.cancel()
        outcome.faults += self._judge(outcome.took)
        left = _leaks.find_leaks(before, mark, sockets)
        with trio.move_on_after(SETTLE):
            # No other look behind this: a fork server may just be making the fork that it keeps ready.
            while left:
                await trio.sleep(0.005)
                left = _leaks.find_leaks(before, mark, sockets)
        if "subint" in self.plan.kind:
            # Helpers of an actor whose loop was torn in a process that goes on: they have ended, and nobody asks how.
            left.processes[:] = [proc for proc in left.processes if proc.state != "Z"]
        if left:
            states = "".join(f"\n  thread {tid} is {read_state(tid)}" for tid in left.threads)
            states += "".join(
                f"\n  process {proc.pid} is {read_state(proc.pid)}: {proc.command()}"
                for proc in left.processes
            )
            outcome.faults.append(f"left behind:\n{left}{states}")
            left.end()
        return outcome

    @trio.lowlevel.disable_ki_protection
    async def _act(self, tasks: trio.Nursery, scope: trio.CancelScope) -> None:
        kind = Kind.of(self.plan.kind)
        self.began = trio.current_time()
        try:
            async with tractor.open_nursery(start_method=kind.key, grace=self.plan.grace) as nursery:
                if self.plan.act == "booting":
                    self._spawn(tasks, self._start, nursery, kind)
                else:
                    await self._start_all(nursery, tasks, kind)
                self.children += nursery._children.values()
                await trio.sleep(self.plan.delay)
                self.children += [one for one in nursery._children.values() if one not in self.children]
                self.began = trio.current_time()
                await self._leave(nursery, scope)
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001 - judged
            self.raised = exc

    async def _start(self, nursery: tractor.ActorNursery, kind: Kind, name: str = "kid") -> tractor.Portal:
        return await nursery.start_actor(name, enable_modules=HERE, proc_kwargs=kind.options)

    async def _start_all(self, nursery: tractor.ActorNursery, tasks: trio.Nursery, kind: Kind) -> None:
        """Start what the plan has, and return when it is under way."""
        act = self.plan.act
        if act == "many":
            async with trio.open_nursery() as starts:
                for number, inner in enumerate(self.plan.inner_acts):
                    starts.start_soon(self._start_one, nursery, tasks, kind, f"kid{number}", inner)
            return
        portal = await self._start(nursery, kind)
        if act in torn.ACTS:
            self._spawn(tasks, portal.run, torn.ACTS[act])
        elif act in torn.STREAMS:
            await self._wait_under_way(tasks, self._stream, portal)
        elif act == "nested":
            await self._wait_under_way(tasks, self._nest, portal)

    async def _wait_under_way(
        self,
        tasks: trio.Nursery,
        func: Callable[[tractor.Portal, trio.Event], Awaitable[None]],
        portal: tractor.Portal,
    ) -> None:
        under_way = trio.Event()

        async def run() -> None:
            try:
                await func(portal, under_way)
            except Exception as exc:
                if not under_way.is_set():
                    self.early.append(exc)
                    under_way.set()
                raise

        self._spawn(tasks, run)
        await under_way.wait()

    async def _start_one(
        self, nursery: tractor.ActorNursery, tasks: trio.Nursery, kind: Kind, name: str, act: str
    ) -> None:
        portal = await self._start(nursery, kind, name)
        self._spawn(tasks, portal.run, torn.ACTS[act])

    async def _nest(self, portal: tractor.Portal, under_way: trio.Event) -> None:
        inner = Kind.of(self.plan.inner_kind)
        async with portal.open_context(
            torn.nest,
            key=inner.key,
            options=inner.options,
            act=self.plan.inner_acts[0],
            grace=self.plan.grace / 2,
        ):
            under_way.set()
            await trio.sleep_forever()

    async def _stream(self, portal: tractor.Portal, under_way: trio.Event) -> None:
        """Stream as the plan says; where it says so, break out of the loop."""
        act = self.plan.act
        async with portal.open_context(torn.STREAMS[act]) as (ctx, _):
            async with ctx.open_stream(backpressure=True) as stream:
                for number in range(1_000_000_000):
                    if act != "pour":
                        await stream.send(number)
                    if act != "drain":
                        await stream.receive()
                    if number == 10:
                        under_way.set()
                        if self.plan.leave == "break":
                            break
            await ctx.cancel()

    def _spawn(self, tasks: trio.Nursery, func: Callable[..., Awaitable[object]], *args: object) -> None:
        """Run something that waits for a child, and note what it is told."""
        self.waiting += 1

        @trio.lowlevel.enable_ki_protection
        async def run() -> None:
            try:
                await func(*args)
            except Exception as exc:  # noqa: BLE001 - judged
                self.told.append(exc)
            self.waiting -= 1

        tasks.start_soon(run)

    async def _leave(self, nursery: tractor.ActorNursery, scope: trio.CancelScope) -> None:
        match self.plan.leave:
            case "raise":
                raise BodyError
            case "cancel":
                scope.cancel()
                await trio.sleep_forever()
            case "deadline":
                with trio.fail_after(0.0):
                    await trio.sleep_forever()
            case "hard":
                await nursery.cancel(hard_kill=True)
            case "interrupt":
                signal.raise_signal(signal.SIGINT)
                await trio.sleep_forever()
            case "interrupt later":
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
                await trio.sleep_forever()
            case "killed":
                (middle,) = self.children
                os.kill(middle.pid or 0, signal.SIGKILL)
                await trio.sleep_forever()
            case "portal":
                async with trio.open_nursery() as asks:
                    for child in self.children:
                        if child.portal is not None:
                            asks.start_soon(child.portal.cancel_actor)
                await nursery.cancel()
            case "end":
                # Behind the block it would be waited for: that is what daemons are for.
                asks_end = trio.lowlevel.current_trio_token().run_sync_soon
                asks_end(nursery._end_all, "the test has ended")
            case _:
                await nursery.cancel()

    def _judge(self, took: float) -> list[str]:
        """Return what is wrong."""
        faults = []
        late = took - self.plan.bound
        if late > SLACK:
            faults.append(f"it took {took:.2f} s, {late:.2f} s more than it may")
        faults += [
            f"{child.aid} has not ended: {child.exit}"
            for child in self.children
            if not child.gone.is_set() or (child.exit is not None and child.exit.how == "abandoned")
        ]
        expected = EXPECTED.get(self.plan.leave)
        if expected is None and self.raised is not None:
            faults.append(f"nothing was to be raised:\n{render(self.raised)}")
        elif expected is not None and type(self.raised) is not expected:
            faults.append(f"not {expected.__name__} but\n{render(self.raised)}")
        if (self.plan.leave == "cancel") != self.cancelled_caught:
            faults.append(f"whether it was cancelled: {self.cancelled_caught}")
        if isinstance(self.raised, tractor.ActorFailure) and "killed by SIGKILL" not in str(self.raised):
            faults.append(f"not told how it has ended:\n{render(self.raised)}")
        faults += [f"it could not begin:\n{render(exc)}" for exc in self.early]
        faults += [f"a caller was told\n{render(exc)}" for exc in self.told if not self._is_fit(exc)]
        return faults

    def _is_fit(self, exc: BaseException) -> bool:
        """Whether it may be told to who waits for a child that is ended."""
        if self.plan.act == "booting":
            return isinstance(exc, tractor.ActorFailure | RuntimeError)
        return isinstance(exc, tractor.TransportClosed | tractor.RemoteActorError)


#: What comes out of the block, by how it was left.
EXPECTED: dict[str, type[BaseException]] = {
    "raise": BodyError,
    "deadline": trio.TooSlowError,
    "interrupt": KeyboardInterrupt,
    "interrupt later": KeyboardInterrupt,
    "killed": tractor.ActorFailure,
}


def read_state(tid: int) -> str:
    """Return what the kernel says of a thread: whether it runs or waits, where, and the processor time it has had."""
    task = Path(f"/proc/{tid}")
    try:
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        return (
            f"{fields[0]}, waits in {(task / 'wchan').read_text()}, {int(fields[11]) + int(fields[12])} ticks"
        )
    except OSError:
        return "gone by now"


def render(exc: BaseException | None) -> str:
    """Return an error with its traceback."""
    return "nothing" if exc is None else "".join(traceback.format_exception(exc))[-3000:]

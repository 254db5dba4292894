"""One child under supervision, with a backend that only pretends: its clock is fake, its steps are recorded."""

import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor._errors import ActorFailure, Exit, TransportClosed
from tractor._hooks import on_kill
from tractor._ids import Aid, new_uuid
from tractor.ipc._channel import Channel
from tractor.ipc._transport import SocketTransport
from tractor.msg._boxed import RemoteActorError
from tractor.msg._codec import get_codec
from tractor.msg._errbox import pack_error
from tractor.msg._types import Bye
from tractor.runtime._actor import Actor
from tractor.runtime._handshake import hear_hello, say_hello
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


def test_a_child_that_never_says_hello_is_given_up_after_its_boot_timeout() -> None:
    """It gets no grace, for there is nobody to use it; the report has what it wrote."""

    async def main() -> None:
        async with open_world(never_speak, obeys=("kill",)) as world:
            await world.child.gone.wait()
            assert [step for step, _ in world.body.steps] == ["hang up", "interrupt", "kill"]
            began = world.body.steps[0][1]
            assert began == pytest.approx(BOOT_TIMEOUT, abs=0.1)
            assert [round(at - began, 3) for _, at in world.body.steps] == [0.0, 0.2, 0.35]
            failure = world.child.failure
            assert failure is not None
            assert failure.message == "it did not say hello within 30.0 s"
            assert (failure.name, failure.where) == ("kid", "nowhere")
            assert failure.exit == Exit("killed", -9)
            assert "no luck" in failure.stderr_tail
            assert world.child.portal is None

    run(main)


def test_a_child_that_comes_up_is_handed_out() -> None:
    """It is not asked for anything until its end is wanted."""

    async def main() -> None:
        async with open_world(come_up) as world:
            await world.child.up.wait()
            assert world.child.phase is Phase.UP
            assert world.child.portal is not None
            assert world.child.portal.aid.uuid == world.uuid
            await trio.sleep(1000)
            assert world.body.steps == []
            world.child.end_soon("enough")

    run(main)


def test_the_ladder_is_climbed_step_by_step() -> None:
    """A child that obeys nothing gets every step at its moment; whoever waits on it is told at the second one."""

    async def main() -> None:
        async with open_world(come_up, obeys=("kill",)) as world:
            await world.child.up.wait()
            began = trio.current_time()
            world.child.end_soon("enough")
            portal = world.child.portal
            assert portal is not None
            with pytest.raises(TransportClosed, match="did not end within its grace") as caught:
                await portal.run_from_ns("any", "thing")
            # They are told how it ended, which is known a moment later.
            assert GRACE <= trio.current_time() - began <= GRACE + 0.36
            assert caught.value.exit == Exit("killed", -9)
            await world.child.gone.wait()
            moments = [(step, round(at - began, 2)) for step, at in world.body.steps]
            assert moments == [("hang up", 2.0), ("interrupt", 2.2), ("kill", 2.35)]
            assert world.child.exit == Exit("killed", -9)
            assert world.child.failure is None

    run(main)


@pytest.mark.parametrize("obeys", ALL)
def test_the_ladder_ends_at_the_step_that_works(obeys: str) -> None:
    """No harder one follows."""

    async def main() -> None:
        async with open_world(come_up, obeys=(obeys, "kill")) as world:
            await world.child.up.wait()
            world.child.end_soon("enough")
            await world.child.gone.wait()
            await trio.sleep(10)
            assert [step for step, _ in world.body.steps] == list(ALL[: ALL.index(obeys) + 1])

    run(main)


def test_a_child_can_be_killed_without_a_question() -> None:
    """At once, and announced to whoever listens for kills."""
    heard: list[tuple[str, str]] = []

    async def main() -> None:
        async with open_world(come_up) as world:
            await world.child.up.wait()
            with on_kill(lambda child, why: heard.append((child, why))):
                world.child.end_soon("no time", kill=True)
                await world.child.gone.wait()
            assert [step for step, _ in world.body.steps] == ["kill"]

    run(main)
    assert heard == [(f"kid@{os.getpid()}", "no time")]


def test_a_kill_overtakes_the_ladder() -> None:
    """Whoever lost patience does not wait for the grace that was given before."""

    async def main() -> None:
        async with open_world(come_up, obeys=("kill",)) as world:
            await world.child.up.wait()
            world.child.end_soon("enough")
            await trio.sleep(0.5)
            began = trio.current_time()
            world.child.end_soon("at once", kill=True)
            await world.child.gone.wait()
            assert [step for step, _ in world.body.steps] == ["kill"]
            assert trio.current_time() - began < 0.3

    run(main)


def test_a_parent_in_a_hurry_shortens_the_ladder_of_its_child() -> None:
    """Also while that is under way: the parent's own deadline came later than the request."""

    async def main() -> None:
        async with open_world(come_up, obeys=("kill",)) as world:
            await world.child.up.wait()
            began = trio.current_time()
            world.child.end_soon("enough")
            await trio.sleep(0.5)
            world.actor._hasten(trio.current_time() + 1.0)
            await world.child.gone.wait()
            # Of the second and a half from the request to the deadline, most are the child's.
            assert [round(at - began, 2) for _, at in world.body.steps] == [1.05, 1.25, 1.4]
            # A later deadline does not give it any time back.
            world.actor._hasten(trio.current_time() + 1000.0)

    run(main)


def test_a_deadline_that_is_over_ends_the_grace_at_once() -> None:
    """There is nothing left to share."""

    async def main() -> None:
        async with open_world(come_up, obeys=("kill",)) as world:
            await world.child.up.wait()
            world.child.end_soon("enough")
            await trio.sleep(0.5)
            began = trio.current_time()
            world.actor._hasten(began)
            await world.child.gone.wait()
            # The steps keep their distances all the same.
            assert [round(at - began, 2) for _, at in world.body.steps] == [0.0, 0.2, 0.35]

    run(main)


def test_a_child_that_ends_before_its_hello_has_failed() -> None:
    """The report says how it ended and what it wrote."""

    async def die(world: World) -> None:
        world.body.end(Exit("died", 3))
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(die) as world:
            await world.child.up.wait()
            assert world.child.portal is None
            failure = world.child.failure
            assert failure is not None
            assert failure.message == "it ended before it was up"
            assert failure.exit == Exit("died", 3)
            assert "no luck" in failure.stderr_tail
        assert trio.current_time() < BOOT_TIMEOUT

    run(main)


def test_a_child_that_says_why_it_cannot_boot() -> None:
    """Its goodbye holds the error, which becomes the cause of the failure."""

    async def refuse(world: World) -> None:
        world.say_bye("failed to boot", ZeroDivisionError("oh no"))
        await wait_all_tasks_blocked()
        world.body.end(Exit("died", 1))
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(refuse) as world:
            await world.child.gone.wait()
            failure = world.child.failure
            assert failure is not None
            assert failure.message == "it failed to boot: for a reason"
            assert isinstance(failure.__cause__, RemoteActorError)
            assert failure.__cause__.boxed_type is ZeroDivisionError
            assert failure.__cause__.src_uid == ("kid", world.uuid)

    run(main)


def test_a_stranger_on_the_inherited_channel_is_not_let_in() -> None:
    """A hello with another id ends the boot."""

    async def lie(world: World) -> None:
        say_hello(world.there, Aid("impostor", new_uuid(), os.getpid()), [])
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(lie) as world:
            await world.child.gone.wait()
            assert world.child.portal is None
            assert world.child.failure is not None
            assert "'impostor'" in world.child.failure.message
            assert world.body.steps[0] == ("hang up", 0.0)

    run(main)


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64])
def test_junk_instead_of_a_hello_ends_the_boot(junk: bytes) -> None:
    """Such as a child that runs another version of this package."""

    async def babble(world: World) -> None:
        world.body.there.send(junk)
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(babble) as world:
            await world.child.gone.wait()
            assert isinstance(world.child.failure, ActorFailure)
        assert trio.current_time() < BOOT_TIMEOUT

    run(main)


def test_a_child_that_dies_unasked_has_failed() -> None:
    """The failure has the exit status, and whoever waited on the child was told the same."""

    async def main() -> None:
        async with open_world(come_up) as world:
            await world.child.up.wait()
            portal = world.child.portal
            assert portal is not None

            async def wait() -> None:
                with pytest.raises(TransportClosed) as caught:
                    await portal.run_from_ns("any", "thing")
                assert caught.value.exit == Exit("died", -9)
                assert "killed by SIGKILL" in str(caught.value)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                world.body.end(Exit("died", -9))
            await world.child.gone.wait()
            assert world.child.failure is not None
            assert world.child.failure.message == "it ended unasked"
            assert world.child.failure.exit == Exit("died", -9)

    run(main)


def test_an_end_that_is_asked_for_after_the_death_does_not_excuse_it() -> None:
    """Whoever reacts to the loss of the channel ends the nursery before the news of the death is through."""

    async def main() -> None:
        async with open_world(come_up) as world:
            await world.child.up.wait()
            portal = world.child.portal
            assert portal is not None
            world.body.end(Exit("died", -9))
            with pytest.raises(TransportClosed):
                await portal.run_from_ns("any", "thing")
            world.child.end_soon("its sibling saw it die")
            await world.child.gone.wait()
            assert world.child.failure is not None
            assert world.child.failure.exit == Exit("died", -9)

    run(main)


async def end_badly(world: World, how: Exit, error: BaseException | None = None) -> None:
    """Come up, wait to be asked, and then end in that way instead."""
    await world.come_up()
    await world.there.receive_first()
    if error is not None:
        world.say_bye("crashed", error)
        await wait_all_tasks_blocked()
    world.body.end(how)
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("how", "error"),
    [(Exit("died", -11), None), (Exit("died", 3), None), (Exit("returned", 0), ZeroDivisionError("oh no"))],
)
def test_a_crash_while_it_was_asked_to_end_is_reported(how: Exit, error: BaseException | None) -> None:
    """Whoever asked wanted its end, but not this one: what it had to clean up may not be clean."""

    async def main() -> None:
        async with open_world(partial(end_badly, how=how, error=error)) as world:
            await world.child.up.wait()
            world.child.end_soon("enough")
            await world.child.gone.wait()
            failure = world.child.failure
            assert failure is not None
            assert failure.message == "it crashed while it was ending"
            assert failure.exit is not None
            assert failure.exit.code == how.code
            if error is not None:
                assert isinstance(failure.__cause__, RemoteActorError)
                assert failure.__cause__.boxed_type is type(error)
                assert failure.exit.detail == "crashed: for a reason"
            assert world.body.steps == []

    run(main)


@pytest.mark.parametrize("step", ALL)
def test_an_end_by_force_is_not_its_fault(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it looks: an interrupt may land anywhere."""

    async def main() -> None:
        async with open_world(come_up, obeys=()) as world:
            await world.child.up.wait()
            original = world.body._take

            def take(taken: str) -> None:
                original(taken)
                if taken == step:
                    world.body.end(Exit("died", 1))

            monkeypatch.setattr(world.body, "_take", take)
            world.child.end_soon("enough")
            await world.child.gone.wait()
            assert world.child.exit == Exit("died", 1)
            assert world.child.failure is None

    run(main)


def test_what_a_child_says_at_its_end_is_part_of_how_it_ended() -> None:
    """The parent learns which: a signal, an exit of its own, a crash."""

    async def leave(world: World) -> None:
        await world.come_up()
        world.say_bye("interrupted")
        await wait_all_tasks_blocked()
        world.body.end(Exit("returned", 0))
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(leave) as world:
            await world.child.gone.wait()
            assert world.child.was_interrupted
            assert world.child.failure is not None
            assert world.child.failure.exit == Exit("returned", 0, "interrupted: for a reason")

    run(main)


def test_a_child_that_was_cancelled_by_somebody_else_has_not_failed() -> None:
    """Any actor may cancel any other; that is no accident."""

    async def leave(world: World) -> None:
        await world.come_up()
        world.say_bye("cancelled")
        await wait_all_tasks_blocked()
        world.body.end(Exit("returned", 0))
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(leave) as world:
            await world.child.gone.wait()
            assert world.child.failure is None

    run(main)


def test_a_living_child_whose_channel_breaks_is_ended() -> None:
    """Its waiters fail at once; the ladder does the rest."""

    async def break_off(world: World) -> None:
        await world.come_up()
        await trio.sleep(5)
        world.there.abort()
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(break_off, obeys=("hang up",)) as world:
            await world.child.up.wait()
            portal = world.child.portal
            assert portal is not None
            with pytest.raises(TransportClosed) as caught:
                await portal.run_from_ns("any", "thing")
            assert trio.current_time() == pytest.approx(5, abs=0.1)
            assert caught.value.exit is None
            await world.child.gone.wait()
            assert trio.current_time() < 5 + GRACE + 0.1
            assert isinstance(world.child.failure, ActorFailure)
            assert "its channel broke" in world.child.failure.message

    run(main)


@pytest.mark.parametrize("sign", ["lifeline", "farewell"])
def test_a_child_that_takes_long_to_die_is_waited_for(sign: str) -> None:
    """Not longer than a second, in which it has let go of its lifeline or said goodbye: the news of its exit is on its way."""

    async def die_slowly(world: World) -> None:
        await world.come_up()
        await trio.sleep(5)
        if sign == "farewell":
            world.say_bye("interrupted")
            await wait_all_tasks_blocked()
        else:
            world.body.let_go = True
        world.there.abort()
        await trio.sleep(0.7)
        world.body.end(Exit("died", -9))
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(die_slowly) as world:
            await world.child.up.wait()
            portal = world.child.portal
            assert portal is not None
            with pytest.raises(TransportClosed) as caught:
                await portal.run_from_ns("any", "thing")
            assert trio.current_time() == pytest.approx(5.7, abs=0.1)
            assert caught.value.exit is not None
            assert caught.value.exit.code == -9

    run(main)


def test_a_child_that_does_not_come_to_die_is_not_waited_for_for_ever() -> None:
    """It has let go of everything, as one does that executes another program."""

    async def change(world: World) -> None:
        await world.come_up()
        await trio.sleep(5)
        world.body.let_go = True
        world.there.abort()
        await trio.sleep_forever()

    async def main() -> None:
        async with open_world(change, obeys=("kill",)) as world:
            await world.child.up.wait()
            portal = world.child.portal
            assert portal is not None
            with pytest.raises(TransportClosed):
                await portal.run_from_ns("any", "thing")
            assert trio.current_time() == pytest.approx(6, abs=0.1)
            await world.child.gone.wait()
            assert world.child.failure is not None
            assert world.child.failure.exit == Exit("killed", -9)

    run(main)


def test_a_cancelled_supervision_takes_the_child_along() -> None:
    """As when the whole actor is torn down: the backend kills, and the record is closed."""

    async def main() -> None:
        async with open_root_actor() as actor:
            world = World(actor, ALL, come_up)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.child.run)
                await world.child.up.wait()
                nursery.cancel_scope.cancel()
            assert world.child.gone.is_set()
            assert world.child.phase is Phase.GONE
            assert world.body.exit == Exit("killed", -9)
            assert not actor.peers

    run(main)


@pytest.mark.parametrize("step", ALL)
def test_ctrl_c_in_the_middle_of_supervision_reaches_the_main_task(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the code that ends the child, which would leave its nursery waiting for ever."""
    seen: list[World] = []

    async def main() -> None:
        async with open_world(come_up, obeys=("kill",)) as world:
            seen.append(world)
            await world.child.up.wait()
            original = world.body._take

            def take(taken: str) -> None:
                if taken == step:
                    os.kill(os.getpid(), signal.SIGINT)
                original(taken)

            monkeypatch.setattr(world.body, "_take", take)
            world.child.end_soon("enough")
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await world.child.gone.wait()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    (world,) = seen
    assert [taken for taken, _ in world.body.steps] == list(ALL)
    assert world.child.phase is Phase.GONE


def test_every_change_is_announced_and_the_last_one_is_the_end() -> None:
    """Up, ending, gone: the nursery needs no other source."""

    async def main() -> None:
        async with open_world(come_up) as world:
            await world.child.up.wait()
            world.child.end_soon("enough")
            await world.child.gone.wait()
            assert list(dict.fromkeys(world.changes)) == [Phase.UP, Phase.ENDING, Phase.GONE]
            assert world.changes.count(Phase.GONE) == 1
            world.child.end_soon("again")
            assert world.child.phase is Phase.GONE

    run(main)


def test_a_backend_that_cannot_start_a_child() -> None:
    """The failure names the reason and has the error as its cause."""

    async def refuse(spec: ChildSpec, *, task_status: trio.TaskStatus[Child]) -> Exit:
        raise FileNotFoundError("no interpreter")

    async def main() -> None:
        async with open_root_actor() as actor:
            child = SupervisedChild(
                actor,
                refuse,
                ChildSpec("kid", new_uuid(), [], b""),
                bind_addrs=[],
                token=b"",
                grace=GRACE,
                boot_timeout=BOOT_TIMEOUT,
                on_change=lambda child: None,
            )
            await child.run()
            assert child.gone.is_set()
            assert child.failure is not None
            assert child.failure.message == "it could not be started: no interpreter"
            assert isinstance(child.failure.__cause__, FileNotFoundError)
            assert child.where == "not started"

    run(main)

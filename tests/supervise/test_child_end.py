"""What is said of a child that has ended, and to those who waited on it."""

from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.supervise.pretend import ALL, GRACE, World, come_up, in_no_time, open_world
from tractor._errors import ActorFailure, Exit
from tractor.msg._boxed import RemoteActorError


@in_no_time
async def test_a_child_that_dies_unasked_has_failed() -> None:
    """The failure has the exit status, and whoever waited on the child was told the same."""
    async with open_world(come_up) as world:
        await world.wait_up()

        async def wait() -> None:
            error = await world.wait_loss()
            assert error.exit == Exit("died", -9)
            assert "killed by SIGKILL" in str(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            world.body.end(Exit("died", -9))
        await world.child.gone.wait()
        assert world.child.failure is not None
        assert world.child.failure.message == "it ended unasked"
        assert world.child.failure.exit == Exit("died", -9)


@in_no_time
async def test_an_end_that_is_asked_for_after_the_death_does_not_excuse_it() -> None:
    """Whoever reacts to the loss of the channel ends the nursery before the news of the death is through."""
    async with open_world(come_up) as world:
        await world.wait_up()
        world.body.end(Exit("died", -9))
        await world.wait_loss()
        world.child.end_soon("its sibling saw it die")
        await world.child.gone.wait()
        assert world.child.failure is not None
        assert world.child.failure.exit == Exit("died", -9)


async def end_badly(world: World, how: Exit, error: BaseException | None = None) -> None:
    """Come up, wait to be asked, and then end in that way instead."""
    await world.come_up()
    await world.there.receive_first()
    if error is not None:
        await world.leave("crashed", how, error)
    world.body.end(how)
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("how", "error"),
    [(Exit("died", -11), None), (Exit("died", 3), None), (Exit("returned", 0), ZeroDivisionError("oh no"))],
)
@in_no_time
async def test_a_crash_while_it_was_asked_to_end_is_reported(how: Exit, error: BaseException | None) -> None:
    """Whoever asked wanted its end, but not this one: what it had to clean up may not be clean."""
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


@pytest.mark.parametrize("step", ALL)
@in_no_time
async def test_an_end_by_force_is_not_its_fault(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it looks: an interrupt may land anywhere."""
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


async def come_and_go(world: World, how: str) -> None:
    """Come up, and leave in order."""
    await world.come_up()
    await world.leave(how, Exit("returned", 0))


@in_no_time
async def test_what_a_child_says_at_its_end_is_part_of_how_it_ended() -> None:
    """The parent learns which: a signal, an exit of its own, a crash."""
    async with open_world(partial(come_and_go, how="interrupted")) as world:
        await world.child.gone.wait()
        assert world.child.was_interrupted
        assert world.child.failure is not None
        assert world.child.failure.exit == Exit("returned", 0, "interrupted: for a reason")


@in_no_time
async def test_a_child_that_was_cancelled_by_somebody_else_has_not_failed() -> None:
    """Any actor may cancel any other; that is no accident."""
    async with open_world(partial(come_and_go, how="cancelled")) as world:
        await world.child.gone.wait()
        assert world.child.failure is None


@in_no_time
async def test_a_living_child_whose_channel_breaks_is_ended() -> None:
    """Its waiters fail at once; the ladder does the rest."""

    async def break_off(world: World) -> None:
        await world.come_up()
        await trio.sleep(5)
        world.there.abort()
        await trio.sleep_forever()

    async with open_world(break_off, obeys=("hang up",)) as world:
        error = await world.wait_loss()
        assert trio.current_time() == pytest.approx(5, abs=0.1)
        assert error.exit is None
        await world.child.gone.wait()
        assert trio.current_time() < 5 + GRACE + 0.1
        assert isinstance(world.child.failure, ActorFailure)
        assert "its channel broke" in world.child.failure.message


@pytest.mark.parametrize("sign", ["lifeline", "farewell"])
@in_no_time
async def test_a_child_that_takes_long_to_die_is_waited_for(sign: str) -> None:
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

    async with open_world(die_slowly) as world:
        error = await world.wait_loss()
        assert trio.current_time() == pytest.approx(5.7, abs=0.1)
        assert error.exit is not None
        assert error.exit.code == -9


@in_no_time
async def test_a_child_that_does_not_come_to_die_is_not_waited_for_for_ever() -> None:
    """It has let go of everything, as one does that executes another program."""

    async def change(world: World) -> None:
        await world.come_up()
        await trio.sleep(5)
        world.body.let_go = True
        world.there.abort()
        await trio.sleep_forever()

    async with open_world(change, obeys=("kill",)) as world:
        await world.wait_loss()
        assert trio.current_time() == pytest.approx(6, abs=0.1)
        await world.child.gone.wait()
        assert world.child.failure is not None
        assert world.child.failure.exit == Exit("killed", -9)

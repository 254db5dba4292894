"""Actors that die though nobody asked them to, and those that were asked to end and crash instead."""

import os
import signal
from typing import Any

import pytest
import trio

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import actors
from tests.programs.bodies import BY_FORCE, LOST, SHARED, SLAIN, death, is_there, slay
from tests.supervise.kids import MODULES, start

#: Seconds in which something is done at once, on a busy machine.
SOON = 2.0


@pytest.mark.parametrize(
    ("act", "kwargs", "said"),
    [
        (actors.exit_hard, {"code": 0}, death("exited cleanly")),
        (actors.exit_hard, {"code": 3}, death("exit status 3")),
        (actors.send_signal, {"number": signal.SIGKILL}, SLAIN),
        (actors.send_signal, {"number": signal.SIGSEGV}, death("killed by SIGSEGV")),
    ],
)
async def test_an_actor_that_dies_in_a_call(
    act: Any, kwargs: dict[str, Any], said: str, each_link: str
) -> None:
    """The caller hears at once who and how; the nursery raises the death, with the caller's error as its cause."""
    with pytest.raises(tractor.ActorFailure) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery, "mortal")
            with pytest.raises(tractor.TransportClosed) as lost:
                await portal.run(act, **kwargs)
            assert "mortal" in str(lost.value)
            assert said in str(lost.value)
            assert lost.value.exit is not None
            raise lost.value
    assert "mortal" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.name == "mortal"
    assert isinstance(caught.value.__cause__, tractor.TransportClosed)


async def test_an_actor_that_lives_without_its_channel(each_link: str, transport: str) -> None:
    """Whoever waits on it is told at once, for there is no news of its death to wait for; then it is interrupted."""
    with pytest.raises(
        tractor.ActorFailure,
        match=f"its channel broke: (exited cleanly|{BY_FORCE})"
        if SHARED
        else "its channel broke: exited cleanly",
    ) as caught:
        async with tractor.open_nursery(grace=0.2, enable_transports=[transport]) as nursery:
            portal = await start(nursery)
            assert await portal.run(actors.add, a=1, b=2) == 3
            began = trio.current_time()
            with pytest.raises(tractor.TransportClosed) as told:
                await portal.run(actors.break_channel)
            assert trio.current_time() - began < SOON / 4
            assert told.value.exit is None
            assert is_there(portal)
            raise told.value
    assert caught.value.__cause__ is told.value


async def test_an_idle_actor_that_dies_ends_the_block(each_link: str) -> None:
    """Nobody was waiting on it: the body is cancelled, siblings are ended, the failure is raised bare."""
    with trio.fail_after(SOON + 5):
        with pytest.raises(tractor.ActorFailure) as caught:
            async with tractor.open_nursery() as nursery:
                sibling = await start(nursery, "sibling")
                mortal = await start(nursery, "mortal")
                await slay(mortal)
                with trio.fail_after(SOON):
                    await trio.sleep_forever()
    assert caught.value.name == "mortal"
    assert caught.value.exit is not None
    assert str(caught.value.exit) == SLAIN
    assert not is_there(sibling)


async def test_an_actor_that_dies_in_its_function() -> None:
    """The nursery says so; whoever asks for the result gets the loss."""
    with pytest.raises(tractor.ActorFailure, match=death("exit status 7")):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.exit_hard, code=7)
    with pytest.raises(tractor.TransportClosed, match=death("exit status 7")):
        await portal.wait_for_result()


async def test_deaths_in_the_same_moment() -> None:
    """The first one ends the block; the other one may be taken for what the end of the block has done."""
    with pytest.raises((ExceptionGroup, tractor.ActorFailure)) as caught:
        async with tractor.open_nursery() as nursery:
            portals = [await start(nursery, f"mortal{number}") for number in range(2)]
            for portal in portals:
                await slay(portal)
            await trio.sleep_forever()
    failures = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else (caught.value,)
    assert all(isinstance(failure, tractor.ActorFailure) for failure in failures)
    assert all(SLAIN in str(failure) for failure in failures)


async def test_a_body_that_handles_the_loss_still_learns_of_the_death() -> None:
    """Catching `TransportClosed` does not make the death unhappen: a nursery per actor is the way to survive one."""
    with pytest.raises(tractor.ActorFailure):
        async with tractor.open_nursery() as outer:
            portal = await start(outer, "mortal")
            with pytest.raises(tractor.TransportClosed):
                await portal.run(actors.exit_hard, code=1)
    async with tractor.open_nursery() as outer:
        survivor = await start(outer, "survivor")
        with pytest.raises(tractor.ActorFailure):
            async with tractor.open_nursery() as inner:
                portal = await start(inner, "mortal")
                await portal.run(actors.exit_hard, code=1)
        assert await survivor.run(actors.add, a=1, b=2) == 3
        await outer.cancel()


async def test_a_death_far_below_comes_up_level_by_level() -> None:
    """The root sees the failure that the actor in the middle saw, with its name and exit status."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)
            await portal.run(actors.nest, depth=2, target="kill_self", path=os.devnull)
    assert caught.value.src_type is tractor.ActorFailure
    assert SLAIN in caught.value.tb_str
    assert "level1" in caught.value.tb_str


# Crashes of those that are being ended.


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "it crashed while it was ending: exited cleanly: crashed: ValueError: not clean"),
        ("exit", f"it crashed while it was ending: {death('exit status 3')}"),
        pytest.param("signal", "it crashed while it was ending: killed by SIGSEGV", marks=OF_A_PROCESS),
        pytest.param("late", "it crashed while it was ending: exit status 4: cancelled", marks=OF_A_PROCESS),
    ],
)
async def test_a_crash_in_the_last_steps_of_an_actor_is_reported(how: str, said: str, each_link: str) -> None:
    """It was asked to end, but not in this way; what it still had to do may not be done."""
    with pytest.raises(tractor.ActorFailure) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            await nursery.start_actor("sibling")
            await portal.run(actors.spoil_the_end, how=how)
            await nursery.cancel()
    assert caught.value.name == "kid"
    assert said in str(caught.value)
    if how == "raise":
        assert isinstance(caught.value.__cause__, tractor.RemoteActorError)
        assert caught.value.__cause__.boxed_type is ValueError
        assert "_raise_error" in caught.value.__cause__.tb_str


async def test_a_crash_on_the_way_out_is_added_to_the_error_of_the_body() -> None:
    """Neither replaces the other."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            await portal.run(actors.spoil_the_end, how="raise")
            raise LookupError("mine")
    own, failure = caught.value.exceptions
    assert isinstance(own, LookupError)
    assert isinstance(failure, tractor.ActorFailure)


async def test_a_crash_on_the_way_out_is_not_replaced_by_a_cancellation() -> None:
    """Like an error that a cancelled task raises in its clean-up."""
    with (
        pytest.raises(tractor.ActorFailure, match="it crashed while it was ending"),
        trio.CancelScope() as scope,
    ):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            await portal.run(actors.spoil_the_end, how="exit")
            scope.cancel()
            await trio.sleep_forever()
    assert not scope.cancelled_caught


async def test_a_crash_of_an_actor_that_was_killed_is_none() -> None:
    """What force does to an actor is not its own error."""
    async with tractor.open_nursery(grace=0.2) as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        await portal.run(actors.spoil_the_end, how="exit")
        async with trio.open_nursery() as tasks:

            async def hold_up() -> None:
                with pytest.raises(LOST):
                    await portal.run(actors.deaf)

            tasks.start_soon(hold_up)
            await trio.sleep(0.2)
            await nursery.cancel()
    assert nursery.cancelled_caught

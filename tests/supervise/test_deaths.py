"""Actors that die though nobody asked them to, and those that were asked to end and crash instead."""

import pytest
import trio

import tractor
from tests.programs import actors

MODULES = [actors.__name__]


# Crashes of those that are being ended.


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "it crashed while it was ending: exited cleanly: crashed: ValueError: not clean"),
        ("exit", "it crashed while it was ending: exit status 3"),
        ("signal", "it crashed while it was ending: killed by SIGSEGV"),
        ("late", "it crashed while it was ending: exit status 4: cancelled"),
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
                with pytest.raises(tractor.TransportClosed):
                    await portal.run(actors.deaf)

            tasks.start_soon(hold_up)
            await trio.sleep(0.2)
            await nursery.cancel()
    assert nursery.cancelled_caught

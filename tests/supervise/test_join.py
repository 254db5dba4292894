"""A body that has ended well: results are collected, and actors that nobody ends are waited for."""

from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import actors, branches
from tests.programs.bodies import is_there
from tests.programs.watch import is_alive
from tests.supervise.kids import boxes, start

#: Seconds in which something is done at once, on a busy machine.
SOON = 5.0


async def wait_dead(body: int) -> None:
    """Wait until an actor's body is gone."""
    with trio.fail_after(SOON):
        while is_alive(body):
            await trio.sleep(0.01)


async def test_an_actor_is_ended_with_its_function_and_not_with_the_others(
    transport: str, tmp_path: Path
) -> None:
    """In whatever order they end; a daemon among them stays until somebody ends it."""
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(enable_transports=[transport]) as nursery:
            slow = await nursery.run_in_actor(actors.wait_for_file, name="slow", path=str(tmp_path / "slow"))
            quick = await nursery.run_in_actor(
                actors.wait_for_file, name="quick", path=str(tmp_path / "quick")
            )
            daemon = await start(nursery, "daemon")
            bodies = [await portal.run(actors.get_body) for portal in (slow, quick)]

            async def follow() -> None:
                (tmp_path / "quick").touch()
                await wait_dead(bodies[1])
                assert is_alive(bodies[0])
                (tmp_path / "slow").touch()
                await wait_dead(bodies[0])
                assert not nursery.cancel_called
                assert await daemon.run(actors.add, a=1, b=2) == 3
                assert not nursery.exited.is_set()
                assert await daemon.cancel_actor()

            tasks.start_soon(follow)
    assert await quick.wait_for_result() > 0


async def test_an_actor_whose_function_has_ended_serves_the_body_until_that_has_ended_too() -> None:
    """It is a portal like any other."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(actors.add, a=1, b=2)
        assert await portal.wait_for_result() == 3
        assert await portal.run(actors.add, a=3, b=4) == 7
    assert await portal.wait_for_result() == 3


async def test_all_results_are_there_behind_the_block() -> None:
    """Also those that nobody asked for."""
    async with tractor.open_nursery() as nursery:
        portals = [
            await nursery.run_in_actor(actors.sleep_for, name=f"kid{n}", seconds=0.3 - 0.1 * n)
            for n in range(3)
        ]
    assert [await portal.wait_for_result() for portal in portals] == pytest.approx([0.3, 0.2, 0.1])


async def test_an_error_while_others_run_ends_them_within_a_second_or_two() -> None:
    """A sibling that would never end, one that still fails by itself, and a daemon: only the errors come out."""
    began = 0.0
    with pytest.raises(ExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            forever = await nursery.run_in_actor(actors.sleep_forever, name="forever")
            daemon = await start(nursery, "daemon")
            await nursery.run_in_actor(actors.fail, name="second", delay=0.3)
            await nursery.run_in_actor(actors.fail, name="first")
            began = trio.current_time()
    assert trio.current_time() - began < SOON
    assert [boxes(exc, AssertionError) for exc in caught.value.exceptions] == [True, True]
    assert not is_there(forever)
    assert not is_there(daemon)


async def test_siblings_that_fail_when_they_are_cancelled_are_heard() -> None:
    """An error is never replaced by the cancellation that brought it about."""
    with pytest.raises(ExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(branches.fail_when_cancelled, name="second", message="in the clean-up")
            await nursery.run_in_actor(actors.fail, name="first", delay=0.2)
    assert [boxes(exc, AssertionError) for exc in caught.value.exceptions] == [True, True]
    assert any("in the clean-up" in str(exc) for exc in caught.value.exceptions)


async def test_a_request_to_end_does_not_overtake_the_function() -> None:
    """Whoever ends the actor at once finds the function there: it is told that it was cancelled, not that its actor is gone."""
    for number in range(4):
        with pytest.raises(tractor.ContextCancelled):
            async with tractor.open_nursery() as nursery:
                portal = await nursery.run_in_actor(actors.sleep_forever, name=f"kid{number}")
                assert await portal.cancel_actor(timeout=SOON)
                await portal.wait_for_result()

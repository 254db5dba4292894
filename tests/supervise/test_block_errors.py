"""What leaves a nursery's block when a function of its children, or its body, has raised."""

from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import actors
from tests.programs.bodies import is_there
from tests.programs.watch import is_alive
from tests.supervise.kids import boxes, start

#: Seconds in which something is done at once, on a busy machine.
SOON = 2.0


# Errors of functions.


async def test_the_error_of_one_function_is_raised_bare() -> None:
    """With its type and traceback, when the body has ended."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.fail, message="told you")
    assert caught.value.boxed_type is AssertionError
    assert caught.value.src_uid == portal.aid.uid
    assert "told you" in caught.value.tb_str
    with pytest.raises(tractor.RemoteActorError):
        await portal.wait_for_result()


async def test_the_error_of_a_function_leaves_the_body_alone() -> None:
    """It is raised when the body has ended, as documented."""
    reached = False
    with pytest.raises(tractor.RemoteActorError):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.fail)
            await trio.sleep(0.5)
            reached = True
    assert reached


async def test_an_error_that_the_body_passes_on_counts_once() -> None:
    """It waited for the result and let the error go."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.fail)
            await portal.wait_for_result()
    assert caught.value.boxed_type is AssertionError


async def test_arguments_that_do_not_fit() -> None:
    """The function's own `TypeError`, bare."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.add, a=1, nonsense=2)
    assert caught.value.boxed_type is TypeError


@pytest.mark.parametrize("count", [2, 3])
async def test_several_errors_are_a_group_of_exactly_as_many(count: int) -> None:
    """Every one is there, and nothing else."""
    with pytest.raises(ExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            for number in range(count):
                await nursery.run_in_actor(actors.fail, name=f"failer{number}", delay=0.1 * number)
    assert len(caught.value.exceptions) == count
    assert all(boxes(exc, AssertionError) for exc in caught.value.exceptions)


@pytest.mark.parametrize("delay", [0.0, 0.5])
async def test_twenty_five_errors_are_a_group_of_twenty_five(delay: float) -> None:
    """However close together: none is replaced by the cancellation that the first one caused."""
    with pytest.raises(ExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            async with trio.open_nursery() as tasks:

                async def start_one(number: int) -> None:
                    await nursery.run_in_actor(actors.fail, name=f"failer{number}", delay=delay)

                for number in range(25):
                    tasks.start_soon(start_one, number)
    assert type(caught.value) is ExceptionGroup
    assert len(caught.value.exceptions) == 25
    assert all(boxes(exc, AssertionError) for exc in caught.value.exceptions)


async def test_the_error_of_a_function_ends_its_siblings() -> None:
    """One that would never end, and one that nobody told to."""
    began = trio.current_time()
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            forever = await nursery.run_in_actor(actors.sleep_forever)
            daemon = await start(nursery)
            began = trio.current_time()
            await nursery.run_in_actor(actors.fail)
    assert caught.value.boxed_type is AssertionError
    assert trio.current_time() - began < 2 * SOON
    assert nursery.cancel_called
    for portal in (forever, daemon):
        assert not is_there(portal)


async def test_a_sibling_that_ends_well_meanwhile_keeps_its_result() -> None:
    """The error of one does not undo the work of another."""
    with pytest.raises(tractor.RemoteActorError):
        async with tractor.open_nursery() as nursery:
            adder = await nursery.run_in_actor(actors.add, a=1, b=2)
            await nursery.run_in_actor(actors.fail, delay=0.2)
    assert await adder.wait_for_result() == 3


# Errors of the body.


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_body_ends_the_children_and_leaves_bare(kind: type[BaseException]) -> None:
    """Whatever it is."""
    pids: list[int] = []

    async def main() -> None:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)
            await nursery.run_in_actor(actors.sleep_forever)
            pids.append(await portal.run(actors.get_body))
            raise kind("mine")

    with pytest.raises(kind, match="mine"):
        trio.run(main)
    assert not is_alive(pids[0])


async def test_an_error_of_the_body_and_one_of_a_function_are_a_group() -> None:
    """None hides the other."""
    with pytest.RaisesGroup(ValueError, tractor.RemoteActorError):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.fail)
            await trio.sleep(0.5)
            raise ValueError("mine")


async def test_children_have_their_grace_when_the_body_fails(tmp_path: Path) -> None:
    """Their clean-up is done when the error leaves the block."""
    done = tmp_path / "done"
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=0.4)
            await trio.sleep(0.2)
            raise ValueError("mine")
    assert done.read_text() == "clean\n"


async def test_the_error_of_a_call_that_leaves_the_body_is_bare() -> None:
    """All children are ended for it."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portals = [await start(nursery, f"kid{number}") for number in range(3)]
            await portals[1].run(actors.fail)
    assert caught.value.boxed_type is AssertionError
    assert nursery.cancel_called
    assert not nursery.cancelled_caught
    assert nursery._children == {}

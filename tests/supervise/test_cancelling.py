"""Children are ended together: by `cancel()`, by a scope around the block, by Ctrl-C, and while they start."""

import os
import signal
import time
from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import actors
from tests.programs.bodies import BY_FORCE, FORCE, LOST, is_there, slay
from tests.supervise.kids import start

#: Seconds in which something is done at once, on a busy machine.
SOON = 2.0


async def test_cancelling_does_not_end_the_body() -> None:
    """It goes on without children, also when told twice."""
    async with tractor.open_nursery() as nursery:
        await start(nursery)
        await nursery.cancel()
        await nursery.cancel()
        await trio.sleep(0)
    assert nursery.cancelled_caught


async def test_a_child_is_cancelled_in_order(tmp_path: Path) -> None:
    """Its clean-up is done when `cancel()` returns."""
    done = tmp_path / "done"
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=0.3)
        await trio.sleep(0.2)
        await nursery.cancel()
        assert done.read_text() == "clean\n"
        with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
            await portal.wait_for_result()


async def test_a_hard_kill_takes_no_time(tmp_path: Path) -> None:
    """No clean-up, no grace."""
    done = tmp_path / "done"
    async with tractor.open_nursery(grace=30) as nursery:
        await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=10)
        blocked = await start(nursery)
        async with trio.open_nursery() as tasks:

            async def block() -> None:
                with pytest.raises(LOST, match=BY_FORCE):
                    await blocked.run(actors.block)

            tasks.start_soon(block)
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel(hard_kill=True)
            assert trio.current_time() - began < FORCE
    assert not done.exists()


async def test_a_hard_kill_overtakes_a_gentle_end(tmp_path: Path) -> None:
    """Whoever asked for order and lost patience."""
    async with tractor.open_nursery(grace=30) as nursery:
        await nursery.run_in_actor(actors.clean_up_slowly, path=str(tmp_path / "done"), seconds=10)
        await trio.sleep(0.2)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(nursery.cancel)
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel(hard_kill=True)
            assert trio.current_time() - began < FORCE


async def test_a_timeout_around_the_block_ends_the_children() -> None:
    """They are ended in order; the scope catches its own cancellation, and no error is made of it."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)
            await nursery.run_in_actor(actors.sleep_forever)
            scope.deadline = trio.current_time() + 0.2
            await portal.run(actors.sleep_forever)
    assert scope.cancelled_caught
    assert nursery.cancel_called
    assert nursery._children == {}
    assert not is_there(portal)


async def test_a_timeout_while_the_block_waits_for_its_children() -> None:
    """The body has ended long ago."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            await start(nursery)
            await nursery.run_in_actor(actors.sleep_forever)
            scope.deadline = trio.current_time() + 0.3
    assert scope.cancelled_caught
    assert nursery.cancel_called
    assert nursery._children == {}


async def test_a_sibling_task_that_fails_ends_the_children() -> None:
    """As trio's own rules have it."""
    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as tasks:

            async def fail() -> None:
                await trio.sleep(0.5)
                raise ValueError("mine")

            tasks.start_soon(fail)
            async with tractor.open_nursery() as nursery:
                await start(nursery)
                await trio.sleep_forever()
    assert nursery._children == {}


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.08, 0.2])
async def test_a_start_that_is_cancelled_half_way_leaves_nothing(delay: float, each_link: str) -> None:
    """At whatever moment; the nursery can be used on."""
    async with tractor.open_nursery() as nursery:
        began = trio.current_time()
        with trio.move_on_after(delay):
            await start(nursery, "half")
            await nursery.cancel()
            return
        assert trio.current_time() - began < delay + SOON
        assert nursery._children == {}
        portal = await start(nursery, "whole")
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


@pytest.mark.parametrize("hard", [False, True])
async def test_a_start_that_runs_into_the_nurserys_end(hard: bool, each_link: str) -> None:
    """Another task cancelled it: whoever was starting an actor is told."""
    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:

            async def start_late() -> None:
                with pytest.raises(tractor.ActorFailure, match=r"'late'.*cancelled"):
                    await start(nursery, "late")

            tasks.start_soon(start_late)
            await trio.sleep(0.05)
            await nursery.cancel(hard_kill=hard)
    assert nursery._children == {}


async def test_a_failing_sibling_cancels_a_start() -> None:
    """The body was in the middle of it."""
    with pytest.raises(tractor.ActorFailure, match="mortal"):
        async with tractor.open_nursery() as nursery:
            mortal = await start(nursery, "mortal")
            await slay(mortal)
            while True:
                await start(nursery)
    assert nursery._children == {}


def test_ctrl_c_ends_the_children_in_order(tmp_path: Path) -> None:
    """Of a program whose children do not share its terminal: they are asked, and the interrupt leaves bare."""
    done = tmp_path / "done"

    async def main() -> None:
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=0.3)
            await trio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert done.read_text() == "clean\n"


@pytest.mark.parametrize("where", ["body", "join", "cancel"])
def test_a_second_ctrl_c_kills_at_once(where: str, tmp_path: Path) -> None:
    """Whoever presses it again does not want to wait for a grace, wherever the block was."""
    second = 0.0
    done = tmp_path / "done"

    async def insist(times: list[float]) -> None:
        nonlocal second
        for delay in times:
            await trio.sleep(delay)
            second = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            async with tractor.open_nursery(grace=30) as nursery:
                await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=20)
                await trio.sleep(0.3)
                trio.lowlevel.spawn_system_task(insist, [0.1, 0.3] if where != "cancel" else [0.3])
                if where == "body":
                    await trio.sleep_forever()
                elif where == "cancel":
                    await nursery.cancel()
            tasks.cancel_scope.cancel()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group of trio's or bare
        trio.run(main)
    assert time.monotonic() - second < 1.0
    assert caught.group_contains(KeyboardInterrupt) or isinstance(caught.value, KeyboardInterrupt)
    assert not done.exists()

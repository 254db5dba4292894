"""Which exception comes out of a tree of processes: one test for each case that users rely on."""

import signal
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, branches
from tests.programs.bodies import is_there

MODULES = [actors.__name__]

type OpenNursery = Callable[[], Any]


@pytest.fixture
def open_nursery(transport: str) -> OpenNursery:
    """Open a nursery whose actors listen on the transport of this run, and check that it leaves nobody behind."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[tractor.ActorNursery]:
        nursery: tractor.ActorNursery | None = None
        try:
            async with tractor.open_nursery(enable_transports=[transport]) as nursery:
                yield nursery
        finally:
            assert nursery is not None
            assert nursery._children == {}
            assert nursery.exited.is_set()

    return opened


def boxes(exc: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether this is another actor's error of that type."""
    return type(exc) is tractor.RemoteActorError and exc.boxed_type is kind


# Functions of `run_in_actor()`.


async def test_one_function_fails_and_the_body_is_idle(open_nursery: OpenNursery) -> None:
    """Its error, bare."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with open_nursery() as nursery:
            await nursery.run_in_actor(actors.fail)
    assert boxes(caught.value, AssertionError)


async def test_one_function_fails_and_the_body_asks_for_its_result(open_nursery: OpenNursery) -> None:
    """The error is raised there as well, and counts once."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.fail)
            with pytest.raises(tractor.RemoteActorError) as asked:
                await portal.wait_for_result()
            raise asked.value
    assert boxes(caught.value, AssertionError)


async def test_a_function_gets_arguments_that_do_not_fit(open_nursery: OpenNursery) -> None:
    """A `TypeError` of the function, bare, whether the body asks or not."""
    for asks in (False, True):
        with pytest.raises(tractor.RemoteActorError) as caught:
            async with open_nursery() as nursery:
                portal = await nursery.run_in_actor(actors.add, a=1, nonsense=2)
                if asks:
                    await portal.wait_for_result()
        assert boxes(caught.value, TypeError)


@pytest.mark.parametrize("count", [2, 3])
async def test_some_functions_fail(count: int, open_nursery: OpenNursery) -> None:
    """A group of exactly as many errors."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_nursery() as nursery:
            for number in range(count):
                await nursery.run_in_actor(actors.fail, name=f"failer{number}")
    assert [boxes(exc, AssertionError) for exc in caught.value.exceptions] == [True] * count


@pytest.mark.parametrize("delay", [0.0, 0.5])
async def test_twenty_five_functions_fail(delay: float, open_nursery: OpenNursery) -> None:
    """A plain `ExceptionGroup` of twenty-five errors, however close together they come."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_nursery() as nursery:
            async with trio.open_nursery() as starts:
                for number in range(25):
                    starts.start_soon(start_failing, nursery, number, delay)
    assert type(caught.value) is ExceptionGroup
    assert [boxes(exc, AssertionError) for exc in caught.value.exceptions] == [True] * 25


async def start_failing(nursery: tractor.ActorNursery, number: int, delay: float) -> None:
    """Start an actor that fails after so many seconds."""
    await nursery.run_in_actor(actors.fail, name=f"failer{number}", delay=delay)


@pytest.mark.parametrize("depth", [1, 3])
async def test_all_leaves_of_a_tree_fail(depth: int, open_nursery: OpenNursery) -> None:
    """Each level makes one group of two of what comes from below: at the top there are two boxes with a group in each."""
    with pytest.raises(ExceptionGroup) as caught:
        async with open_nursery() as nursery:
            async with trio.open_nursery() as starts:
                for number in range(2):
                    starts.start_soon(branches.start_branch, nursery, f"top{number}", depth, 2)
    assert [boxes(exc, ExceptionGroup) for exc in caught.value.exceptions] == [True, True]


# A daemon's function.


@pytest.mark.parametrize("others", [actors.sleep_forever, actors.get_body], ids=lambda func: func.__name__)
async def test_a_call_of_the_body_fails(others: Any, open_nursery: OpenNursery) -> None:
    """Its error leaves the body, bare, and ends three daemons and what runs beside them, or has run."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with open_nursery() as nursery:
            daemons = [await nursery.start_actor(f"daemon{n}", enable_modules=MODULES) for n in range(3)]
            beside = [await nursery.run_in_actor(others, name=f"function{n}") for n in range(2)]
            await daemons[1].run(actors.fail)
    assert boxes(caught.value, AssertionError)
    assert nursery.cancel_called
    assert not nursery.cancelled_caught
    assert not any(is_there(portal) for portal in [*daemons, *beside])


# Interrupts.


def test_the_body_raises_an_interrupt(open_nursery: OpenNursery) -> None:
    """It comes out of `trio.run()`, bare."""

    async def main() -> None:
        async with open_nursery() as nursery:
            await nursery.start_actor("daemon")
            await nursery.run_in_actor(actors.sleep_forever)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


async def interrupt_after(seconds: float, sent: list[float]) -> None:
    """Press Ctrl-C, as far as this process alone is concerned, and note when."""
    await trio.sleep(seconds)
    sent.append(time.monotonic())
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_the_body_sleeps(open_nursery: OpenNursery) -> None:
    """A bare interrupt within two seconds."""
    sent: list[float] = []

    async def main() -> None:
        async with open_nursery() as nursery:
            await nursery.start_actor("daemon")
            trio.lowlevel.spawn_system_task(interrupt_after, 0.1, sent)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert time.monotonic() - sent[0] < 2.0


def test_ctrl_c_while_the_body_sleeps_in_another_task(open_nursery: OpenNursery) -> None:
    """The main task has a nursery of trio's own around it, which makes a group of the interrupt."""
    sent: list[float] = []

    async def sleep_in_nursery() -> None:
        async with open_nursery() as nursery:
            await nursery.start_actor("daemon")
            trio.lowlevel.spawn_system_task(interrupt_after, 0.1, sent)
            await trio.sleep_forever()

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(sleep_in_nursery)

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main)
    assert time.monotonic() - sent[0] < 2.0


def test_ctrl_c_while_the_block_waits_for_its_daemons(open_nursery: OpenNursery) -> None:
    """Half a second after its body has ended: bare, and they end in order, which takes no force."""
    sent: list[float] = []
    began = 0.0

    async def main() -> None:
        nonlocal began
        async with open_nursery() as nursery:
            for number in range(3):
                await nursery.start_actor(f"daemon{number}")
            began = time.monotonic()
            trio.lowlevel.spawn_system_task(interrupt_after, 0.5, sent)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert sent
    assert time.monotonic() - began < 2.9


# Force.


async def test_the_body_fails_while_a_grandchild_blocks(open_nursery: OpenNursery, tmp_path: Path) -> None:
    """Its error, bare, in less time than the grandchild would have taken and four seconds at most: an actor above ends it."""
    with pytest.raises(AssertionError, match="mine"):
        async with open_nursery() as nursery:
            await nursery.run_in_actor(branches.block_below, path=str(tmp_path / "blocked"), seconds=30.0)
            while not (tmp_path / "blocked").exists():
                await trio.sleep(0.01)
            began = trio.current_time()
            raise AssertionError("mine")
    assert trio.current_time() - began < 4.0

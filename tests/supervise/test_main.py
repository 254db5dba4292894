"""The function of a `run_in_actor()` child, without the actor."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from tractor._errors import TransportClosed
from tractor.msg._boxed import ContextCancelled, RemoteActorError
from tractor.runtime._portal import Portal
from tractor.supervise._main import MainTask


class FakePortal:
    """Runs `act` instead of anything remote."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act

    async def run_from_ns(self, namespace: str, function: str, **kwargs: Any) -> Any:
        """Answer for the peer."""
        assert (namespace, function, kwargs) == ("mod", "fn", {"x": 1})
        await trio.lowlevel.checkpoint()
        return self._act()


async def run_main(act: Callable[[], Any]) -> tuple[MainTask, list[int]]:
    """Run a function to its end; return the task, and one entry for each time that its end was announced."""
    announced: list[int] = []
    main = MainTask(lambda: announced.append(1))
    await main.run(cast("Portal", FakePortal(act)), ("mod", "fn"), {"x": 1})
    return main, announced


def raiser(error: BaseException) -> Callable[[], Any]:
    """Return a function that raises `error`."""

    def act() -> Any:
        raise error

    return act


@pytest.mark.parametrize("value", [3, None, "", [1]])
async def test_the_result_can_be_asked_for_again_and_again(value: Any) -> None:
    """None is a result like any other."""
    main, announced = await run_main(lambda: value)
    assert announced == [1]
    for _ in range(3):
        assert await main.wait_for_result() == value
    assert main.failure is None


async def test_everybody_who_waits_gets_the_result() -> None:
    """Before the function has ended, too."""
    main = MainTask(lambda: None)
    results: list[Any] = []

    async def wait() -> None:
        results.append(await main.wait_for_result())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not main.done.is_set()
        portal = cast("Portal", FakePortal(lambda: 7))
        nursery.start_soon(main.run, portal, ("mod", "fn"), {"x": 1})
    assert results == [7, 7]


async def test_an_error_of_the_function_is_its_failure() -> None:
    """It is raised wherever the result is asked for, the very same object each time."""
    error = RemoteActorError("x", boxed_type=ValueError)
    main, announced = await run_main(raiser(error))
    assert announced == [1]
    assert main.failure is error
    for _ in range(2):
        with pytest.raises(RemoteActorError) as caught:
            await main.wait_for_result()
        assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        ContextCancelled("x", boxed_type=trio.Cancelled, canceller=("root", "uuid")),
        TransportClosed("the connection broke"),
    ],
)
async def test_what_is_not_the_functions_own_error_is_no_failure(error: Exception) -> None:
    """Its cancellation, and the loss of its actor, are for others to report; whoever waits gets them all the same."""
    main, _ = await run_main(raiser(error))
    assert main.failure is None
    with pytest.raises(type(error)):
        await main.wait_for_result()


async def test_a_cancelled_wait_ends_it() -> None:
    """Nobody is left waiting for a function that nobody runs any more."""
    announced: list[int] = []
    main = MainTask(lambda: announced.append(1))
    with trio.move_on_after(0):
        await main.run(cast("Portal", FakePortal(lambda: 1)), ("mod", "fn"), {"x": 1})
    assert main.done.is_set()
    assert announced == [1]
    assert main.failure is None


async def test_the_request_is_made_in_the_step_in_which_it_is_said_to_have_begun() -> None:
    """Whoever waits for that comes after it."""
    asked: list[int] = []

    class Asked(FakePortal):
        async def run_from_ns(self, namespace: str, function: str, **kwargs: Any) -> Any:
            asked.append(1)
            return await super().run_from_ns(namespace, function, **kwargs)

    main = MainTask(lambda: None)
    async with trio.open_nursery() as tasks:
        tasks.start_soon(main.run, cast("Portal", Asked(lambda: None)), ("mod", "fn"), {"x": 1})
        await main.begun.wait()
        assert asked == [1]

"""What a nursery refuses, before there is a process."""

import os
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors
from tests.supervise.kids import MODULES, start
from tractor.supervise._main import find_target
from tractor.supervise._nursery import ActorNursery

NO_FUNCTION: Any = print


async def takes_name(name: str) -> str:
    """Need an argument by a name that starting the actor needs as well."""
    return name


async def takes_modules(*, enable_modules: list[str]) -> list[str]:
    """The same, by keyword only."""
    return enable_modules


async def takes_self(self: object) -> object:
    """A method that was taken from its class."""
    return self


async def may_take_name(path: str, name: str = "", *args: object, **kwargs: object) -> str:
    """Can do without."""
    return f"{path}{name}{args}{kwargs}"


@pytest.mark.parametrize("func", [takes_name, takes_modules, takes_self], ids=lambda func: func.__name__)
async def test_an_argument_that_could_never_be_given(func: Callable[..., Awaitable[Any]]) -> None:
    """The nursery would take it for its own, and the function would miss it."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(
            TypeError, match=r"needs an argument '\w+', which is one of `run_in_actor\(\)` itself"
        ):
            await nursery.run_in_actor(func)
        assert nursery._children == {}


def test_a_function_that_can_do_without_is_as_good_as_any() -> None:
    """What it is called by is module and name."""
    assert find_target(may_take_name, {"name", "args", "kwargs"}) == (__name__, "may_take_name")


async def test_nothing_is_started_for_what_is_refused() -> None:
    """Not even to be ended again: this process has no child then, nor descriptors of one."""

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    refused: list[Callable[[ActorNursery], Awaitable[object]]] = [
        lambda nursery: nursery.start_actor("kid", enable_modules=["no_such_module_anywhere"]),
        lambda nursery: nursery.start_actor("kid", enable_transports=["pigeon"]),
        lambda nursery: nursery.start_actor("kid", bind_addrs=["nonsense"]),
        lambda nursery: nursery.start_actor("kid", loglevel="very"),
        lambda nursery: nursery.run_in_actor(NO_FUNCTION),
        lambda nursery: nursery.run_in_actor(actors.pour),
        lambda nursery: nursery.run_in_actor(takes_name),
        lambda nursery: nursery.run_in_actor(actors.add, a={1, object()}),
    ]
    async with tractor.open_nursery() as nursery:
        before = count()
        for attempt in refused:
            with pytest.raises((TypeError, ValueError, ModuleNotFoundError)):
                await attempt(nursery)
            assert nursery._children == {}
            assert count() == before
        # And it is none the worse for it.
        portal = await start(nursery)
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


async def test_nothing_is_started_after_an_error_of_a_child() -> None:
    """It has cancelled the nursery, as far as its children are concerned."""
    with pytest.raises(tractor.ActorFailure, match="mortal"):
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery, "mortal")
            with trio.CancelScope(shield=True):
                with pytest.raises(tractor.TransportClosed):
                    await portal.run(actors.exit_hard, code=1)
                while not nursery.cancel_called:
                    await trio.sleep(0.01)
                with pytest.raises(RuntimeError, match=r"'late'.*was cancelled"):
                    await start(nursery, "late")


async def test_the_old_name_of_enable_modules() -> None:
    """It works, and the warning is about the line of the program."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with tractor.open_nursery(rpc_module_paths=MODULES) as nursery:
            assert actors.__name__ in tractor.current_actor().enable_modules
            portal = await nursery.start_actor("kid", rpc_module_paths=MODULES)
            assert await portal.run(actors.add, a=1, b=2) == 3
            adder = await nursery.run_in_actor(actors.add, rpc_module_paths=MODULES, a=1, b=2)
            assert await adder.wait_for_result() == 3
            await nursery.cancel()
    found = [(warning.category, warning.filename) for warning in caught]
    assert found == [(DeprecationWarning, __file__)] * 3
    assert "enable_modules" in str(caught[0].message)

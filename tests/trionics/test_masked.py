"""Which error a cancellation has hidden; `test_not_masked.py` has those that the program had dealt with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.trionics.cancelled import Code, cancel_amid, fail, in_a_retry_loop, nothing
from tractor.trionics._masked import find_masked


@contextlib.asynccontextmanager
async def cleans_up() -> AsyncGenerator[None]:
    """Wait on the way out."""
    try:
        yield
    finally:
        await trio.sleep_forever()


async def in_finally() -> None:
    """The clean-up waits."""
    try:
        await fail()
    finally:
        await trio.sleep_forever()


async def raised_by_the_cleanup() -> None:
    """The error is younger than the cancellation."""
    try:
        await trio.sleep_forever()
    finally:
        try:
            await fail_shielded()
        finally:
            await trio.lowlevel.checkpoint()


async def behind_one_that_another_has_replaced() -> None:
    """The clean-up is cancelled, and so is its own: the first cancellation never comes as far as the error did."""
    try:
        await fail()
    finally:
        await wait_and_clean_up()


async def wait_and_clean_up() -> None:
    """Wait on the way out of a wait."""
    try:
        await trio.sleep_forever()
    finally:
        await trio.lowlevel.checkpoint()


async def fail_shielded() -> None:
    """Raise where no cancellation reaches."""
    with trio.CancelScope(shield=True):
        await fail()


async def in_a_handler_that_raises_again() -> None:
    """Logs somewhere, and goes on raising."""
    try:
        await fail()
    except OSError:
        await trio.sleep_forever()
        raise


async def in_a_handler_that_may_raise_again() -> None:
    """In doubt it is an error."""
    try:
        await fail()
    except OSError as exc:
        await trio.sleep_forever()
        if exc.errno is None:
            raise


async def in_a_handler_that_raises_something_else() -> None:
    """So the error was never dealt with."""
    try:
        await fail()
    except OSError as exc:
        await trio.sleep_forever()
        raise ValueError from exc


async def in_a_manager() -> None:
    """The block's error passes through a manager that waits."""
    async with cleans_up():
        await fail()


async def in_a_nursery() -> None:
    """The task that waits is not the endpoint's."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_finally)
        nursery.start_soon(trio.sleep_forever)


async def behind_two_cancellations() -> None:
    """Clean-up of clean-up."""
    try:
        await in_finally()
    finally:
        await trio.lowlevel.checkpoint()


async def around_one_that_was_caught() -> None:
    """The handler of the one waits within the clean-up of the other."""
    try:
        await fail()
    finally:
        await in_a_retry_loop("caught")


async def a_group() -> None:
    """What a nursery has raised, with cancellations that mean nothing."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
    finally:
        await trio.sleep_forever()


@pytest.mark.parametrize(
    "code",
    [
        in_finally,
        raised_by_the_cleanup,
        behind_one_that_another_has_replaced,
        in_a_handler_that_raises_again,
        in_a_handler_that_may_raise_again,
        in_a_handler_that_raises_something_else,
        in_a_manager,
        in_a_nursery,
        behind_two_cancellations,
        around_one_that_was_caught,
    ],
)
async def test_an_error_on_its_way_out_is_found(code: Code) -> None:
    """Wherever the cancellation has met it."""
    found = find_masked(await cancel_amid(code))
    assert isinstance(found, OSError)
    assert str(found) == "masked"


async def test_a_group_is_found_without_its_cancellations() -> None:
    """As a group of what is left."""
    found = find_masked(await cancel_amid(a_group))
    assert isinstance(found, ExceptionGroup)
    assert [type(exc) for exc in found.exceptions] == [OSError]


async def test_several_are_found_together() -> None:
    """One in each task."""

    async def two() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(in_finally)
            nursery.start_soon(in_finally)

    found = find_masked(await cancel_amid(two))
    assert isinstance(found, ExceptionGroup)
    assert [str(exc) for exc in found.exceptions] == ["masked", "masked"]


async def test_an_error_beside_the_cancellations_is_the_error() -> None:
    """It is not hidden; whoever gets the group sees it."""
    cancelled = await cancel_amid(in_finally)
    assert find_masked(cancelled) is not None
    assert find_masked(BaseExceptionGroup("both", [cancelled, OSError("seen")])) is None
    assert find_masked(OSError("alone")) is None


async def test_an_error_without_a_traceback_counts() -> None:
    """Nobody knows what it was; better one too many. A chain that has become a ring ends."""
    cancelled = await cancel_amid(nothing)
    (leaf, *_) = cancelled.exceptions if isinstance(cancelled, BaseExceptionGroup) else [cancelled]
    leaf.__context__ = error = OSError("no traceback")
    assert find_masked(leaf) is error
    leaf.__context__ = GeneratorExit()
    leaf.__context__.__context__ = leaf
    assert find_masked(leaf) is None


@pytest.mark.parametrize("order", [KeyboardInterrupt(), SystemExit(3)])
async def test_an_order_to_leave_is_never_lost(order: BaseException) -> None:
    """It was on its way out as an error may be."""

    async def leaves() -> None:
        try:
            raise order
        finally:
            await trio.sleep_forever()

    assert find_masked(await cancel_amid(leaves)) is order


async def test_an_error_of_another_task_is_none_of_ours() -> None:
    """The `Cancelled` of a task was made in the handler of what its sibling, or its canceller, has raised."""
    seen: list[trio.Cancelled] = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            seen.append(exc)
            raise

    with pytest.raises(ExceptionGroup):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            raise OSError("of the nursery's block")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        try:
            raise ExceptionGroup("of the canceller", [OSError()])
        except ExceptionGroup:
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                raise OSError("behind the canceller's own cancellation")
            except OSError:
                try:
                    await trio.lowlevel.checkpoint()
                finally:
                    nursery.cancel_scope.cancel()
    # Or this shows nothing.
    assert [type(exc.__context__) for exc in seen] == [OSError, ExceptionGroup, trio.Cancelled]
    assert [find_masked(exc) for exc in seen] == [None, None, None]

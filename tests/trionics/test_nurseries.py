"""Nurseries that may be there already, and tasks that are cancelled before they have started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tractor.trionics import maybe_open_nursery, start_or_cancel

EXITED = "child exited without calling task_status.started()"


async def test_a_nursery_that_is_there_is_left_alone() -> None:
    """Neither shielded nor waited for."""
    async with trio.open_nursery() as mine:
        async with maybe_open_nursery(mine, shield=True) as nursery:
            assert nursery is mine
            nursery.start_soon(trio.sleep_forever)
        assert not mine.cancel_scope.shield
        mine.cancel_scope.cancel()


@pytest.mark.parametrize("shield", [False, True])
async def test_a_new_nursery_ends_with_the_block(shield: bool) -> None:
    """Shielded if so asked."""
    done = []

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        done.append(True)

    async with maybe_open_nursery(shield=shield) as nursery:
        assert nursery.cancel_scope.shield == shield
        nursery.start_soon(work)
    assert done == [True]


async def test_others_may_open_it() -> None:
    """Whatever has an `open_nursery`; it gets the other arguments."""

    class Lib:
        @staticmethod
        @asynccontextmanager
        async def open_nursery(**kwargs: Any) -> AsyncIterator[Any]:
            yield kwargs

    async with maybe_open_nursery(lib=Lib, name="x") as nursery:
        assert nursery == {"name": "x"}


async def test_starting_a_task() -> None:
    """As `nursery.start` does, with arguments, a name and the value."""
    names = []

    async def work(a: int, *, task_status: trio.TaskStatus[int]) -> None:
        names.append(trio.lowlevel.current_task().name)
        task_status.started(a + 1)

    async with trio.open_nursery() as nursery:
        assert await start_or_cancel(nursery, work, 1, name="worker") == 2
    assert names == ["worker"]


async def exit_early(*, task_status: trio.TaskStatus[None]) -> None:
    """Swallow the cancellation and never start."""
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.sleep_forever()


async def test_being_cancelled_is_not_taken_for_a_mistake() -> None:
    """The task has ended because of the same cancellation: no error, and none in the cancellation's context."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            scope.cancel()
            try:
                await start_or_cancel(nursery, exit_early)
            except trio.Cancelled as exc:
                context = exc.__context__
                raise
    assert scope.cancelled_caught
    assert context is None


async def test_a_mistake_is_one_without_a_cancellation() -> None:
    """As trio says it."""
    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="child exited")):
        async with trio.open_nursery() as nursery:
            await start_or_cancel(nursery, exit_early)


@pytest.mark.parametrize("args", [(f"{EXITED} early",), (EXITED, 1), (3,), ()])
async def test_errors_of_the_task_are_its_own(args: tuple[Any, ...]) -> None:
    """Also where they look alike, and also while being cancelled."""
    error = RuntimeError(*args)

    async def fail(*, task_status: trio.TaskStatus[None]) -> None:
        raise error

    with trio.CancelScope() as scope:
        with pytest.raises(BaseExceptionGroup) as info:
            async with trio.open_nursery() as nursery:
                scope.cancel()
                await start_or_cancel(nursery, fail)
    assert info.value.exceptions == (error,)
    assert error.__context__ is None

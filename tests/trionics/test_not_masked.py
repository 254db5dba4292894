"""Errors that the program had dealt with before it was cancelled: the cancellation has hidden none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.trionics.cancelled import Code, cancel_amid, fail, in_a_retry_loop, nothing
from tractor.trionics._masked import find_masked


@contextlib.asynccontextmanager
async def retries() -> AsyncGenerator[None]:
    """Catch what comes out of the block, and wait."""
    try:
        yield
    except OSError:
        await trio.sleep_forever()


async def in_a_bare_handler() -> None:
    """Nothing is raised again."""
    try:
        await fail()
    except:  # noqa: E722 - that is the case
        await trio.sleep_forever()


async def in_a_handler_with_a_branch() -> None:
    """It would have raised before it waited."""
    for attempt in range(3):
        try:
            await fail()
        except (OSError, ValueError) as exc:
            if attempt > 1 or exc.args == ():
                raise
            await trio.sleep_forever()
        else:
            break


async def in_a_handler_that_returns() -> Any:
    """A default that takes time to get."""
    try:
        return os.environ["MISSING"]
    except KeyError:
        return await trio.sleep_forever()


async def in_a_handler_that_never_ends() -> None:
    """There is no way out of it."""
    try:
        await fail()
    except OSError:
        while True:
            await trio.sleep(3600)


async def in_a_clause_of_a_group() -> None:
    """`except*` catches as well."""
    try:
        await fail()
    except* OSError:
        await trio.sleep_forever()


async def in_a_manager_that_catches() -> None:
    """The block's error ends in the manager."""
    async with retries():
        await fail()


async def in_retry_loops_of_a_nursery() -> None:
    """Several at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(in_a_retry_loop)
        nursery.start_soon(in_a_retry_loop)


async def replaced_by_one_that_was_caught() -> None:
    """The second stands for the first."""
    try:
        try:
            await fail()
        except OSError as exc:
            raise ValueError from exc
    except ValueError:
        await trio.sleep_forever()
    raise AssertionError("not reached")


async def replaced_further_in() -> None:
    """The same, in a function that has ended."""

    async def translates() -> None:
        try:
            await fail()
        except OSError as exc:
            raise ValueError from exc

    try:
        await translates()
    except ValueError:
        await trio.sleep_forever()


async def a_contended_lock() -> None:
    """Trio itself raises and catches."""
    lock = trio.Lock()
    async with trio.open_nursery() as nursery:

        async def hold() -> None:
            async with lock:
                await trio.sleep_forever()

        nursery.start_soon(hold)
        await wait_all_tasks_blocked()
        async with lock:
            pass


@pytest.mark.parametrize(
    "code",
    [
        in_a_retry_loop,
        in_a_bare_handler,
        in_a_handler_with_a_branch,
        in_a_handler_that_returns,
        in_a_handler_that_never_ends,
        in_a_clause_of_a_group,
        in_a_manager_that_catches,
        in_retry_loops_of_a_nursery,
        replaced_by_one_that_was_caught,
        replaced_further_in,
        a_contended_lock,
        nothing,
    ],
)
async def test_an_error_that_was_dealt_with_is_none(code: Code) -> None:
    """A program that waits before it tries again is well."""
    assert find_masked(await cancel_amid(code)) is None

"""Code that is cancelled in a wait, for tests of what that has hidden."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

type Code = Callable[[], Awaitable[Any]]


async def fail(text: str = "masked") -> None:
    """Raise."""
    await trio.lowlevel.checkpoint()
    raise OSError(text)


async def in_a_retry_loop(text: str = "caught") -> None:
    """The commonest of all."""
    while True:
        try:
            await fail(text)
        except OSError:
            await trio.sleep_forever()


async def nothing() -> None:
    """Only the cancellation."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        try:
            await trio.sleep_forever()
        finally:
            await trio.lowlevel.checkpoint()


async def cancel_amid(code: Code) -> BaseException:
    """Return what leaves `code` when it is cancelled in its wait."""
    left: list[BaseException] = []

    async def run() -> None:
        try:
            await code()
        except BaseException as exc:
            left.append(exc)
            raise

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return left[0]

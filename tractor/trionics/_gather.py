"""Many async context managers at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from tractor.trionics._nurseries import maybe_open_nursery


@asynccontextmanager
async def gather_contexts[T](
    mngrs: Iterable[AbstractAsyncContextManager[T, Any]], tn: trio.Nursery | None = None
) -> AsyncGenerator[tuple[T, ...]]:
    """Enter all managers at the same time, each in a task of its own; yield their values in the order given.

    They are left at the same time, too, when the block ends, and that waits for them all. Where one cannot be entered the
    others are cancelled and its error is raised; where one fails later the block is cancelled before. Several errors are raised
    as a group. Managers do not see the errors of the block: they are cancelled where it raises one.

    `tn`: the nursery for the tasks, in place of a new one.
    Raises `ValueError` when there is no manager.
    """
    managers = list(mngrs)
    if not managers:
        raise ValueError(
            "there is nothing to enter: `gather_contexts()` got an empty sequence of managers, or a generator that was used "
            "up before; make a list of them"
        )
    gathering = _Gathering[T](managers)
    left: BaseException | None = None
    try:
        async with maybe_open_nursery(tn) as nursery:
            try:
                gathering.start(nursery)
                with gathering.block:
                    await gathering.settled.wait()
                    if not gathering.missing:
                        yield gathering.get_values()
            except BaseException as exc:  # noqa: BLE001 - raised again below
                # Outside the nursery, which would wrap it in a group.
                left = exc
                gathering.cancel()
            await gathering.wait_left()
    except BaseException as exc:  # noqa: BLE001 - the same
        left = exc if left is None else left
    gathering.raise_errors(left)


class _Gathering[T]:
    """Tasks that each hold a manager open."""

    def __init__(self, managers: list[AbstractAsyncContextManager[T, Any]]) -> None:
        self._managers = managers
        self._values: dict[int, T] = {}
        self._scopes = [trio.CancelScope() for _ in managers]
        self._errors: list[BaseException] = []
        self._running = len(managers)
        self._leave = trio.Event()
        self._left = trio.Event()
        #: Set when all are entered, or one cannot be.
        self.settled = trio.Event()
        #: How many are not entered.
        self.missing = len(managers)
        #: The scope of the block, which ends when one of the managers does.
        self.block = trio.CancelScope()

    def start(self, nursery: trio.Nursery) -> None:
        """Enter all."""
        for index in range(len(self._managers)):
            nursery.start_soon(self._hold, index)

    async def _hold(self, index: int) -> None:
        try:
            with self._scopes[index]:
                async with self._managers[index] as value:
                    self._values[index] = value
                    self.missing -= 1
                    if not self.missing:
                        self.settled.set()
                    await self._leave.wait()
        except BaseExceptionGroup as group:
            # A cancellation belongs to this task only.
            errors = group.split(trio.Cancelled)[1]
            if errors is None:
                raise
            self._errors.append(errors)
        except Exception as exc:  # noqa: BLE001 - raised where the block ends
            self._errors.append(exc)
        finally:
            if not self._leave.is_set():
                self.cancel()
            self.settled.set()
            self._running -= 1
            if not self._running:
                self._left.set()

    def get_values(self) -> tuple[T, ...]:
        """What the managers gave, in the order in which they were given."""
        return tuple(self._values[index] for index in range(len(self._managers)))

    def cancel(self) -> None:
        """Cancel the block and all managers."""
        for scope in (self.block, *self._scopes):
            scope.cancel(reason="a gathered context, or their block, has ended early")

    async def wait_left(self) -> None:
        """Leave all managers, and wait until they are left: where this is cancelled, they are, too."""
        self._leave.set()
        try:
            await self._left.wait()
        except trio.Cancelled:
            self.cancel()
            # Waiting for tasks that are cancelled is what a nursery does; these may be in one that goes on.
            with trio.CancelScope(shield=True):
                await self._left.wait()
            raise

    def raise_errors(self, left: BaseException | None) -> None:
        """Raise what has left the block and the managers; errors rather than a cancellation."""
        errors = self._errors
        if left is not None and not (errors and isinstance(left, trio.Cancelled)):
            errors = [left, *errors]
        if len(errors) > 1:
            raise BaseExceptionGroup("gathered contexts, and their block, have failed", errors)
        if errors:
            raise errors[0]
        if self.missing:
            raise RuntimeError("the nursery for the gathered contexts was cancelled before all were entered")

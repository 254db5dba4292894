"""A nursery for tasks that must go on serving while the block around them is being cancelled."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import trio

from tractor._errors import InternalError

#: The nursery of the innermost `open_service_nursery()` around the running task, and around those it came from.
_current: ContextVar[trio.Nursery | None] = ContextVar("tractor-services", default=None)
#: Every such nursery that is open, so that a task which is older than all of them finds the only one.
_open: list[trio.Nursery] = []


def current_services() -> trio.Nursery | None:
    """Return the service nursery that this task's work belongs to, or None."""
    services = _current.get()
    if services is None and len(_open) == 1:
        services = _open[0]
    if services is None or _find_root(services) is not trio.lowlevel.current_root_task():
        # None, or that of another run in another thread.
        return None
    return services


def _find_root(nursery: trio.Nursery) -> trio.lowlevel.Task:
    task = nursery.parent_task
    while task.parent_nursery is not None:
        task = task.parent_nursery.parent_task
    return task


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def open_service_nursery() -> AsyncGenerator[trio.Nursery]:
    """Yield a nursery whose tasks are shielded from cancellation of the block, and end when the block has ended.

    An error of the block leaves it bare, never wrapped in a group. When a task crashes, the block is cancelled and
    `InternalError` is raised from the crash.
    """
    left: BaseException | None = None
    # Made here, so that it can be cancelled before the host has come to enter it.
    shield = trio.CancelScope(shield=True)
    hosted: list[trio.Nursery] = []
    ready = trio.Event()
    try:
        async with trio.open_nursery() as outer:
            try:
                # Not `start()`: one that is interrupted waits for its task, and that is behind the shield.
                outer.start_soon(_host, shield, hosted, ready)
                await ready.wait()
                token = _current.set(hosted[0])
                _open.append(hosted[0])
                try:
                    yield hosted[0]
                finally:
                    _open.remove(hosted[0])
                    _current.reset(token)
            except BaseException as exc:  # noqa: BLE001 - raised again below
                # Outside the nursery, which would wrap it in a group.
                left = exc
            shield.cancel()
    except BaseExceptionGroup as group:
        interrupts, crashes = group.split(KeyboardInterrupt)
        if crashes is not None:
            raise InternalError(f"a runtime task crashed: {_first_leaf(crashes)!r}") from crashes
        if interrupts is not None and not isinstance(left, KeyboardInterrupt):
            raise KeyboardInterrupt from left
    if left is not None:
        raise left


@trio.lowlevel.enable_ki_protection
async def _host(shield: trio.CancelScope, hosted: list[trio.Nursery], ready: trio.Event) -> None:
    with shield:
        async with trio.open_nursery() as nursery:
            hosted.append(nursery)
            ready.set()
            await trio.sleep_forever()


def _first_leaf(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc

"""Starting tasks: in a nursery that may be there already, and in one that may be cancelled meanwhile."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

#: What trio says of a task that has ended too early.
_EXITED = "child exited without calling task_status.started()"


@asynccontextmanager
async def maybe_open_nursery(
    nursery: Any = None, shield: bool = False, lib: Any = trio, **kwargs: Any
) -> AsyncGenerator[Any]:
    """Yield `nursery` where there is one, and leave it alone; else a new one, that ends with the block.

    `shield`: whether a new one is shielded from the cancellation of what is around the block; for trio's only.
    `lib`: who opens it, by `lib.open_nursery(**kwargs)`: `trio`, or `tractor` for one of actors.
    """
    if nursery is not None:
        yield nursery
        return
    async with lib.open_nursery(**kwargs) as opened:
        if shield:
            opened.cancel_scope.shield = True
        yield opened


async def start_or_cancel(
    nursery: trio.Nursery, async_fn: Callable[..., Awaitable[object]], *args: Any, name: object = None
) -> Any:
    """Do what `nursery.start()` does; where the caller is cancelled before the task says `started()`, be cancelled.

    trio raises a `RuntimeError` for a task that has ended before that, also where it was the same cancellation that
    has ended it: then that is what is raised here. An error of the task itself is raised as it is.
    """
    try:
        return await nursery.start(async_fn, *args, name=name)
    except RuntimeError as exc:
        if len(exc.args) != 1 or type(exc.args[0]) is not str or exc.args[0] != _EXITED:
            raise
        exited = exc
    # Outside the handler: or it would look as if the cancellation had hidden an error.
    await trio.lowlevel.checkpoint_if_cancelled()
    raise exited

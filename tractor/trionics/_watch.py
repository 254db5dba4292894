"""Hear of a cancellation at the moment it comes, whatever the cancelled block is doing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def watch_cancellation(on_cancel: Callable[[trio.Cancelled], None]) -> AsyncGenerator[None]:
    """Call `on_cancel`, which must not raise, when a scope around the block is cancelled while the block is open.

    It is called when a task beside the block would get its `Cancelled`: it makes no difference that the block is behind a
    shield or slow to unwind. The cancellation itself is left to the block, whose error comes out bare, never in a group.
    """
    left: BaseException | None = None
    is_open = True

    @trio.lowlevel.enable_ki_protection
    async def watch() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as exc:
            if is_open:
                on_cancel(exc)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            try:
                yield
            except BaseException as exc:  # noqa: BLE001 - raised again below
                # Outside the nursery, which would wrap it in a group.
                left = exc
            is_open = False
            nursery.cancel_scope.cancel()
    except* KeyboardInterrupt as group:
        # It came while the nursery waited for the watcher.
        if not isinstance(left, KeyboardInterrupt):
            left = group.exceptions[0]
    if left is not None:
        raise left

"""Async context managers that an interrupt cannot enter or leave by half."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import _AsyncGeneratorContextManager
from functools import wraps
from types import TracebackType

import trio


class _Manager[T](_AsyncGeneratorContextManager[T]):
    """The standard library's, whose own steps are protected too."""

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> T:
        return await super().__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, typ: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await super().__aexit__(typ, value, traceback)


def protected_manager[**P, T](func: Callable[P, AsyncGenerator[T]]) -> Callable[P, _Manager[T]]:
    """Like `contextlib.asynccontextmanager`, protected from `KeyboardInterrupt` between its own awaits.

    One that came before the generator is resumed would leave it suspended, with all that it has opened. The block itself is
    not protected; in the generator an interrupt comes where it waits.
    """
    protected = trio.lowlevel.enable_ki_protection(func)

    @wraps(func)
    def open_manager(*args: P.args, **kwargs: P.kwargs) -> _Manager[T]:
        return _Manager(protected, args, kwargs)

    return open_manager

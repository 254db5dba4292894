"""Exception groups: those that hold one error only, and those that hold nothing but cancellations."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager

import trio

#: What is noted on an error that came in a group of its own.
COLLAPSED = "( ^^^ this exc was collapsed from a group ^^^ )"


def get_collapsed_eg(beg: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the only error in a group of errors, in whatever depth; None where there are several."""
    exc: BaseException = beg
    while isinstance(exc, BaseExceptionGroup):
        if len(exc.exceptions) > 1:
            return None
        exc = exc.exceptions[0]
    return exc


@asynccontextmanager
async def collapse_eg(
    hide_tb: bool = True,
    ignore: Iterable[type[BaseException]] = (),
    add_notes: bool = True,
    bp: bool = False,
) -> AsyncGenerator[None]:
    """Raise the error itself where the block raises a group with one error in it.

    It keeps its traceback, cause and context. Groups with several errors pass as they are.

    `hide_tb`: leave this function out of tracebacks that can do that.
    `ignore`: types of errors whose groups pass as they are, too.
    `add_notes`: note on the error that it came in a group.
    `bp`: stop in the debugger (`sys.breakpointhook`) when a group arrives.
    """
    __tracebackhide__ = hide_tb
    try:
        yield
    except BaseExceptionGroup as group:
        if bp:
            sys.breakpointhook()  # noqa: T100 - it was asked for
        exc = get_collapsed_eg(group)
        if exc is None or isinstance(exc, tuple(ignore)):
            raise
        if add_notes and COLLAPSED not in getattr(exc, "__notes__", ()):
            exc.add_note(COLLAPSED)
        context = exc.__context__
        try:
            raise exc
        finally:
            # Not the group that it came in, which holds it as well.
            exc.__context__ = context
            del exc, context


def is_multi_cancelled(
    beg: BaseException, ignore_nested: Iterable[type[BaseException]] = ()
) -> BaseExceptionGroup[BaseException] | bool:
    """Return the group if there is nothing in it but `trio.Cancelled`, in whatever depth; else False.

    `ignore_nested`: further types that count as cancellations. What is no group is False.
    """
    if not isinstance(beg, BaseExceptionGroup):
        return False
    kinds: tuple[type[BaseException], ...] = (trio.Cancelled, *ignore_nested)
    others = beg.subgroup(lambda exc: not isinstance(exc, (*kinds, BaseExceptionGroup)))
    return beg if others is None else False

"""Errors that were about to be raised when a cancellation took their place."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tractor.trionics._masked import find_masked

log = logging.getLogger(__name__)

_NOTE = "a checkpoint in a `finally`, `except` or `__aexit__` is cancelled unless it is shielded"


@dataclass
class Unmasked:
    """What was found behind the exception that left a block."""

    #: The hidden error, if there was one.
    value: BaseException | None = None


@asynccontextmanager
async def maybe_raise_from_masking_exc(
    unmask_from: tuple[type[BaseException], ...] = (trio.Cancelled,),
    raise_unmasked: bool = True,
    extra_note: str = _NOTE,
    always_warn_on: tuple[type[BaseException], ...] = (trio.Cancelled,),
    never_warn_on: tuple[type[BaseException], ...] = (),
) -> AsyncGenerator[Unmasked]:
    """Raise an error of the block that was on its way when a cancellation took its place.

    An error that passes a `finally` block with a checkpoint in it, in a scope that is cancelled, is replaced by
    `trio.Cancelled`, which the scope then swallows: nobody would hear of the error. It is still the `__context__` of what has
    replaced it. Errors that were caught, and would not have been raised again, are not meant: a lock that is waited for raises
    such, and so does a program that waits before it tries again.
    Yields an object whose `value` is the error that was found.

    `unmask_from`: which exceptions to look behind; a tuple of types, else `ValueError`. Of other types than `trio.Cancelled`
    everything counts as hidden that is in their context, unless they were raised `from` something.
    `raise_unmasked`: whether to raise the error; else what has replaced it passes, and a warning is logged.
    `extra_note`: is noted on the error, after what has hidden it.
    `always_warn_on`: log a warning also where the error is raised, if one of these has hidden it.
    `never_warn_on`: types of errors of which nothing is logged.
    """
    if not isinstance(unmask_from, tuple):
        raise ValueError(f"unmask_from must be a tuple of exception types, not {unmask_from!r}")  # noqa: TRY004 - by contract
    found = Unmasked()
    try:
        yield found
    except BaseException as masking:
        found.value = error = _find_hidden(masking, unmask_from)
        if error is None:
            raise
        error.add_note(f"( this exc was masked by {type(masking).__name__} ): {extra_note}")
        if not isinstance(error, never_warn_on) and (
            not raise_unmasked or isinstance(masking, always_warn_on)
        ):
            log.warning("an error was masked", extra={"error": repr(error), "by": repr(masking)})
        if not raise_unmasked:
            raise
        context = error.__context__
        try:
            raise error
        finally:
            # Not what has masked it, or each would be in the other's context.
            error.__context__ = context
            del error, context


def _find_hidden(masking: BaseException, masks: tuple[type[BaseException], ...]) -> BaseException | None:
    """Return what `masking` has hidden; None where that is nothing, and where `masking` hides nothing."""
    if issubclass(trio.Cancelled, masks) and isinstance(masking, trio.Cancelled | BaseExceptionGroup):
        return find_masked(masking)
    # Nobody can tell whether one of these was raised on purpose, in place of the other.
    exc: BaseException | None = masking
    while isinstance(exc, masks):
        exc = None if exc.__suppress_context__ else exc.__context__
    return None if exc is masking else exc

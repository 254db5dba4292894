"""Which of several errors comes out of a block: docs/precedence.md, as far as it is not Python's own rule."""

from __future__ import annotations

from typing import NoReturn

import trio

from tractor._errors import TransportClosed
from tractor.msg._boxed import ContextCancelled, RemoteActorError


def is_cancellation(exc: BaseException | None) -> bool:
    """Whether `exc`, perhaps a group, says no more than that somebody has ended something."""
    if isinstance(exc, BaseExceptionGroup):
        return all(map(is_cancellation, exc.exceptions))
    if type(exc) is RemoteActorError:
        # A group over there.
        return all(
            isinstance(leaf, ContextCancelled) or leaf.src_type is trio.Cancelled for leaf in exc.leaves()
        )
    return isinstance(exc, (trio.Cancelled, ContextCancelled))


def find_hidden(exc: BaseException) -> BaseException | None:
    """Return the error that was on its way out of a block when a cancellation took its place; None where none was."""
    if not isinstance(exc, (trio.Cancelled, BaseExceptionGroup)) or not is_cancellation(exc):
        return None
    # Most cancellations have nothing behind them, and nothing has to be loaded for those.
    if isinstance(exc, trio.Cancelled) and exc.__context__ is None:
        return None
    from tractor.trionics._masked import find_masked

    found = find_masked(exc)
    return None if is_cancellation(found) else found


def overrules(remote: BaseException | None, exc: BaseException, *, lost_before: bool) -> bool:
    """Whether the error `remote` of the other side comes out in place of `exc`, with which a block was left here.

    `lost_before`: whether the peer was lost before `exc` was raised. Who ends something because it was cancelled
    itself has no more use for a peer that goes away meanwhile.
    """
    if remote is None or remote is exc or is_cancellation(remote) or not is_cancellation(exc):
        return False
    return lost_before or not isinstance(remote, TransportClosed)


def raise_unchanged(exc: BaseException) -> NoReturn:
    """Raise an error again where another one is being handled, which was raised because of it or later."""
    before = exc.__context__
    try:
        raise exc
    finally:
        exc.__context__ = before

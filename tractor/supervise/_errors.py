"""Which exception leaves a nursery when several things went wrong."""

from __future__ import annotations

from tractor._errors import ActorFailure, TransportClosed
from tractor.msg._boxed import ContextCancelled


def combine(own: BaseException | None, children: list[BaseException]) -> BaseException | None:
    """Return what to raise for the body's error and those of the children; None when there is none.

    A consequence never hides or doubles its cause: the body's `TransportClosed` is dropped beside the failure of the
    child that was lost, and confirmed cancellations are dropped beside real errors. One error is returned bare, several
    as a group.
    """
    if isinstance(own, TransportClosed) and any(isinstance(exc, ActorFailure) for exc in children):
        lost = own.exit
        for exc in children:
            if isinstance(exc, ActorFailure) and (exc.exit == lost or lost is None):
                if exc.__cause__ is None:
                    exc.__cause__ = own
                own = None
                break
    real = [exc for exc in children if not isinstance(exc, ContextCancelled)]
    errors: list[BaseException] = [] if own is None else [own]
    errors += [exc for exc in (real or children) if exc is not own]
    if not errors:
        return None
    if len(errors) == 1:
        return errors[0]
    return BaseExceptionGroup("tractor.ActorNursery errored with", errors)

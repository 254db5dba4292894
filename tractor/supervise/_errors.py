"""Which exception leaves a nursery when several things went wrong."""

from __future__ import annotations

import trio

from tractor._errors import ActorFailure, TransportClosed
from tractor._ids import Aid
from tractor.msg._boxed import ContextCancelled
from tractor.runtime._precedence import is_cancellation


def combine(own: BaseException | None, children: list[BaseException]) -> BaseException | None:
    """Return what to raise for the body's error and those of the children; None when there is none.

    A consequence never hides or doubles its cause: a `TransportClosed` of the body's tasks is dropped beside the failure
    of the child that was lost, and cancellations, of children or of the body, are dropped beside real errors. One error
    is returned bare, several as a group.
    """
    for exc in children:
        if isinstance(exc, ActorFailure):
            own = _without_loss_of(exc, own)
    real = [exc for exc in children if not is_cancellation(exc)]
    if own is not None and not is_cancellation(own):
        children = real
    elif real:
        own, children = None, real
    elif holds_cancelled(own):
        # A scope around the body ends more than children do that were cancelled.
        children = []
    errors: list[BaseException] = [] if own is None else [own]
    errors += [exc for exc in children if exc is not own]
    if not errors:
        return None
    if len(errors) == 1:
        return errors[0]
    return BaseExceptionGroup("tractor.ActorNursery errored with", errors)


def _without_loss_of(failure: ActorFailure, own: BaseException | None) -> BaseException | None:
    """Return what is left of the body's error; what goes becomes the cause of `failure` where it has none."""

    def is_loss(exc: BaseException) -> bool:
        return (
            isinstance(exc, TransportClosed)
            and exc.peer.rpartition("@")[0] == failure.name
            and exc.exit in (None, failure.exit)
        )

    lost: BaseException | None
    rest: BaseException | None
    if isinstance(own, BaseExceptionGroup):
        lost, rest = own.split(is_loss)
    elif own is not None and is_loss(own):
        lost, rest = own, None
    else:
        return own
    if failure.__cause__ is None:
        failure.__cause__ = lost
    return rest


def without_ended(
    own: BaseException | None, canceller: tuple[str, str], ended: set[Aid]
) -> BaseException | None:
    """Return what is left of the body's error without what it was told by and of the children in `ended`.

    That is the loss of their channels, and that their tasks were cancelled by us (`canceller`).
    """
    uids, names = {aid.uid for aid in ended}, {str(aid) for aid in ended}

    def is_told(exc: BaseException) -> bool:
        if isinstance(exc, ContextCancelled):
            return exc.canceller == canceller and exc.src_uid in uids
        return isinstance(exc, TransportClosed) and exc.peer in names

    if isinstance(own, BaseExceptionGroup):
        return own.split(is_told)[1]
    return None if own is not None and is_told(own) else own


def gave_way(own: BaseException | None, error: BaseException) -> bool:
    """Whether `error` is raised in place of somebody's cancellation that the body had raised, which is its context then."""
    if (
        own is None
        or own is error
        or holds_cancelled(own)
        or not is_cancellation(own)
        or is_cancellation(error)
    ):
        return False
    if error.__context__ is None:
        error.__context__ = own
    return True


def holds_cancelled(exc: BaseException | None) -> bool:
    """Whether a `trio.Cancelled` is in there."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.subgroup(trio.Cancelled) is not None
    return isinstance(exc, trio.Cancelled)


def holds_interrupt(exc: BaseException | None) -> bool:
    """Whether a `KeyboardInterrupt` is in there."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.subgroup(KeyboardInterrupt) is not None
    return isinstance(exc, KeyboardInterrupt)


def is_insistent(exc: BaseException | None) -> bool:
    """Whether this is a second `KeyboardInterrupt`, which came while the body was reacting to a first one."""
    return isinstance(exc, KeyboardInterrupt) and isinstance(exc.__context__, KeyboardInterrupt)

"""Telling Ctrl-C from other reasons to end."""

import trio


def is_interrupt(exc: BaseException) -> bool:
    """Whether `exc` ends a task because of Ctrl-C: a `KeyboardInterrupt`, the cancellation of its sibling tasks, or a group
    in which there is one.
    """
    if isinstance(exc, BaseExceptionGroup):
        return any(map(is_interrupt, exc.exceptions))
    # trio says in words why it cancelled, whether the interrupt came inside a nursery's block or while it waited.
    return isinstance(exc, KeyboardInterrupt) or (
        isinstance(exc, trio.Cancelled) and "KeyboardInterrupt" in str(exc)
    )

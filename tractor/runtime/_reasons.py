"""Who cancels, where in the program, and why: what a request to end a task says about itself."""

from __future__ import annotations

import sys

import trio

from tractor.msg._types import Cancel

#: Packages whose frames do not say where in the program a decision was made.
_PLUMBING = frozenset({"tractor", "trio", "contextlib", "outcome"})
#: Most characters of a reason: it grows with each actor that passes it on.
_MOST = 600


def make_cancel(uid: tuple[str, str], reason: str) -> Cancel:
    """Return a request by the running task of the actor `uid`."""
    return Cancel(uid, _clip(reason), find_place())


def describe(request: Cancel) -> str:
    """Say who asked for the end, where and why."""
    where = f" at {request.where}" if request.where else ""
    return _clip(f"cancelled by {request.canceller[0]!r}{where}: {request.reason}")


def reason_of(exc: BaseException) -> str:
    """Say why a block that `exc` has left ends what it began."""
    if isinstance(exc, trio.Cancelled):
        if exc.source == "deadline":
            return "its deadline passed"
        return exc.reason or f"it was cancelled ({exc.source})"
    if isinstance(exc, KeyboardInterrupt):
        return "KeyboardInterrupt"
    text = next(iter(str(exc).splitlines()), "")
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def find_place() -> str:
    """Return the innermost line of the program that the running task is at; '' where there is nothing but plumbing."""
    try:
        task = trio.lowlevel.current_task()
    except RuntimeError:
        return ""
    outermost = getattr(task.coro, "cr_frame", None)
    frame = sys._getframe(1)
    while frame is not outermost and frame.f_back is not None and _is_plumbing(frame.f_globals):
        frame = frame.f_back
    if _is_plumbing(frame.f_globals):
        return ""
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _is_plumbing(names: dict[str, object]) -> bool:
    return str(names.get("__name__", "")).partition(".")[0] in _PLUMBING


def _clip(text: str) -> str:
    if len(text) <= _MOST:
        return text
    # The last words are the first cause.
    half = (_MOST - 3) // 2
    return f"{text[:half]} … {text[-half:]}"

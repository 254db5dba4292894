"""Errors that a cancellation has hidden: raised, on their way out, and replaced by `trio.Cancelled` at a checkpoint.

    try:
        raise OSError
    finally:
        await trio.sleep(1)  # cancelled here: Cancelled leaves, and OSError is only its `__context__`

An error that a program had caught looks the same:

    except OSError:
        await trio.sleep(1)  # before it tries again; there is no error

Only the code of the handler tells the two apart: whether it would have raised again, had it come to its end.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FrameType

import trio


def find_masked(exc: BaseException) -> BaseException | None:
    """Return the error that `exc`, a cancellation or a group of nothing else, has hidden; of several a group.

    An interrupt or `SystemExit` counts as an error.
    None where there is none, and where something in `exc` is no cancellation: then that is the error.
    """
    found: list[BaseException] = []
    for leaf in _leaves(exc):
        if not isinstance(leaf, trio.Cancelled):
            return None
        masked = _behind(leaf)
        if masked is not None and masked not in found:
            found.append(masked)
    if len(found) > 1:
        return BaseExceptionGroup("hidden by a cancellation", found)
    return found[0] if found else None


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def _behind(cancelled: BaseException) -> BaseException | None:
    """Return the error that was on its way out when `cancelled` was raised."""
    seen = {id(cancelled)}
    caught_in: set[FrameType] = set()
    frames = set(_frames(cancelled))
    exc = cancelled.__context__
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if not _has_met(exc, frames):
            return None
        error = _without_cancellations(exc)
        if error is None:
            # What is behind this one was hidden by it, and not by the later one.
            cancelled = exc
            caught_in.clear()
            frames.update(_frames(exc))
        elif not isinstance(error, GeneratorExit):
            frame = _find_catcher(exc)
            place = _find_place(cancelled, frame)
            if frame is None or (place is None and not caught_in):
                # Nothing says that it was caught.
                return error
            if place is not None and frame not in caught_in and _raises_again(frame.f_code, place):
                return error
            caught_in.add(frame)
        exc = exc.__context__
    return None


def _without_cancellations(exc: BaseException) -> BaseException | None:
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)[1]
    return None if isinstance(exc, trio.Cancelled) else exc


def _has_met(exc: BaseException, frames: set[FrameType]) -> bool:
    """Whether a cancellation that came through `frames` took the place of `exc` on its way out, in one of them.

    trio makes a `Cancelled` where the scope is cancelled, which may be in the handler of another task's error.
    """
    if exc.__traceback__ is None:
        return not isinstance(exc, BaseExceptionGroup) or any(
            _has_met(part, frames) for part in exc.exceptions
        )
    return not frames.isdisjoint(_frames(exc))


def _frames(exc: BaseException) -> Iterator[FrameType]:
    tb = exc.__traceback__
    while tb is not None:
        yield tb.tb_frame
        tb = tb.tb_next


def _find_catcher(exc: BaseException) -> FrameType | None:
    """Return the frame as far as which `exc` came; None where that is not known."""
    while exc.__traceback__ is None and isinstance(exc, BaseExceptionGroup):
        # Python 3.13 gives none to the group that it makes for `except*`.
        exc = exc.exceptions[0]
    return None if exc.__traceback__ is None else exc.__traceback__.tb_frame


def _find_place(exc: BaseException, frame: FrameType | None) -> int | None:
    """Return the offset in the code of `frame` where `exc` came through; None where it did not."""
    place, tb = None, exc.__traceback__
    while tb is not None:
        if tb.tb_frame is frame:
            place = tb.tb_lasti
        tb = tb.tb_next
    return place


def _raises_again(code: CodeType, offset: int) -> bool:
    """Whether the handler that `offset` is in raises, on some way from there to its end, had nothing come in between."""
    instructions = list(dis.get_instructions(code))
    index_of = {instruction.offset: index for index, instruction in enumerate(instructions)}
    if offset not in index_of:
        # A tool has rewritten the code; an error too many is better than one that is lost.
        return True
    todo, seen = [index_of[offset]], set[int]()
    while todo:
        index = todo.pop()
        if index in seen:
            continue
        seen.add(index)
        instruction = instructions[index]
        name = instruction.opname
        if name in ("RERAISE", "RAISE_VARARGS"):
            return True
        # `except*` raises at its end what its clauses have not caught; this clause has.
        if name == "POP_EXCEPT" or name.startswith("RETURN_") or "PREP_RERAISE_STAR" in instruction.argrepr:
            continue
        if instruction.jump_target is not None:
            todo.append(index_of[instruction.jump_target])
        if not name.startswith("JUMP_"):
            todo.append(index + 1)
    return False

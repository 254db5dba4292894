"""Errors into boxes and out again, with the origin kept through any number of actors."""

import re
import traceback
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any

import trio

from tractor._errors import ActorFailure, TransportClosed
from tractor.msg._boxed import DIVIDER, Boxed, RemoteActorError, unbox
from tractor.msg._errtypes import wire_name

__all__ = ["pack_error", "shrink_error", "unpack_error"]

#: Most characters of a traceback and of everything else: an error must never be too big to be sent.
_TB_LIMIT = 1_000_000
_TEXT_LIMIT = 64_000
#: The same for each text of what an error is made of, causes and members of a group, and about that of all of them.
_PART_LIMIT, _PARTS_LIMIT = 2_000, 200_000
#: How many of those an error has in all, beside or below one another, and how many notes each of them has.
_PARTS, _WIDTH, _DEPTH, _NOTES = 200, 100, 8, 20
#: Up to how many items of a dict are described one by one.
_FEW = 50
#: The group limits of the traceback module hide what went wrong in larger nurseries.
_NO_LIMIT = 1_000_000
#: Top-level packages whose frames tell a reader nothing about where the program failed.
_PLUMBING = frozenset({"tractor", "trio", "outcome", "contextlib"})
_DIVIDER_LINE = re.compile(rf"^[ |]*{re.escape(DIVIDER)}\n", re.MULTILINE)
#: Facts that have a field of their own, or mean something in one actor only.
_NOT_EXTRA = frozenset({"canceller", "sender", "tb_str", "cid"})

type _Uid = tuple[str, str]


class _Room:
    """How many parts of an error there is still room for."""

    def __init__(self) -> None:
        self._errors = _PARTS
        self._text = _PARTS_LIMIT

    def take(self) -> bool:
        """Take the room for one part, if there is any."""
        self._errors -= 1
        return self._errors >= 0 and self._text >= 0

    def note(self, part: Boxed) -> Boxed:
        """Count what a part says."""
        self._text -= len(part.message) + len(part.tb) + sum(map(len, part.notes))
        return part


def pack_error(
    exc: BaseException,
    uid: _Uid,
    *,
    canceller: _Uid | None = None,
    extra: dict[str, Any] | None = None,
) -> Boxed:
    """Box `exc` to be sent by the actor `uid`.

    A plain `RemoteActorError` that came from another actor is passed on: its origin stays, `uid` is added to
    the path and a few lines to the traceback.  Anything else has its origin here; a `ContextCancelled` or
    `MsgTypeError` that came from elsewhere too, but keeps traceback, canceller and other facts.  Notes, causes and
    the members of a group go along as far as there is room: 200 errors, 8 deep.

    `canceller` stands in for that of `exc`, and `extra` adds to its facts.  Values there that cannot travel
    are sent as their `repr`.  Never raises, whatever the methods of `exc` do.
    """
    received = exc._ipc_msg if isinstance(exc, RemoteActorError) else None
    boxed = _pack(exc, uid, _Room(), _DEPTH, _TEXT_LIMIT)
    return boxed._replace(
        tb=_clip(_traceback(exc, received, uid), _TB_LIMIT),
        canceller=_uid(canceller or boxed.canceller),
        extra=_extra(exc, extra),
    )


def _pack(
    exc: BaseException, uid: _Uid, room: _Room, depth: int, text_limit: int, *, in_chain: bool = False
) -> Boxed:
    """Box `exc` without its traceback and without further facts; without its causes if it is one `in_chain` of them."""
    received = exc._ipc_msg if isinstance(exc, RemoteActorError) else None
    facts = exc.msgdata if isinstance(exc, RemoteActorError) else {}
    name = wire_name(type(exc))
    members, left_out = _pack_parts(_members(exc), uid, room, depth)
    causes, _ = ((), 0) if in_chain else _pack_parts(_causes(exc), uid, room, depth, in_chain=True)
    here = Boxed(
        src_uid=uid,
        src_type=name,
        boxed_type=name,
        relay_path=(uid,),
        message=_clip(_message(exc), text_limit),
        tb="",
        canceller=_uid(facts.get("canceller")),
        sender=_uid(received.sender if received is not None else facts.get("sender")),
        notes=(*_notes(exc), *([f"[… {left_out} more errors left out …]"] if left_out else [])),
        causes=causes,
        members=members,
    )
    if received is None:
        return here
    here = here._replace(
        notes=(*received.notes, *here.notes),
        causes=(*_trim(received.causes, room, depth), *causes),
        members=_trim(received.members, room, depth),
    )
    if type(exc) is not RemoteActorError:
        return here
    return here._replace(
        src_uid=received.src_uid, src_type=received.src_type, relay_path=(*received.relay_path, uid)
    )


def _pack_parts(
    parts: Iterable[BaseException], uid: _Uid, room: _Room, depth: int, *, in_chain: bool = False
) -> tuple[tuple[Boxed, ...], int]:
    """Box parts of an error; return how many were left out, too."""
    found = list(parts)
    packed: list[Boxed] = []
    while depth > 0 and len(packed) < min(len(found), _WIDTH) and room.take():
        part = _pack(found[len(packed)], uid, room, depth - 1, _PART_LIMIT, in_chain=in_chain)
        packed.append(room.note(part))
    return tuple(packed), len(found) - len(packed)


def _members(exc: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(exc, BaseExceptionGroup):
        return ()
    # Not by way of attributes, which a subclass may have redefined.
    found: tuple[BaseException, ...] = BaseExceptionGroup.exceptions.__get__(exc)
    return found


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield what a traceback would show above `exc`, the nearest first; a cancellation is no cause."""
    seen = {id(exc)}
    while True:
        before = exc.__cause__
        if before is None and not exc.__suppress_context__:
            before = exc.__context__
        if before is None or id(before) in seen:
            return
        seen.add(id(before))
        exc = before
        if not isinstance(exc, trio.Cancelled):
            yield exc


def _notes(exc: BaseException) -> list[str]:
    notes: list[str] = []
    # There may be none, and they may be anything.
    with suppress(Exception):
        notes.extend(_clip(str(note), _PART_LIMIT) for note in list(exc.__notes__)[:_NOTES])
    return notes


def _trim(boxes: tuple[Boxed, ...], room: _Room, depth: int) -> tuple[Boxed, ...]:
    """Return what there is room for of parts that have come from another actor."""
    kept: list[Boxed] = []
    while depth > 0 and len(kept) < min(len(boxes), _WIDTH) and room.take():
        boxed = _tuples(boxes[len(kept)])
        boxed = room.note(
            boxed._replace(
                message=_clip(boxed.message, _PART_LIMIT),
                tb=_clip(boxed.tb, _PART_LIMIT),
                extra=None,
                notes=tuple(_clip(note, _PART_LIMIT) for note in boxed.notes[:_NOTES]),
            )
        )
        kept.append(
            boxed._replace(
                causes=_trim(boxed.causes, room, depth - 1), members=_trim(boxed.members, room, depth - 1)
            )
        )
    return tuple(kept)


def shrink_error(boxed: Boxed, size: int) -> Boxed:
    """Return the same report in at most about `size` bytes: texts are cut, further facts left out."""
    room = size // 16
    return boxed._replace(
        message=_clip(boxed.message, room),
        tb=_clip(boxed.tb, room),
        extra=None,
        notes=(),
        causes=(),
        members=(),
    )


def unpack_error(boxed: Boxed, *, sender: _Uid | None = None, cid: Any = None) -> RemoteActorError:
    """Return the error in the box: `ContextCancelled`, `MsgTypeError` or a plain `RemoteActorError`.

    `sender` is the actor it came from, for errors that name no other, and `cid` the dialog it came on.
    """
    boxed, room = _tuples(boxed), _Room()
    if boxed.causes or boxed.members:
        boxed = boxed._replace(
            members=_trim(boxed.members, room, _DEPTH), causes=_trim(boxed.causes, room, _DEPTH)
        )
    exc = unbox(boxed)
    exc._extra_msgdata |= {"sender": sender, "cid": cid}
    return exc


def _tuples(boxed: Boxed) -> Boxed:
    """Return the box with its uids and notes as tuples: some codecs deliver lists."""
    return boxed._replace(
        src_uid=_uid(boxed.src_uid),
        relay_path=tuple(map(_uid, boxed.relay_path)) or (_uid(boxed.src_uid),),
        canceller=_uid(boxed.canceller),
        sender=_uid(boxed.sender),
        notes=tuple(boxed.notes),
    )


def _message(exc: BaseException) -> str:
    """Return what the error says, even if its `__str__` fails."""
    try:
        return str(exc.message if isinstance(exc, RemoteActorError) else exc)
    except Exception as failure:  # noqa: BLE001 (somebody else's __str__)
        return f"<its str() raised {type(failure).__name__}>"


def _traceback(exc: BaseException, received: Boxed | None, uid: _Uid) -> str:
    """Return the traceback text of `exc`: our own, or the one that came and our part in passing it on."""
    try:
        if received is None:
            return _local_traceback(exc)
        head = received.tb.rstrip("\n")
        return f"{head}\n{_relay_report(exc, received.relay_path[-1], uid)}"
    except Exception as failure:  # noqa: BLE001 (somebody else's attributes)
        return f"{type(exc).__name__}: {_message(exc)}\n(formatting it raised {type(failure).__name__})\n"


def _local_traceback(exc: BaseException) -> str:
    """Return the traceback text of `exc` with causes, notes and every member of every group.

    The runtime's own frames above the program's are left out, and the dividers around tracebacks inside this
    one, which would otherwise nest.
    """
    tb = exc.__traceback__
    while tb is not None and _is_plumbing(tb):
        tb = tb.tb_next
    report = traceback.TracebackException(
        type(exc),
        exc,
        tb or exc.__traceback__,
        max_group_width=_NO_LIMIT,
        max_group_depth=_NO_LIMIT,
    )
    return _DIVIDER_LINE.sub("", "".join(report.format()))


def _relay_report(exc: BaseException, origin: _Uid, uid: _Uid) -> str:
    """Return a few lines: who passed the error on, where in the program it did, and what it added."""
    text = f"relayed from {origin!r} by {uid!r}:\n"
    tb, deepest = exc.__traceback__, None
    while tb is not None:
        if not _is_plumbing(tb):
            deepest = tb
        tb = tb.tb_next
    if deepest is not None:
        text += "".join(traceback.format_tb(deepest, limit=1))
    if exc.__cause__ is not None:
        text += f"  raised there from {type(exc.__cause__).__name__}: {_message(exc.__cause__)}\n"
    for note in getattr(exc, "__notes__", ()):
        text += "".join(f"  {line}\n" for line in str(note).splitlines())
    return text


def _is_plumbing(tb: TracebackType) -> bool:
    return str(tb.tb_frame.f_globals.get("__name__", "")).partition(".")[0] in _PLUMBING


def _clip(text: str, limit: int) -> str:
    """Return text that can be written as UTF-8, its middle left out where it is too long."""
    if len(text) > limit:
        half = limit // 2
        text = f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def _uid(value: Any) -> Any:
    return None if value is None else tuple(value)


def _extra(exc: BaseException, extra: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the facts that have no field of their own, as values that can travel."""
    known: dict[str, Any] = {}
    if isinstance(exc, RemoteActorError):
        known = exc._extra_msgdata
    elif isinstance(exc, ActorFailure):
        known = {"name": exc.name, "where": exc.where, "exit": exc.exit and str(exc.exit)}
    elif isinstance(exc, TransportClosed):
        known = {"peer": exc.peer, "exit": exc.exit and str(exc.exit)}
    facts = {**{name: value for name, value in known.items() if name not in _NOT_EXTRA}, **(extra or {})}
    return {_clip(str(name), _TEXT_LIMIT): _sendable(value) for name, value in facts.items()} or None


def _sendable(value: Any) -> Any:
    """Return a plain value of bearable size unchanged, and of anything else a description.

    Of a small dict it is the values that are described, where they need be.
    """
    try:
        if _cost(value) <= _TEXT_LIMIT:
            return value
        if isinstance(value, type):
            return value.__qualname__
        if type(value) is dict and len(value) <= _FEW:
            return {_clip(str(key), _TEXT_LIMIT): _sendable(item) for key, item in value.items()}
        return _clip(str(value) if isinstance(value, str) else repr(value), _TEXT_LIMIT)
    except Exception:  # noqa: BLE001 (somebody else's __repr__, or a value that contains itself)
        return object.__repr__(value)


def _cost(value: Any) -> float:
    """Return about how many bytes a value takes, infinitely many if not every codec can carry it."""
    kind, cost = type(value), float("inf")
    if value is None or kind is bool or kind is float or (kind is int and -(2**63) <= value < 2**63):
        cost = 1
    elif kind is bytes or (kind is str and _clip(value, len(value)) == value):
        cost = len(value)
    elif kind is list or kind is tuple:
        cost = 1 + sum(map(_cost, value))
    elif kind is dict and all(type(key) is str for key in value):
        cost = 1 + sum(_cost(key) + _cost(item) for key, item in value.items())
    return cost

"""Objects to the plain values that arrive in their place, without bytes in between: what msgspec does in C, in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from types import MemberDescriptorType, NoneType
from typing import Any

from tractor.msg._laden import BIG

__all__ = ["PATIENCE", "find_rule", "is_plain", "plainer"]

type _Rule = Callable[[Any], Any]

#: How often a hook may be asked about its own answers before they are taken to have no end.
PATIENCE = 1_000

#: These arrive as they are, whatever their value.
_ALWAYS = frozenset({NoneType, bool, float})
_LEAST, _MOST = -(2**63), 2**64 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def plainer(enc_hook: _Rule | None, extension: type, timestamp: type) -> _Rule:
    """Return a function that gives back plain values as they are, and others as what msgpack would make of them.

    `extension`, `timestamp`: the two types of objects that msgpack has for its own.
    """

    def convert(obj: Any) -> Any:
        for _ in range(PATIENCE):
            kind: Any = type(obj)
            if kind is list:
                return [convert(item) for item in obj]
            if kind is dict:
                return {_frozen(convert(key)): convert(item) for key, item in obj.items()}
            if kind in _ALWAYS or kind is bytes or kind is extension:
                return obj
            if kind in _NATIVE:
                return _NATIVE[kind](obj)
            if kind is timestamp:
                return obj.to_datetime()
            if kind is datetime and obj.tzinfo is not None:
                return _EPOCH + (obj - _EPOCH)
            rule = datetime.isoformat if kind is datetime else find_rule(kind) or enc_hook
            if rule is None:
                raise TypeError(f"Encoding objects of type {kind.__name__} is unsupported")
            obj = rule(obj)
        raise RecursionError("a hook answers with what it was asked about")

    def plain(obj: Any) -> Any:
        if isinstance(obj, tuple) and type(obj) is not extension:
            # The runtime's own messages, which are of plain values nearly always.
            return [item if is_plain((item,)) else convert(item) for item in obj]
        return obj if is_plain((obj,)) else convert(obj)

    return plain


def is_plain(items: Iterable[Any]) -> bool:
    """Whether all of them arrive as they are, and have no big buffers in them. Every item of a stream is asked."""
    for item in items:
        kind = type(item)
        if kind is str:
            # Text that is not ASCII may have half a character in it, which is seen in `_text`.
            if not (item.isascii() or _is_text(item)):
                return False
        elif kind is int:
            if not _LEAST <= item <= _MOST:
                return False
        elif kind is dict:
            if not (_are_keys(item) and is_plain(item.values())):
                return False
        elif kind is list:
            if not is_plain(item):
                return False
        elif kind not in _ALWAYS and (kind is not bytes or len(item) >= BIG):
            return False
    return True


def _are_keys(keys: Iterable[Any]) -> bool:
    for key in keys:
        if type(key) is tuple:
            if not _are_keys(key):
                return False
        elif not (type(key) is str and key.isascii()) and not is_plain((key,)):
            return False
    return True


def _frozen(key: Any) -> Any:
    return tuple(map(_frozen, key)) if type(key) is list else key


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(text: str) -> str:
    text.encode()
    return text


def _integer(number: int) -> int:
    if _LEAST <= number <= _MOST:
        return number
    raise OverflowError("Integer value out of range")


def _view(view: memoryview) -> bytes:
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return bytes(view)


_NATIVE: dict[Any, _Rule] = {str: _text, int: _integer, bytearray: bytes, memoryview: _view}


@lru_cache(maxsize=512)
def find_rule(kind: Any) -> _Rule | None:
    """Return what turns an object of that type into a plainer one, None if nothing does."""
    from tractor.msg._texts import WRITERS

    if issubclass(kind, Enum):
        return attrgetter("value")
    if kind in WRITERS:
        found: _Rule = WRITERS[kind]
        return found
    if issubclass(kind, list | tuple | set | frozenset):
        return list
    if issubclass(kind, dict):
        return dict
    names = _field_names(kind)
    if names is None:
        return None
    # A field may have been deleted, or never been set.
    return lambda obj: {name: getattr(obj, name) for name in names if _has(obj, name)}


def _field_names(kind: Any) -> tuple[str, ...] | None:
    if hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields

        return tuple(field.name for field in fields(kind))
    if hasattr(kind, "__attrs_attrs__"):
        # The others are private to such a class, and msgspec leaves them out, too.
        return tuple(field.name for field in kind.__attrs_attrs__ if not field.name.startswith("_"))
    return None


def _has(obj: Any, name: str) -> bool:
    """Whether the object itself has the attribute: that of the class is a default."""
    if name in getattr(obj, "__dict__", ()):
        return True
    return isinstance(getattr(type(obj), name, None), MemberDescriptorType) and hasattr(obj, name)

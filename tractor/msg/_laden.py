"""Messages with big buffers that stay where they are: what is written of such a message, and what lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import NoneType
from typing import Any, Self

__all__ = ["BIG", "Laden", "is_laden", "unload"]

#: Bytes from which on a buffer is not written into a message.
BIG = 64 * 1024
_BUFFERS = frozenset({bytes, bytearray, memoryview})
_SCALARS = frozenset({NoneType, bool, int, float, str})
_LISTS = (list, tuple)


class Laden(bytes):
    """A message beside which buffers travel. Its length is what all of it weighs, as limits and windows have to count it."""

    #: What is beside it, in the order in which the message numbers them; each is of single bytes and never changes.
    buffers: list[memoryview]
    weight: int

    def __new__(cls, message: bytes, buffers: list[memoryview]) -> Self:
        """`message`: without what is beside it."""
        self = super().__new__(cls, message)
        self.buffers = buffers
        self.weight = len(message) + sum(map(len, buffers))
        return self

    def __len__(self) -> int:
        return self.weight


def is_laden(items: Iterable[Any]) -> bool:
    """Whether there is a big buffer among these values or in their lists, tuples and dicts. Every message is asked."""
    for item in items:
        kind = type(item)
        if kind in _SCALARS:
            continue
        if kind in _BUFFERS:
            if (item.nbytes if kind is memoryview else len(item)) >= BIG:
                return True
        elif kind is dict:
            if is_laden(item.values()):
                return True
        elif isinstance(item, _LISTS) and is_laden(item):
            return True
    return False


def unload(value: Any, buffers: list[memoryview], mark: Callable[[int], Any]) -> Any:
    """Return the value with what `mark` makes of a number in place of each big buffer, and add those to `buffers`."""
    kind = type(value)
    if kind in _BUFFERS:
        view = _still(value)
        if view is None:
            return value
        buffers.append(view)
        return mark(len(buffers) - 1)
    if kind is dict:
        return {key: unload(item, buffers, mark) for key, item in value.items()}
    if kind is list or (isinstance(value, tuple) and is_laden(value)):
        return [unload(item, buffers, mark) for item in value]
    return value


def _still(value: Any) -> memoryview | None:
    """Return a view of a big buffer that nobody will change: of a copy, where somebody could. None for another one."""
    view = memoryview(value)
    if view.nbytes < BIG or not view.c_contiguous:
        return None
    if type(view.obj) is not bytes:
        view = memoryview(bytes(view))
    # Always one that nobody else has, so that its end is the end of a loan.
    return view.cast("B")

"""marshal, for links inside one process; loaded when the first of these is made.

It is in C in every interpreter, and quicker than anything else where msgspec does not load. It knows more types than
msgpack does, and fewer, so what it is given is what msgpack would have delivered: the same values arrive, and the same
are refused. Its bytes are for peers of this very process only: `marshal` trusts what it reads.
"""

from __future__ import annotations

from collections.abc import Buffer, Callable
from datetime import UTC, datetime, timedelta
from marshal import dumps, loads
from typing import Any, Protocol

__all__ = ["Marshal", "Words"]

type _Rule = Callable[[Any], Any]
type _DecHook = Callable[[Any, Any], Any]

#: Without references: a list that is in the value twice arrives as two, and one that contains itself is refused.
_VERSION = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Words(Protocol):
    """What the msgpack of this interpreter knows of values, beside its bytes."""

    def plain(self, enc_hook: _Rule | None, /) -> _Rule:
        """Return a function from objects to the plain values that would arrive in their place."""
        ...

    def typed(self, spec: Any, dec_hook: _DecHook | None, /) -> _Rule:
        """Return a function from plain values to those of type `spec`; `TypeError` for a spec that cannot be checked."""
        ...

    def extension(self, code: int, data: bytes, /) -> Any:
        """Return bytes of an extension as they arrive."""
        ...


class Marshal:
    """marshal for the values of msgpack."""

    name = "marshal"

    def __init__(self, words: Words) -> None:
        self._words = words
        extension = words.extension

        def read(data: Buffer) -> Any:
            value = loads(data, allow_code=False)
            return _restored(value[0], extension) if type(value) is tuple and value else value

        self._read = read

    def encoder(self, enc_hook: _Rule | None, /) -> Callable[[Any], bytes]:
        """Return a function from values to bytes, which asks `enc_hook` for objects it does not know."""
        plain = self._words.plain(enc_hook)

        def encode(obj: Any) -> bytes:
            value = plain(obj)
            try:
                return dumps(value, _VERSION)
            except ValueError:
                return _write_marked(value)

        return encode

    def decoder(self, spec: Any, dec_hook: _DecHook | None, /) -> Callable[[Buffer], Any]:
        """Return a function from bytes to values of type `spec`, which has `dec_hook` make those it does not know."""
        read = self._read
        if spec is Any:
            return read
        typed = self._words.typed(spec, dec_hook)
        return lambda data: typed(read(data))


def _write_marked(value: Any) -> bytes:
    """Write a value with parts that msgpack knows and marshal does not, as a tuple: no other is one."""
    marked = (_marked(value),)
    try:
        return dumps(marked, _VERSION)
    except ValueError as exc:
        # Nothing else is left that it could mean.
        raise RecursionError(str(exc)) from None


def _marked(value: Any) -> Any:
    """Replace times and extensions by types that only marshal has."""
    kind = type(value)
    if kind is list:
        return [_marked(item) for item in value]
    if kind is dict:
        return {_marked(key): _marked(item) for key, item in value.items()}
    if kind is tuple:
        return tuple(map(_marked, value))
    if kind is datetime:
        since = value - _EPOCH
        # Both numbers are exact.
        return complex(since.days * 86_400 + since.seconds, since.microseconds)
    if hasattr(value, "code"):
        return frozenset((value.code, bytes(value.data)))
    return value


def _restored(value: Any, extension: Callable[[int, bytes], Any]) -> Any:
    kind = type(value)
    if kind is list:
        return [_restored(item, extension) for item in value]
    if kind is dict:
        return {_restored(key, extension): _restored(item, extension) for key, item in value.items()}
    if kind is tuple:
        return tuple(_restored(item, extension) for item in value)
    if kind is complex:
        return _EPOCH + timedelta(seconds=int(value.real), microseconds=int(value.imag))
    if kind is frozenset:
        first, second = value
        return extension(second, first) if type(first) is bytes else extension(first, second)
    return value

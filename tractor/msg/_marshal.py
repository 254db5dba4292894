"""marshal, for links inside one process; loaded when the first of these is made.

It is in C in every interpreter, and quicker than anything else where msgspec does not load. It knows more types than
msgpack does, and fewer, so what it is given is what msgpack would have delivered: the same values arrive, and the same
are refused. Its bytes are for peers of this very process only: `marshal` trusts what it reads.
"""

from __future__ import annotations

from collections.abc import Buffer, Callable, Iterable
from datetime import UTC, datetime, timedelta
from marshal import dumps, loads
from typing import Any, Protocol

from tractor.msg._laden import BIG, Laden, is_laden, unload
from tractor.msg._spec import union_members

__all__ = ["Marshal", "Words", "flatten"]

type _Rule = Callable[[Any], Any]
type _DecHook = Callable[[Any, Any], Any]

#: Without references: a list that is in the value twice arrives as two, and one that contains itself is refused.
_VERSION = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The extension that stands for a buffer beside the message; programs have those from 0 on.
_BESIDE = -2


class Words(Protocol):
    """What the msgpack of this interpreter knows of values, beside its bytes."""

    @property
    def arrives_as_it_is(self) -> Callable[[Iterable[Any]], bool] | None:
        """What tells whether values need not be made plain, and have no big buffers in them; None where `plain` is as quick."""

    def plain(self, enc_hook: _Rule | None, /) -> _Rule:
        """Return a function from objects to the plain values that would arrive in their place."""
        ...

    def typed(self, spec: Any, dec_hook: _DecHook | None, /) -> _Rule:
        """Return a function from plain values to those of type `spec`; `TypeError` for a spec that cannot be checked."""
        ...

    def extension(self, code: int, data: bytes, /) -> Any:
        """Return bytes of an extension as they arrive."""
        ...

    def marker(self, code: int, data: bytes, /) -> Any:
        """Return the same for a code that programs do not have, below 0."""
        ...


class Marshal:
    """marshal for the values of msgpack."""

    name = "marshal"

    def __init__(self, words: Words) -> None:
        self._words = words
        extension = words.extension

        def read(data: Buffer) -> Any:
            if type(data) is Laden:
                return _loaded(data, extension, bytes)
            value = loads(data, allow_code=False)
            return _restored(value[0], extension) if type(value) is tuple and value else value

        self._read = read

    def encoder(self, enc_hook: _Rule | None, /) -> Callable[[Any], bytes]:
        """Return a function from values to bytes, which asks `enc_hook` for objects it does not know."""
        plain, arrives_as_it_is = self._words.plain(enc_hook), self._words.arrives_as_it_is

        def encode(obj: Any) -> bytes:
            if arrives_as_it_is is not None and arrives_as_it_is((obj,)):
                value = obj
            elif is_laden((obj,)):
                return self._unload(obj, plain)
            else:
                value = plain(obj)
            try:
                data = dumps(value, _VERSION)
            except ValueError:
                return _write_marked(value)
            # It may have been in an object of another type.
            return data if len(data) < BIG or not is_laden((value,)) else self._unload(value, plain)

        return encode

    def _unload(self, obj: Any, plain: _Rule) -> bytes:
        buffers: list[memoryview] = []
        value = plain(unload(obj, buffers, self._mark))
        # There is none in the end where it cannot be sent as one.
        return Laden(_write_marked(value), buffers) if buffers else dumps(value, _VERSION)

    def _mark(self, number: int) -> Any:
        return self._words.marker(_BESIDE, b"%d" % number)

    def decoder(self, spec: Any, dec_hook: _DecHook | None, /) -> Callable[[Buffer], Any]:
        """Return a function from bytes to values of type `spec`, which has `dec_hook` make those it does not know."""
        read = self._read
        if spec is Any:
            return read
        typed = self._words.typed(spec, dec_hook)
        members = union_members(spec)
        if dec_hook is not None or (bytes not in members and memoryview not in members):
            return lambda data: typed(read(data))
        extension, kind = self._words.extension, memoryview if memoryview in members else bytes

        def read_buffer(data: Buffer) -> Any:
            if type(data) is not Laden:
                return typed(read(data))
            value = _loaded(data, extension, kind)
            # As it is: to check it would be to copy it.
            return value if type(value) is kind else typed(read(data))

        return read_buffer


def flatten(body: Laden) -> bytes:
    """Return the same message with its buffers in it."""
    return dumps(_filled(loads(body, allow_code=False), body.buffers), _VERSION)


def _filled(value: Any, buffers: list[memoryview]) -> Any:
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(_filled(item, buffers) for item in value)
    if kind is dict:
        return {key: _filled(item, buffers) for key, item in value.items()}
    if kind is frozenset and _BESIDE in value:
        (number,) = value - {_BESIDE}
        return bytes(buffers[int(number)])
    return value


def _loaded(body: Laden, extension: Callable[[int, bytes], Any], kind: Any) -> Any:
    """Read a message, and make a `kind` of each buffer beside it."""
    value = loads(body, allow_code=False)
    return _restored(value[0], _take_in(body.buffers, kind, extension))


def _take_in(
    buffers: list[memoryview], kind: Any, extension: Callable[[int, bytes], Any]
) -> Callable[[int, bytes], Any]:
    def make(code: int, data: bytes) -> Any:
        if code != _BESIDE:
            return extension(code, data)
        view = buffers[int(data)]
        return view if kind is memoryview else kind(view)

    return make


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

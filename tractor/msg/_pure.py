"""msgpack in pure Python, for interpreters in which msgspec does not load; nobody else pays for it.

The bytes are the same and the same values arrive.  Not the same: it is some forty times slower, lists may nest some
hundred levels only, bytes of an extension arrive as `msgpack.ExtType`, and dataclasses are made by their `__init__`.
"""

from __future__ import annotations

import sys
from collections.abc import Buffer, Callable
from datetime import UTC, datetime
from types import NoneType
from typing import Any

from tractor.msg._plain import PATIENCE, find_rule, is_plain, plainer

__all__ = ["Pure"]

type _Decode = Callable[[Buffer], Any]
type _Encode = Callable[[Any], bytes]
type _Rule = Callable[[Any], Any]

#: Largest message, in bytes, after which the object that has read it is used again: it keeps the memory.
_KEEP = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Pure:
    """msgpack by `msgpack.fallback`, specs checked by `tractor.msg._strict`."""

    name = "msgpack"
    arrives_as_it_is = staticmethod(is_plain)

    def __init__(self) -> None:
        # The C part is not even tried: none that claims to load in such an interpreter must be there by surprise.
        modules: dict[str, Any] = sys.modules
        modules.setdefault("msgpack._cmsgpack", None)
        from msgpack import fallback

        self._packer = fallback.Packer
        self._unpack = _reader(fallback.Unpacker)

    def encoder(self, enc_hook: _Rule | None, /) -> _Encode:
        """Return a function from values to bytes, which asks `enc_hook` for objects it does not know."""
        new, default = self._packer, _default(enc_hook)
        # One for each call that is under way: a hook may encode, too, and so may threads.
        idle: list[Any] = []

        def encode(obj: Any) -> bytes:
            try:
                packer = idle.pop()
            except IndexError:
                packer = new(default=default, strict_types=True)
            try:
                data: bytes = packer.pack(obj)
            except ValueError as exc:
                if str(exc) == "recursion limit exceeded":
                    raise RecursionError(str(exc)) from None
                raise
            idle.append(packer)
            return data

        return encode

    def decoder(self, spec: Any, dec_hook: Callable[[Any, Any], Any] | None, /) -> _Decode:
        """Return a function from bytes to values of type `spec`, which has `dec_hook` make those it does not know."""
        unpack = self._unpack
        if spec is Any:
            return unpack
        from tractor.msg._strict import checker

        check = checker(spec, dec_hook)
        return lambda data: check(unpack(data))

    # For links on which other bytes are spoken; see `tractor.msg._marshal`.

    def plain(self, enc_hook: _Rule | None, /) -> _Rule:
        """Return a function from objects to the plain values that would arrive in their place."""
        from msgpack import ExtType, Timestamp

        return plainer(enc_hook, ExtType, Timestamp)

    def typed(self, spec: Any, dec_hook: Callable[[Any, Any], Any] | None, /) -> _Rule:
        """Return a function from plain values to those of type `spec`."""
        from tractor.msg._strict import checker

        return checker(spec, dec_hook)

    def extension(self, code: int, data: bytes, /) -> Any:
        """Return bytes of an extension as they arrive."""
        from msgpack import ExtType

        return ExtType(code, data)

    def marker(self, code: int, data: bytes, /) -> Any:
        """Return the same for a code that programs do not have, below 0."""
        from msgpack import ExtType

        # Past its constructor, which checks that.
        return tuple.__new__(ExtType, (code, data))


def _reader(new: Any) -> _Decode:
    """Return a function from bytes to what is in them."""
    from msgpack.exceptions import FormatError, OutOfData, StackError

    options = {"strict_map_key": False, "timestamp": 3, "max_buffer_size": 2**40}
    idle: list[Any] = []

    def read(unpacker: Any, data: Any) -> Any:
        begin = unpacker.tell()
        unpacker.feed(data)
        try:
            value = unpacker.unpack()
        except OutOfData:
            raise ValueError("Input data was truncated") from None
        except FormatError as exc:
            raise ValueError(f"MessagePack data is malformed: invalid opcode ({exc})") from None
        except StackError:
            raise RecursionError("nested too deeply") from None
        if unpacker.tell() - begin != len(data):
            raise ValueError("MessagePack data is malformed: trailing characters")
        return value

    def unpack(data: Any) -> Any:
        try:
            unpacker = idle.pop()
        except IndexError:
            unpacker = new(**options)
        # What has failed is left in an unknown state, and not used again.
        try:
            value = read(unpacker, data)
        except TypeError:
            # A list as a key, which is to be a tuple, and costs all other messages nothing.
            return read(new(object_pairs_hook=_with_tuples, **options), data)
        if len(data) <= _KEEP:
            idle.append(unpacker)
        return value

    return unpack


def _with_tuples(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    try:
        return {_frozen(key): value for key, value in pairs}
    except TypeError:
        raise ValueError("MessagePack data is malformed: map keys must be hashable") from None


def _frozen(key: Any) -> Any:
    return tuple(map(_frozen, key)) if type(key) is list else key


def _default(enc_hook: _Rule | None) -> _Rule:
    """Return a function that turns what the packer does not know into what it does."""
    from msgpack import ExtType, Timestamp

    native = {NoneType, bool, float, str, bytes, bytearray, memoryview, list, dict, Timestamp, ExtType}

    def default(obj: Any) -> Any:
        for _ in range(PATIENCE):
            kind: Any = type(obj)
            if kind in native:
                return obj
            if kind is int:
                if -(2**63) <= obj < 2**64:
                    return obj
                raise OverflowError("Integer value out of range")
            if kind is datetime:
                if obj.tzinfo is None:
                    return obj.isoformat()
                # Not by its `from_datetime()`, which has lost microseconds in older releases.
                since = obj - _EPOCH
                return Timestamp(since.days * 86_400 + since.seconds, since.microseconds * 1_000)
            rule = find_rule(kind) or enc_hook
            if rule is None:
                raise TypeError(f"Encoding objects of type {kind.__name__} is unsupported")
            obj = rule(obj)
        raise RecursionError("a hook answers with what it was asked about")

    return default

"""Objects to bytes and back, and the only module that imports msgspec: on first use.

Every codec carries the same values: what msgpack knows.  Tuples and sets arrive as lists unless the
receiver's spec says otherwise, integers go from -2**63 to 2**64 - 1, and anything else is refused with the
place and a way out.  A spec is a type as in annotations; what does not match it is a `DecodeError`.
"""

import reprlib
from collections.abc import Buffer, Callable, Iterator
from functools import cache
from typing import Any, Protocol

__all__ = ["Codec", "DecodeError", "get_codec"]

type Decode = Callable[[Buffer], Any]
type Encode = Callable[[Any], bytes]

#: Decoders kept per codec.  Programs have a handful of specs; those that make up new ones must not leak.
_CACHE_LIMIT = 512
#: How deep to look for the culprit of a failed encode.
_MAX_DEPTH = 64
_SENDABLE = "None, bool, int, float, str, bytes, list, tuple, dict"


class DecodeError(ValueError):
    """The bytes are not valid for their codec, or the value does not match the spec."""


class Codec(Protocol):
    """A way to write values as bytes."""

    name: str

    def encode(self, obj: Any, /) -> bytes:
        """Return `obj` as bytes.

        Raises `TypeError` for a type that cannot be sent, `OverflowError` for an integer that does not fit
        and `ValueError` for text or nesting that cannot be written; each names the place and what to do.
        """
        ...

    def decoder(self, spec: Any = Any, /) -> Decode:
        """Return a function from bytes to a value of type `spec`, which raises nothing but `DecodeError`.

        Cached per spec where the spec is hashable.  `TypeError` for a spec the codec cannot check.
        """
        ...


class _Msgpack:
    """msgpack by msgspec."""

    name = "msgpack"

    def __init__(self) -> None:
        # Costly to import, and it refuses to load in isolated interpreters.
        from msgspec import msgpack

        self._encode: Encode = msgpack.Encoder().encode
        self._new_decoder = msgpack.Decoder
        self._decoders: dict[Any, Decode] = {}

    def encode(self, obj: Any, /) -> bytes:
        try:
            return self._encode(obj)
        except Exception as exc:  # noqa: BLE001 (raised again, in our words)
            raise _refusal(self._encode, obj, exc) from None

    def decoder(self, spec: Any = Any, /) -> Decode:
        try:
            found = self._decoders.get(spec)
        except TypeError:
            return _guarded(self._new_decoder(spec).decode)
        if found is None:
            found = _guarded(self._new_decoder(spec).decode)
            if len(self._decoders) >= _CACHE_LIMIT:
                self._decoders.clear()
            self._decoders[spec] = found
        return found


def _guarded(raw: Decode) -> Decode:
    """Wrap a decode function so that it raises only `DecodeError`."""

    def decode(data: Buffer) -> Any:
        # Besides its own error msgspec lets through what bad text (UnicodeDecodeError), deep nesting
        # (RecursionError) and the `__post_init__` of a spec raise.
        try:
            return raw(data)
        except Exception as exc:
            raise DecodeError(str(exc) or type(exc).__name__) from exc

    return decode


def _refusal(raw: Encode, obj: Any, exc: Exception) -> Exception:
    """Say why `raw` refuses `obj`, in terms of the part it refuses."""
    if isinstance(exc, RecursionError):
        return ValueError("cannot send this object: it contains itself or is nested too deeply")
    path, part = _culprit(raw, obj)
    where = f" (at {path.lstrip()})" if path else ""
    kind = type(part).__name__
    if isinstance(exc, UnicodeEncodeError):
        hint = "send bytes instead, for file names those of os.fsencode()"
        return ValueError(f"cannot send text with lone surrogates{where}: {reprlib.repr(part)}; {hint}")
    if isinstance(exc, OverflowError):
        size = f"of {part.bit_length()} bits" if isinstance(part, int) else "of that size"
        hint = "integers go from -2**63 to 2**64 - 1; send it as str or bytes"
        return OverflowError(f"cannot send an integer {size}{where}; {hint}")
    for base in (str, int, float):
        if isinstance(part, base):
            hint = f"subclasses of {base.__name__} are not sent as such, convert it first: {base.__name__}(…)"
            return TypeError(f"cannot send an object of type {kind!r}{where}; {hint}")
    reason = "" if isinstance(exc, TypeError) else f": {exc}"
    hint = f"send msgpack types ({_SENDABLE}) or convert it first"
    return TypeError(f"cannot send an object of type {kind!r}{where}{reason}; {hint}")


def _culprit(raw: Encode, obj: Any) -> tuple[str, Any]:
    """Return the path to the innermost part of `obj` that `raw` refuses, and that part."""
    path = ""
    for _ in range(_MAX_DEPTH):
        for step, part in _parts(obj):
            if not _encodes(raw, part):
                path, obj = path + step, part
                break
        else:
            break
    return path, obj


def _encodes(raw: Encode, obj: Any) -> bool:
    try:
        raw(obj)
    except Exception:  # noqa: BLE001 (whatever it is, it is refused)
        return False
    return True


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    """Yield what `obj` is made of, each with the text that leads there."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            name = _short(key)
            yield f" key {name}", key
            yield f"[{name}]", value
        return
    names = getattr(obj, "_fields", None) or getattr(obj, "__struct_fields__", None)
    names = names or getattr(obj, "__dataclass_fields__", ())
    if names and not isinstance(obj, type):
        for name in names:
            yield f".{name}", getattr(obj, name, None)
    elif isinstance(obj, list | tuple | set | frozenset):
        for index, item in enumerate(obj):
            yield f"[{index}]", item


def _short(key: Any) -> str:
    try:
        return reprlib.repr(key)
    except ValueError:
        # An integer of more digits than Python writes out.
        return f"<{type(key).__name__}>"


_CODECS: dict[str, Callable[[], Codec]] = {"msgpack": _Msgpack}


def get_codec(name: str = "msgpack") -> Codec:
    """Return the codec of that name, always the same object; `ValueError` if there is none."""
    if name not in _CODECS:
        raise ValueError(f"no codec named {name!r}; there are: {', '.join(_CODECS)}")
    return _the_codec(name)


@cache
def _the_codec(name: str) -> Codec:
    return _CODECS[name]()

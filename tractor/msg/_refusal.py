"""Why an object cannot be sent, in terms of the part that cannot. Loaded when the first one is refused."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["explain"]

#: How deep to look for the culprit of a failed encode.
_MAX_DEPTH = 64
_SENDABLE = "None, bool, int, float, str, bytes, list, tuple, dict"

type _Encode = Callable[[Any], bytes]


def explain(raw: _Encode, obj: Any, exc: Exception) -> Exception:
    """Return the error for `obj`, which `raw` has refused with `exc`."""
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
    reason = "" if isinstance(exc, TypeError | NotImplementedError) else f": {exc}"
    hint = f"send msgpack types ({_SENDABLE}), convert it first, or give an `enc_hook`"
    return TypeError(f"cannot send an object of type {kind!r}{where}{reason}; {hint}")


def _culprit(raw: _Encode, obj: Any) -> tuple[str, Any]:
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


def _encodes(raw: _Encode, obj: Any) -> bool:
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

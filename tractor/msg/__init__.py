"""What a payload may be: codecs, payload types, boxed errors and pointers to functions.

Each public name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractor._ids import Aid
    from tractor.msg._boxed import Boxed as Error
    from tractor.msg._codec import DecodeError
    from tractor.msg._exts import (
        TypeCodec,
        dec_type_union,
        enc_type_union,
        mk_codec_hooks,
        mk_msgspec_table,
        pformat_msgspec,
    )
    from tractor.msg._messages import PayloadMsg, Return, Started, Stop, Yield
    from tractor.msg._payloads import (
        MsgCodec,
        MsgDec,
        PldRx,
        apply_codec,
        current_codec,
        limit_plds,
        maybe_limit_plds,
        mk_codec,
        mk_dec,
    )
    from tractor.msg._ptr import NamespacePath
    from tractor.msg._spec import pformat_spec, unpack_spec_types
    from tractor.msg._struct import DiffDump, Struct, iter_fields, iter_struct_ppfmt_lines
    from tractor.msg._types import SpawnSpec, Start

#: Where each public name lives, and what it is called there if not the same.
_HOME = {
    "Aid": "_ids",
    "DecodeError": "msg._codec",
    "DiffDump": "msg._struct",
    "Error": "msg._boxed:Boxed",
    "MsgCodec": "msg._payloads",
    "MsgDec": "msg._payloads",
    "NamespacePath": "msg._ptr",
    "PayloadMsg": "msg._messages",
    "PldRx": "msg._payloads",
    "Return": "msg._messages",
    "SpawnSpec": "msg._types",
    "Start": "msg._types",
    "Started": "msg._messages",
    "Stop": "msg._messages",
    "Struct": "msg._struct",
    "TypeCodec": "msg._exts",
    "Yield": "msg._messages",
    "apply_codec": "msg._payloads",
    "current_codec": "msg._payloads",
    "dec_type_union": "msg._exts",
    "enc_type_union": "msg._exts",
    "iter_fields": "msg._struct",
    "iter_struct_ppfmt_lines": "msg._struct",
    "limit_plds": "msg._payloads",
    "maybe_limit_plds": "msg._payloads",
    "mk_codec": "msg._payloads",
    "mk_codec_hooks": "msg._exts",
    "mk_dec": "msg._payloads",
    "mk_msgspec_table": "msg._exts",
    "pformat_msgspec": "msg._exts",
    "pformat_spec": "msg._spec",
    "unpack_spec_types": "msg._spec",
}

__all__ = [
    "Aid",
    "DecodeError",
    "DiffDump",
    "Error",
    "MsgCodec",
    "MsgDec",
    "NamespacePath",
    "PayloadMsg",
    "PldRx",
    "Return",
    "SpawnSpec",
    "Start",
    "Started",
    "Stop",
    "Struct",
    "TypeCodec",
    "Yield",
    "apply_codec",
    "current_codec",
    "dec_type_union",
    "enc_type_union",
    "iter_fields",
    "iter_struct_ppfmt_lines",
    "limit_plds",
    "maybe_limit_plds",
    "mk_codec",
    "mk_codec_hooks",
    "mk_dec",
    "mk_msgspec_table",
    "pformat_msgspec",
    "pformat_spec",
    "unpack_spec_types",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'tractor.msg' has no attribute {name!r}")
    # An interrupt that lands in an import may be lost there; this one may run in the middle of a program.
    from trio.lowlevel import enable_ki_protection

    value = globals()[name] = enable_ki_protection(_load)(name)
    return value


def _load(name: str) -> Any:
    module, _, other = _HOME[name].partition(":")
    return getattr(import_module(f"tractor.{module}"), other or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

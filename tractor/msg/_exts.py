"""Types that no codec knows: what turns them into values that travel and back, and names for types."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from types import ModuleType, NoneType, SimpleNamespace
from typing import Any, Protocol, Union

from tractor.msg._codec import DecHook, EncHook
from tractor.msg._messages import Return, Started, Yield
from tractor.msg._payloads import MsgCodec, MsgDec
from tractor.msg._spec import pformat_spec, union_members

__all__ = [
    "TypeCodec",
    "dec_type_union",
    "enc_type_union",
    "mk_codec_hooks",
    "mk_msgspec_table",
    "pformat_msgspec",
]


class TypeCodec(Protocol):
    """How objects of one type travel."""

    @property
    def src_type(self) -> type:
        """The type in programs."""
        ...

    @property
    def wire_type(self) -> type:
        """The type of what travels in its place; one that every codec knows."""
        ...

    def encode(self, obj: Any, /) -> Any:
        """Return what travels in place of an object of `src_type`."""
        ...

    def decode(self, obj: Any, /) -> Any:
        """Return the object of `src_type` for what has travelled, which is of `wire_type`; raise if there is none."""
        ...


def mk_codec_hooks(type_codecs: Iterable[TypeCodec]) -> tuple[EncHook, DecHook]:
    """Return an `enc_hook` and a `dec_hook` for all types of the given codecs.

    Subclasses of a `src_type` travel as that type, where no codec is nearer. The hooks raise `NotImplementedError`
    for types they do not know, and `TypeError` for what has arrived and is not of the `wire_type`.
    """
    by_type = {codec.src_type: codec for codec in type_codecs}

    def enc_hook(obj: Any) -> Any:
        for base in type(obj).__mro__:
            if base in by_type:
                return by_type[base].encode(obj)
        raise NotImplementedError(f"no codec for {type(obj)!r}")

    def dec_hook(obj_type: Any, obj: Any) -> Any:
        codec = by_type.get(obj_type)
        if codec is None:
            raise NotImplementedError(f"no codec for {obj_type!r}")
        if not isinstance(obj, codec.wire_type):
            raise TypeError(
                f"{obj_type.__name__} travels as {codec.wire_type.__name__}, not as {type(obj).__name__}"
            )
        return codec.decode(obj)

    return enc_hook, dec_hook


#: Types that have names but stand in no module under them.
_COMMON = SimpleNamespace(Any=Any, NoneType=NoneType)


def enc_type_union(union_or_type: Any) -> list[str]:
    """Return the qualified names of a type, or of the members of a union, to be sent; see `dec_type_union()`.

    Raises `TypeError` for what is no class, such as `list[int]`, and `ValueError` for a class inside a function.
    """
    names = []
    for member in union_members(union_or_type):
        if member is Any:
            names.append("Any")
            continue
        if not isinstance(member, type):
            raise TypeError(f"only classes have names that can be sent, not {member!r}")
        if "<" in member.__qualname__:
            raise ValueError(f"nobody else can find {member!r}: define it at the top of a module")
        names.append(member.__qualname__)
    return names


def dec_type_union(type_names: Iterable[str], mods: Iterable[ModuleType] = ()) -> Any:
    """Return the type, or the union of the types, of these names.

    They are looked up among the builtins, then in `mods`, and nowhere else, so the names may come from a peer.
    Raises `ValueError` for no names, `TypeError` for a name that means no type.
    """
    # In the order of trust: who sends names cannot choose what the common ones mean.
    places = [builtins, _COMMON, *mods]
    found = [_find_type(name, places) for name in type_names]
    if not found:
        raise ValueError("a union of no types: there is no name")
    return Union[tuple(found)]  # noqa: UP007 - of a list


def _find_type(name: str, places: Iterable[Any]) -> Any:
    parts = name.split(".")
    if not any(part.startswith("__") for part in parts):
        for place in places:
            found = place
            for depth, part in enumerate(parts):
                found = getattr(found, part, None) if not depth or isinstance(found, type) else None
            if isinstance(found, type) or found is Any:
                return found
    raise TypeError(f"no type named {name!r} in the given modules")


def mk_msgspec_table(dec: MsgDec | MsgCodec, msg: Any = None) -> dict[str, str]:
    """Return what each message that carries a payload may carry, as text by its name; only for `msg` if given."""
    spec = pformat_spec(dec.spec if isinstance(dec, MsgDec) else dec.pld_spec)
    names = [found.__name__ for found in (Started, Yield, Return)]
    wanted = names if msg is None else [msg.__name__]
    return {name: f"{name}.pld: {spec}" for name in names if name in wanted}


def pformat_msgspec(codec: MsgDec | MsgCodec, msg: Any = None, join_char: str = "\n") -> str:
    """Return the lines of `mk_msgspec_table()`."""
    return join_char.join(mk_msgspec_table(codec, msg).values())

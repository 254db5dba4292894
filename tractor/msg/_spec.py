"""Specs: types as they stand in annotations, taken apart and written out."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Any, TypeAliasType, Union, get_args, get_origin

__all__ = ["pformat_spec", "union_members", "unpack_spec_types"]


def union_members(spec: Any) -> tuple[Any, ...]:
    """Return the types that a union is made of, in order; of anything else itself."""
    while isinstance(spec, TypeAliasType):
        spec = spec.__value__
    if spec is None:
        return (NoneType,)
    if get_origin(spec) not in (Union, UnionType):
        return (spec,)
    found = [member for part in get_args(spec) for member in union_members(part)]
    return tuple(member for at, member in enumerate(found) if member not in found[:at])


def unpack_spec_types(spec: Any) -> set[Any]:
    """Return the types that a union is made of; of anything else a set of itself."""
    return set(union_members(spec))


def pformat_spec(spec: Any) -> str:
    """Return a type as people write it: members of unions with `|` between, classes by name."""
    return "|".join(map(_spell, union_members(spec)))


def _spell(member: Any) -> str:
    if isinstance(member, type):
        return member.__qualname__.rpartition("<locals>.")[2]
    origin, args = get_origin(member), get_args(member)
    if isinstance(origin, type) and args:
        inner = ", ".join("..." if arg is ... else pformat_spec(arg) for arg in args)
        return f"{_spell(origin)}[{inner}]"
    return "Any" if member is Any else str(member).replace("typing.", "")

"""Specs: types as they stand in annotations, taken apart and written out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import NoneType, UnionType
from typing import Any, TypeAliasType, TypeVar, Union, get_args, get_origin

__all__ = ["fill_in", "first_of", "pformat_spec", "union_members", "unpack_spec_types"]


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


def fill_in(spec: Any, values: dict[Any, Any]) -> Any:
    """Return the type with types in place of its variables."""
    if isinstance(spec, TypeVar):
        return values.get(spec, spec)
    variables = getattr(spec, "__parameters__", ())
    if not variables or isinstance(spec, type):
        return spec
    return spec[tuple(values.get(variable, variable) for variable in variables)]


def first_of[T](
    tries: Iterable[tuple[Any, Callable[[T], Any]]],
    last: Callable[[T], Any] | None,
    mismatch: type[Exception],
) -> Callable[[T], Any]:
    """Return a function that gives what the first of several others does not refuse, and says why if all of them do.

    `tries`: types that a hook makes, each with what makes it; `last`: is asked when all of these have refused.
    `mismatch`: the error that says all in its text; of others the type is named, too.
    """

    def make(value: T) -> Any:
        refusals = []
        for one, attempt in tries:
            try:
                return attempt(value)
            except Exception as exc:  # noqa: BLE001 - however the hook refuses
                why = f"{exc}" if isinstance(exc, mismatch) else f"{type(exc).__name__}: {exc}"
                refusals.append(f"as {one.__name__}: {why.removesuffix(': ')}")
        try:
            if last is not None:
                return last(value)
        except Exception as exc:
            raise ValueError("; ".join([str(exc), *refusals])) from exc
        raise ValueError("; ".join(refusals))

    return make


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

"""`Struct`: records of typed fields that travel as maps, check and compare themselves, and read well."""

from __future__ import annotations

from collections import UserList
from collections.abc import Iterator
from typing import Any, Self

from tractor.msg._codec import StructBase, StructMeta, struct_fields, to_type
from tractor.msg._spec import pformat_spec

__all__ = ["DiffDump", "Struct", "iter_fields", "iter_struct_ppfmt_lines"]


class DiffDump(UserList[tuple[str, Any, Any]]):
    """Fields that differ: `(field, old, new)` each; its `repr` has a line for each."""

    def __repr__(self) -> str:
        if not self:
            return super().__repr__()
        lines = (f"  {name}: {old!r} -> {new!r}," for name, old, new in self)
        return "\n".join(("DiffDump([", *lines, "])"))


class Struct(StructBase, metaclass=StructMeta):
    """A record of typed fields: a `msgspec.Struct` with a few methods.

    Fields are declared by annotations in the class body. It travels as a map of its fields, and arrives as itself
    where the receiver's spec says so.
    """

    def to_dict(self, include_non_members: bool = True) -> dict[str, Any]:
        """Return the fields by name, values as they are.

        `include_non_members`: and what else the object was given, where its class allows that (`dict=True`).
        """
        found = {name: getattr(self, name) for name in self.__struct_fields__}
        return {**(getattr(self, "__dict__", {}) if include_non_members else {}), **found}

    def copy(self, update: dict[str, Any] | None = None) -> Self:
        """Return a new one with the fields in `update` replaced, every field checked.

        Raises `TypeError` for a field there is not, and for a value that is not of its field's type.
        """
        values = self.to_dict(include_non_members=False)
        unknown = [name for name in update or () if name not in values]
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {unknown[0]!r}")
        values |= update or {}
        checked = {field.name: _checked(self, field, values[field.name]) for field in struct_fields(self)}
        return type(self)(**checked)

    def typecast(self) -> None:
        """Turn the values into ones of their fields' types, in place: `"1"` into 1 for an `int`, 1 into `"1"` for a `str`.

        Raises `TypeError` for a value that cannot be turned.
        """
        for field, name, value in iter_fields(self):
            setattr(self, name, _checked(self, field, value, lax=True))

    def fields_diff(self, other: Self) -> DiffDump:
        """Return the fields in which `other` differs. Raises `TypeError` for a struct of another class."""
        if type(other) is not type(self):
            raise TypeError(f"cannot compare {type(self).__name__} with {type(other).__name__}")
        pairs = ((name, getattr(self, name), getattr(other, name)) for name in self.__struct_fields__)
        return DiffDump([(name, old, new) for name, old, new in pairs if old != new])

    def __sub__(self, other: Self) -> DiffDump:
        return self.fields_diff(other) if type(other) is type(self) else NotImplemented

    def pformat(self, field_indent: int = 2, indent: int = 0) -> str:
        """Return several lines: the class, then each field with its type and value; private ones are left out.

        `field_indent`: spaces in front of a field, for each level; `indent`: spaces in front of every line.
        """
        name, margin = type(self).__qualname__.rpartition("<locals>.")[2], " " * indent
        lines = [prefix + line for prefix, line in iter_struct_ppfmt_lines(self, field_indent)]
        if not lines:
            return f"{margin}{name}()"
        return "\n".join([f"{margin}{name}(", *(margin + line for line in lines), f"{margin})"])

    def __repr__(self) -> str:
        return self.pformat()


def iter_fields(struct: StructBase) -> Iterator[tuple[Any, str, Any]]:
    """Yield `(field, name, value)` for each field; `field.type` is its type."""
    for field in struct_fields(struct):
        yield field, field.name, getattr(struct, field.name)


def iter_struct_ppfmt_lines(struct: StructBase, field_indent: int = 2) -> Iterator[tuple[str, str]]:
    """Yield `(prefix, line)` for each line of what is between the parentheses of `Struct.pformat()`.

    Fields whose names begin with `_` are left out, at every level.
    """
    yield from _lines(struct, field_indent, field_indent, ())


def _lines(struct: StructBase, step: int, indent: int, outer: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    prefix, outer = " " * indent, (*outer, id(struct))
    types = _types(struct)
    for name in struct.__struct_fields__:
        if name.startswith("_"):
            continue
        value, head = getattr(struct, name), f"{name}{types.get(name, '')} = "
        if not isinstance(value, StructBase):
            yield prefix, f"{head}{value!r},"
            continue
        kind = type(value).__qualname__.rpartition("<locals>.")[2]
        if id(value) in outer:
            yield prefix, f"{head}{kind}(...),"
            continue
        inner = list(_lines(value, step, indent + step, outer))
        yield prefix, f"{head}{kind}(" if inner else f"{head}{kind}(),"
        yield from inner
        if inner:
            yield prefix, "),"


def _types(struct: StructBase) -> dict[str, str]:
    """Return the fields' types as text, as far as the names in the annotations mean something here."""
    try:
        return {field.name: f": {pformat_spec(field.type)}" for field in struct_fields(struct)}
    except (NameError, TypeError):
        return {}


def _checked(struct: StructBase, field: Any, value: Any, *, lax: bool = False) -> Any:
    try:
        return to_type(value, field.type, lax=lax)
    except TypeError as exc:
        raise TypeError(f"{type(struct).__name__}.{field.name}: {exc}") from exc

"""What one value is checked by: the function for each kind of type, put together by `tractor.msg._strict`."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from enum import Enum
from types import NoneType
from typing import Any, cast

from tractor.msg._texts import READERS

__all__ = [
    "ANY",
    "ARRAY",
    "LEAVES",
    "OBJECT",
    "Check",
    "DecHook",
    "Node",
    "ValidationError",
    "array",
    "choice",
    "custom",
    "either",
    "enum",
    "fields",
    "frozen",
    "mapping",
    "name_of",
    "wrong",
]

type Check = Callable[[Any], Any]
type DecHook = Callable[[Any, Any], Any]

#: What errors call the types that arrive; all others are extensions.
_WIRE = {
    NoneType: "None",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    list: "array",
    tuple: "array",
    dict: "object",
}
ARRAY, OBJECT = frozenset({list, tuple}), frozenset({dict})
#: In this order the members of a union are named.
_ORDER = (
    "bool int float str bytes datetime date time duration uuid decimal object array null".split()  # noqa: SIM905 - readable
)


#: Types made of numbers of another type, where the union has none of that.
_LATER = {"float": 1, "decimal": 2}


#: The flag of types whose attributes cannot be set.
_IMMUTABLE = 1 << 8


class ValidationError(ValueError):
    """The value is none of the type."""

    def __init__(self, text: str, place: str = "", key: str | None = None) -> None:
        super().__init__(text, place, key)
        #: What is wrong, where in the value, and where in a key there, if it is in one.
        self.text, self.place, self.key = text, place, key

    def __str__(self) -> str:
        if self.key is not None:
            return f"{self.text} - at `key{self.key}` in `${self.place}`"
        return f"{self.text} - at `${self.place}`" if self.place else self.text

    def inside(self, step: str) -> ValidationError:
        """Return the same for the value that has this one at `step`."""
        return ValidationError(self.text, step + self.place, self.key)

    def as_key(self) -> ValidationError:
        """Return the same for the map that has the value as a key."""
        return ValidationError(self.text, "", self.place)


def wrong(expected: str, value: Any) -> ValidationError:
    """Return the error for a value of another type."""
    return ValidationError(f"Expected `{expected}`, got `{_WIRE.get(type(value), 'ext')}`")


def name_of(kind: type) -> str:
    """Return what errors call a type: with its module where it was written in C."""
    is_c = kind.__flags__ & _IMMUTABLE and kind.__module__ != "builtins"
    return f"{kind.__module__}.{kind.__name__}" if is_c else kind.__name__


class Node:
    """How one type is checked."""

    def __init__(self, label: str, group: str, takes: AbstractSet[type], call: Check | None = None) -> None:
        #: What errors call it.
        self.label = label
        #: Of the types in one of the groups `int`, `str`, `array`, `object` and `custom` a union has one.
        self.group = group
        #: The types that may arrive in its place; empty for all.
        self.takes = takes
        self.call = call

    def become(self, other: Node) -> None:
        """Be the same as another."""
        self.label, self.group, self.takes, self.call = other.label, other.group, other.takes, other.call

    @property
    def check(self) -> Check:
        """The function; for a type that is part of itself one that finds it later."""
        return self.call or self._later

    def _later(self, value: Any) -> Any:
        return cast("Check", self.call)(value)


def either(nodes: list[Node]) -> Node:
    """Return how to check a union: what arrives says which member is meant."""
    table: dict[type, Check] = {}
    # A number is what it is called rather than what could be made of it.
    for node in sorted(nodes, key=lambda node: _LATER.get(node.label, 0), reverse=True):
        table |= dict.fromkeys(node.takes, node.check)
    label = " | ".join(sorted({part for node in nodes for part in node.label.split(" | ")}, key=_ORDER.index))

    def check(value: Any) -> Any:
        try:
            found = table[type(value)]
        except KeyError:
            raise wrong(label, value) from None
        return found(value)

    return Node(label, "union", table.keys(), check)


def _leaf(label: str, group: str, kind: type) -> Node:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise wrong(label, value)

    return Node(label, group, {kind}, check)


def _made(label: str, group: str, makers: dict[type, Check]) -> Node:
    """Return how to check a type whose values are made of others, of each type by one of the `makers`."""

    def check(value: Any) -> Any:
        try:
            make = makers[type(value)]
        except KeyError:
            raise wrong(label, value) from None
        try:
            return make(value)
        except ValueError as exc:
            raise ValidationError(str(exc)) from None

    return Node(label, group, makers.keys(), check)


def _same(value: Any) -> Any:
    return value


ANY = Node("any", "any", frozenset(), _same)
LEAVES: dict[Any, Node] = {
    NoneType: _leaf("null", "null", NoneType),
    bool: _leaf("bool", "bool", bool),
    int: _leaf("int", "int", int),
    float: _made("float", "float", {float: _same, int: float}),
    str: _leaf("str", "str", str),
    bytes: _leaf("bytes", "str", bytes),
    bytearray: _made("bytes", "str", {bytes: bytearray}),
    memoryview: _made("bytes", "str", {bytes: memoryview}),
    **{kind: _made(label, "str", makers) for kind, (label, makers) in READERS.items()},
}


def choice(kind: type, values: list[Any], spec: Any) -> Node:
    """Return how to check for one of these values, all of the same type."""
    if kind is NoneType:
        return LEAVES[NoneType]
    if kind not in (bool, int, str):
        raise TypeError(f"Literal may only contain None/booleans/integers/strings - {spec} is not supported")

    def choose(value: Any) -> Any:
        if value in values:
            return value
        raise ValueError(f"Invalid enum value {value!r}")

    return _made(kind.__name__, kind.__name__, {kind: choose})


def enum(kind: type[Enum]) -> Node:
    values = [member.value for member in kind]
    base = str if all(isinstance(value, str) for value in values) else int
    if not values:
        raise TypeError(f"Enum types must have at least one item, {kind!r} is invalid")
    if not all(isinstance(value, base) for value in values):
        raise TypeError(
            f"Enums must contain either all str or all int values - type `{kind!r}` is not supported"
        )

    def choose(value: Any) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"Invalid enum value {value!r}") from None

    return _made(base.__name__, base.__name__, {base: choose})


def custom(kind: Any, spec: Any, dec_hook: DecHook | None) -> Check:
    """Return how to check a type that only a hook can make."""
    name = name_of(kind)

    def check(value: Any) -> Any:
        if dec_hook is None:
            if isinstance(value, kind):
                return value
            raise ValidationError(f"Expected `{name}`, got `{name_of(type(value))}`")
        try:
            made = dec_hook(spec, value)
        except (TypeError, ValueError) as exc:
            raise ValidationError(str(exc)) from exc
        if isinstance(made, kind):
            return made
        raise ValidationError(f"Expected `{name}`, got `{name_of(type(made))}`")

    return check


def array(item: Check | None, make: Any) -> Check:
    """Return how to check values that are all of one type; `item` is None where that may be any."""

    def check(value: Any) -> Any:
        if type(value) is not list and type(value) is not tuple:
            raise wrong("array", value)
        if item is None:
            return value if type(value) is make else make(value)
        found: list[Any] = []
        add = found.append
        try:
            for part in value:
                add(item(part))
        except ValidationError as exc:
            raise exc.inside(f"[{len(found)}]") from exc.__cause__
        return found if make is list else make(found)

    return check


def fields(items: list[Check], least: int, make: Check, _kind: Any = None) -> Check:
    """Return how to check values each of which has a type of its own; the last may be missing."""
    most = len(items)
    # Those that are missing have the defaults of a named tuple.
    defaults = tuple(_kind._field_defaults.values()) if _kind is not None else ()
    expected = f"{least} to {most}" if least < most else f"{most}"

    def check(value: Any) -> Any:
        if type(value) is not list and type(value) is not tuple:
            raise wrong("array", value)
        count = len(value)
        if not least <= count <= most:
            raise ValidationError(f"Expected `array` of length {expected}, got {count}")
        found: list[Any] = []
        add = found.append
        try:
            for item, part in zip(items, value, strict=False):
                add(item(part))
        except ValidationError as exc:
            raise exc.inside(f"[{len(found)}]") from exc.__cause__
        if count < most:
            found += defaults[count - most :]
        return make(found)

    return check


def mapping(key_node: Node, value_node: Node) -> Check:
    if key_node is ANY and value_node is ANY:
        return _leaf("object", "object", dict).check
    key_check, value_check = key_node.check, value_node.check

    def check(value: Any) -> Any:
        if type(value) is not dict:
            raise wrong("object", value)
        found = {}
        for key, item in value.items():
            try:
                checked = key_check(key)
            except ValidationError as exc:
                raise exc.as_key() from exc.__cause__
            try:
                found[checked] = value_check(item)
            except ValidationError as exc:
                raise exc.inside("[...]") from exc.__cause__
        return found

    return check


def frozen(value: Any) -> Any:
    return tuple(map(frozen, value)) if type(value) is list else value

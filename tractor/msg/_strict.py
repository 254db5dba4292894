"""Values that have come from elsewhere against the types they should have: what msgspec does, where it does not load.

`checker()` makes a function for a type once; that function gives back the value as one of the type, or raises
`ValidationError`.
Nothing is converted that the wire tells apart: no text into a number, no `bool` into an `int`.
"""

from __future__ import annotations

import collections.abc as abc
from enum import Enum
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NewType,
    TypeAliasType,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from tractor.msg._checks import (
    ANY,
    ARRAY,
    LEAVES,
    OBJECT,
    Check,
    DecHook,
    Node,
    ValidationError,
    array,
    choice,
    custom,
    either,
    enum,
    fields,
    frozen,
    mapping,
    name_of,
)
from tractor.msg._spec import fill_in, first_of, union_members

__all__ = ["checker"]

_LISTS = {list, abc.Sequence, abc.MutableSequence, abc.Collection}
_SETS = {set: set, abc.Set: set, abc.MutableSet: set, frozenset: frozenset}
_DICTS = {dict, abc.Mapping, abc.MutableMapping}


def checker(spec: Any, dec_hook: DecHook | None = None) -> Check:
    """Return a function that makes of a plain value one of type `spec`.

    It raises `ValidationError`, or what the hook has raised, where it cannot. `TypeError` for a spec that cannot be checked.
    """
    specs = _Specs(dec_hook)
    if dec_hook is not None:
        members = union_members(spec)
        foreign = [member for member in members if specs.node(member).group == "custom"]
        rest = [member for member in members if member not in foreign]
        if foreign and (len(foreign) > 1 or any(member is not NoneType for member in rest)):
            # Nothing on the wire says which is meant, so the hook is asked for each in turn.
            optional = NoneType in rest
            tries = [(one, specs.node(one | None if optional else one).check) for one in foreign]
            last = specs.node(Union[tuple(rest)]).check if rest else None  # noqa: UP007 - of a list
            return first_of(tries, last, ValidationError)
    return specs.node(spec).check


class _Specs:
    """Makes the functions for one spec and its parts."""

    def __init__(self, dec_hook: DecHook | None) -> None:
        self.dec_hook = dec_hook
        #: Classes with fields and aliases, which may be parts of themselves.
        self._known: dict[Any, Node] = {}
        #: Those that are known by their address.
        self._kept: list[Any] = []

    def node(self, spec: Any) -> Node:
        """Return how to check the type."""
        if isinstance(get_origin(spec) or spec, TypeAliasType):
            if spec not in self._known:
                self._known[spec] = node = Node("", "", frozenset())
                node.become(self.node(_strip(spec)))
            return self._known[spec]
        spec = _strip(spec)
        if get_origin(spec) in (Union, UnionType, Literal):
            return self._union(spec)
        return self._one(spec)

    def _union(self, spec: Any) -> Node:
        members: list[Any] = []
        choices: dict[type, list[Any]] = {}
        for member in _members(spec):
            if get_origin(member) is Literal:
                for value in get_args(member):
                    choices.setdefault(type(value), []).append(value)
            elif member not in members:
                members.append(member)
        nodes = [self.node(member) for member in members]
        # Some of a type beside all of it say nothing.
        nodes += [choice(kind, values, spec) for kind, values in choices.items() if kind not in members]
        if any(node.group == "any" for node in nodes):
            return ANY
        _refuse_ambiguous(nodes, spec)
        if len(nodes) == 1:
            return nodes[0]
        foreign = next((node for node in nodes if node.group == "custom"), None)
        if foreign is not None:
            made = foreign.check
            return Node(foreign.label, "custom", frozenset(), lambda v: None if v is None else made(v))
        return either(nodes)

    def _one(self, spec: Any) -> Node:
        """Return how to check a type that is no union."""
        if spec is None:
            return LEAVES[NoneType]
        if spec is Any or isinstance(spec, TypeVar):
            return self._variable(spec)
        kind, args = get_origin(spec) or spec, get_args(spec)
        if not isinstance(kind, type):
            raise TypeError(f"Type {spec!r} is not supported")
        if kind in LEAVES:
            return LEAVES[kind]
        if issubclass(kind, Enum):
            return enum(kind)
        if kind in _LISTS or kind in _SETS or kind in _DICTS or kind is tuple:
            return self._container(kind, args, spec)
        known = self._key(spec)
        if known in self._known:
            return self._known[known]
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            node = self._known[known] = Node("array", "array", ARRAY)
            node.call = self._named_tuple(kind, spec)
        elif is_typeddict(kind) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__attrs_attrs__"):
            from tractor.msg._records import record

            node = self._known[known] = Node("object", "object", OBJECT)
            node.call = record(kind, spec, self.node)
        else:
            node = Node(name_of(kind), "custom", frozenset(), custom(kind, spec, self.dec_hook))
        return node

    def _key(self, spec: Any) -> Any:
        """Return what the type is known by: itself, but what is said beside it need not be hashable."""
        try:
            hash(spec)
        except TypeError:
            self._kept.append(spec)
            return id(spec)
        return spec

    def _variable(self, spec: Any) -> Node:
        if spec is Any:
            return ANY
        if spec.__constraints__:
            raise TypeError(f"Unbound TypeVar `{spec}` has constraints, which are not supported")
        return ANY if spec.__bound__ is None else self.node(spec.__bound__)

    def _container(self, kind: Any, args: tuple[Any, ...], spec: Any) -> Node:
        if kind in _DICTS:
            key, value = [self.node(arg) for arg in args or (Any, Any)]
            return Node("object", "object", OBJECT, mapping(key, value))
        if kind is tuple and (spec == tuple[()] or (args and args[-1] is not ...)):
            items = [self.node(arg).check for arg in args]
            return Node("array", "array", ARRAY, fields(items, len(items), tuple))
        item = self.node(args[0] if args else Any)
        if kind in _SETS:
            make: Any = _SETS[kind]
            return Node("array", "array", ARRAY, array(frozen if item is ANY else item.check, make))
        return Node(
            "array",
            "array",
            ARRAY,
            array(None if item is ANY else item.check, tuple if kind is tuple else list),
        )

    def _named_tuple(self, kind: Any, spec: Any) -> Check:
        hints, args = get_type_hints(kind, include_extras=True), get_args(spec)
        values = dict(zip(getattr(kind, "__parameters__", ()), args, strict=False))
        checks = [self.node(fill_in(hints.get(name, Any), values)).check for name in kind._fields]
        # Without the constructor, which would only count the values again.
        return fields(
            checks, len(checks) - len(kind._field_defaults), lambda items: tuple.__new__(kind, items), kind
        )


def _strip(spec: Any) -> Any:
    """Return the type without what says nothing about values."""
    while True:
        origin = get_origin(spec)
        if origin is Annotated or origin is Final:
            spec = get_args(spec)[0]
        elif isinstance(spec, NewType):
            spec = spec.__supertype__
        elif isinstance(spec, TypeAliasType):
            spec = spec.__value__
        elif isinstance(origin, TypeAliasType):
            spec = origin.__value__[get_args(spec)]
        else:
            return spec


def _members(spec: Any) -> list[Any]:
    """Return the types that a union is made of, those of its members that are unions among them."""
    spec = _strip(spec)
    if get_origin(spec) not in (Union, UnionType):
        return [spec]
    return [member for part in get_args(spec) for member in _members(part)]


def _refuse_ambiguous(nodes: list[Node], spec: Any) -> None:
    """Raise `TypeError` where what arrives does not say which of the types it is."""
    groups = [node.group for node in nodes]
    if "custom" in groups and any(group not in ("custom", "null") for group in groups):
        text = "containing a custom type may not contain any additional types other than `None`"
        raise TypeError(f"Type unions {text} - type `{spec}` is not supported")
    for group in ("int", "str", "array", "object", "custom"):
        if groups.count(group) > 1:
            raise TypeError(
                f"Type unions may not contain more than one {group}-like type - type `{spec}` is not supported"
            )

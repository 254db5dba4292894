"""Dataclasses, attrs classes and typed dicts made of maps, by code that cattrs generates once for each of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, get_args, get_type_hints, is_typeddict

from cattrs import AttributeValidationNote, ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, override
from cattrs.gen.typeddicts import make_dict_structure_fn as make_typeddict_fn

from tractor.msg._checks import Check, Node, ValidationError, wrong
from tractor.msg._spec import fill_in

__all__ = ["record"]


class _Fields(Converter):
    """Puts fields together; what may stand in each of them is not cattrs's business, which would convert."""

    def __init__(self, node: Callable[[Any], Node], *, detailed: bool = True) -> None:
        super().__init__(detailed_validation=detailed)
        self._node = node

    def get_structure_hook(self, type: Any, cache_result: bool = True) -> Any:  # noqa: A002, ARG002 - as the base has it
        try:
            return _hook(self._node(type))
        except RecursionError as exc:
            # cattrs would take the type for a part of itself, and convert.
            raise TypeError(f"Type {type!r} is a union with itself") from exc


def _hook(node: Node) -> Callable[[Any, Any], Any]:
    check = node.check
    return lambda value, _: check(value)


def record(kind: Any, spec: Any, node: Callable[[Any], Node]) -> Check:
    """Return a function that makes a `spec`, which is the class `kind` or one of its kind, of a map.

    `node` finds out how to check the fields. Keys that mean nothing are left out. Raises `TypeError` for a class that
    cannot be made in this way.
    """
    parameters = getattr(kind, "__parameters__", ())
    if parameters and not get_args(spec):
        spec = kind[tuple(Any for _ in parameters)]
    if is_typeddict(kind):
        return _typed_dict(kind, make_typeddict_fn(spec, _Fields(node), _cattrs_use_linecache=False))
    hints, values = (
        get_type_hints(kind, include_extras=True),
        dict(zip(parameters, get_args(spec), strict=False)),
    )
    own = getattr(kind, "__dataclass_fields__", {})
    if any("INITVAR" in repr(field._field_type) for field in own.values()):
        raise TypeError("dataclasses with `InitVar` fields are not supported")
    fields = [*(dataclasses.fields(kind) if own else ()), *getattr(kind, "__attrs_attrs__", ())]
    # Where fields are set after `__init__`, cattrs loses their errors in detail.
    converter = _Fields(node, detailed=all(field.init for field in fields))
    # Left to itself cattrs does not look up names of types inside of other types, and converts what has no type.
    # It does not generate code for a class of a kind while it does so for another one of that, hence all nodes first.
    nodes = {field.name: node(fill_in(hints.get(field.name, Any), values)) for field in fields}
    resolved: dict[str, Any] = {
        field.name: override(struct_hook=_hook(nodes[field.name]))
        for field in fields
        if not isinstance(field.type, str) and hints.get(field.name, Any) != field.type
    }
    made = make_dict_structure_fn(
        spec, converter, _cattrs_use_linecache=False, _cattrs_include_init_false=True, **resolved
    )
    return _checked(made, {field.name for field in fields})


def _checked(make: Callable[[Any, Any], Any], names: AbstractSet[str]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not dict:
            raise wrong("object", value)
        for key in value:
            if type(key) is not str:
                raise wrong("str", key).as_key()
        try:
            return make(value, None)
        except ClassValidationError as exc:
            raise _refusal(exc.exceptions[0], value) from exc.exceptions[0].__cause__
        except KeyError as exc:
            missing = exc.args[0] if exc.args else None
            if missing not in names or missing in value:
                raise
            raise ValidationError(f"Object missing required field `{missing}`") from None
        except ValidationError as exc:
            # In which field is not known here.
            raise ValidationError(exc.text) from exc.__cause__
        except (TypeError, ValueError) as exc:
            raise ValidationError(str(exc)) from exc

    return check


def _refusal(exc: Exception, value: dict[str, Any]) -> Exception:
    """Return the error for the first one that making an object of the map has met."""
    notes = [note for note in getattr(exc, "__notes__", ()) if isinstance(note, AttributeValidationNote)]
    # Without a note it is one of the class itself.
    name = notes[0].name if notes else None
    if name is not None and name not in value:
        return ValidationError(f"Object missing required field `{name}`")
    if isinstance(exc, ValidationError) and name is not None:
        return exc.inside(f".{name}")
    if name is None and isinstance(exc, TypeError | ValueError):
        return ValidationError(str(exc))
    return exc


def _typed_dict(kind: Any, make: Callable[[Any, Any], Any]) -> Check:
    names = kind.__required_keys__ | kind.__optional_keys__
    check = _checked(make, names)

    def check_and_pick(value: Any) -> Any:
        found = check(value)
        return found if found.keys() <= names else {name: found[name] for name in found if name in names}

    return check_and_pick

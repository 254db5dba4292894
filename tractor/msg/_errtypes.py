"""Which names mean which exception types: errors cross the wire under a name.

Bare (`ValueError`) where every actor agrees what it means, with its module in front otherwise, so that somebody's own
`ConnectionError` is never taken for the builtin.
"""

import builtins
import sys
from collections.abc import Iterable
from typing import Any

import trio

from tractor import _errors

__all__ = ["bare_name", "get_err_type", "is_ours", "reg_err_types", "resolve", "wire_name"]

_OWN: dict[str, type[BaseException]] = {
    found.__name__: found
    for found in vars(_errors).values()
    if isinstance(found, type) and issubclass(found, BaseException)
}
_registered: dict[str, type[BaseException]] = {}


def is_ours[E: type[BaseException]](exc_type: E) -> E:
    """Let a type of this package be found by its name everywhere; a decorator."""
    _OWN[exc_type.__name__] = exc_type
    return exc_type


def reg_err_types(exc_types: Iterable[type[BaseException]]) -> None:
    """Let errors of these types be recognised when they come from other actors, by their `__name__`.

    To be called in every actor that wants to see the type and not only its name.  A later type of the same
    name replaces an earlier one.  `TypeError` for what is not an exception type.
    """
    found: list[Any] = list(exc_types)
    for exc_type in found:
        if not (isinstance(exc_type, type) and issubclass(exc_type, BaseException)):
            raise TypeError(f"not an exception type: {exc_type!r}")
    _registered.update((exc_type.__name__, exc_type) for exc_type in found)


def get_err_type(type_name: str) -> type[BaseException] | None:
    """Return the exception type of that name, None if there is none.

    Looks among the builtins, tractor's own, trio's, bdb's and those given to `reg_err_types()`, in order.
    """
    places: tuple[dict[str, Any], ...] = (vars(builtins), _OWN, vars(trio), _late(type_name), _registered)
    for place in places:
        found = place.get(type_name)
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    return None


def _late(type_name: str) -> dict[str, Any]:
    """Return the namespace of a module that is only worth loading, or asking, for this one name."""
    if type_name == "BdbQuit":
        import bdb

        return vars(bdb)
    if type_name == "Lagged":
        # Where its module was never loaded there is nothing to compare it with.
        return vars(sys.modules.get("tractor.trionics._broadcast", builtins))
    return {}


def wire_name(exc_type: type[BaseException]) -> str:
    """Return the name under which the type travels: bare if `get_err_type()` means this very type by it."""
    name = exc_type.__name__
    return name if get_err_type(name) is exc_type else f"{exc_type.__module__}.{name}"


def bare_name(name: str) -> str:
    """Return a wire name without its module."""
    return name.rpartition(".")[2]


def resolve(name: str) -> type[BaseException] | None:
    """Return the type that a wire name means here; one with a module in front is never a builtin."""
    return _registered.get(bare_name(name)) if "." in name else get_err_type(name)

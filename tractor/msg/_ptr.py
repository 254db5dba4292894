"""Pointers to functions and classes that can be sent: `module:qualname`."""

from importlib import import_module
from typing import Any, Self

__all__ = ["NamespacePath"]


class NamespacePath(str):
    """The text `module:qualname` of something defined at the top of a module or inside a class there.

    Loading a path imports its module, so one that a peer sent must be checked against what this actor
    exposes *before* `load_ref()`.
    """

    __slots__ = ("_ref",)

    #: Unset unless the path was made from its object or loaded once.
    _ref: Any

    @classmethod
    def from_ref(cls, ref: Any) -> Self:
        """Return the path of a function, method or class, and keep `ref` for `load_ref()`.

        A method bound to an object is named as its class's: the object does not travel.

        Raises `TypeError` for what has no name of its own (a `functools.partial`, a callable object), and
        `ValueError` for what nobody else can find (a lambda, anything defined inside a function).
        """
        module = getattr(ref, "__module__", None)
        qualname = getattr(ref, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(qualname, str):
            raise TypeError(
                f"cannot name {ref!r} for another actor: a {type(ref).__name__!r} has no name of its own; "
                "pass a function defined with `def` at the top of a module, and its arguments apart"
            )
        if "<" in qualname:
            raise ValueError(
                f"cannot name {module}:{qualname} for another actor: no import can find it there; "
                "define it with `def` at the top of a module"
            )
        path = cls(f"{module}:{qualname}")
        path._ref = ref
        return path

    def to_tuple(self) -> tuple[str, str]:
        """Return `(module, qualname)`; `ValueError` if the text is not of that form."""
        module, colon, qualname = self.partition(":")
        if not (module and colon and qualname) or ":" in qualname:
            raise ValueError(f"not a path of the form 'module:qualname': {str(self)!r}")
        return module, qualname

    def load_ref(self) -> Any:
        """Import the module, return the object and remember it.

        Only classes are stepped through and no dunder name is looked up, so that a path cannot walk off
        through a module imported there or through the machinery of a class.

        Raises `ModuleNotFoundError` and whatever else importing raises, `AttributeError` if the module has no
        such object, `ValueError` if this is not a path.
        """
        try:
            return self._ref
        except AttributeError:
            pass
        module, qualname = self.to_tuple()
        ref: Any = import_module(module)
        for depth, name in enumerate(qualname.split(".")):
            if name.startswith("__") or (depth and not isinstance(ref, type)):
                raise AttributeError(f"cannot load '{self}': {name!r} is not in a class or module of its own")
            try:
                ref = getattr(ref, name)
            except AttributeError:
                raise AttributeError(f"cannot load '{self}': no {name!r} there") from None
        self._ref = ref
        return ref

"""Which functions of this actor a peer may run."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tractor._errors import ModuleNotExposed
from tractor.runtime._endpoint import context_meta, is_one_way

#: A child replays its parent's main module under this name; both names mean the same functions.
MP_MAIN = "__mp_main__"


def find_modules(names: Iterable[object]) -> dict[str, str]:
    """Return the file of each module, after checking that it can be found.

    Raises `TypeError` for what is no list of names, `ModuleNotFoundError` or `SyntaxError` here, where the list was
    written, rather than in a child.
    """
    found = {}
    for name in names:
        if isinstance(names, str) or not isinstance(name, str):
            raise TypeError(f"enable_modules is a list of module names, such as [__name__]; it was {names!r}")
        module = sys.modules.get(name)
        if module is None:
            try:
                spec = find_spec(name)
            except ModuleNotFoundError:
                # A parent package is not there, or is no package.
                spec = None
            if spec is None:
                raise ModuleNotFoundError(
                    f"no module named {name!r}; check the spelling in enable_modules", name=name
                )
            origin = spec.origin or ""
            if origin.endswith(".py") and spec.loader is not None:
                spec.loader.get_code(name)  # type: ignore[attr-defined]
        else:
            origin = getattr(module, "__file__", None) or ""
        found[name] = origin
    return found


class Exposed:
    """The modules an actor was told to expose, and the functions found in them so far."""

    def __init__(self, modules: dict[str, str]) -> None:
        self.modules = modules
        self._found: dict[tuple[str, bool], Callable[..., Awaitable[Any]]] = {}

    def load(self) -> None:
        """Import every exposed module."""
        for name in self.modules:
            if name not in ("__main__", MP_MAIN):
                import_module(name)

    def lookup(self, target: str, *, as_context: bool) -> Callable[..., Awaitable[Any]]:
        """Return the function at `target` (`module:qualname`).

        Raises `ModuleNotExposed`, `AttributeError` for a function that is not there, and `TypeError` for one that
        cannot be asked for in this way.
        """
        found = self._found.get((target, as_context))
        if found is None:
            found = self._find(target, as_context=as_context)
            self._found[target, as_context] = found
        return found

    def _find(self, target: str, *, as_context: bool) -> Callable[..., Awaitable[Any]]:
        module_name, _, qualname = target.partition(":")
        if not self._allows(module_name):
            raise ModuleNotExposed(
                f"module {module_name!r} is not exposed by this actor; add it to `enable_modules` where the actor is started"
            )
        obj: Any = import_module(self._real_name(module_name))
        for part in qualname.split("."):
            obj = getattr(obj, part)
            if inspect.ismodule(obj):
                # Every module imports others; being exposed is not contagious.
                raise ModuleNotExposed(
                    f"module {obj.__name__!r}, found by way of {target}, is not exposed by that name"
                )
        if is_one_way(obj):
            if as_context:
                from tractor.runtime._oneway import as_endpoint

                return as_endpoint(obj)
            raise TypeError(
                f"{target} must be an async function! It is a stream: open it with `Portal.open_stream_from()`"
            )
        if not inspect.iscoroutinefunction(obj):
            raise TypeError(f"{target} must be an async function!")
        if as_context and context_meta(obj) is None:
            raise TypeError(f"{target} is not a context endpoint: decorate it with `@tractor.context`")
        if not as_context and context_meta(obj) is not None:
            raise TypeError(f"{target} is a context endpoint: open it with `Portal.open_context()`")
        return obj  # type: ignore[no-any-return]

    def _allows(self, name: str) -> bool:
        if name in self.modules:
            return True
        return name in ("__main__", MP_MAIN) and ("__main__" in self.modules or MP_MAIN in self.modules)

    def _real_name(self, name: str) -> str:
        if name == "__main__" and MP_MAIN in sys.modules:
            return MP_MAIN
        return "__main__" if name == MP_MAIN and MP_MAIN not in sys.modules else name

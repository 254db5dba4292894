"""Replay the parent's main module, so that functions defined in a script can run in its children."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from types import ModuleType

from tractor.runtime._expose import MP_MAIN


def replay_main(main: dict[str, str]) -> None:
    """Import the parent's main module as `__mp_main__` (after `multiprocessing.spawn`), and call it `__main__` too.

    Whatever the module raises goes to the caller. Its `if __name__ == "__main__":` block does not run.
    """
    if not main:
        return
    module = _by_name(main["name"]) if "name" in main else _by_path(main["path"], main["package"])
    sys.modules["__main__"] = sys.modules[MP_MAIN] = module


def _by_name(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return import_module(name)
    return _by_path(spec.origin, spec.parent or "")


def _by_path(path: str, package: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MP_MAIN, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load the parent's main module {path!r} in a child")
    module = importlib.util.module_from_spec(spec)
    if package:
        module.__package__ = package
    sys.modules[MP_MAIN] = module
    spec.loader.exec_module(module)
    return module

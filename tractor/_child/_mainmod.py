"""Replay the parent's main module, so that functions defined in a script can run in its children."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from tractor.runtime._expose import MP_MAIN


def replay_main(main: dict[str, str]) -> None:
    """Import the parent's main module as `__mp_main__` (after `multiprocessing.spawn`), and call it `__main__` too.

    Whatever the module raises goes to the caller. Its `if __name__ == "__main__":` block does not run.
    """
    if not main:
        sys.modules["__main__"] = _absent()
        return
    try:
        module = _by_name(main["name"]) if "name" in main else _by_path(main["path"], main["package"])
    except RuntimeError as exc:
        if "from inside a run()" not in str(exc):
            raise
        raise RuntimeError(
            "the main module starts a program when it is imported, and every child imports it; "
            'put that call under `if __name__ == "__main__":`'
        ) from exc
    sys.modules["__main__"] = sys.modules[MP_MAIN] = module


def _absent() -> ModuleType:
    """Return a module that has nothing, and says why."""
    module = ModuleType("__main__")

    def refuse(name: str) -> NoReturn:
        raise AttributeError(
            f"{name!r} of the parent's main module is not here: that module has no file to import (`python -c`, a REPL, "
            "`python -m PACKAGE`) or was not inherited; move the function into another module"
        )

    module.__getattr__ = refuse  # type: ignore[method-assign]
    return module


def _by_name(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    code = None if spec is None or spec.loader is None else spec.loader.get_code(name)  # type: ignore[attr-defined]
    if spec is None or code is None:
        return import_module(name)
    # With the spec of the original, as `runpy` does it: that is what relative imports, and children of ours, go by.
    module = importlib.util.module_from_spec(spec)
    module.__name__ = MP_MAIN
    sys.modules[MP_MAIN] = module
    exec(code, module.__dict__)
    return module


def _by_path(path: str, package: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(MP_MAIN, path)
    module = ModuleType(MP_MAIN) if spec is None else importlib.util.module_from_spec(spec)
    if package:
        # What the script says of itself (PEP 366); it has no spec then, and another's would contradict it.
        module.__package__ = package
        module.__spec__ = None
    sys.modules[MP_MAIN] = module
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module)
    else:
        # A script whose name does not end in .py, such as those that installers write.
        module.__file__ = path
        with open(path, "rb") as file:
            exec(compile(file.read(), path, "exec"), module.__dict__)
    return module

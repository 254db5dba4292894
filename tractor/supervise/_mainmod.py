"""How a child finds the main module of this process."""

from __future__ import annotations

import os
import sys

from tractor.runtime._expose import MP_MAIN


def describe_main() -> dict[str, str]:
    """Return what `tractor._child` needs to replay our main module; empty where there is none to replay.

    A module run with `-m` is found by its name, a script by its path (after `multiprocessing.spawn`). A package's
    `__main__` is not replayed: it is meant to be run, not imported.
    """
    main = sys.modules.get("__main__")
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None and name != MP_MAIN:
        return {} if name == "__main__" or name.endswith(".__main__") else {"name": name}
    path = getattr(main, "__file__", None)
    if not path or not os.path.exists(path):
        return {}
    return {"path": os.path.abspath(path), "package": getattr(main, "__package__", None) or ""}

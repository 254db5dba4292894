"""What tests of nurseries with real children share."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tractor
from tests.programs import actors, bodies
from tractor.supervise._nursery import ActorNursery

MODULES = [actors.__name__, bodies.__name__]


async def start(nursery: ActorNursery, name: str = "kid", **kwargs: Any) -> tractor.Portal:
    """Start an actor that can run what `tests.programs.actors` has."""
    return await nursery.start_actor(name, enable_modules=MODULES, **kwargs)


def boxes(exc: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether this is another actor's error of that type."""
    return isinstance(exc, tractor.RemoteActorError) and exc.boxed_type is kind


def install_main(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make some source the main module, as children see it; return the script."""
    script = folder / "script.py"
    script.write_text(source)
    module = ModuleType("__main__")
    module.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", module)
    return script

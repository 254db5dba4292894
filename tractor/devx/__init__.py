"""What helps to find out what a program does, or why it does nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractor.devx._hang import dump_on_hang

__all__ = ["dump_on_hang"]

_HOME = {"dump_on_hang": "tractor.devx._hang"}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value

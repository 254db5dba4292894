"""Helpers for trio programs; nothing in here knows of actors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractor.trionics._broadcast import (
        AsyncReceiver,
        BroadcastReceiveError,
        BroadcastReceiver,
        BroadcastStatistics,
        Lagged,
        broadcast_receiver,
    )

#: Where each public name lives. Names are loaded when first used: every child imports this package.
_HOME = {
    "_broadcast": (
        "AsyncReceiver",
        "BroadcastReceiveError",
        "BroadcastReceiver",
        "BroadcastStatistics",
        "Lagged",
        "broadcast_receiver",
    ),
}
_MODULE_OF = {name: f"tractor.trionics.{module}" for module, names in _HOME.items() for name in names}

__all__ = [
    "AsyncReceiver",
    "BroadcastReceiveError",
    "BroadcastReceiver",
    "BroadcastStatistics",
    "Lagged",
    "broadcast_receiver",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # As in the facade: an interrupt that lands in an import may be lost there.
    from trio.lowlevel import enable_ki_protection

    value = globals()[name] = enable_ki_protection(_load)(name)
    return value


def _load(name: str) -> Any:
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

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
    from tractor.trionics._cache import maybe_open_context
    from tractor.trionics._gather import gather_contexts
    from tractor.trionics._groups import collapse_eg, get_collapsed_eg, is_multi_cancelled
    from tractor.trionics._masking import maybe_raise_from_masking_exc
    from tractor.trionics._nurseries import maybe_open_nursery, start_or_cancel

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
    "_cache": ("maybe_open_context",),
    "_gather": ("gather_contexts",),
    "_groups": (
        "collapse_eg",
        "get_collapsed_eg",
        "is_multi_cancelled",
    ),
    "_masking": ("maybe_raise_from_masking_exc",),
    "_nurseries": (
        "maybe_open_nursery",
        "start_or_cancel",
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
    "collapse_eg",
    "gather_contexts",
    "get_collapsed_eg",
    "is_multi_cancelled",
    "maybe_open_context",
    "maybe_open_nursery",
    "maybe_raise_from_masking_exc",
    "start_or_cancel",
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

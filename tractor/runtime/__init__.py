"""The trio half of the protocol: actors, requests, contexts, streams and portals.

What is not exported by `tractor` itself: `open_portal`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractor.runtime._connect import open_portal
    from tractor.runtime._portal import PeerActor

_HOME = {"PeerActor": "tractor.runtime._portal", "open_portal": "tractor.runtime._connect"}

__all__ = ["PeerActor", "open_portal"]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value

"""Finding actors by name: the registrar, and queries to it.

What is not exported by `tractor` itself: `get_root`, `get_peer_by_name`, and the spellings of addresses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractor.discovery._api import get_peer_by_name, get_root, prefer_addr
    from tractor.ipc._addr import (
        TCPAddress,
        UDSAddress,
        default_lo_addrs,
        mk_maddr,
        parse_endpoints,
        parse_maddr,
        wrap_address,
    )

_HOME = {
    "get_peer_by_name": "tractor.discovery._api",
    "get_root": "tractor.discovery._api",
    "prefer_addr": "tractor.discovery._api",
    "TCPAddress": "tractor.ipc._addr",
    "UDSAddress": "tractor.ipc._addr",
    "default_lo_addrs": "tractor.ipc._addr",
    "mk_maddr": "tractor.ipc._addr",
    "parse_endpoints": "tractor.ipc._addr",
    "parse_maddr": "tractor.ipc._addr",
    "wrap_address": "tractor.ipc._addr",
}

__all__ = [
    "TCPAddress",
    "UDSAddress",
    "default_lo_addrs",
    "get_peer_by_name",
    "get_root",
    "mk_maddr",
    "parse_endpoints",
    "parse_maddr",
    "prefer_addr",
    "wrap_address",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value

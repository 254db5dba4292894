"""Connecting to an address of either transport."""

from __future__ import annotations

from tractor.ipc import _tcp, _uds
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._transport import SocketTransport


async def connect(addr: TCPAddress | UDSAddress) -> SocketTransport:
    """Connect to an address of either transport; raises `OSError` when nobody listens there."""
    match addr:
        case TCPAddress():
            return await _tcp.connect(addr)
        case UDSAddress():
            return await _uds.connect(addr)

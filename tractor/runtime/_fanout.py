"""What `MsgStream.subscribe` yields."""

from __future__ import annotations

from tractor.trionics._broadcast import BroadcastReceiver


class StreamReceiver[ItemT](BroadcastReceiver[ItemT]):
    """Receives every item of a stream, beside others that do the same; may send, too. Made by `MsgStream.subscribe`."""

    async def send(self, data: ItemT) -> None:
        """Send one item to the peer, as `MsgStream.send` does."""
        await self._shared.source.send(data)

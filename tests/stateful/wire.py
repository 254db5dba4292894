"""The connection between the two actors of a program: in memory, perhaps slow, and breakable in several ways."""

from __future__ import annotations

from contextlib import suppress

import trio

from tractor.ipc._mem import MemoryTransport, memory_transport_pair

_CHUNK = 64 * 1024
#: Chunks that are on their way at once.
_CHUNKS = 16


class Wire:
    """Two transports, and what is between them. `delays`: seconds on the way from alice and from bob; None: nothing is."""

    def __init__(self, capacity: int, delays: tuple[float, float] | None) -> None:
        self.delays = delays
        #: Chunks on their way.
        self.moving = 0
        self._stalled: set[str] = set()
        if delays is None:
            near, far = memory_transport_pair(capacity)
            self.ends = {"alice": near, "bob": far}
            self._inner: dict[str, MemoryTransport] = {}
        else:
            near, near_inner = memory_transport_pair(capacity)
            far_inner, far = memory_transport_pair(capacity)
            self.ends = {"alice": near, "bob": far}
            self._inner = {"alice": near_inner, "bob": far_inner}

    def lay(self, nursery: trio.Nursery) -> None:
        """Start to move bytes."""
        if self.delays is not None:
            nursery.start_soon(self._pump, "alice", "bob", self.delays[0])
            nursery.start_soon(self._pump, "bob", "alice", self.delays[1])

    async def _pump(self, origin: str, target: str, delay: float) -> None:
        source, sink = self._inner[origin], self._inner[target]
        on_the_way, arriving = trio.open_memory_channel[tuple[float, bytes]](_CHUNKS)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deliver, arriving, sink)
                await self._collect(origin, source, on_the_way, delay)
        finally:
            source.close()
            sink.close()

    async def _collect(
        self,
        origin: str,
        source: MemoryTransport,
        on_the_way: trio.MemorySendChannel[tuple[float, bytes]],
        delay: float,
    ) -> None:
        buffer = bytearray(_CHUNK)
        with on_the_way, suppress(OSError, trio.ClosedResourceError, trio.BrokenResourceError):
            while True:
                await source.wait_readable()
                count = source.recv_nowait(memoryview(buffer))
                if not count:
                    return
                if origin not in self._stalled:
                    self.moving += 1
                    await on_the_way.send((trio.current_time() + delay, bytes(buffer[:count])))

    async def _deliver(
        self, arriving: trio.MemoryReceiveChannel[tuple[float, bytes]], sink: MemoryTransport
    ) -> None:
        with arriving, suppress(OSError, trio.ClosedResourceError):
            async for when, data in arriving:
                await trio.sleep_until(when)
                await self._pour(sink, data)
                self.moving -= 1

    @staticmethod
    async def _pour(sink: MemoryTransport, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[sink.send_nowait([rest]) :]
            except BlockingIOError:
                await sink.wait_writable()

    def cut(self, name: str) -> None:
        """Close an actor's end under its feet."""
        self.ends[name].close()

    def halve(self, name: str) -> None:
        """Let the other actor hear that this one will send no more, while it still could."""
        end = self.ends[name]
        end._out.writer_gone = True
        end._out.change()

    def stall(self, name: str) -> bool:
        """Lose whatever an actor sends from now on, and tell nobody; False where the connection is too direct for that."""
        self._stalled.add(name)
        return self.delays is not None

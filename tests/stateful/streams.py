"""Plays what a script does with a stream, and notes what is seen there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tests.stateful.records import End, Pair, StreamRecord
from tests.stateful.stage import Stage
from tractor import MsgStream, RemoteActorError, TransportClosed
from tractor.wire._dialog import Half


class StreamPlayer:
    """What a player does with the stream that is open where its script has come to, if one is."""

    def __init__(
        self,
        stage: Stage,
        pair: Pair,
        end: End,
        stream: MsgStream[Any] | None = None,
        seen: StreamRecord | None = None,
    ) -> None:
        self.stage = stage
        self.record = stage.record
        self.pair = pair
        self.end = end
        self.peer = pair.peer_of(end)
        self.stream = stream
        self.seen = seen
        self.ident = stage.record.next_player()
        self.side = "opener" if end is pair.opener else "endpoint"

    def tell(self, what: Any) -> None:
        """Note what happens here."""
        self.record.tell(f"{self.end.actor} {self.side} {self.pair.number}", what)

    def blame(self, text: str) -> None:
        """Note that something is wrong here."""
        self.record.blame(f"context {self.pair.number}, {self.side}: {text}")

    def _lost(self, what: str) -> None:
        if not self.record.link_harmed:
            self.blame(f"{what} says that the connection is lost, which it is not")

    # Operations on the stream.

    async def _send(self, count: int, pad: int) -> None:
        assert self.stream is not None
        assert self.seen is not None
        sent = self.seen.sent[self.ident]
        for _ in range(count):
            number = len(sent)
            sender = list(self.seen.sent).index(self.ident)
            try:
                await self.stream.send([sender, number, "x" * pad])
            except BaseException as exc:
                self._check_stream_error("send()", exc)
                raise
            sent.append(number)

    async def _recv(self, count: int) -> None:
        assert self.stream is not None
        for _ in range(count):
            await self._take(self.stream.receive)

    async def _drain(self) -> None:
        assert self.stream is not None
        try:
            while True:
                await self._take(self.stream.receive)
        except trio.EndOfChannel:
            return

    async def _poll(self) -> None:
        async def poll() -> Any:
            assert self.stream is not None
            return self.stream.receive_nowait()

        try:
            await self._take(poll)
        except (trio.WouldBlock, trio.EndOfChannel):
            return

    async def _take(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Receive an item."""
        assert self.seen is not None
        self.seen.receivers.add(self.ident)
        try:
            sender, number, _ = await receive()
        except trio.EndOfChannel as exc:
            self._check_stream_error("receive()", exc)
            self.seen.ended = True
            self._check_sticky(exc)
            raise
        except trio.WouldBlock:
            raise
        except BaseException as exc:
            self._check_stream_error("receive()", exc)
            raise
        if self.seen.ended and len(self.seen.receivers) == 1:
            self.blame("an item came after the end of its stream")
        self.seen.got.append((sender, number))

    def _check_sticky(self, end: trio.EndOfChannel) -> None:
        assert self.stream is not None
        try:
            self.stream.receive_nowait()
        except trio.EndOfChannel as exc:
            if exc is not end:
                self.blame("the end of a stream is another one each time")
        except (RemoteActorError, TransportClosed) as exc:
            if exc is not self.end.ctx._remote_error:
                self.blame(f"after the end of a stream came {exc!r}")
        else:
            self.blame("after the end of a stream came an item")

    async def _close(self) -> None:
        assert self.stream is not None
        assert self.seen is not None
        self.seen.closing = True
        left = await self.stream.aclose()
        self.seen.closed = True
        if left:
            # Taken by this task, maybe before one that was handed an item gets to note it.
            self.seen.receivers.add(self.ident)
        self.seen.got += [(sender, number) for sender, number, _ in left]
        if await self.stream.aclose():
            self.blame("a closed stream had items left")

    def _check_stream_error(self, what: str, exc: BaseException) -> None:
        """Only what has happened is raised."""
        ctx, seen = self.end.ctx, self.seen
        assert seen is not None
        if exc is ctx._remote_error:
            self.end.told = True
        if exc is ctx._remote_error or isinstance(exc, trio.Cancelled):
            return
        if isinstance(exc, TransportClosed):
            self._lost(what)
        elif isinstance(exc, trio.EndOfChannel):
            index = self.end.streams.index(seen)
            theirs = self.peer.streams[index : index + 1]
            if not (self.peer.gone or any(stream.closing for stream in theirs)):
                self.blame(f"{what} found an end of a stream that has not ended")
        elif not (
            isinstance(exc, trio.ClosedResourceError) and (seen.closing or ctx._dialog.own is Half.FAILED)
        ):
            self.blame(f"{what} raised {exc!r}")

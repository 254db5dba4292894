"""One side's end of a context's two-way stream."""

from __future__ import annotations

from typing import Any, Protocol

import trio

from tractor._errors import LocalProtocolError, TransportClosed
from tractor.ipc._channel import Channel
from tractor.ipc._transport import Buffer
from tractor.msg._boxed import MsgTypeError
from tractor.msg._payloads import PldRx
from tractor.runtime._flow import Credit, Inbox
from tractor.wire._dialog import Dialog
from tractor.wire._kinds import Flag, Kind

_ITEM = int(Kind.ITEM)
_CREDITED = int(Flag.CREDITED)

#: `receive` lets other tasks run after this many items, or bytes, that needed no waiting.
_BURST_ITEMS = 64
_BURST_BYTES = 256 * 1024


class StreamOwner(Protocol):
    """What a stream needs of its context."""

    did: int
    _dialog: Dialog
    _inbox: Inbox
    _credit: Credit
    _credit_needed: bool
    _remote_error: BaseException | None
    cancel_called: bool
    pld_rx: PldRx

    @property
    def chan(self) -> Channel:
        """The channel that carries the context."""

    def post(self, kind: Kind, flags: int = 0, body: Buffer = b"") -> None:
        """Send a frame now."""

    def load(self, body: Buffer, what: str) -> Any:
        """Decode a payload."""

    async def wait_loss(self) -> TransportClosed:
        """Return why a frame could not be sent."""

    async def wait_end(self) -> None:
        """Wait for the other side's last word."""


class MsgStream[ItemT = Any]:
    """Sends items to, and receives items from, the task at the other side of a context."""

    def __init__(self, ctx: StreamOwner) -> None:
        self._ctx = ctx
        self._inbox = ctx._inbox
        self._count = 0
        self._bytes = 0
        self._eoc: trio.EndOfChannel | None = None
        self._closed: trio.ClosedResourceError | None = None

    @property
    def ctx(self) -> Any:
        """The context this stream belongs to."""
        return self._ctx

    @property
    def chan(self) -> Channel:
        """The channel that carries it."""
        return self._ctx.chan

    @property
    def closed(self) -> trio.EndOfChannel | trio.ClosedResourceError | None:
        """Why the stream is over for this side, or None: the error that further calls raise."""
        return self._eoc or self._closed

    @property
    def closed_locally(self) -> bool:
        """Whether this side has closed."""
        return self._closed is not None

    async def send(self, data: ItemT) -> None:
        """Send one item; with backpressure, wait until the receiver has room for it.

        Raises the remote error if there is one, `trio.ClosedResourceError` after this side closed,
        `trio.EndOfChannel` after the other side did, `TypeError` for an item that cannot be sent, and
        `TransportClosed` when the peer is lost.
        """
        ctx = self._ctx
        if self._closed is not None or self._inbox.ended or ctx._remote_error is not None:
            self._refuse_send()
        body = ctx.pld_rx.encode(data)
        chan = ctx.chan
        await chan.wait_room()
        credit = ctx._credit if ctx._credit_needed else None
        try:
            if credit is not None and (credit.items <= 0 or credit.bytes <= 0):
                chan.check(len(body))
                await credit.wait()
            if self._closed is not None or self._inbox.ended or ctx._remote_error is not None:
                self._refuse_send()
            ctx._dialog.send(_ITEM)
            if credit is None:
                chan.post(_ITEM, 0, ctx.did, body)
            else:
                chan.post(_ITEM, _CREDITED, ctx.did, body)
                credit.spend(len(body))
        except LocalProtocolError:
            await ctx.wait_end()
            self._refuse_send()
        except TransportClosed as exc:
            if exc is ctx._remote_error:
                raise
            raise await ctx.wait_loss() from None
        if chan.is_turn_over(len(body)):
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _refuse_send(self) -> None:
        if self._ctx._remote_error is not None:
            raise self._ctx._remote_error
        raise self.closed or self._end()

    async def receive(self) -> ItemT:
        """Return the next item.

        Raises the remote error if there is one, `trio.EndOfChannel` when the other side has closed and everything
        was received, `trio.ClosedResourceError` after this side closed, and `MsgTypeError` for an item outside the
        endpoint's `pld_spec`. An item that is already here costs a check for cancellation; other tasks get to run at
        least every 64 items.
        """
        if self.closed is not None:
            self._refuse_receive()
        inbox = self._inbox
        if inbox.items:
            self._count += 1
            if self._count >= _BURST_ITEMS or self._bytes >= _BURST_BYTES:
                self._count = self._bytes = 0
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
        try:
            body = inbox.pop() if inbox.items else await inbox.get()
        except trio.EndOfChannel:
            raise self._end() from None
        self._bytes += len(body)
        return self._ctx.load(body, "Yield")  # type: ignore[no-any-return]

    def receive_nowait(self) -> ItemT:
        """Return an item that is already here; `trio.WouldBlock` when there is none, else as `receive`."""
        if self.closed is not None:
            self._refuse_receive()
        if self._inbox.error is not None:
            raise self._inbox.error
        if not self._inbox.items:
            raise self._end() if self._inbox.ended else trio.WouldBlock
        return self._ctx.load(self._inbox.pop(), "Yield")  # type: ignore[no-any-return]

    def _refuse_receive(self) -> None:
        error = self._ctx._remote_error or self.closed
        assert error is not None
        raise error

    def _end(self) -> trio.EndOfChannel:
        """Note that the other side has closed; the same error is raised for ever after."""
        if self._eoc is None:
            self._eoc = trio.EndOfChannel("the other side has closed its stream")
        return self._eoc

    def __aiter__(self) -> MsgStream[ItemT]:
        return self

    async def __anext__(self) -> ItemT:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def close(self) -> list[Buffer]:
        """Close this side now and wake its tasks; return what was received and not taken, undecoded."""
        if self._closed is not None:
            return []
        self._closed = trio.ClosedResourceError("this side has closed the stream")
        ctx = self._ctx
        if ctx._dialog.may_send(Kind.STOP) and ctx.chan.connected():
            ctx.post(Kind.STOP)
        ctx._credit.close()
        return self._inbox.next(self._closed)

    async def aclose(self) -> list[ItemT]:
        """Close this side and return the items that were received and not taken; `[]` when it was closed before."""
        await trio.lowlevel.cancel_shielded_checkpoint()
        left = []
        for body in self.close():
            try:
                left.append(self._ctx.load(body, "Yield"))
            except MsgTypeError:
                # The items are being thrown away by most callers: a bad one must not spoil closing.
                continue
        return left

"""One side's end of a context's two-way stream."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import trio

from tractor._errors import LocalProtocolError, TransportClosed
from tractor.ipc._channel import Channel
from tractor.ipc._transport import Buffer
from tractor.msg._boxed import ContextCancelled, MsgTypeError
from tractor.msg._payloads import PldRx
from tractor.runtime._deadline import wait_own_deadline
from tractor.runtime._flow import Inbox
from tractor.runtime._outflow import Outflow
from tractor.wire._dialog import Dialog
from tractor.wire._kinds import Flag, Kind

if TYPE_CHECKING:
    from tractor.runtime._fanout import StreamReceiver

_ITEM = int(Kind.ITEM)
_CREDITED = int(Flag.CREDITED)

#: `receive` lets other tasks run after this many items, or bytes, or seconds, that needed no waiting.
_BURST_ITEMS = 64
_BURST_BYTES = 256 * 1024
_BURST_TIME = 0.001
#: It looks at the clock after so many items, and after each where they have turned out to be slow.
_LOOK_ITEMS = 16


class StreamOwner(Protocol):
    """What a stream needs of its context."""

    did: int
    _dialog: Dialog
    _inbox: Inbox
    _outflow: Outflow
    _remote_error: BaseException | None
    cancel_called: bool
    pld_rx: PldRx

    @property
    def chan(self) -> Channel:
        """The channel that carries the context."""

    def post(self, kind: Kind, flags: int = 0, body: Buffer = b"") -> None:
        """Send a frame now."""

    def stop_soon(self) -> None:
        """Say STOP, unless something else that ends the stream is said before the running task lets others run."""

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
        self._outflow = ctx._outflow
        #: This turn: when it began, its items up to the next look at the clock, its bytes so far, and how many items
        #: from then on may pass before that look.
        self._began = 0.0
        self._count = 0
        self._bytes = 0
        self._left = self._pace = 1
        self._eoc: trio.EndOfChannel | None = None
        self._closed: trio.ClosedResourceError | None = None
        #: What reads for everybody, once somebody has subscribed.
        self._root: StreamReceiver[ItemT] | None = None
        #: Whether items come from there, or not at all, so that receiving costs others one look.
        self._rerouted = False

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
        outflow = self._outflow
        limit = outflow.limit
        try:
            while limit is not None and (limit.items <= 0 or limit.bytes <= 0) and not limit.closed:
                chan.check(len(body))
                await limit.wait()
                limit = outflow.limit
            if self._closed is not None or self._inbox.ended or ctx._remote_error is not None:
                self._refuse_send()
            ctx._dialog.send(_ITEM)
            if limit is None:
                chan.post(_ITEM, 0, ctx.did, body)
            else:
                chan.post(_ITEM, _CREDITED if outflow.credited else 0, ctx.did, body)
                limit.spend(len(body))
        except LocalProtocolError:
            await ctx.wait_end()
            self._refuse_send()
        except TransportClosed as exc:
            if exc is ctx._remote_error:
                raise
            raise await ctx.wait_loss() from None
        if chan.is_turn_over(len(body)):
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _why_over(self) -> BaseException | None:
        """Return what ended this stream: a remote error rather than an end, but a loss only where no end was seen."""
        error = self._ctx._remote_error
        if error is None or (self._eoc is not None and isinstance(error, TransportClosed)):
            return self.closed
        return error

    def _refuse_send(self) -> None:
        raise self._why_over() or self._end()

    async def receive(self) -> ItemT:
        """Return the next item.

        Raises the remote error if there is one, `trio.EndOfChannel` when the other side has closed and everything
        was received, `trio.ClosedResourceError` after this side closed, and `MsgTypeError` for an item outside the
        endpoint's `pld_spec`. An item that is already here costs a check for cancellation; other tasks get to run after
        64 items, 256 KiB or a millisecond of them.
        """
        if self._rerouted:
            return await self._receive_rerouted()
        inbox = self._inbox
        if inbox.items:
            self._left -= 1
            if (self._left <= 0 or self._bytes >= _BURST_BYTES) and self._is_turn_over():
                await trio.lowlevel.checkpoint()
                self._begin_turn()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
        try:
            if inbox.items:
                body = inbox.pop()
            else:
                body = await inbox.get()
                self._begin_turn()
        except trio.EndOfChannel:
            if self._root is not None:
                # Somebody has subscribed while this task waited.
                return await self._receive_rerouted()
            self._rerouted = True
            raise self._end() from None
        except ContextCancelled as exc:
            await wait_own_deadline(exc)
            raise
        self._bytes += len(body)
        return self._ctx.load(body, "Yield")  # type: ignore[no-any-return]

    def _begin_turn(self) -> None:
        self._began = perf_counter()
        self._count = self._left = self._pace
        self._bytes = 0

    def _is_turn_over(self) -> bool:
        """Whether this task has had enough for now; decide how soon to ask again."""
        elapsed = perf_counter() - self._began
        count = self._count - self._left
        # A few slow items must not pass uncounted, nor many quick ones cost a look each.
        self._pace = _LOOK_ITEMS if elapsed * _LOOK_ITEMS < _BURST_TIME * count else 1
        self._left = min(self._pace, max(1, _BURST_ITEMS - count))
        self._count = count + self._left
        return count >= _BURST_ITEMS or self._bytes >= _BURST_BYTES or elapsed >= _BURST_TIME

    def receive_nowait(self) -> ItemT:
        """Return an item that is already here; `trio.WouldBlock` when there is none, else as `receive`."""
        if self._root is None or self._closed is not None:
            return self._take_nowait()
        try:
            return self._root.receive_nowait()
        except trio.BrokenResourceError:
            self._refuse_receive()
            raise

    async def _receive_rerouted(self) -> ItemT:
        """Receive from the broadcast, or raise why there is nothing to receive."""
        if self._root is None or self._closed is not None:
            self._refuse_receive()
            raise AssertionError("it is rerouted for a reason")
        try:
            return await self._root.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._refuse_receive()
            raise

    def _refuse_receive(self) -> None:
        """Raise why nothing can be received any more, if there is a reason."""
        error = self._why_over()
        if error is not None:
            raise error

    @asynccontextmanager
    async def subscribe(self, raise_on_lag: bool = True) -> AsyncGenerator[StreamReceiver[ItemT]]:
        """Yield a receiver of its own: it gets every item that is received from now on, whoever else receives.

        For several tasks that each need all items; where each item is for one task, let them all call `receive()`.
        A receiver takes the next item off the stream when it has no other left, so the fastest of them sets the pace, and with
        backpressure the peer may send as fast as that one receives. The newest items, as many as `msg_buffer_size` says, are
        kept for those who are behind; one that is behind by more loses the oldest. Only that one: nobody waits for it.
        From the first call on, `receive()` of the stream itself is one more of these receivers.

        `raise_on_lag`: whether receiving raises `tractor.trionics.Lagged`, which says how much was lost, before it goes on
        with the oldest that is left; else a warning is logged. The first call also decides it for the stream itself.

        Raises `trio.ClosedResourceError` after this side closed.
        """
        if self._closed is not None:
            raise self._closed
        if self._root is None:
            from tractor.runtime._fanout import StreamReceiver
            from tractor.trionics._broadcast import Shared

            shared = Shared(self, self._inbox.capacity, self._take, self._take_nowait, self._take_in_turn)
            self._root = StreamReceiver(shared, raise_on_lag)
            self._rerouted = True
            # Those who wait already would take items past the others: have them look again.
            self._inbox.wake(trio.EndOfChannel)
        async with self._root.subscribe(raise_on_lag) as receiver:
            yield receiver

    async def _take(self) -> ItemT:
        """Take the next item off the stream, for all who share it."""
        if self._closed is not None:
            raise self._closed
        waits = not self._inbox.items
        if not waits:
            self._left -= 1
            if (self._left <= 0 or self._bytes >= _BURST_BYTES) and self._is_turn_over():
                await trio.lowlevel.checkpoint()
                self._begin_turn()
            else:
                await trio.lowlevel.checkpoint_if_cancelled()
        try:
            body = await self._inbox.get()
        except trio.EndOfChannel:
            raise self._end() from None
        if waits:
            self._begin_turn()
        self._bytes += len(body)
        return self._ctx.load(body, "Yield")  # type: ignore[no-any-return]

    def _take_in_turn(self) -> ItemT:
        """The same for an item that is already here, unless it is time to look at the clock."""
        if self._left <= 1 or self._bytes >= _BURST_BYTES or not self._inbox.items:
            raise trio.WouldBlock
        self._left -= 1
        body = self._inbox.pop()
        self._bytes += len(body)
        return self._ctx.load(body, "Yield")  # type: ignore[no-any-return]

    def _take_nowait(self) -> ItemT:
        """The same for an item that is already here."""
        if self._closed is not None:
            self._refuse_receive()
        if self._inbox.error is not None:
            raise self._inbox.error
        if not self._inbox.items:
            raise self._end() if self._inbox.ended else trio.WouldBlock
        return self._ctx.load(self._inbox.pop(), "Yield")  # type: ignore[no-any-return]

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

    def close(self, *, failed: bool = False) -> list[Buffer]:
        """Close this side now and wake its tasks; return what was received and not taken, undecoded.

        `failed`: an error is why; where that ends the context, the other side hears of the error and not of this.
        """
        if self._closed is not None:
            return []
        self._closed = trio.ClosedResourceError("this side has closed the stream")
        self._rerouted = True
        if self._root is not None:
            self._root.close()
        ctx = self._ctx
        if failed:
            ctx.stop_soon()
        elif ctx._dialog.may_send(Kind.STOP) and ctx.chan.connected():
            ctx.post(Kind.STOP)
        self._outflow.close()
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

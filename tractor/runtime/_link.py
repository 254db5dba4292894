"""One end of a context as the peer sees it: what arrives, what it does to the task here, and what may be sent.

What may be said and when is the table in `tractor.wire._dialog`; here it is decided what a frame that may be said means.
`Context` adds what users call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import trio

from tractor._errors import RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._channel import Channel
from tractor.ipc._transport import Buffer
from tractor.msg._boxed import Boxed, ContextCancelled, StreamOverrun
from tractor.msg._codec import EncHook
from tractor.msg._errbox import pack_error, unpack_error
from tractor.msg._payloads import ANY, MsgDec, PldRx
from tractor.msg._types import Cancel
from tractor.runtime._deadline import DEADLINE
from tractor.runtime._flow import CREDIT, WINDOW_BYTES, WINDOW_ITEMS, Inbox
from tractor.runtime._outflow import Outflow
from tractor.runtime._reasons import describe, make_cancel
from tractor.runtime._router import Router
from tractor.runtime._stream import MsgStream
from tractor.wire._dialog import Dialog, Role, Style
from tractor.wire._kinds import Flag, Kind

# Operators of IntFlag cost half a microsecond each.
_CREDITED, _BACKPRESSURE = int(Flag.CREDITED), int(Flag.BACKPRESSURE)

#: Seconds for a side to open its stream when more has come for it than it would hold without.
OPEN_TIMEOUT = 0.25


class Link:
    """The state of one end of a linked pair of tasks."""

    def __init__(
        self,
        router: Router,
        role: Role,
        *,
        did: int | None = None,
        dec: MsgDec = ANY,
        enc_hook: EncHook | None = None,
    ) -> None:
        self._router = router
        self._role = role
        self._dialog = Dialog(role, Style.CONTEXT)
        #: How payloads are encoded, decoded and checked.
        self.pld_rx = PldRx(dec, enc_hook, router.channel.codec)
        self._inbox = Inbox(self._give_back, self._crowded)
        self._outflow = Outflow()
        self._stream: MsgStream[Any] | None = None
        self._on_stopped: Callable[[], object] | None = None
        #: Cancelled when this end has to stop.
        self._scope = trio.CancelScope()
        #: Ends the task that watches the opener's deadline.
        self._watch_scope = trio.CancelScope()
        #: The task this end belongs to: the opener's, or the one that runs the endpoint.
        self._task: trio.lowlevel.Task | None = None
        self._parked = False
        #: Whether STOP is still to be said of a stream that is closed here.
        self._stop_owed = False
        #: `module:qualname` of the endpoint.
        self._target = ""
        #: What the opener has said of every stream of its side.
        self._allow_overruns = False
        self._started_event = trio.Event()
        self._started_body: Buffer | None = None
        self._settled = trio.Event()
        self._result_body: Buffer | None = None
        #: The error that came from the peer, unpacked once.
        self._remote_error: BaseException | None = None
        #: What the peer is told when it has overrun this end.
        self._overrun_error: StreamOverrun | None = None
        #: What left the block at this end.
        self._local_error: BaseException | None = None
        #: The peer's request to end this task.
        self._cancel_msg: Cancel | None = None
        #: Whether the block was left without waiting for the peer.
        self._released = False
        #: Whether this side called `cancel()`.
        self.cancel_called = False
        #: Whether the peer has confirmed our own `cancel()`.
        self.cancel_acked = False
        #: Who cancelled. At the opener's side our uid if it was us, else the uid of the actor that reported it; at the
        #: endpoint's side the actor that has asked for the end of this task.
        self.canceller: tuple[str, str] | None = None
        self.did = router.open(self) if did is None else did

    @property
    def cid(self) -> str:
        """The context's id, unique within its channel."""
        return f"{self.did}"

    @property
    def chan(self) -> Channel:
        """The channel that carries it."""
        return self._router.channel

    @property
    def peer(self) -> Aid:
        """The actor at the other end."""
        return self._router.peer

    # Frames.

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:
        """Take the next frame of the dialog."""
        if self._dialog.recv(kind):
            self._HANDLERS[kind](self, flags, body)

    def _on_item(self, flags: int, body: Buffer) -> None:
        credited = flags & _CREDITED
        inbox = self._inbox
        if credited:
            if inbox.allowed_items <= 0 or inbox.allowed_bytes <= 0:
                raise RemoteProtocolError(f"ITEM for dialog id {self.did} without credit")
            inbox.allowed_items -= 1
            inbox.allowed_bytes -= len(body)
        if not inbox.put(body, credited):
            self._overrun()

    def _on_started(self, flags: int, body: Buffer) -> None:  # noqa: ARG002 - one shape for all handlers
        self._started_body = body
        self._started_event.set()

    def _on_stream(self, flags: int, body: Buffer) -> None:
        self._inbox.begin()
        self._outflow.opened_there(*CREDIT.unpack(body), credited=bool(flags & _BACKPRESSURE))
        if self._inbox.discarding:
            self.discard()

    def _on_stop(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        self._inbox.end()
        if self._inbox.ended:
            self._outflow.close()
            if self._on_stopped is not None:
                self._on_stopped()

    def when_stopped(self, call: Callable[[], object]) -> None:
        """Have `call` called when the peer closes its end of the stream that is open here; at once if it has."""
        self._on_stopped = call
        if self._inbox.ended:
            call()

    def _on_credit(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        self._outflow.grant(*CREDIT.unpack(body))

    def _on_cancel(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        request: Cancel = self.chan.codec.decoder(Cancel)(body)
        self.cancel_task(request)

    def _on_deadline(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        (seconds,) = DEADLINE.unpack(body)
        # NaN is no number of seconds.
        if seconds >= 0:
            self._scope.deadline = trio.current_time() + seconds

    def _on_return(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        if self._overrun_error is not None:
            # The endpoint has ended before it heard of that, and nobody else would: some of its items are lost.
            boxed = pack_error(self._overrun_error, self._router.local.uid)
            self._fail(unpack_error(boxed, sender=self.peer.uid, cid=self.cid))
            return
        self._result_body = body
        self._inbox.finish()
        self._settle()

    def _on_error(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        boxed: Boxed = self.chan.codec.decoder(Boxed)(body)
        error = unpack_error(boxed, sender=self.peer.uid, cid=self.cid)
        if isinstance(error, ContextCancelled):
            if self._released:
                self._settle()
                return
            ours = error.canceller == self._router.local.uid
            self.canceller = self._router.local.uid if ours else error.src_uid
            self.cancel_acked = self.cancel_called and ours
        self._fail(error)

    _HANDLERS: ClassVar[dict[int, Callable[[Link, int, Buffer], None]]] = {
        Kind.STARTED: _on_started,
        Kind.STREAM: _on_stream,
        Kind.ITEM: _on_item,
        Kind.STOP: _on_stop,
        Kind.CREDIT: _on_credit,
        Kind.CANCEL: _on_cancel,
        Kind.DEADLINE: _on_deadline,
        Kind.RETURN: _on_return,
        Kind.ERROR: _on_error,
    }

    def on_loss(self, error: TransportClosed) -> None:  # noqa: ARG002 - each waiter gets an error of its own
        """The channel is gone: nothing more will come. A context that has ended already has lost nothing."""
        if not self._settled.is_set():
            self._fail(self._router.channel.loss())

    def _fail(self, error: BaseException) -> None:
        """End this side with `error`: raised where the task waits for the peer, else its scope is cancelled.

        An endpoint's is in any case: were the error caught, nobody could end it any more.
        """
        if self._remote_error is None:
            self._remote_error = error
        waits_here = self._parked or self._task in self._inbox.waiters
        reason = f"the context's other side ended: {type(error).__name__}"
        if waits_here and isinstance(error, ContextCancelled) and error.by_deadline:
            # A deadline of the opener's that has passed is its own affair, not an error that comes from afar.
            self._scope.cancel(reason=reason)
        self._inbox.fail(error)
        self._settle()
        if not waits_here or self._role is Role.CHILD:
            self._scope.cancel(reason=reason)

    def leave(self) -> None:
        """The block is over: nothing more is heard of the peer, and nobody may go on waiting for it."""
        self._router.close(self.did)
        self._settle()

    def _settle(self) -> None:
        self._outflow.close()
        self._end_patience()
        self._settled.set()
        self._started_event.set()

    def cancel_task(self, request: Cancel) -> None:
        """End the endpoint's task on behalf of `request.canceller`."""
        if self._cancel_msg is None:
            self._cancel_msg = request
            self.canceller = request.canceller
            self._scope.cancel(reason=describe(request))

    def _crowded(self) -> None:
        if self._inbox.awaited is None:
            self._inbox.awaited = trio.Event()
            self._router.start_soon(self._wait_opened, self._inbox.awaited)

    @trio.lowlevel.enable_ki_protection
    async def _wait_opened(self, awaited: trio.Event) -> None:
        """The sender was very fast, or our task is not going to open a stream: give it a moment."""
        with trio.move_on_after(OPEN_TIMEOUT):
            await awaited.wait()
            return
        self._overrun()

    def _end_patience(self) -> None:
        if self._inbox.awaited is not None:
            self._inbox.awaited.set()
            self._inbox.awaited = None

    def _overrun(self) -> None:
        """The sender was too fast, its item is lost: it is told, by an endpoint when that has ended because of it."""
        if (
            self._overrun_error is not None
            or not self._dialog.may_send(Kind.ERROR)
            or not self.chan.connected()
        ):
            return
        where = "" if self._stream is not None else "\n*** No stream open on this side"
        error = StreamOverrun(
            f"{self._router.local} could not take an item: its buffer of {self._inbox.capacity} is full{where}\n"
            "use `open_stream(backpressure=True)` where it is sent, to slow the sender down",
            sender=self.peer.uid,
        )
        self._overrun_error = error
        if self._role is Role.CHILD:
            self._scope.cancel(reason="the peer overran this context's stream")
        else:
            self.post(Kind.ERROR, 0, self.chan.codec.encode(pack_error(error, self._router.local.uid)))

    # What this end sends.

    def post(self, kind: Kind, flags: int = 0, body: Buffer = b"") -> None:
        """Send a frame now, as the table allows; never blocks. Where this raises, nothing was said."""
        self._router.channel.check(len(body))
        self._dialog.send(kind)
        self._router.channel.post(kind, flags, self.did, body)

    def _give_back(self, items: int, size: int) -> None:
        if self.chan.ignored():
            self.chan.abort(
                cause=RemoteProtocolError("the peer goes on sending, but does not read its credit")
            )
        if self._dialog.may_send(Kind.CREDIT) and self.chan.connected():
            self.grant(Kind.CREDIT, 0, items, size)

    def grant(self, kind: Kind, flags: int, items: int, size: int) -> None:
        """Send STREAM or CREDIT: the peer may send so many items and bytes more."""
        if size or kind == Kind.STREAM:
            self._inbox.allow(items, size)
        self.post(kind, flags, CREDIT.pack(items, size))

    def stop_soon(self) -> None:
        """Say STOP, unless something else that ends the stream is said before the running task lets others run.

        Items that are cut short by an error would look complete to who hears STOP first.
        """
        if not self._stop_owed:
            self._stop_owed = True
            trio.lowlevel.current_trio_token().run_sync_soon(self.stop_if_owed)

    def stop_if_owed(self) -> None:
        """Say STOP now, if that was put off."""
        if self._stop_owed:
            self._stop_owed = False
            if self._dialog.may_send(Kind.STOP) and self.chan.connected():
                self.post(Kind.STOP)

    def _parking(self) -> _Parking:
        return _Parking(self)

    def load(self, body: Buffer, what: str) -> Any:
        """Decode a payload; `MsgTypeError` when it does not match the endpoint's spec. `what` names the message."""
        try:
            return self.pld_rx.decode(body)
        except Exception as exc:  # noqa: BLE001 - of the library, of a type in the spec, or of a hook
            raise self.pld_rx.refuse(body, what, self.cid, exc) from None

    def _request_cancel(self, reason: str) -> None:
        if self._dialog.may_send(Kind.CANCEL) and self.chan.connected():
            self.post(Kind.CANCEL, 0, self.chan.codec.encode(make_cancel(self._router.local.uid, reason)))

    def release(self, reason: str) -> None:
        """End the other side without taking notice of its end, unless that is an error."""
        self._released = True
        self._request_cancel(reason)

    def announce_deadline(self, seconds: float) -> None:
        """Tell the endpoint that it has so many seconds from now."""
        if self._dialog.may_send(Kind.DEADLINE) and self.chan.connected():
            self.post(Kind.DEADLINE, 0, DEADLINE.pack(seconds))

    async def wait_loss(self) -> TransportClosed:
        """Return why a frame could not be sent, after a moment for the news of how the peer has ended."""
        return await self._router.wait_loss()

    async def wait_end(self) -> None:
        """Wait for the other side's last word, this side having said its own: it says how the context has ended.

        Raises `trio.ClosedResourceError` in an endpoint, which has no such thing to wait for.
        """
        if self._role is Role.CHILD:
            raise trio.ClosedResourceError("this context has failed")
        with self._parking():
            await self._settled.wait()

    def is_own_cancel(self, error: BaseException | None) -> bool:
        """Whether `error` is the peer's confirmation of our own `cancel()`."""
        return error is not None and error is self._remote_error and self.cancel_acked

    def comes_of_own_cancel(self, error: BaseException) -> bool:
        """Whether all of `error`, perhaps a group, comes of our own `cancel()`: its confirmation, and cancelled tasks."""
        if isinstance(error, BaseExceptionGroup):
            return all(map(self.comes_of_own_cancel, error.exceptions))
        return self.cancel_acked and (error is self._remote_error or isinstance(error, trio.Cancelled))

    def discard(self) -> None:
        """Drop the items that are here and those that will come; a sender that waits for credit gets it."""
        self._inbox.discard()
        self._end_patience()
        if self._outflow.credited and not self._inbox.window:
            self._inbox.window = WINDOW_ITEMS
            self._give_back(WINDOW_ITEMS, WINDOW_BYTES)


class _Parking:
    """Marks that a context's own task waits for the peer, so that an error is raised there."""

    __slots__ = ("_ctx", "_mine")

    def __init__(self, ctx: Link) -> None:
        self._ctx = ctx
        self._mine = ctx._task is trio.lowlevel.current_task()

    def __enter__(self) -> None:
        if self._mine:
            self._ctx._parked = True

    def __exit__(self, *exc_info: object) -> None:
        if self._mine:
            self._ctx._parked = False

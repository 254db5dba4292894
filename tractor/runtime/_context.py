"""A context: one linked pair of tasks, one in each of two actors.

This is the state; the parent's task is in `_open`, the child's in `_serve`. What may be said and when is the table
in `tractor.wire._dialog`; here it is decided what a frame that may be said does to the task at this end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import trio

from tractor._errors import TransportClosed
from tractor.ipc._channel import Channel
from tractor.ipc._transport import Buffer
from tractor.msg._boxed import Boxed, ContextCancelled, MsgTypeError, RemoteActorError, StreamOverrun
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._errbox import pack_error, unpack_error
from tractor.msg._types import Cancel
from tractor.runtime._flow import BUFFER_ITEMS, CREDIT, WINDOW_BYTES, Credit, Inbox
from tractor.runtime._router import Router
from tractor.runtime._stream import MsgStream
from tractor.wire._dialog import Dialog, Role, Style
from tractor.wire._kinds import Flag, Kind

if TYPE_CHECKING:
    from tractor._ids import Aid

#: Seconds `Context.cancel` waits by default for the other side to have ended.
CANCEL_TIMEOUT = 0.616


class Unresolved:
    """The outcome of a context that has not ended: used as a value, never instantiated."""


class Context[StartedT = Any, ItemT = Any, ResultT = Any]:
    """This actor's end of a linked pair of tasks.

    The type parameters are the value of `started()`, the items of the stream, and the result of the endpoint.
    """

    def __init__(self, router: Router, role: Role, *, did: int | None = None, pld_spec: Any = Any) -> None:
        self._router = router
        self._role = role
        self._dialog = Dialog(role, Style.CONTEXT)
        self._pld_spec = pld_spec
        self._decode = get_codec().decoder(pld_spec)
        self._inbox = Inbox(self._give_back)
        self._credit = Credit()
        self._credit_needed = False
        self._granted = 0
        self._stream: MsgStream[ItemT] | None = None
        #: Cancelled when this end has to stop.
        self._scope = trio.CancelScope()
        #: The task this end belongs to: the opener's, or the one that runs the endpoint.
        self._task: trio.lowlevel.Task | None = None
        self._parked = False
        self._started_event = trio.Event()
        self._started_body: Buffer | None = None
        self._settled = trio.Event()
        self._result_body: Buffer | None = None
        self._result: Any = Unresolved
        #: The error that came from the peer, unpacked once.
        self._remote_error: BaseException | None = None
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
        #: Who cancelled: our uid if it was us, else the uid of the actor that reported it.
        self.canceller: tuple[str, str] | None = None
        self.did = router.open(self) if did is None else did

    def __repr__(self) -> str:
        return f"<Context {self.cid} {self.side} of {self._router.peer} {self.repr_state}>"

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

    @property
    def side(self) -> str:
        """`'parent'` for the opener, `'child'` for the endpoint."""
        return self._role.name.lower()

    @property
    def peer_side(self) -> str:
        """The other side."""
        return "child" if self._role is Role.PARENT else "parent"

    @property
    def has_outcome(self) -> bool:
        """Whether the endpoint has ended, in whatever way."""
        return self._remote_error is not None or self._result_body is not None

    @property
    def maybe_error(self) -> BaseException | None:
        """The remote error if one came, else the error that left the block here, else None."""
        return self._remote_error or self._local_error

    @property
    def outcome(self) -> Any:
        """`maybe_error`, or the result, or the class `Unresolved`."""
        if self.maybe_error is not None:
            return self.maybe_error
        return self._load_result() if self._result_body is not None else Unresolved

    @property
    def cancelled_caught(self) -> bool:
        """Whether this end was ended by its own scope."""
        return self._scope.cancelled_caught

    @property
    def repr_state(self) -> str:
        """One phrase for people: where the context is in its life."""
        error = self._remote_error
        if isinstance(error, ContextCancelled):
            if self.cancel_called:
                return "self-cancelled"
            return "peer-cancelled" if error.canceller == self.peer.uid else "actor-cancelled"
        if self.maybe_error is not None:
            return "errored"
        if self._result_body is not None:
            return "result-returned"
        if self._stream is not None:
            return "streaming-finished" if self._stream.closed else "streaming"
        return "started" if self._started_event.is_set() else "pre-started"

    # Frames.

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:
        """Take the next frame of the dialog."""
        if self._dialog.recv(kind):
            self._HANDLERS[kind](self, flags, body)

    def _on_item(self, flags: int, body: Buffer) -> None:
        if not self._inbox.put(body, flags & Flag.CREDITED):
            self._overrun()

    def _on_started(self, flags: int, body: Buffer) -> None:  # noqa: ARG002 - one shape for all handlers
        self._started_body = body
        self._started_event.set()

    def _on_stream(self, flags: int, body: Buffer) -> None:
        self._inbox.ended = False
        self._credit.closed = False
        self._credit_needed = self._credit_needed or bool(flags & Flag.BACKPRESSURE)
        self._credit.grant(*CREDIT.unpack(body))

    def _on_stop(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        self._inbox.end()
        self._credit.close()

    def _on_credit(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        self._credit.grant(*CREDIT.unpack(body))

    def _on_cancel(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        request: Cancel = get_codec().decoder(Cancel)(body)
        self.cancel_task(request)

    def _on_return(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        self._result_body = body
        self._inbox.end()
        self._settle()

    def _on_error(self, flags: int, body: Buffer) -> None:  # noqa: ARG002
        boxed: Boxed = get_codec().decoder(Boxed)(body)
        error = unpack_error(boxed, sender=self.peer.uid, cid=self.cid)
        if self._released:
            self._settle()
            return
        if isinstance(error, ContextCancelled):
            ours = error.canceller == self._router.local.uid
            self.canceller = self._router.local.uid if ours else error.src_uid
            self.cancel_acked = self.cancel_called and ours
        self._fail(error)

    _HANDLERS: ClassVar[dict[int, Callable[[Context[Any, Any, Any], int, Buffer], None]]] = {
        Kind.STARTED: _on_started,
        Kind.STREAM: _on_stream,
        Kind.ITEM: _on_item,
        Kind.STOP: _on_stop,
        Kind.CREDIT: _on_credit,
        Kind.CANCEL: _on_cancel,
        Kind.RETURN: _on_return,
        Kind.ERROR: _on_error,
    }

    def on_loss(self, error: TransportClosed) -> None:  # noqa: ARG002 - each waiter gets an error of its own
        """The channel is gone: nothing more will come."""
        self._fail(self._router.channel.loss())

    def _fail(self, error: BaseException) -> None:
        """End this side with `error`: raised where the task waits for the peer, else its scope is cancelled."""
        if self._remote_error is None:
            self._remote_error = error
        waits_here = self._parked or self._task in self._inbox.waiters
        self._inbox.fail(error)
        self._credit.close()
        self._settle()
        if not waits_here:
            self._scope.cancel(reason=f"the context's other side ended: {type(error).__name__}")

    def _settle(self) -> None:
        self._credit.close()
        self._settled.set()
        self._started_event.set()

    def cancel_task(self, request: Cancel) -> None:
        """End the endpoint's task on behalf of `request.canceller`."""
        if self._cancel_msg is None:
            self._cancel_msg = request
            self._scope.cancel(reason=f"cancelled by {request.canceller[0]!r}: {request.reason}")

    def _overrun(self) -> None:
        """Tell the sender that it was too fast; its item is lost."""
        if not self._dialog.may_send(Kind.ERROR):
            return
        where = "" if self._stream is not None else "\n*** No stream open on this side"
        error = StreamOverrun(
            f"{self._router.local} could not take an item: its buffer of {self._inbox.capacity} is full{where}\n"
            "use `open_stream(backpressure=True)` to slow the sender down"
        )
        boxed = pack_error(error, self._router.local.uid)
        self.post(Kind.ERROR, 0, get_codec().encode(boxed))
        if self._role is Role.CHILD:
            self._scope.cancel(reason="the peer overran this context's stream")

    # What this end sends.

    def post(self, kind: Kind, flags: int = 0, body: Buffer = b"") -> None:
        """Send a frame now, as the table allows; never blocks."""
        self._dialog.send(kind)
        self._router.channel.post(kind, flags, self.did, body)

    def _give_back(self, items: int, size: int) -> None:
        if self._dialog.may_send(Kind.CREDIT) and self.chan.connected():
            self.post(Kind.CREDIT, 0, CREDIT.pack(items, size))

    def _parking(self) -> _Parking:
        return _Parking(self)

    async def started(self, value: StartedT = cast("StartedT", None), validate_pld_spec: bool = True) -> None:
        """Tell the opener that the endpoint is ready; `value` is what its block gets first.

        Endpoint side only, once: else `RuntimeError`. Raises `MsgTypeError` for a value outside the endpoint's
        `pld_spec` and `TypeError` for one that cannot be sent.
        """
        if self._role is Role.PARENT:
            raise RuntimeError("started() is for the endpoint's side of a context, not for its opener")
        if self._started_event.is_set():
            raise RuntimeError("started() was already called on this context")
        await trio.lowlevel.checkpoint_if_cancelled()
        body = get_codec().encode(value)
        if validate_pld_spec and self._pld_spec is not Any:
            self.load(body, "Started")
        self.post(Kind.STARTED, 0, body)
        self._started_event.set()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def load(self, body: Buffer, what: str) -> Any:
        """Decode a payload; `MsgTypeError` when it does not match the endpoint's spec. `what` names the message."""
        try:
            return self._decode(body)
        except DecodeError as exc:
            value = get_codec().decoder()(body)
            message = (
                f"invalid `{what}` msg payload\n{value!r} has type {type(value)!r}, "
                f"does not match type-spec `{what}.pld: {self._pld_spec}`: {exc}"
            )
            raise MsgTypeError.from_decode(message, bad_msg=value, cid=self.cid) from exc

    @asynccontextmanager
    async def open_stream(
        self,
        allow_overruns: bool = False,
        msg_buffer_size: int | None = None,
        backpressure: bool = False,
    ) -> AsyncGenerator[MsgStream[ItemT]]:
        """Open this side's end of the context's stream; independent of when the other side opens its own.

        `msg_buffer_size`: items held for this side before the sender is slowed down or has overrun it (64).
        `backpressure`: `send` waits until the receiver has room, in both directions, whichever side asks for it;
        nothing is lost and memory stays bounded. Without it a full buffer ends the context with `StreamOverrun`,
        or drops items where the receiver says `allow_overruns=True`.

        Raises `RuntimeError` before `started()`, after `cancel()` and while a stream is open here; the remote error
        once the context has one.
        """
        self._check_stream_may_open()
        inbox = self._inbox
        inbox.capacity = msg_buffer_size or BUFFER_ITEMS
        inbox.allow_overruns = allow_overruns
        self._credit_needed = self._credit_needed or backpressure
        grant = max(inbox.capacity - self._granted, 0)
        body = CREDIT.pack(grant, 0 if self._granted else WINDOW_BYTES)
        self._granted += grant
        self.post(Kind.STREAM, Flag.BACKPRESSURE if backpressure else 0, body)
        self._stream = stream = MsgStream(self)
        try:
            yield stream
        except trio.EndOfChannel as exc:
            if exc is not stream.closed:
                raise
        finally:
            stream.close()

    def _check_stream_may_open(self) -> None:
        if self._remote_error is not None:
            raise self._remote_error
        if self.cancel_called:
            raise RuntimeError("a stream cannot be opened after this context was cancelled")
        if not self._started_event.is_set():
            raise RuntimeError("a stream cannot be opened before started() was called on this context")
        if self._stream is not None and not self._stream.closed_locally:
            raise RuntimeError("this side of the context has a stream open; leave its block first")
        if not self._dialog.may_send(Kind.STREAM):
            raise trio.ClosedResourceError("the context's other side has ended")

    async def cancel(self, timeout: float = CANCEL_TIMEOUT) -> None:
        """Ask the other side to end; from the endpoint: end this task.

        The opener waits until the endpoint has ended, but at most `timeout` seconds, shielded from cancellation.
        """
        if not self.cancel_called:
            self.cancel_called = True
            if self._role is Role.CHILD:
                self._cancel_msg = Cancel(self._router.local.uid, "it cancelled itself")
                self.canceller = self._router.local.uid
                self._scope.cancel(reason="the context cancelled itself")
            else:
                self._request_cancel("its opener cancelled the context")
        if self._role is Role.PARENT:
            with trio.move_on_after(timeout, shield=True):
                await self._settled.wait()

    def _request_cancel(self, reason: str) -> None:
        if self._dialog.may_send(Kind.CANCEL) and self.chan.connected():
            self.post(Kind.CANCEL, 0, get_codec().encode(Cancel(self._router.local.uid, reason)))

    async def release(self, timeout: float = CANCEL_TIMEOUT) -> None:
        """End the other side without taking notice of how it ends; waits at most `timeout` seconds, shielded."""
        self._released = True
        self._inbox.discard()
        self._request_cancel("its opener has left")
        with trio.move_on_after(timeout, shield=True):
            await self._settled.wait()

    async def wait_for_result(self) -> ResultT:
        """Return what the endpoint returned. Opener's side only.

        Raises the remote error; a cancellation that this side asked for with `cancel()` is returned instead.
        """
        if self._role is Role.CHILD:
            raise RuntimeError("wait_for_result() is for the opener's side of a context")
        if not self._settled.is_set():
            if self._stream is None or self._stream.closed_locally:
                self._inbox.discard()
            with self._parking():
                await self._settled.wait()
        return self._load_outcome()

    def _load_outcome(self) -> Any:
        error = self._remote_error
        if error is None:
            return self._load_result()
        if self.is_own_cancel(error):
            return error
        raise error

    def _load_result(self) -> Any:
        if self._result is Unresolved and self._result_body is not None:
            try:
                self._result = self.load(self._result_body, "Return")
            except MsgTypeError as exc:
                self._remote_error = exc
                raise
        return self._result

    def is_own_cancel(self, error: BaseException | None) -> bool:
        """Whether `error` is the peer's confirmation of our own `cancel()`."""
        return (
            isinstance(error, ContextCancelled)
            and error is self._remote_error
            and self.cancel_called
            and error.canceller == self._router.local.uid
        )


class _Parking:
    """Marks that a context's own task waits for the peer, so that an error is raised there."""

    __slots__ = ("_ctx", "_mine")

    def __init__(self, ctx: Context[Any, Any, Any]) -> None:
        self._ctx = ctx
        self._mine = ctx._task is trio.lowlevel.current_task()

    def __enter__(self) -> None:
        if self._mine:
            self._ctx._parked = True

    def __exit__(self, *exc_info: object) -> None:
        if self._mine:
            self._ctx._parked = False

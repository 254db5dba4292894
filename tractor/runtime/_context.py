"""A context, as its two tasks use it: linked tasks in two actors that live and die by one set of rules."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, overload

import trio

from tractor.msg._boxed import ContextCancelled, MsgTypeError, RemoteActorError
from tractor.runtime._flow import AHEAD_ITEMS, BUFFER_ITEMS, WINDOW_BYTES, WINDOW_ITEMS
from tractor.runtime._link import Link
from tractor.runtime._reasons import make_cancel
from tractor.runtime._stream import MsgStream
from tractor.wire._dialog import Role
from tractor.wire._kinds import Flag, Kind

#: Seconds that `cancel()` waits for the other side to have ended.
CANCEL_TIMEOUT = 0.616


class Unresolved:
    """The outcome of a context that has not ended: used as a value, never instantiated."""


class Context[StartedT = Any, ItemT = Any, ResultT = Any](Link):
    """One end of a linked pair of tasks.

    The type parameters are the value of `started()`, the items of the stream, and the result of the endpoint.
    """

    _result: Any = Unresolved

    #: The `Portal` it was opened with; None at the endpoint's side.
    portal: Any = None
    #: What `open_stream` makes.
    stream_type: type[MsgStream[Any]] = MsgStream

    def __repr__(self) -> str:
        return f"<Context {self.cid} {self.side} of {self._router.peer} {self.repr_state}>"

    def pformat(self) -> str:
        """Several lines for people: what it runs, with whom, and where it is in its life."""
        facts = {
            "rpc": self.repr_rpc,
            "peer": f"{self.peer} ({self.peer_side}) at {self.dst_maddr or 'no address'}",
            "state": self.repr_state,
            "outcome": self.repr_outcome(),
        }
        return "\n".join([f"Context {self.cid} ({self.side})", *(f"  {k}: {v}" for k, v in facts.items())])

    @property
    def side(self) -> str:
        """`'parent'` for the opener, `'child'` for the endpoint."""
        return self._role.name.lower()

    @property
    def peer_side(self) -> str:
        """The other side."""
        return "child" if self._role is Role.PARENT else "parent"

    @property
    def parent_task(self) -> trio.lowlevel.Task | None:
        """The task this end belongs to: the opener's, or the one that runs the endpoint."""
        return self._task

    @property
    def dst_maddr(self) -> str:
        """Where the peer listens, as a multiaddr; empty where that is not known."""
        addrs = self.chan.peer_addrs
        return addrs[0].maddr if addrs else ""

    @property
    def repr_rpc(self) -> str:
        """The endpoint, as `module:qualname()`."""
        return f"{self._target}()"

    @property
    def has_outcome(self) -> bool:
        """Whether the endpoint has ended, in whatever way."""
        return self._remote_error is not None or self._result_body is not None

    @property
    def maybe_error(self) -> BaseException | None:
        """The remote error if one came, else the error that left the block here, else None."""
        return self._local_error if self._remote_error is None else self._remote_error

    @property
    def outcome(self) -> Any:
        """`maybe_error`, or the result, or the class `Unresolved`."""
        if self.maybe_error is None and self._result_body is not None:
            try:
                return self._load_result()
            except MsgTypeError as exc:
                return exc
        return Unresolved if self.maybe_error is None else self.maybe_error

    def repr_outcome(self) -> str:
        """The outcome in one short line."""
        outcome = self.outcome
        if isinstance(outcome, RemoteActorError):
            return outcome.reprol()
        text = "Unresolved" if outcome is Unresolved else repr(outcome)
        return text if len(text) <= 80 else f"{text[:79]}…"

    @property
    def cancelled_caught(self) -> bool:
        """Whether the task here was cancelled because the other side had ended, and not after our own `cancel()`."""
        return self._scope.cancelled_caught and not self.is_own_cancel(self._remote_error)

    @property
    def repr_state(self) -> str:
        """One phrase for people: where the context is in its life."""
        error, request = self._remote_error, self._cancel_msg
        if isinstance(error, ContextCancelled):
            return self._repr_cancel(error.canceller, self.cancel_acked)
        if request is not None and error is None:
            return self._repr_cancel(request.canceller, request.canceller == self._router.local.uid)
        if self.maybe_error is not None:
            return "errored"
        if self._result_body is not None:
            return "result-returned"
        if self._stream is not None:
            return "streaming-finished" if self._stream.closed else "streaming"
        if self._started_event.is_set():
            return "started"
        return "pre-started" if self._role is Role.CHILD else "syncing-to-child"

    def _repr_cancel(self, canceller: tuple[str, str] | None, by_this_side: bool) -> str:
        if by_this_side and self.cancel_called:
            return "self-cancelled"
        return "peer-cancelled" if canceller == self.peer.uid else "actor-cancelled"

    @overload
    async def started(
        self: Context[None, ItemT, ResultT],
        value: None = None,
        validate_pld_spec: bool = True,
        strict_pld_parity: bool = False,
        hide_tb: bool = True,
    ) -> None: ...
    @overload
    async def started(
        self,
        value: StartedT,
        validate_pld_spec: bool = True,
        strict_pld_parity: bool = False,
        hide_tb: bool = True,
    ) -> None: ...
    async def started(
        self,
        value: Any = None,
        validate_pld_spec: bool = True,
        strict_pld_parity: bool = False,
        hide_tb: bool = True,
    ) -> None:
        """Tell the opener that the endpoint is ready; `value` is what its block gets first.

        `validate_pld_spec=False`: do not look whether the value matches the endpoint's `pld_spec`; the opener does.
        `strict_pld_parity=True`: look also whether what arrives is equal to the value, as a list is not to a tuple.
        `hide_tb`: leave this function out of a test's report.

        Endpoint side only, once: else `RuntimeError`. Raises `MsgTypeError` for a value that does not match, and
        `TypeError`, `OverflowError` or `ValueError` for one that cannot be sent.
        """
        __tracebackhide__ = hide_tb
        if self._role is Role.PARENT:
            raise RuntimeError("started() is for the endpoint's side of a context, not for its opener")
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._started_event.is_set():
            raise RuntimeError("started() was already called on this context")
        rx = self.pld_rx
        body = rx.encode(value)
        if strict_pld_parity or (validate_pld_spec and rx.pld_dec.spec is not Any):
            rx.check(value, body, "Started", self.cid, strict=strict_pld_parity)
        self.post(Kind.STARTED, 0, body)
        self._started_event.set()
        await trio.lowlevel.cancel_shielded_checkpoint()

    @asynccontextmanager
    async def open_stream(
        self,
        allow_overruns: bool = False,
        msg_buffer_size: int | None = None,
        backpressure: bool = False,
    ) -> AsyncGenerator[MsgStream[ItemT]]:
        """Open this side's end of the context's stream; independent of when the other side opens its own.

        `msg_buffer_size`: items held for this side before the sender is slowed down (1024, and about 1 MiB) or, without
        backpressure, has overrun it (64).
        `backpressure`: `send` waits until the receiver has room, in both directions, whichever side asks for it;
        nothing is lost and memory stays bounded. A sender that has not asked for it itself sends at most 192 items
        before it has heard how the other side opens its stream; those are taken. Without backpressure a full buffer
        ends the context with `StreamOverrun`, or drops items where the receiver says `allow_overruns=True`.

        Raises `RuntimeError` before `started()`, after `cancel()` and while a stream is open here; the remote error
        once the context has one.
        """
        self._check_stream_may_open()
        self.stop_if_owed()
        inbox = self._inbox
        credited = self._outflow.credited = self._outflow.credited or backpressure
        inbox.opened = True
        inbox.spare = AHEAD_ITEMS if credited else 0
        inbox.capacity = msg_buffer_size or (WINDOW_ITEMS if credited else BUFFER_ITEMS)
        inbox.allow_overruns = allow_overruns or self._allow_overruns
        grant = max(inbox.capacity - inbox.window, 0)
        size = 0 if inbox.window else WINDOW_BYTES
        inbox.window += grant
        # An endpoint that has returned already left what it sent, and takes nothing.
        if self._dialog.may_send(Kind.STREAM):
            self.grant(Kind.STREAM, Flag.BACKPRESSURE if backpressure else 0, grant, size)
            self._outflow.open(ended=inbox.ended)
        self._end_patience()
        self._stream = stream = self.stream_type(self)
        try:
            yield stream
        except trio.EndOfChannel as exc:
            if exc is not stream.closed:
                stream.close(failed=True)
                raise
        except BaseException:
            stream.close(failed=True)
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

    async def send_yield(self, data: ItemT) -> None:
        """Send one item of a `@tractor.stream` function that has this context, in older programs; as `MsgStream.send`.

        Raises `RuntimeError` where this side has no stream open.
        """
        if self._stream is None:
            raise RuntimeError(
                "send_yield() is for `@tractor.stream` functions: this side has no stream open"
            )
        await self._stream.send(data)

    async def cancel(self, timeout: float = CANCEL_TIMEOUT, *, reason: str = "") -> None:
        """Ask the other side to end; from the endpoint: end this task.

        The opener waits until the endpoint has ended, but at most `timeout` seconds, shielded from cancellation.
        `reason` is for people: it is found in the `trio.Cancelled` and the `ContextCancelled` that come of it.
        """
        self.cancel_soon(reason or "the context was cancelled by `cancel()`")
        if self._role is Role.PARENT:
            with trio.move_on_after(timeout, shield=True):
                await self._settled.wait()

    def cancel_soon(self, reason: str) -> None:
        """Do what `cancel()` does, without waiting."""
        if self.cancel_called:
            return
        self.cancel_called = True
        if self._role is Role.CHILD:
            self.cancel_task(make_cancel(self._router.local.uid, reason))
        else:
            self._request_cancel(reason)

    async def wait_for_result(self, hide_tb: bool = True) -> ResultT:
        """Return what the endpoint returned. Opener's side only.

        Raises the remote error; a cancellation that this side asked for with `cancel()` is returned instead.
        While it waits and no stream is open on this side, items that arrive are dropped.
        Raises `RuntimeError` when the block was left before the endpoint had ended: then nobody knows.
        """
        __tracebackhide__ = hide_tb
        if self._role is Role.CHILD:
            raise RuntimeError("wait_for_result() is for the opener's side of a context")
        if not self._settled.is_set():
            if self._stream is None or self._stream.closed_locally:
                self.discard()
            try:
                with self._parking():
                    await self._settled.wait()
            finally:
                self._inbox.discarding = self._inbox.overrun
        result: ResultT = self._load_outcome()
        return result

    async def result(self, hide_tb: bool = True) -> ResultT:
        """Deprecated: `wait_for_result` says what it does."""
        warnings.warn(
            "Context.result() is deprecated; use Context.wait_for_result()", DeprecationWarning, stacklevel=2
        )
        return await self.wait_for_result(hide_tb)

    def maybe_raise(self, hide_tb: bool = True) -> None:
        """Raise the remote error, if there is one and it is not the confirmation of our own `cancel()`."""
        __tracebackhide__ = hide_tb
        if self._remote_error is not None and not self.is_own_cancel(self._remote_error):
            raise self._remote_error

    def _load_outcome(self) -> Any:
        self.maybe_raise()
        if self._remote_error is not None:
            return self._remote_error
        if self._result_body is None:
            raise RuntimeError(
                "nobody knows how this context's endpoint has ended: its block was left before that"
            ) from self._local_error
        return self._load_result()

    def _load_result(self) -> Any:
        if self._result is Unresolved and self._result_body is not None:
            try:
                self._result = self.load(self._result_body, "Return")
            except MsgTypeError as exc:
                self._remote_error = exc
                raise
        return self._result

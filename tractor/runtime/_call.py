"""The requester's end of a plain call: one request, one reply."""

from __future__ import annotations

from typing import Any

import outcome
import trio

from tractor._errors import TransportClosed
from tractor.ipc._transport import Buffer
from tractor.msg._boxed import Boxed, ContextCancelled
from tractor.msg._codec import DecodeError
from tractor.msg._errbox import unpack_error
from tractor.msg._types import Start
from tractor.runtime._deadline import find_budget, wait_own_deadline
from tractor.runtime._precedence import is_cancellation, overrules
from tractor.runtime._reasons import make_cancel, reason_of
from tractor.runtime._router import Router
from tractor.runtime._unwind import wait_unwound
from tractor.wire._dialog import Dialog, Role, Style
from tractor.wire._kinds import Kind

_START, _RETURN, _CANCEL = int(Kind.START), int(Kind.RETURN), int(Kind.CANCEL)


class _Call:
    """Parks the calling task until the reply is there."""

    __slots__ = ("dialog", "did", "reply", "router", "waiter")

    def __init__(self, router: Router) -> None:
        self.router = router
        self.dialog = Dialog(Role.PARENT, Style.CALL)
        self.reply: outcome.Outcome[Buffer] | None = None
        self.waiter: trio.lowlevel.Task | None = None
        self.did = router.open(self)

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:  # noqa: ARG002 - a DialogEnd
        if not self.dialog.recv(kind):
            return
        if kind == _RETURN:
            self._settle(outcome.Value(body))
        else:
            boxed: Boxed = self.router.channel.codec.decoder(Boxed)(body)
            self._settle(outcome.Error(unpack_error(boxed, sender=self.router.peer.uid)))

    def on_loss(self, error: TransportClosed) -> None:  # noqa: ARG002 - each waiter gets its own
        self._settle(outcome.Error(self.router.channel.loss()))

    def _settle(self, reply: outcome.Outcome[Buffer]) -> None:
        if self.reply is None:
            self.reply = reply
            if self.waiter is not None:
                waiter, self.waiter = self.waiter, None
                trio.lowlevel.reschedule(waiter)

    # Ctrl-C must not land between the entry and the wait: a later one would be ended in its place.
    @trio.lowlevel.enable_ki_protection
    async def wait(self) -> outcome.Outcome[Buffer]:
        """Return the reply; cancellable."""
        if self.reply is None:
            self.waiter = trio.lowlevel.current_task()

            def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
                self.waiter = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        assert self.reply is not None
        return self.reply

    async def cancel(self, cause: BaseException, target: str) -> None:
        """Ask the peer to end the function because of `cause`, and wait until it has, as long as the peer answers."""
        if self.dialog.may_send(_CANCEL) and self.router.channel.connected():
            self.dialog.send(_CANCEL)
            cancel = make_cancel(self.router.local.uid, reason_of(cause))
            channel = self.router.channel
            channel.post(_CANCEL, 0, self.did, channel.codec.encode(cancel))
            await wait_unwound(self.router, self.wait, cause, target)

    def raise_over(self, exc: BaseException, *, answered: bool) -> None:
        """Raise what the function has raised, if that comes out in place of `exc`, with which the caller was ended.

        `answered`: whether it had before the caller was.
        """
        error = self.reply.error if isinstance(self.reply, outcome.Error) else None
        if self.reply is None and not self.router.channel.connected():
            error = self.router.channel.loss()
        if overrules(error, exc, lost_before=answered):
            assert error is not None
            raise error from None
        if (
            error is not None
            and not is_cancellation(exc)
            and not is_cancellation(error)
            and exc.__context__ is None
        ):
            # Nobody else would ever hear of it.
            exc.__context__ = error


async def call(router: Router, target: str, kwargs: dict[str, Any], *, linked: bool = True) -> Any:
    """Run the function at `target` (`module:qualname`) in the peer and return its result.

    Raises `RemoteActorError` with what the function raised, `TransportClosed` when the peer is lost, and `TypeError`
    for arguments that cannot be sent. Cancelling the caller cancels the remote function, and the caller's deadline is
    the function's too, unless it is not `linked` to it: then the function goes on, and the caller does not wait for it.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    codec = router.channel.codec
    body = codec.encode(Start(target, kwargs, find_budget() if linked else None))
    this = _Call(router)
    try:
        this.dialog.send(_START)
        try:
            router.channel.post(_START, 0, this.did, body)
        except TransportClosed:
            raise await router.wait_loss() from None
        try:
            reply = await this.wait()
        except BaseException as exc:
            if linked:
                answered = this.reply is not None
                await this.cancel(exc, target)
                this.raise_over(exc, answered=answered)
            raise
    finally:
        router.close(this.did)
    try:
        value = reply.unwrap()
    except ContextCancelled as exc:
        await wait_own_deadline(exc)
        raise
    try:
        return codec.decoder()(value)
    except DecodeError as exc:
        from tractor.msg._violation import refuse_to_take

        raise refuse_to_take(value, Any, "Return", f"{this.did}", exc, codec) from None

"""The requester's end of a plain call: one request, one reply."""

from __future__ import annotations

from typing import Any

import outcome
import trio

from tractor._errors import TransportClosed
from tractor.ipc._transport import Buffer
from tractor.msg._boxed import Boxed, MsgTypeError
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._errbox import unpack_error
from tractor.msg._types import Cancel, Start
from tractor.runtime._link import INTERRUPT_TIMEOUT
from tractor.runtime._router import Router
from tractor.trionics._interrupts import is_interrupt
from tractor.wire._dialog import Dialog, Role, Style
from tractor.wire._kinds import Kind

_START, _RETURN, _CANCEL = int(Kind.START), int(Kind.RETURN), int(Kind.CANCEL)

#: Seconds a cancelled caller waits for the remote function to have ended.
CANCEL_TIMEOUT = 0.5


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
            boxed: Boxed = get_codec().decoder(Boxed)(body)
            self._settle(outcome.Error(unpack_error(boxed, sender=self.router.peer.uid)))

    def on_loss(self, error: TransportClosed) -> None:  # noqa: ARG002 - each waiter gets its own
        self._settle(outcome.Error(self.router.channel.loss()))

    def _settle(self, reply: outcome.Outcome[Buffer]) -> None:
        if self.reply is None:
            self.reply = reply
            if self.waiter is not None:
                waiter, self.waiter = self.waiter, None
                trio.lowlevel.reschedule(waiter)

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

    async def cancel(self, timeout: float = CANCEL_TIMEOUT) -> None:
        """Ask the peer to end the function and wait, at most `timeout` seconds, until it has."""
        if self.dialog.may_send(_CANCEL) and self.router.channel.connected():
            self.dialog.send(_CANCEL)
            cancel = Cancel(self.router.local.uid, "the caller was cancelled")
            self.router.channel.post(_CANCEL, 0, self.did, get_codec().encode(cancel))
            with trio.move_on_after(timeout, shield=True):
                await self.wait()


async def call(router: Router, target: str, kwargs: dict[str, Any], *, linked: bool = True) -> Any:
    """Run the function at `target` (`module:qualname`) in the peer and return its result.

    Raises `RemoteActorError` with what the function raised, `TransportClosed` when the peer is lost, and `TypeError`
    for arguments that cannot be sent. Cancelling the caller cancels the remote function, unless it is not
    `linked` to it: then the function goes on, and the caller does not wait for it.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    codec = get_codec()
    body = codec.encode(Start(target, kwargs))
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
                await this.cancel(INTERRUPT_TIMEOUT if is_interrupt(exc) else CANCEL_TIMEOUT)
            raise
    finally:
        router.close(this.did)
    value = reply.unwrap()
    try:
        return codec.decoder()(value)
    except DecodeError as exc:
        raise MsgTypeError.from_decode(f"invalid `Return` msg payload\n{exc}", bad_msg=bytes(value)) from None

"""One request, one task: the serving end of calls and contexts."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import trio

from tractor._errors import TransportClosed
from tractor._hooks import announce_crash
from tractor._ids import Aid
from tractor.ipc._transport import Buffer
from tractor.log import get_logger
from tractor.msg._boxed import Boxed, ContextCancelled
from tractor.msg._codec import DecodeError
from tractor.msg._errbox import pack_error, shrink_error
from tractor.msg._payloads import PldRx
from tractor.msg._types import Cancel, Start
from tractor.runtime._context import Context
from tractor.runtime._deadline import bound
from tractor.runtime._endpoint import context_meta
from tractor.runtime._expose import Exposed
from tractor.runtime._open import current_context
from tractor.runtime._reasons import describe
from tractor.runtime._router import Router
from tractor.wire._dialog import Dialog, Role, Style
from tractor.wire._kinds import Flag, Kind

log = get_logger(__name__)

_CANCEL, _CONTEXT = int(Kind.CANCEL), int(Flag.CONTEXT)


class ServedCall:
    """The serving end of a plain call."""

    __slots__ = ("arrived", "cancel_msg", "dialog", "did", "lost", "router", "scope")

    def __init__(self, router: Router, did: int) -> None:
        self.router = router
        self.did = did
        self.arrived = trio.current_time()
        self.dialog = Dialog(Role.CHILD, Style.CALL)
        self.scope = trio.CancelScope()
        self.cancel_msg: Cancel | None = None
        self.lost = False

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:  # noqa: ARG002 - a DialogEnd
        """Take the only frame that may follow the request: its cancellation."""
        if self.dialog.recv(kind) and kind == _CANCEL:
            self.cancel_task(self.router.channel.codec.decoder(Cancel)(body))

    def on_loss(self, error: TransportClosed) -> None:  # noqa: ARG002 - a DialogEnd
        """Nobody waits for the reply any more."""
        self.lost = True
        self.scope.cancel(reason="the caller is gone")

    def cancel_task(self, request: Cancel) -> None:
        """End the task on behalf of `request.canceller`."""
        if self.cancel_msg is None:
            self.cancel_msg = request
            self.scope.cancel(reason=describe(request))

    @property
    def peer(self) -> Aid:
        """Who asked."""
        return self.router.peer

    def post(self, kind: Kind, flags: int = 0, body: Buffer = b"") -> None:
        """Send the reply. Where this raises, nothing was said."""
        self.router.channel.check(len(body))
        self.dialog.send(kind)
        self.router.channel.post(kind, flags, self.did, body)


class ServedContext(Context[Any, Any, Any]):
    """The serving end of a context."""

    def __init__(self, router: Router, did: int) -> None:
        super().__init__(router, Role.CHILD, did=did)
        #: When the request came, in trio's clock.
        self.arrived = trio.current_time()

    @property
    def router(self) -> Router:
        """The router of the channel it came by."""
        return self._router

    @property
    def scope(self) -> trio.CancelScope:
        """The scope that ends the endpoint's task."""
        return self._scope

    @property
    def lost(self) -> bool:
        """Whether nobody is there to hear how the endpoint ends."""
        return isinstance(self._remote_error, TransportClosed)

    @property
    def cancel_msg(self) -> Cancel | None:
        """Who asked for the end, if somebody did."""
        return self._cancel_msg


type Served = ServedCall | ServedContext
type SelfMethod = Callable[..., Awaitable[Any]]


class Host(Protocol):
    """What serving needs of the actor it is done in."""

    aid: Aid
    exposed: Exposed
    #: Methods under the namespace `self`; each gets its own request first.
    self_methods: dict[str, SelfMethod]
    served: dict[Served, None]
    #: How many requests of one peer are served at a time.
    max_requests: int
    #: Whether it is about to end, and who has asked for that.
    cancel_called: bool

    def cancel_request(self) -> Cancel:
        """Who has asked for its end, and why."""

    def start_request(self, func: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a request's task."""

    def request_done(self, served: Served) -> None:
        """Forget a request that has ended."""

    def exit_soon(self, cause: BaseException) -> None:
        """`KeyboardInterrupt` or `SystemExit` left a request: end the actor."""


def serve_request(host: Host, router: Router, did: int, flags: int, body: Buffer) -> None:
    """Start the task for a request that has arrived, or refuse it."""
    if router.serving >= host.max_requests or router.channel.crowded():
        from tractor.runtime._refusal import may_refuse, refuse

        if may_refuse(host, router, body):
            refuse(host, router, did)
            return
    router.serving += 1
    served: Served
    if flags & _CONTEXT:
        served = ServedContext(router, did)
        served._dialog.recv(Kind.START)
    else:
        served = ServedCall(router, did)
        served.dialog.recv(Kind.START)
    router.dialogs[did] = served
    host.served[served] = None
    host.start_request(_run, host, served, body)


async def _run(host: Host, served: Served, body: Buffer) -> None:
    try:
        with served.scope:
            try:
                reply = await _invoke(host, served, body)
            except (trio.Cancelled, BaseExceptionGroup) as exc:
                _report_masked(host, served, exc)
                raise
            if served.scope.cancel_called and isinstance(served, ServedContext):
                # An endpoint that swallows its cancellation was cancelled all the same.
                await trio.lowlevel.checkpoint()
            _send_result(served, reply)
    except BaseException as exc:
        if isinstance(exc, trio.Cancelled) and trio.current_effective_deadline() == -math.inf:
            _report_cancel(host, served)
            raise
        _report_error(host, served, exc)
    else:
        if served.scope.cancelled_caught:
            _report_cancel(host, served)
    finally:
        served.router.close(served.did)
        served.router.serving -= 1
        host.request_done(served)


async def _invoke(host: Host, served: Served, body: Buffer) -> bytes:
    """Run what was asked for and return the encoded result."""
    codec = served.router.channel.codec
    try:
        start: Start = codec.decoder(Start)(body)
    except DecodeError as exc:
        raise TypeError(f"malformed request: {exc}") from exc
    if start.budget is not None:
        bound(served.scope, served.arrived, start.budget)
    if host.cancel_called and not start.target.startswith("self:"):
        served.cancel_task(host.cancel_request())
    if served.scope.cancel_called:
        # Refused at the door.
        await trio.lowlevel.checkpoint()
    if isinstance(served, ServedContext):
        value = await _run_endpoint(host, served, start)
        return served.pld_rx.encode(value)
    if start.target.startswith("self:"):
        method = host.self_methods.get(start.target[5:])
        if method is None:
            raise AttributeError(f"the runtime exposes no method {start.target[5:]!r}")
        # The runtime's own requests do not count: cancelling the actor waits for all that do.
        host.request_done(served)
        return codec.encode(await method(served, **start.kwargs))
    func = host.exposed.lookup(start.target, as_context=False)
    return codec.encode(await func(**start.kwargs))


async def _run_endpoint(host: Host, ctx: ServedContext, start: Start) -> Any:
    func = host.exposed.lookup(start.target, as_context=True)
    meta = context_meta(func)
    assert meta is not None, "lookup returns endpoints only"
    ctx.pld_rx = PldRx(meta.dec, meta.enc_hook, ctx.chan.codec)
    ctx._task = trio.lowlevel.current_task()
    ctx._target = start.target
    current_context.set(ctx)
    value = await func(**{meta.ctx_var_name: ctx}, **start.kwargs)
    if ctx._stream is not None:
        ctx._stream.close()
    if ctx._remote_error is not None and not ctx.lost:
        raise ctx._remote_error
    if not ctx._started_event.is_set() and not ctx.scope.cancel_called:
        raise RuntimeError(f"endpoint {start.target} returned without calling `await ctx.started()`")
    return value


def _order_to_leave(exc: BaseException) -> BaseException | None:
    """Return the `KeyboardInterrupt` or `SystemExit` that `exc` is, or that came out of a nursery with it."""
    while isinstance(exc, BaseExceptionGroup):
        found = exc.subgroup((KeyboardInterrupt, SystemExit))
        if found is None:
            return None
        exc = found.exceptions[0]
    return exc if isinstance(exc, (KeyboardInterrupt, SystemExit)) else None


def _send_result(served: Served, reply: bytes) -> None:
    try:
        served.post(Kind.RETURN, body=reply)
    except TransportClosed as exc:
        log.info("a result found nobody to take it", extra={"cause": str(exc)})


def _report(host: Host, served: Served, exc: BaseException) -> None:
    _send_error(served, pack_error(exc, host.aid.uid))


def _report_error(host: Host, served: Served, exc: BaseException) -> None:
    """Tell the peer what a task has raised; where that is an order to leave, this actor ends."""
    if isinstance(exc, trio.Cancelled):
        error = RuntimeError(
            "it has raised `trio.Cancelled`, and nobody had cancelled it: never keep one and raise it later"
        )
        error.__cause__, exc = exc, error
    _report(host, served, exc)
    order = _order_to_leave(exc)
    if order is None:
        announce_crash(exc)
    else:
        host.exit_soon(order)


def _report_masked(host: Host, served: Served, exc: BaseException) -> None:
    """Report the error that checkpoints in clean-up code have hidden behind the cancellation `exc`, if there is one."""
    # Most requests end in another way.
    from tractor.trionics._masked import find_masked

    masked = find_masked(exc) if served.scope.cancel_called else None
    if masked is not None:
        _report(host, served, masked)
        if (order := _order_to_leave(masked)) is not None:
            host.exit_soon(order)


def _report_cancel(host: Host, served: Served) -> None:
    if isinstance(served, ServedContext) and not served.lost:
        error = served._overrun_error or served._remote_error
        if error is not None:
            _report(host, served, error)
            return
    request = served.cancel_msg
    by_deadline = request is None and served.scope.deadline <= trio.current_time()
    if by_deadline:
        request = Cancel(served.peer.uid, "the time that it had for its request was over")
    canceller = request.canceller if request is not None else host.aid.uid
    by = "itself" if canceller == host.aid.uid else f"{canceller[0]!r}"
    why = f": {request.reason}" if request is not None else ""
    error = ContextCancelled(
        f"a task of {host.aid.name!r} was cancelled by {by}{why}",
        boxed_type=trio.Cancelled,
        canceller=canceller,
    )
    facts: dict[str, Any] = {"reason": describe(request)} if request is not None else {}
    if by_deadline:
        facts["by_deadline"] = True
    _send_error(served, pack_error(error, host.aid.uid, canceller=canceller, extra=facts))


def _send_error(served: Served, boxed: Boxed) -> None:
    dialog = served._dialog if isinstance(served, ServedContext) else served.dialog
    if served.lost or not dialog.may_send(Kind.ERROR):
        return
    channel = served.router.channel
    encode, limit = channel.codec.encode, channel.limit
    body = encode(boxed)
    if len(body) > limit:
        body = encode(shrink_error(boxed, limit))
    try:
        served.post(Kind.ERROR, body=body)
    except (TransportClosed, ValueError) as exc:
        log.info("an error found nobody to hear it", extra={"error": boxed.boxed_type, "cause": str(exc)})

"""The opener's task of a context: how its block is entered and, above all, how it is left."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, cast

import trio

from tractor._errors import TransportClosed
from tractor.msg._boxed import ContextCancelled, MsgTypeError
from tractor.msg._payloads import current_owner
from tractor.msg._types import Start
from tractor.runtime._context import Context
from tractor.runtime._deadline import find_budget, wait_own_deadline, watch_deadline
from tractor.runtime._endpoint import ContextMeta
from tractor.runtime._precedence import find_hidden, is_cancellation, overrules, raise_unchanged
from tractor.runtime._reasons import reason_of
from tractor.runtime._router import Router
from tractor.runtime._unwind import wait_unwound
from tractor.wire._dialog import Role
from tractor.wire._kinds import Flag, Kind

#: The context that the running task serves or has opened.
current_context = cast("ContextVar[Context[Any, Any, Any] | None]", current_owner)


@asynccontextmanager
async def open_context(
    router: Router,
    target: str,
    kwargs: dict[str, Any],
    meta: ContextMeta,
    *,
    portal: object = None,
    allow_overruns: bool = False,
) -> AsyncGenerator[tuple[Context[Any, Any, Any], Any]]:
    """Run the endpoint at `target` in the peer, linked to the block.

    The block is left when both sides have ended: normally with the endpoint's result, else with the remote error,
    else with what the body raised, after the endpoint was cancelled. The opener's deadline is the endpoint's too.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    budget = find_budget()
    body = router.channel.codec.encode(Start(target, kwargs, budget))
    ctx: Context[Any, Any, Any] = Context(router, Role.PARENT, dec=meta.dec, enc_hook=meta.enc_hook)
    ctx._task = trio.lowlevel.current_task()
    ctx._target = target
    ctx.portal = portal
    ctx._allow_overruns = ctx._inbox.allow_overruns = allow_overruns
    try:
        await _ask(ctx, body, budget)
        entered = lost_before = False
        hidden: BaseException | None = None
        try:
            with ctx._scope:
                try:
                    first = await _wait_started(ctx)
                    entered = True
                    token = current_context.set(ctx)
                    try:
                        yield ctx, first
                    finally:
                        current_context.reset(token)
                    await _wait_settled(ctx)
                except BaseException as exc:
                    lost_before = ctx._settled.is_set()
                    hidden = find_hidden(exc)
                    ctx._local_error = exc if hidden is None else hidden
                    if not await _absorbs(ctx, ctx._local_error, target) or not entered:
                        raise
        except BaseException as exc:
            # What comes out here was not the scope's own cancellation.
            _look_at_result(ctx, exc)
            if hidden is None and not overrules(ctx._remote_error, exc, lost_before=lost_before):
                await wait_own_deadline(exc)
                raise
        if hidden is not None:
            raise_unchanged(hidden)
        await _raise_remote_error(ctx)
    finally:
        ctx._watch_scope.cancel()
        ctx.leave()


async def _ask(ctx: Context[Any, Any, Any], body: bytes, budget: float | None) -> None:
    """Send the request, and have its deadline watched if it has one."""
    try:
        ctx.post(Kind.START, Flag.CONTEXT, body)
    except TransportClosed:
        raise await ctx.wait_loss() from None
    if budget is not None:
        ctx._router.start_soon(_watch_deadline, ctx, budget)


async def _watch_deadline(ctx: Context[Any, Any, Any], budget: float) -> None:
    with ctx._watch_scope:
        await watch_deadline(ctx._scope, budget, ctx.announce_deadline)


async def _wait_started(ctx: Context[Any, Any, Any]) -> Any:
    with ctx._parking():
        await ctx._started_event.wait()
    if ctx._remote_error is not None:
        raise ctx._remote_error
    assert ctx._started_body is not None, "a context that has neither started nor failed"
    return ctx.load(ctx._started_body, "Started")


async def _wait_settled(ctx: Context[Any, Any, Any]) -> None:
    """The body has ended well: nobody will take items any more, so only the end of the endpoint is awaited."""
    ctx.discard()
    if not ctx._settled.is_set():
        with ctx._parking():
            await ctx._settled.wait()


async def _absorbs(ctx: Context[Any, Any, Any], exc: BaseException, target: str) -> bool:
    """End the other side after the body raised `exc`; return whether the block swallows `exc`."""
    if ctx.comes_of_own_cancel(exc):
        return True
    if ctx._settled.is_set():
        # There is nobody left to ask, but it is known who would have.
        ctx.cancel_called |= not isinstance(exc, ContextCancelled) and not _is_its_own_end(ctx, exc)
        return False
    if isinstance(exc, ContextCancelled):
        # Somebody else's cancellation passes through: the peer is released, but this context was not cancelled.
        ctx.release(reason_of(exc))
    else:
        ctx.cancel_soon(reason_of(exc))
    ctx.discard()
    await wait_unwound(ctx._router, ctx._settled.wait, exc, target)
    return False


def _is_its_own_end(ctx: Context[Any, Any, Any], exc: BaseException) -> bool:
    """Whether the body was only cancelled, because the peer had ended."""
    return isinstance(exc, trio.Cancelled) and ctx._scope.cancel_called


def _look_at_result(ctx: Context[Any, Any, Any], exc: BaseException) -> None:
    """Find out whether a result that nobody waits for any more is one; that it is not is an error."""
    if ctx._remote_error is None and ctx._result_body is not None and is_cancellation(exc):
        with suppress(MsgTypeError):
            ctx._load_result()


async def _raise_remote_error(ctx: Context[Any, Any, Any]) -> None:
    """Raise what the peer reported where the body has not; our own confirmed cancellation is silent."""
    if ctx._remote_error is None and ctx._result_body is not None:
        with suppress(MsgTypeError):
            # A result that the spec forbids becomes the remote error.
            ctx._load_result()
    if ctx._remote_error is None:
        return
    await wait_own_deadline(ctx._remote_error)
    ctx._local_error = ctx._remote_error
    if not ctx.is_own_cancel(ctx._remote_error):
        raise ctx._remote_error

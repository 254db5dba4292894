"""What users call on a context: its life from both sides, cancellation, results, and what is known of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Pair, open_pair, run_fast
from tractor import Context, ContextCancelled, MsgTypeError, RemoteActorError
from tractor.runtime._context import CANCEL_TIMEOUT, Unresolved

HERE = __name__
LOG: list[Any] = []


@tractor.context
async def yo(ctx: Context, delay: float = 0, forever: bool = False) -> str:
    """Start, then return after `delay`, or never."""
    await ctx.started("hi")
    await trio.sleep(float("inf") if forever else delay)
    return "yo"


@tractor.context
async def misuse(ctx: Context, how: str) -> None:
    """Use the context against its rules; the error goes to the opener."""
    if how == "started twice":
        await ctx.started()
        await ctx.started()
    elif how == "stream before started":
        async with ctx.open_stream():
            pass
    elif how == "result of its own":
        await ctx.started()
        await ctx.wait_for_result()
    elif how == "unsendable":
        await ctx.started(object())


@tractor.context(pld_spec=str | None)
async def typed(ctx: Context[Any, Any, Any], value: Any, result: Any = None, check: bool = True) -> Any:
    """Start with `value`, and return `result`."""
    try:
        await ctx.started(value, validate_pld_spec=check)
    except MsgTypeError as exc:
        LOG.append(exc)
        raise
    return result


@tractor.context
async def slow_to_end(ctx: Context, seconds: float) -> None:
    """Take some time to clean up."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        LOG.append("cleaned up")


@tractor.context
async def reports(ctx: Context) -> None:
    """Note what an endpoint sees when its opener cancels it."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        assert ctx._cancel_msg is not None
        LOG.append(
            (ctx.cancel_called, ctx._cancel_msg.canceller, ctx.maybe_error, ctx.has_outcome, ctx.repr_state)
        )
        raise


async def test_a_context_from_begin_to_end() -> None:
    """What it knows of itself at every point."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(yo, delay=0.01) as (ctx, first):
            assert first == "hi"
            assert (ctx.side, ctx.peer_side) == ("parent", "child")
            assert ctx.chan is pair.portal.chan
            assert ctx.peer == pair.bob.actor.aid
            assert ctx.cid == "1"
            assert not ctx.has_outcome
            assert ctx.outcome is Unresolved
            assert ctx.maybe_error is None
            assert ctx.repr_state == "started"
            assert repr(ctx) == f"<Context 1 parent of {pair.bob.actor.aid} started>"
            assert await ctx.wait_for_result() == "yo"
            assert ctx.repr_state == "result-returned"
        assert ctx.has_outcome
        assert ctx.outcome == "yo"
        assert await ctx.wait_for_result() == "yo"
        assert (ctx.cancel_called, ctx.cancel_acked, ctx.canceller, ctx.cancelled_caught) == (
            False,
            False,
            None,
            False,
        )
        async with pair.portal.open_context(yo) as (second, _):
            assert second.cid == "3"


@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("started twice", RuntimeError, r"started\(\) was already called"),
        ("stream before started", RuntimeError, r"before started\(\) was called"),
        ("result of its own", RuntimeError, "for the opener's side"),
        ("unsendable", TypeError, "cannot send an object of type 'object'"),
    ],
)
async def test_misuse_by_the_endpoint_is_its_error(how: str, error: type[Exception], text: str) -> None:
    """And so the opener's."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match=text) as info:
            async with pair.portal.open_context(misuse, how=how):
                await trio.sleep_forever()
        assert info.value.boxed_type is error


async def test_started_is_not_for_the_opener() -> None:
    """Nor does it harm."""
    async with open_pair(HERE) as pair, pair.portal.open_context(yo) as (ctx, _):
        with pytest.raises(RuntimeError, match="for the endpoint's side"):
            await ctx.started(1)


async def test_a_first_value_outside_the_spec_is_refused_where_it_is_sent() -> None:
    """The error is a local one; the opener gets it as the endpoint's."""
    async with open_pair(HERE) as pair:
        with pytest.raises(MsgTypeError, match=r"does not match type-spec `Started\.pld"):
            async with pair.portal.open_context(typed, value=10):
                pytest.fail("entered")
        (local,) = LOG
        assert local.tb_str == ""
        assert "------ - ------" not in repr(local) + str(local)


async def test_a_first_value_outside_the_spec_is_refused_where_it_arrives() -> None:
    """When the sender did not look; the endpoint is cancelled."""
    async with open_pair(HERE) as pair:
        with pytest.raises(MsgTypeError, match=r"Started.*\n.*has type <class 'int'>") as info:
            async with pair.portal.open_context(typed, value=10, check=False):
                pytest.fail("entered")
        assert info.value.bad_msg == 10
        assert pair.portal._router.dialogs == {}


@pytest.mark.parametrize("ask", [True, False])
async def test_a_result_outside_the_spec_is_refused_where_it_arrives(ask: bool) -> None:
    """Whether or not the block asks for it; it is the same error every time."""
    async with open_pair(HERE) as pair:
        with pytest.raises(MsgTypeError, match=r"Return") as info:
            async with pair.portal.open_context(typed, value="fine", result=10) as (ctx, first):
                assert first == "fine"
                if ask:
                    await ctx.wait_for_result()
        assert ctx.maybe_error is info.value
        assert ctx.outcome is info.value


@asynccontextmanager
async def opened(pair: Pair, func: Any, **kwargs: Any) -> AsyncGenerator[tuple[Any, Any]]:
    """Open a context with the rest of the program bounded."""
    with trio.fail_after(5):
        async with pair.portal.open_context(func, **kwargs) as (ctx, first):
            yield ctx, first


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("method", ["ctx", "portal"])
def test_parent_cancels(method: str, early: bool, inside: bool) -> None:
    """Our own `Context.cancel()` is silent; cancelling the whole actor is not; a result that was there first stays."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            us = pair.alice.actor.uid
            caught: BaseException | None = None
            try:
                async with opened(pair, yo, forever=not early) as (ctx, _):
                    if early:
                        await trio.sleep(0.5)
                    if method == "ctx":
                        await ctx.cancel()
                    else:
                        assert await pair.portal.cancel_actor()
                        assert pair.portal.chan.cancel_called
                    if inside:
                        await check(ctx)
            except ContextCancelled as exc:
                caught = exc
            await check(ctx)
            assert method == "portal" or not ctx.cancelled_caught
            if early:
                assert caught is None
                assert ctx.outcome == "yo"
                assert ctx.maybe_error is None
            else:
                assert ctx.outcome is ctx.maybe_error is ctx._remote_error
                assert ctx.outcome.canceller == us
                assert caught is (None if method == "ctx" else ctx.maybe_error)
                assert ctx.cancel_acked is (method == "ctx")
                assert ctx.canceller == us

    async def check(ctx: Any) -> None:
        if early:
            assert await ctx.wait_for_result() == "yo"
        elif method == "ctx":
            result = await ctx.wait_for_result()
            assert isinstance(result, ContextCancelled)
            assert result is ctx.maybe_error
        else:
            with pytest.raises(ContextCancelled) as info:
                await ctx.wait_for_result()
            assert info.value is ctx.maybe_error

    run_fast(main)


@pytest.mark.parametrize("also_ctx", [True, False])
def test_cancellation_from_another_task(also_ctx: bool) -> None:
    """The opener sleeps and does not look: after `Context.cancel()` its block ends silently, else with the error."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            contexts: list[Any] = []
            outcome: list[BaseException | None] = []

            async def opener() -> None:
                try:
                    async with pair.portal.open_context(yo, forever=True) as (ctx, _):
                        contexts.append(ctx)
                        await trio.sleep_forever()
                except ContextCancelled as exc:
                    outcome.append(exc)
                else:
                    outcome.append(None)

            with trio.fail_after(2):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(opener)
                    await wait_all_tasks_blocked()
                    (ctx,) = contexts
                    if also_ctx:
                        await ctx.cancel()
                    await pair.portal.cancel_actor()
            if also_ctx:
                assert outcome == [None]
                assert isinstance(await ctx.wait_for_result(), ContextCancelled)
            else:
                assert outcome == [ctx.maybe_error]
                with pytest.raises(ContextCancelled):
                    await ctx.wait_for_result()
            assert ctx.maybe_error.canceller == pair.alice.actor.uid

    run_fast(main)


@pytest.mark.parametrize(("seconds", "timeout"), [(0, None), (0.3, None), (30, None), (30, 2.5), (30, 0)])
def test_cancel_waits_for_the_end_but_not_for_ever(seconds: float, timeout: float | None) -> None:
    """Shielded, and bounded by `timeout`; the block itself waits for the real end."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            async with pair.portal.open_context(slow_to_end, seconds=seconds) as (ctx, _):
                await (ctx.cancel() if timeout is None else ctx.cancel(timeout))
                waited = trio.current_time() - begin
                assert waited == pytest.approx(
                    min(seconds, CANCEL_TIMEOUT if timeout is None else timeout), abs=0.01
                )
                assert ctx.cancel_called
                assert ctx.cancel_acked is (LOG != [])
            assert trio.current_time() - begin == pytest.approx(seconds, abs=0.01)
            assert LOG == ["cleaned up"]
            assert ctx.cancel_acked

    run_fast(main)


async def test_cancelling_twice_is_once() -> None:
    """The second call only waits."""
    async with open_pair(HERE) as pair:
        async with opened(pair, yo, forever=True) as (ctx, _):
            await ctx.cancel()
            await ctx.cancel()
        await ctx.cancel()


async def test_what_an_endpoint_sees_of_its_cancellation() -> None:
    """Who asked; no error of its own, and no outcome yet."""
    async with open_pair(HERE) as pair:
        async with opened(pair, reports) as (ctx, _):
            await ctx.cancel()
        assert [(False, pair.alice.actor.uid, None, False, "peer-cancelled")] == LOG


async def test_after_our_own_cancel_calls_without_a_checkpoint_still_work() -> None:
    """The body's next checkpoint ends it; until then the outcome can be looked at."""
    async with open_pair(HERE) as pair:
        passed = False
        async with opened(pair, yo, forever=True) as (ctx, _):
            await ctx.cancel()
            assert isinstance(await ctx.wait_for_result(), ContextCancelled)
            with pytest.raises(ContextCancelled):
                async with ctx.open_stream():
                    pytest.fail("opened")
            assert ctx.repr_state == "self-cancelled"
            passed = True
            await trio.lowlevel.checkpoint()
            pytest.fail("a checkpoint passed")
        assert passed
        assert not ctx.cancelled_caught


@pytest.mark.parametrize(
    ("act", "state"),
    [("peer", "peer-cancelled"), ("actor", "actor-cancelled"), ("error", "errored")],
)
async def test_the_state_in_words(act: str, state: str) -> None:
    """After each kind of end."""
    async with open_pair(HERE) as pair:
        ctx: Any = None
        with pytest.raises((ContextCancelled, ValueError)):
            async with opened(pair, yo, forever=True) as (ctx, _):
                if act == "error":
                    raise ValueError
                if act == "actor":
                    await pair.portal.cancel_actor()
                else:
                    pair.bob.actor.cancel_soon()
                await trio.sleep_forever()
        assert ctx.repr_state == (state if act != "error" else "self-cancelled")

"""How the opener's block is left: one test for each row of the rules, with the very objects that are raised and kept."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Pair, join, open_pair, open_resident, run_fast
from tractor import Context, ContextCancelled, RemoteActorError

HERE = __name__
LOG: list[str] = []
GO: dict[str, trio.Event] = {}


@pytest.fixture(autouse=True)
def _clear() -> None:
    GO.clear()


@tractor.context
async def endpoint(ctx: Context, how: str = "sleeps", name: str = "it", items: int = 0) -> str:
    """Start, send, wait for a word, then end as told; note that it has."""
    GO[name] = trio.Event()
    try:
        await ctx.started(name)
        if items:
            async with ctx.open_stream() as stream:
                for n in range(items):
                    await stream.send(n)
        await GO[name].wait()
        if how == "raises":
            raise ValueError("remote")
        if how == "cancels itself":
            await ctx.cancel()
            await trio.sleep_forever()
        return "result"
    finally:
        LOG.append(name)


@asynccontextmanager
async def opened(**kwargs: Any) -> AsyncGenerator[tuple[Pair, Any]]:
    """Open the endpoint in a peer of its own; whatever happens happens soon."""
    with trio.fail_after(5):
        async with open_pair(HERE) as pair:
            async with pair.portal.open_context(endpoint, **kwargs) as (ctx, _):
                yield pair, ctx


async def soon(name: str = "it") -> None:
    """Give the word once everything waits."""
    await wait_all_tasks_blocked()
    GO[name].set()


@pytest.mark.parametrize("items", [0, 1, 2, 40])
@pytest.mark.parametrize("opened_here", [True, False])
@pytest.mark.parametrize("early", [True, False])
async def test_normal_body_and_a_result(early: bool, opened_here: bool, items: int) -> None:
    """The block waits for it, drops what nobody has read, and raises nothing."""
    async with trio.open_nursery() as nursery:
        async with opened(items=items) as (_, ctx):
            if opened_here:
                async with ctx.open_stream():
                    await wait_all_tasks_blocked()
            if early:
                await soon()
                await wait_all_tasks_blocked()
            else:
                nursery.start_soon(soon)
        assert ctx.outcome == "result"
        assert (ctx.maybe_error, ctx._remote_error, ctx._local_error) == (None, None, None)
        assert (ctx.cancel_called, ctx.canceller, ctx._scope.cancelled_caught) == (False, None, False)


@pytest.mark.parametrize("items", [0, 1, 2, 40])
async def test_normal_body_and_a_remote_error_while_waiting(items: int) -> None:
    """It is raised, and kept; unread items hide nothing."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(RemoteActorError, match="remote") as info:
            async with opened(how="raises", items=items) as (_, ctx):
                async with ctx.open_stream():
                    await wait_all_tasks_blocked()
                nursery.start_soon(soon)
        assert info.value is ctx._remote_error is ctx._local_error is ctx.maybe_error is ctx.outcome
        assert not ctx.cancel_called


@pytest.mark.parametrize("checkpoint", [True, False])
async def test_normal_body_and_the_confirmation_of_our_own_cancel(checkpoint: bool) -> None:
    """Silent; the outcome is the confirmation."""
    async with opened() as (pair, ctx):
        await ctx.cancel()
        if checkpoint:
            await trio.lowlevel.checkpoint()
            pytest.fail("the body went on")
    assert isinstance(ctx.outcome, ContextCancelled)
    assert ctx.outcome is ctx.maybe_error is ctx._remote_error is ctx._local_error
    assert ctx.canceller == ctx.outcome.canceller == pair.alice.actor.uid
    assert (ctx.cancel_called, ctx.cancel_acked) == (True, True)
    assert not ctx._scope.cancelled_caught
    assert not ctx.cancelled_caught


@pytest.mark.parametrize("who", ["the endpoint", "our cancel_actor", "a third party"])
async def test_normal_body_and_any_other_cancellation(who: str) -> None:
    """Raised, whoever it was; we did not cancel this context."""
    async with open_resident("carol") as carol:
        with pytest.raises(ContextCancelled) as info:
            async with opened(how="cancels itself") as (pair, ctx):
                us, them = pair.alice.actor.uid, pair.bob.actor.uid
                to_bob, _ = await join(carol, pair.bob)
                with trio.CancelScope(shield=True):
                    if who == "the endpoint":
                        await soon()
                    elif who == "our cancel_actor":
                        assert await pair.portal.cancel_actor()
                    else:
                        assert await to_bob.cancel_actor()
                    await ctx._settled.wait()
        asker = {"the endpoint": them, "our cancel_actor": us, "a third party": carol.actor.uid}[who]
        assert info.value.canceller == asker
        assert ctx.canceller == (us if who == "our cancel_actor" else them)
        assert info.value is ctx._remote_error is ctx._local_error is ctx.maybe_error is ctx.outcome
        assert (ctx.cancel_called, ctx.cancel_acked) == (False, False)
        assert ctx.repr_state == ("peer-cancelled" if who == "the endpoint" else "actor-cancelled")


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_body_that_raises_the_confirmation_of_our_own_cancel(grouped: bool) -> None:
    """Absorbed, also where a nursery of the body has put it into a group."""
    async with opened() as (_, ctx):
        async with ctx.open_stream() as stream:

            async def iterate() -> None:
                async for _ in stream:
                    pass

            if grouped:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(iterate)
                    nursery.start_soon(trio.sleep_forever)
                    await wait_all_tasks_blocked()
                    await ctx.cancel()
            else:
                await ctx.cancel()
                await iterate()
        pytest.fail("the body went on")
    assert ctx.outcome is ctx.maybe_error is ctx._remote_error is ctx._local_error
    assert ctx.cancel_acked
    assert not ctx._scope.cancelled_caught


@pytest.mark.parametrize("whose", ["another context's", "a third party's"])
async def test_a_body_that_raises_any_other_cancellation(whose: str) -> None:
    """It passes; the contexts that it passes were not cancelled, but nothing of them is left running."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
        to_carol, _ = await join(pair.alice, carol)
        to_bob, _ = await join(carol, pair.bob)
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(endpoint, name="outer") as (outer, _):
                async with to_carol.open_context(endpoint, name="sibling") as (sibling, _):
                    if whose == "another context's":
                        async with pair.portal.open_context(endpoint, how="cancels itself") as (inner, _):
                            await soon()
                            await trio.sleep_forever()
                    else:
                        carol.spawn(to_bob.cancel_actor)
                        await outer.wait_for_result()
        assert (outer.cancel_called, sibling.cancel_called) == (False, False)
        assert sibling._local_error is sibling.outcome is sibling.maybe_error is info.value
        assert sibling._remote_error is None
        if whose == "another context's":
            assert info.value is inner._remote_error
            assert outer._remote_error is None
        else:
            assert info.value is outer._remote_error
            assert info.value.canceller == carol.actor.uid
        assert outer._local_error is outer.outcome is info.value
        assert pair.bob.actor.served == carol.actor.served == {}


@pytest.mark.parametrize(
    "error", [ValueError("own"), KeyboardInterrupt(), ExceptionGroup("g", [OSError("own")])], ids=repr
)
async def test_a_body_that_raises(error: BaseException) -> None:
    """The endpoint is cancelled and has ended before the error leaves; so has that of every enclosing context."""
    with pytest.raises(type(error)) as info:
        async with opened(name="outer") as (pair, outer):
            async with pair.portal.open_context(endpoint, name="inner") as (inner, _):
                raise error
    assert LOG == ["inner", "outer"]
    for ctx in (inner, outer):
        assert (ctx.cancel_called, ctx.cancel_acked) == (True, True)
        assert type(ctx._local_error) is type(error)
        assert isinstance(ctx._remote_error, ContextCancelled)
        assert ctx.maybe_error is ctx.outcome is ctx._remote_error
        assert ctx._remote_error.canceller == ctx.canceller == pair.alice.actor.uid
        assert not ctx._scope.cancelled_caught
    if not isinstance(error, ExceptionGroup):
        assert info.value is error is inner._local_error is outer._local_error


@pytest.mark.parametrize("where", ["body", "implicit wait", "receive", "result", "shielded"])
async def test_a_body_that_is_cancelled_from_outside(where: str) -> None:
    """Also when it is done, and the block waits for the result: the endpoint ends with it."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_soon, scope)
            async with pair.portal.open_context(endpoint) as (ctx, _):
                if where == "body":
                    await trio.sleep_forever()
                elif where == "receive":
                    async with ctx.open_stream() as stream:
                        await stream.receive()
                elif where == "result":
                    await ctx.wait_for_result()
                elif where == "shielded":
                    with trio.CancelScope(shield=True):
                        await wait_all_tasks_blocked()
                        await wait_all_tasks_blocked()
    assert scope.cancelled_caught
    assert LOG == ["it"]
    assert isinstance(ctx._local_error, trio.Cancelled)
    assert (ctx.cancel_called, ctx.cancel_acked, ctx.canceller) == (True, True, pair.alice.actor.uid)
    assert ctx.outcome is ctx.maybe_error is ctx._remote_error
    assert not ctx._scope.cancelled_caught


async def cancel_soon(scope: trio.CancelScope) -> None:
    """Cancel it once everything waits."""
    await wait_all_tasks_blocked()
    scope.cancel()


async def test_a_body_that_is_cancelled_because_of_a_remote_error() -> None:
    """The error is raised in place of the cancellation; nobody has called `cancel()`."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(RemoteActorError, match="remote") as info:
            async with opened(how="raises") as (_, ctx):
                nursery.start_soon(soon)
                await trio.sleep_forever()
        assert ctx._scope.cancelled_caught
        assert ctx.cancelled_caught
        assert info.value is ctx._remote_error is ctx._local_error is ctx.outcome
        assert not ctx.cancel_called


@pytest.mark.parametrize("kind", ["error", "cancellation", "result"])
async def test_a_body_that_raises_after_the_endpoint_has_ended(kind: str) -> None:
    """Its own error leaves; this side has called for the end, but that ended nothing any more."""
    how = {"error": "raises", "cancellation": "cancels itself", "result": ""}[kind]
    own = OSError("own")
    with pytest.raises(OSError, match="own") as info:
        async with opened(how=how) as (_, ctx):
            with contextlib.suppress(RemoteActorError):
                with trio.CancelScope(shield=True):
                    await soon()
                    await ctx.wait_for_result()
            raise own
    assert info.value is own is ctx._local_error
    assert (ctx.cancel_called, ctx.cancel_acked) == (True, False)
    if kind == "result":
        assert ctx.maybe_error is ctx.outcome is own
        assert await ctx.wait_for_result() == "result"
    else:
        assert ctx.maybe_error is ctx.outcome is ctx._remote_error is not own
        with pytest.raises(RemoteActorError) as again:
            await ctx.wait_for_result()
        assert again.value is ctx._remote_error


def test_an_endpoint_that_does_not_end_is_given_up_on() -> None:
    """What it says afterwards is not heard; that its end is not known is said to whoever asks."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with pytest.raises(ValueError, match="own"):
                async with pair.portal.open_context(lingers) as (ctx, _):
                    raise ValueError("own")
            assert ctx.cancel_called
            assert not ctx.cancel_acked
            assert not ctx.has_outcome
            assert isinstance(ctx.outcome, ValueError)
            with pytest.raises(RuntimeError, match="left before that"):
                await ctx.wait_for_result()
            await trio.sleep(60)
            assert ctx._remote_error is None
            assert LOG == ["lingered"]

    run_fast(main)


@tractor.context
async def lingers(ctx: Context) -> None:
    """Take half a minute to end."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
        LOG.append("lingered")

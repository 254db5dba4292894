"""Cancellation from outside of a context's own task: by another task, by the whole actor, or by both."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import linked
from tests.shared import named
from tractor import ActorFailure, ContextCancelled, RemoteActorError

#: Seconds after which something hangs.
SOON = 2.0


@named("opener_waits_in", "sleep_forever", "block_exit", "result")
@named("ctx_cancel", True, False)
async def test_oob_cancellation(transport: str, ctx_cancel: bool, opener_waits_in: str) -> None:
    """With `Context.cancel()` the opener's block is silent, even if the actor is cancelled next; without, it raises."""
    contexts: list[Any] = []
    entered = trio.Event()
    left: list[BaseException | None] = []

    async def open_and_wait(portal: tractor.Portal) -> None:
        try:
            async with portal.open_context(linked.never_open_stream) as (ctx, _):
                contexts.append(ctx)
                entered.set()
                if opener_waits_in == "sleep_forever":
                    await trio.sleep_forever()
                elif opener_waits_in == "result":
                    await ctx.wait_for_result()
        except ContextCancelled as exc:
            left.append(exc)
            raise
        left.append(None)

    async def program() -> None:
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            portal = await an.start_actor("child", enable_modules=[linked.__name__])
            with trio.fail_after(SOON):
                # A nursery of trio wraps what its tasks raise.
                with nullcontext() if ctx_cancel else pytest.RaisesGroup(ContextCancelled):
                    async with trio.open_nursery() as tasks:
                        tasks.start_soon(open_and_wait, portal)
                        await entered.wait()
                        if ctx_cancel:
                            await contexts[0].cancel()
                        assert await portal.cancel_actor()
                (ctx,) = contexts
                assert ctx.maybe_error.canceller == ctx.canceller == tractor.current_actor().uid
                assert ctx.cancel_called is ctx.cancel_acked is ctx_cancel
                assert ctx.outcome is ctx._remote_error is ctx._local_error
                if ctx_cancel:
                    assert not ctx._scope.cancelled_caught
                    assert await ctx.wait_for_result() is ctx.maybe_error
                else:
                    await ctx.wait_for_result()

    if ctx_cancel:
        await program()
        assert left == [None]
    else:
        with pytest.raises(ContextCancelled) as info:
            await program()
        assert left == [info.value] == [contexts[0].maybe_error]


@named("who", "parent", "stranger")
async def test_any_actor_may_cancel_any_other(transport: str, who: str) -> None:
    """It answers at once, and so does a second call; its contexts learn who it was."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[linked.__name__])
        with trio.fail_after(SOON), pytest.raises(ContextCancelled) as info:
            async with portal.open_context(linked.never_open_stream) as (ctx, _):
                if who == "parent":
                    assert await portal.cancel_actor()
                else:
                    router = await tractor.current_actor().connect(portal.chan.peer_addrs[0])
                    assert await tractor.Portal(router).cancel_actor()
                await trio.sleep_forever()
        assert info.value.canceller == tractor.current_actor().uid
        assert info.value is ctx.outcome
        began = trio.current_time()
        await portal.cancel_actor()
        assert trio.current_time() - began < 0.4


@pytest.mark.parametrize("how", ["interrupt", "exit", pytest.param("signal", marks=OF_A_PROCESS)])
async def test_an_endpoint_that_ends_its_actor(transport: str, how: str) -> None:
    """The opener is told of the exit, or of the signal as a cancellation by that actor; the nursery learns why it ended.

    A cancellation is no error to stand beside that.
    """
    with pytest.raises((ActorFailure, ExceptionGroup)) as left:
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            portal = await an.start_actor("child", enable_modules=[linked.__name__])
            with pytest.raises(RemoteActorError) as info:
                async with portal.open_context(linked.leave, how=how) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        await stream.send("now")
                        # It closes its stream before it ends.
                        await trio.sleep_forever()
            assert info.value is ctx.outcome
            if how == "signal":
                assert isinstance(info.value, ContextCancelled)
                assert info.value.canceller == ctx.canceller == portal.aid.uid
                assert ctx.repr_state == "peer-cancelled"
            else:
                assert info.value.boxed_type is (KeyboardInterrupt if how == "interrupt" else SystemExit)
            with trio.CancelScope(shield=True), trio.move_on_after(SOON):
                while portal.chan.connected():
                    await trio.sleep(0.01)
            raise info.value
    failure: BaseException = left.value
    if how == "signal":
        assert failure.__context__ is info.value
    else:
        assert isinstance(failure, ExceptionGroup)
        assert failure.exceptions[0] is info.value
        failure = failure.exceptions[1]
    assert isinstance(failure, ActorFailure)
    assert ("exited" if how == "exit" else "interrupted") in str(failure)

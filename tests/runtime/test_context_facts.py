"""What a context says of itself to people and to programs: every documented name, at both sides, at every time of its life."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair
from tractor import Context, ContextCancelled, InternalError, MsgTypeError, RemoteActorError

HERE = __name__
LOG: list[Any] = []


@tractor.context
async def describes(ctx: Context, cue: bool = False) -> str:
    """Note what the endpoint's side knows."""
    LOG.append((ctx.repr_state, tractor.current_ipc_ctx(error_on_not_set=True) is ctx, ctx))
    if cue:
        await trio.sleep_forever()
    await ctx.started("first")
    LOG.append(ctx.repr_state)
    async with ctx.open_stream() as stream:
        LOG.append(ctx.repr_state)
        async for _ in stream:
            pass
    LOG.append(ctx.repr_state)
    return "x" * 200


@tractor.context
async def fails(ctx: Context) -> None:
    """Raise before the first value."""
    raise ValueError("over there")


@tractor.context
async def waits(ctx: Context, cancels_itself: bool = False, cleanup: float = 0) -> None:
    """Wait, and note the state while ending."""
    await ctx.started()
    try:
        if cancels_itself:
            await ctx.cancel()
        await trio.sleep_forever()
    finally:
        LOG.append((ctx.repr_state, ctx.canceller, ctx._scope.cancel_called, ctx._scope.cancelled_caught))
        with trio.CancelScope(shield=True):
            await trio.sleep(cleanup)


@tractor.context(pld_spec=str | None)
async def mistyped(ctx: Context[Any, Any, Any]) -> Any:
    """Return what the spec forbids."""
    await ctx.started()
    return 10


@tractor.context
async def greedy(ctx: Context, allow_overruns: bool = False) -> None:
    """Have a parameter of a name that `open_context` takes."""
    await ctx.started(allow_overruns)


@tractor.context
async def floods(ctx: Context, count: int) -> str:
    """Send at once, without waiting for room."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for n in range(count):
            await stream.send(n)
    return "flooded"


async def test_every_fact_at_both_sides() -> None:
    """Who, where, which task, which portal; the endpoint knows no portal."""
    async with open_pair(HERE) as pair:
        assert tractor.current_ipc_ctx() is None
        async with pair.portal.open_context(describes) as (ctx, _):
            assert tractor.current_ipc_ctx() is ctx
            async with pair.portal.open_context(waits) as (inner, _):
                assert tractor.current_ipc_ctx() is inner
                await inner.cancel()
            assert tractor.current_ipc_ctx() is ctx
            there = LOG[0][2]
            assert (ctx.side, ctx.peer_side, there.side, there.peer_side) == (
                "parent",
                "child",
                "child",
                "parent",
            )
            assert (ctx.portal, there.portal) == (pair.portal, None)
            assert ctx.parent_task is trio.lowlevel.current_task()
            assert there.parent_task not in (None, ctx.parent_task)
            assert ctx.repr_rpc == there.repr_rpc == f"{HERE}:describes()"
            assert (ctx.dst_maddr, there.dst_maddr) == ("", "")
            async with ctx.open_stream():
                pass
        assert tractor.current_ipc_ctx() is None
        with pytest.raises(InternalError, match="belongs to no context"):
            tractor.current_ipc_ctx(error_on_not_set=True)
        assert LOG[0][1]


async def test_the_peers_address_as_a_multiaddr(transport: str) -> None:
    """Where it listens."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        async with portal.open_context(greedy) as (ctx, _):
            assert ctx.dst_maddr == portal.chan.peer_addrs[0].maddr
            assert ctx.dst_maddr.startswith("/ip4/127.0.0.1/tcp/" if transport == "tcp" else "/unix/")
            assert ctx.dst_maddr in ctx.pformat()
        await an.cancel()


async def test_the_states_of_an_endpoint() -> None:
    """One after the other."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(describes) as (ctx, _):
            assert ctx.repr_state == "started"
            async with ctx.open_stream():
                assert ctx.repr_state == "streaming"
            assert ctx.repr_state == "streaming-finished"
        assert ctx.repr_state == "result-returned"
        assert ctx.repr_outcome() == f"'{'x' * 78}…"
        assert [LOG[0][0], *LOG[1:]] == ["pre-started", "started", "streaming", "streaming-finished"]


async def test_the_state_of_an_opener_that_waits_for_the_first_value() -> None:
    """It is synchronizing."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:

        async def opener() -> None:
            async with pair.portal.open_context(describes, cue=True):
                pytest.fail("entered")

        nursery.start_soon(opener)
        await wait_all_tasks_blocked()
        (ctx,) = pair.portal._router.dialogs.values()
        assert isinstance(ctx, Context)
        assert ctx.repr_state == "syncing-to-child"
        assert "state: syncing-to-child" in ctx.pformat()
        assert ctx.repr_outcome() == "Unresolved"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("who", ["opener", "endpoint", "actor"])
async def test_the_state_of_an_endpoint_that_is_cancelled(who: str) -> None:
    """Who asked for it; no error of its own yet."""
    async with open_pair(HERE) as pair:
        canceller = (pair.alice if who == "opener" else pair.bob).actor.uid
        seen: Any = None
        try:
            async with pair.portal.open_context(waits, cancels_itself=who == "endpoint") as (ctx, _):
                if who == "opener":
                    await ctx.cancel()
                elif who == "actor":
                    pair.bob.actor.cancel_soon()
                await trio.sleep_forever()
        except ContextCancelled as exc:
            seen = exc
        word = {"opener": "peer-cancelled", "endpoint": "self-cancelled", "actor": "actor-cancelled"}[who]
        assert [(word, canceller, True, False)] == LOG
        assert (seen is None) is (who == "opener")
        assert ctx.repr_state == ("self-cancelled" if who == "opener" else "peer-cancelled")


async def test_only_our_own_cancel_is_called_so() -> None:
    """An actor that was cancelled before the context is: the later `cancel()` is not what ended it."""
    async with open_pair(HERE) as pair:
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(waits) as (ctx, _):
                with trio.CancelScope(shield=True):
                    assert await pair.portal.cancel_actor()
                    await ctx.cancel()
                assert (ctx.cancel_called, ctx.cancel_acked) == (True, False)
                with pytest.raises(ContextCancelled):
                    await ctx.wait_for_result()
        assert info.value is ctx.maybe_error
        assert ctx.repr_state == "actor-cancelled"


async def test_an_endpoint_that_was_asked_to_end_cannot_take_the_blame() -> None:
    """The first request counts: its opener's `cancel()` stays silent."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(waits) as (ctx, _):
            (served,) = pair.bob.actor.served
            assert isinstance(served, Context)
            ctx._request_cancel("the test")
            ctx.cancel_called = True
            while not served._scope.cancel_called:
                await trio.lowlevel.cancel_shielded_checkpoint()
            await served.cancel()
            assert served.canceller == pair.alice.actor.uid
        assert ctx.cancel_acked


async def test_the_outcome_in_one_line() -> None:
    """An error of the peer, of this side, and a result that the spec forbids."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError):
            async with pair.portal.open_context(fails):
                pytest.fail("entered")
        with pytest.raises(OSError, match="here"):
            async with pair.portal.open_context(waits) as (ctx, _):
                ctx._released = True
                raise OSError("here")
        assert ctx.repr_outcome() == "OSError('here')"
        assert ctx.repr_state == "errored"
        with pytest.raises(MsgTypeError):
            async with pair.portal.open_context(mistyped) as (ctx, _):
                await wait_all_tasks_blocked()
                outcome = ctx.outcome
                assert isinstance(outcome, MsgTypeError)
                assert ctx.outcome is ctx.maybe_error is outcome
        assert ctx.repr_outcome().startswith("<MsgTypeError: ")


async def test_maybe_raise() -> None:
    """The remote error, unless it confirms our own `cancel()`."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(waits) as (ctx, _):
            ctx.maybe_raise()
            await ctx.cancel()
            ctx.maybe_raise()
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(waits) as (ctx, _):
                pair.bob.actor.cancel_soon()
                with trio.CancelScope(shield=True):
                    await ctx._settled.wait()
                ctx.maybe_raise()
                pytest.fail("nothing was raised")
        assert info.value is ctx._remote_error is ctx._local_error


async def test_result_is_a_deprecated_name() -> None:
    """It warns, and does the same."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(floods, count=0) as (ctx, _):
            with pytest.warns(DeprecationWarning, match="wait_for_result"):
                assert await ctx.result() == "flooded"
            assert await ctx.wait_for_result(hide_tb=False) == "flooded"


async def test_the_channel_tells_whether_its_actor_was_cancelled_by_us() -> None:
    """Under both names."""
    async with open_pair(HERE) as pair:
        chan = pair.portal.chan
        assert (chan.cancel_called, chan._cancel_called) == (False, False)
        assert await pair.portal.cancel_actor()
        assert (chan.cancel_called, chan._cancel_called) == (True, True)


async def test_arguments_that_open_context_takes_itself() -> None:
    """They do not travel; an endpoint that wants one of them cannot have it."""
    async with open_pair(HERE) as pair:
        # Known at run time only: for a type checker they are no arguments of the endpoint.
        kwargs: Any = {"hide_tb": False, "allow_overruns": True}
        async with pair.portal.open_context(waits, **kwargs) as (ctx, _):
            await ctx.cancel()
        with pytest.raises(TypeError, match="'allow_overruns' cannot be passed to greedy"):
            pair.portal.open_context(greedy, **kwargs)
        async with pair.portal.open_context(greedy) as (ctx, first):
            assert first is False


@pytest.mark.parametrize("allowed", [True, False])
async def test_overruns_can_be_allowed_for_all_streams_of_a_side(allowed: bool) -> None:
    """Also for what comes before the first one is open."""
    async with open_pair(HERE) as pair:
        got: list[int] = []
        kwargs: Any = {"allow_overruns": allowed}
        with nullcontext() if allowed else pytest.raises(RemoteActorError, match="StreamOverrun"):
            async with pair.portal.open_context(floods, count=600, **kwargs) as (ctx, _):
                await wait_all_tasks_blocked()
                async with ctx.open_stream() as stream:
                    got = [n async for n in stream]
                assert await ctx.wait_for_result() == "flooded"
        assert got == (list(range(600)) if allowed else [])


@pytest.mark.parametrize("ended", [True, False])
async def test_the_result_of_a_block_that_was_left_before_the_end_is_not_known(ended: bool) -> None:
    """Nobody waits for it for ever: neither afterwards, nor in another task that had begun before."""
    async with open_pair(HERE) as pair:
        raised: list[BaseException] = []

        async def wait(ctx: Any) -> None:
            with pytest.raises(RuntimeError, match="its block was left before that") as info:
                await ctx.wait_for_result()
            raised.append(info.value)

        async with trio.open_nursery() as nursery:
            with pytest.raises(ContextCancelled) as info:
                async with pair.portal.open_context(waits, cleanup=0 if ended else 0.7) as (ctx, _):
                    if not ended:
                        nursery.start_soon(wait, ctx)
                        await wait_all_tasks_blocked()
                    raise ContextCancelled("somebody else's")
            await wait(ctx)
        assert {type(exc.__cause__) for exc in raised} == {ContextCancelled}
        assert len(raised) == (1 if ended else 2)
        assert ctx.outcome is ctx.maybe_error is info.value
        # It is over; nothing waits for anything.
        await ctx.cancel()

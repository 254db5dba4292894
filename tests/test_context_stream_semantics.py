"""Contexts and their streams between two processes: the cross product of what either side may do, and what the other sees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio

import tractor
from tests.programs import linked
from tests.shared import Tree, in_tree, named, open_tree
from tractor import ContextCancelled, RemoteActorError, StreamOverrun
from tractor.runtime._flow import BUFFER_ITEMS

#: Seconds in which a thing that must happen has happened, with much to spare, and in which one that must not has not.
SOON = 5.0
NEVER = 0.05


@pytest.fixture(scope="module")
def transport(request: pytest.FixtureRequest) -> str:
    """The transport of the shared tree: all tests run over the first, then all over the next."""
    key: str = request.param
    return key


@pytest.fixture(scope="module")
def tree(transport: str) -> Iterator[Tree]:
    """A root and a child that all tests share."""
    with open_tree(transport, linked.__name__) as tree:
        yield tree


@named("child_returns_early", True, False)
@named("cancel_method", "ctx", "portal")
@named("chk_ctx_result_before_exit", True, False)
@in_tree
async def test_parent_cancels(
    tree: Tree, chk_ctx_result_before_exit: bool, cancel_method: str, child_returns_early: bool
) -> None:
    """Our `Context.cancel()` is silent, `Portal.cancel_actor()` is not, and neither takes back a result that is there."""
    silent = cancel_method == "ctx" or child_returns_early
    portal = tree.portal
    if cancel_method == "portal":
        portal = await tree.nursery.start_actor("short-lived", enable_modules=[linked.__name__])
    caught: BaseException | None = None
    with trio.fail_after(SOON):
        try:
            async with portal.open_context(
                linked.simple, data=10, name="a", block_forever=not child_returns_early
            ) as (ctx, first):
                assert first == 11
                while child_returns_early and not ctx.has_outcome:
                    await trio.sleep(0.001)
                if cancel_method == "ctx":
                    await ctx.cancel()
                else:
                    assert await portal.cancel_actor()
                    assert portal.chan._cancel_called
                if chk_ctx_result_before_exit:
                    await check_result(ctx, tree, silent, child_returns_early)
        except ContextCancelled as exc:
            caught = exc
        await check_result(ctx, tree, silent, child_returns_early)
    assert caught is (None if silent else ctx.maybe_error)
    if child_returns_early:
        assert ctx.outcome == "yo"
        assert ctx.maybe_error is None
    else:
        assert ctx.outcome is ctx.maybe_error is ctx._remote_error
        assert ctx.cancel_acked is (cancel_method == "ctx")
        assert ctx._scope.cancelled_caught is ctx.cancelled_caught is False


async def check_result(ctx: Any, tree: Tree, silent: bool, early: bool) -> None:
    """Check what `wait_for_result()` does, in the block or after it."""
    if early:
        assert await ctx.wait_for_result() == "yo"
        return
    if silent:
        error = await ctx.wait_for_result()
    else:
        with pytest.raises(ContextCancelled) as info:
            await ctx.wait_for_result()
        error = info.value
    assert isinstance(error, ContextCancelled)
    assert error is ctx.maybe_error
    assert error.canceller == ctx.canceller == tree.us


@named("child_send_before_receive", False, True)
@named("rent_wait_for_msg", False, True)
@named("use_ctx_cancel_method", False, "pre_stream", "post_stream_open", "post_stream_close")
@in_tree
async def test_parent_exits_ctx_after_child_enters_stream(
    tree: Tree, use_ctx_cancel_method: bool | str, rent_wait_for_msg: bool, child_send_before_receive: bool
) -> None:
    """A child that echoes for ever ends only by `cancel()`: before the stream, in it, after it; always silently."""
    endpoint: Any = linked.echo_forever

    async def waits_for_ever(ctx: Any) -> None:
        with pytest.raises(trio.TooSlowError), trio.fail_after(NEVER):
            await ctx.wait_for_result()

    with trio.fail_after(SOON):
        async with tree.portal.open_context(endpoint, send_first=child_send_before_receive) as (ctx, _):
            if use_ctx_cancel_method == "pre_stream":
                await ctx.cancel()
                async with ctx.open_stream():
                    pytest.fail("a stream was opened on a cancelled context")
            async with ctx.open_stream() as stream:
                await stream.send("ping")
                if rent_wait_for_msg:
                    expected = ["first", "ping"] if child_send_before_receive else ["ping"]
                    assert [await stream.receive() for _ in expected] == expected
                if use_ctx_cancel_method == "post_stream_open":
                    await waits_for_ever(ctx)
                    await ctx.cancel()
            if use_ctx_cancel_method == "post_stream_close":
                await waits_for_ever(ctx)
                await ctx.cancel()
            if use_ctx_cancel_method is False:
                await waits_for_ever(ctx)
                await ctx.cancel()
                # The body ends without having met a checkpoint.
    assert ctx.cancel_acked
    assert ctx._remote_error is ctx._local_error is ctx.maybe_error is ctx.outcome
    assert ctx.canceller == tree.us
    assert not ctx._scope.cancelled_caught
    with pytest.raises(ContextCancelled) as info:
        async with ctx.open_stream():
            pytest.fail("a stream was opened on a cancelled context")
    assert info.value is ctx.maybe_error
    assert tree.portal.chan.connected()


@named("pointlessly_open_stream", True, False)
@named("child_blocks_forever", False, True)
@named("error_parent", False, ValueError, KeyboardInterrupt)
@in_tree
async def test_simple_context(
    tree: Tree, error_parent: Any, child_blocks_forever: bool, pointlessly_open_stream: bool
) -> None:
    """An error of the opener leaves bare; `cancel()` is silent; in every case the endpoint has unwound before the block ends."""
    name = f"simple {error_parent} {child_blocks_forever} {pointlessly_open_stream}"
    own = error_parent("here") if error_parent else None
    caught: BaseException | None = None
    with trio.fail_after(1.5):
        try:
            async with tree.portal.open_context(
                linked.simple, data=10, name=name, block_forever=child_blocks_forever
            ) as (ctx, first):
                assert first == 11
                if pointlessly_open_stream:
                    async with ctx.open_stream():
                        if own is not None:
                            raise own
                        if child_blocks_forever:
                            await ctx.cancel()
                elif own is not None:
                    raise own
                elif child_blocks_forever:
                    await ctx.cancel()
                else:
                    assert await ctx.wait_for_result() == "yo"
        except (ValueError, KeyboardInterrupt) as exc:
            caught = exc
    assert caught is own
    assert name in await tree.portal.run(linked.get_unwound)
    assert ctx.cancel_called is (own is not None or child_blocks_forever)


@named("how", "twice", "stream_first", "unencodable", "never")
@in_tree
async def test_started_misuse(tree: Tree, how: str) -> None:
    """The error of the endpoint is raised at the opener."""
    boxed = TypeError if how == "unencodable" else RuntimeError
    with trio.fail_after(SOON), pytest.raises(RemoteActorError) as info:
        async with tree.portal.open_context(linked.misuse_started, how=how):
            await trio.sleep_forever()
    assert info.value.boxed_type is boxed


@in_tree
async def test_callee_cancels_before_started(tree: Tree) -> None:
    """Entering the block raises; no stream can be opened over there any more, and the next checkpoint ends it."""
    with trio.fail_after(SOON), pytest.raises(ContextCancelled) as info:
        async with tree.portal.open_context(linked.cancel_before_started):
            pytest.fail("entered")
    assert info.value.canceller == tree.them
    assert "itself" in info.value.tb_str
    there = await tree.portal.run(linked.get_unwound)
    assert "cancel_before_started" in there
    assert "refused: a stream cannot be opened after this context was cancelled" in there


@named("callee_cancels", False, True)
@in_tree
async def test_callee_closes_ctx_after_stream_open(tree: Tree, callee_cancels: bool) -> None:
    """The opener's `async for` ends, or raises that the callee has cancelled itself."""
    with trio.fail_after(SOON):
        if callee_cancels:
            with pytest.raises(ContextCancelled) as info:
                async with tree.portal.open_context(linked.close_at_once, cancels=True) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        await stream.send("now")
                        async for _ in stream:
                            pytest.fail("received")
                        # The callee had closed its stream before it ended.
                        await trio.sleep_forever()
            assert info.value.canceller == ctx.canceller == tree.them
            assert info.value is ctx.maybe_error
            return
        async with tree.portal.open_context(linked.close_at_once) as (ctx, first):
            assert first is None
            async with ctx.open_stream() as stream:
                async for _ in stream:
                    pytest.fail("received")
                with pytest.raises(trio.EndOfChannel) as end:
                    await stream.receive()
            with pytest.raises(trio.EndOfChannel) as again:
                await stream.send("too late")
            assert again.value is end.value
            assert await ctx.wait_for_result() == "closed"


@named("how", "closes", "leaves", "raises")
@in_tree
async def test_caller_closes_ctx_after_callee_opens_stream(tree: Tree, how: str) -> None:
    """Closing the stream ends the callee's `async for`; leaving cancels nothing but waits; an error ends the callee."""
    with trio.fail_after(SOON):
        if how == "raises":
            with pytest.raises(ValueError, match="here"):
                async with tree.portal.open_context(linked.echo) as (ctx, _), ctx.open_stream():
                    raise ValueError("here")
            assert ctx.outcome.canceller == tree.us
            return
        async with tree.portal.open_context(linked.echo) as (ctx, _):
            async with ctx.open_stream() as stream:
                await stream.send("ping")
                assert await stream.receive() == "ping"
                if how == "closes":
                    assert await stream.aclose() == []
                    assert await ctx.wait_for_result() == "echoed"
        assert ctx.outcome == "echoed"
        assert not ctx.cancel_called


@in_tree
async def test_multitask_caller_cancels_from_nonroot_task(tree: Tree) -> None:
    """The block is silent, although the opener's task was iterating and the group of its nursery passes through it."""
    with trio.fail_after(SOON):
        async with tree.portal.open_context(linked.echo_forever) as (ctx, _):
            async with ctx.open_stream() as stream, trio.open_nursery() as nursery:

                async def send_then_cancel() -> None:
                    await stream.send("ping")
                    await ctx.cancel()

                nursery.start_soon(send_then_cancel)
                async for item in stream:
                    assert item == "ping"
    assert ctx.outcome is ctx._local_error is ctx._remote_error
    assert (ctx.cancel_acked, ctx.canceller) == (True, tree.us)


@named("overrun_by", "caller", "callee", "nobody")
@in_tree
async def test_one_end_stream_not_opened(tree: Tree, overrun_by: str) -> None:
    """Whoever sends to a side that has no stream open is told, within a second, whatever it waits for."""
    with trio.fail_after(SOON):
        if overrun_by == "nobody":
            async with tree.portal.open_context(linked.never_open_stream) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for number in range(BUFFER_ITEMS):
                        await stream.send(number)
                await ctx.cancel()
            assert ctx.cancel_acked
        elif overrun_by == "caller":
            with (
                trio.fail_after(1),
                pytest.raises(RemoteActorError, match=r"\*\*\* No stream open on") as info,
            ):
                async with tree.portal.open_context(linked.never_open_stream) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        for number in range(BUFFER_ITEMS + 1):
                            await stream.send(number)
                        await trio.sleep_forever()
            assert info.value.boxed_type is StreamOverrun
            assert info.value.src_uid == tree.them
        else:
            with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
                async with tree.portal.open_context(linked.keep_sending):
                    await trio.sleep_forever()
            assert info.value.boxed_type is RemoteActorError
            assert info.value.src_type is StreamOverrun
            assert info.value.src_uid == tree.us


@named("cancel_ctx", False, True)
@named("slow_side", "parent", "child")
@named("allow_overruns_side", "none", "parent", "child", "both")
@in_tree
async def test_maybe_allow_overruns_stream(
    tree: Tree, allow_overruns_side: str, slow_side: str, cancel_ctx: bool
) -> None:
    """What counts is whether the slow side allows it; then the result comes, or the confirmation of our `cancel()`."""
    allowed = allow_overruns_side in ("both", slow_side)
    at_parent = allow_overruns_side in ("both", "parent")
    at_child = allow_overruns_side in ("both", "child")
    items = 3 * BUFFER_ITEMS

    async def talk(ctx: Any) -> None:
        async with ctx.open_stream(allow_overruns=at_parent) as stream:
            if slow_side == "child":
                assert await stream.receive() == "begin"
                for number in range(items):
                    await stream.send(number)
            else:
                await stream.send("begin")
                await trio.sleep(0.02)
                assert [await stream.receive() for _ in range(items)] == list(range(items))
                await stream.send("enough")
            if cancel_ctx:
                await ctx.cancel()
            elif slow_side == "child" and not allowed:
                await trio.sleep_forever()
        if not cancel_ctx:
            assert await ctx.wait_for_result() == "yo"

    if slow_side == "child":
        manager: Any = tree.portal.open_context(linked.take_slowly, allow=at_child, pause=0.001)
    else:
        manager = tree.portal.open_context(linked.keep_sending, count=items)
    raised: Any = None
    with trio.fail_after(SOON):
        try:
            async with manager as (ctx, _):
                await talk(ctx)
        except RemoteActorError as exc:
            raised = exc
    if raised is None:
        # Where it is not allowed our cancellation may have been there first.
        assert allowed or cancel_ctx
        assert (ctx.outcome, ctx.cancel_acked) == ("yo", False) or ctx.cancel_acked
        assert ctx.cancel_acked <= cancel_ctx
        return
    assert not allowed
    assert raised.boxed_type is (StreamOverrun if slow_side == "child" else RemoteActorError)
    assert "StreamOverrun" in raised.tb_str


@in_tree
async def test_ctx_with_self_actor(tree: Tree) -> None:
    """An actor has no context with itself, by whatever way it finds itself."""
    async with tractor.find_actor(tree.us[0]) as portal:
        assert portal is not None
        assert portal.aid.uid == tree.us
        with pytest.raises(RuntimeError, match="Invalid Operation"):
            async with portal.open_context(linked.simple, data=1, name="self"):
                pytest.fail("entered")


@in_tree
async def test_a_function_that_is_no_endpoint(tree: Tree) -> None:
    """Is refused here."""
    func: Any = linked.get_unwound
    with pytest.raises(TypeError, match=r"decorate it with `@tractor.context`"):
        async with tree.portal.open_context(func):
            pytest.fail("entered")


@in_tree
async def test_current_ipc_ctx(tree: Tree) -> None:
    """It is the block's inside, none outside and in plain calls."""
    assert tractor.current_ipc_ctx() is None
    async with tree.portal.open_context(linked.echo) as (ctx, _):
        assert tractor.current_ipc_ctx() is ctx
        assert not await tree.portal.run(linked.get_ctx_of_task)
        async with ctx.open_stream():
            pass
    assert tractor.current_ipc_ctx() is None

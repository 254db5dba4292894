"""Where the news of the endpoint's end reaches the opener: one test for each place that its task can be at."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Pair, open_pair
from tractor import Context, ContextCancelled, RemoteActorError

HERE = __name__
GO: list[trio.Event] = []

#: What ends the endpoint: our own `cancel()` in another task, an error, its own `cancel()`, `cancel_actor()` by us.
ENDS = ["own cancel", "error", "cancels itself", "actor"]
every_end = pytest.mark.parametrize("how", ENDS)


@pytest.fixture(autouse=True)
def _clear() -> None:
    GO.clear()


@tractor.context
async def endpoint(ctx: Context, how: str, starts: bool = True) -> Any:
    """Start or not, wait for a word, end as told."""
    GO.append(trio.Event())
    if starts:
        await ctx.started()
    await GO[0].wait()
    if how == "error":
        raise ValueError("remote")
    if how == "cancels itself":
        await ctx.cancel()
        await trio.sleep_forever()


async def end_soon(pair: Pair, how: str) -> None:
    """Once everything waits let the endpoint end."""
    await wait_all_tasks_blocked()
    (ctx,) = (end for end in pair.portal._router.dialogs.values() if isinstance(end, Context))
    if how == "own cancel":
        await ctx.cancel()
    elif how == "actor":
        assert await pair.portal.cancel_actor()
    else:
        GO[0].set()


def check(ctx: Any, how: str, raised: BaseException | None, *, left_by_error: bool = False) -> None:
    """Check what the context knows afterwards; a body that was left by an error has called for the end."""
    error = ctx._remote_error
    assert ctx.maybe_error is ctx.outcome is error
    assert isinstance(error, ContextCancelled) is (how != "error")
    assert ctx.cancel_acked is (how == "own cancel")
    assert ctx.cancel_called is (how == "own cancel" or (how == "error" and left_by_error))
    assert raised is (None if how == "own cancel" else error)
    assert (
        ctx.repr_state
        == {
            "own cancel": "self-cancelled",
            "error": "errored",
            "cancels itself": "peer-cancelled",
            "actor": "actor-cancelled",
        }[how]
    )
    if how == "own cancel":
        assert not ctx._scope.cancelled_caught


@every_end
async def test_waiting_to_enter(how: str) -> None:
    """Raised from there, whoever cancelled: there is no block that could be silent."""
    async with open_pair(HERE) as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_soon, pair, how)
            manager = pair.portal.open_context(endpoint, how=how, starts=False)
            with pytest.raises(RemoteActorError) as info:
                await manager.__aenter__()
        assert isinstance(info.value, ContextCancelled) is (how != "error")
        assert pair.portal._router.dialogs == {}


@every_end
@pytest.mark.parametrize("iterates", [True, False])
async def test_waiting_for_an_item(iterates: bool, how: str) -> None:
    """Raised there; our own cancellation goes no further than the block."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        seen: list[BaseException] = []
        raised: BaseException | None = None
        try:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                try:
                    async with ctx.open_stream() as stream:
                        if iterates:
                            async for _ in stream:
                                pass
                        await stream.receive()
                except RemoteActorError as exc:
                    seen.append(exc)
                    # What raised is no cancellation: the clean-up may wait.
                    await trio.lowlevel.checkpoint()
                    raise
        except RemoteActorError as exc:
            raised = exc
        check(ctx, how, raised, left_by_error=True)
        assert seen == [ctx._remote_error]
        assert ctx._local_error is ctx._remote_error


@every_end
async def test_waiting_for_the_result(how: str) -> None:
    """Our own cancellation is returned, anything else is raised."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        raised: BaseException | None = None
        result: Any = None
        try:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                result = await ctx.wait_for_result()
                await trio.lowlevel.checkpoint()
        except RemoteActorError as exc:
            raised = exc
        check(ctx, how, raised, left_by_error=True)
        assert result is (ctx._remote_error if how == "own cancel" else None)
        assert ctx._local_error is ctx._remote_error


@every_end
async def test_waiting_at_the_end_of_the_block(how: str) -> None:
    """Our own cancellation is swallowed, anything else is raised."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        raised: BaseException | None = None
        try:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                pass
        except RemoteActorError as exc:
            raised = exc
        check(ctx, how, raised)
        assert ctx._local_error is ctx._remote_error


@every_end
async def test_elsewhere_in_the_body(how: str) -> None:
    """The body is cancelled; the block is silent about our own cancellation, by whichever task, and raises the rest."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        raised: BaseException | None = None
        seen: list[BaseException] = []
        try:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                try:
                    await trio.sleep_forever()
                except trio.Cancelled as exc:
                    seen.append(exc)
                    raise
        except RemoteActorError as exc:
            raised = exc
        check(ctx, how, raised)
        assert len(seen) == 1
        assert ctx._scope.cancelled_caught is ctx.cancelled_caught is (how != "own cancel")
        assert ctx._local_error is ctx._remote_error


@pytest.mark.parametrize("call", ["result", "stream", "nothing"])
async def test_inside_the_call_of_cancel(call: str) -> None:
    """What needs no checkpoint works until the next one, where the body ends; the block absorbs it."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(endpoint, how="") as (ctx, _):
            await ctx.cancel()
            assert ctx._scope.cancel_called
            if call == "result":
                assert await ctx.wait_for_result() is ctx.maybe_error
            elif call == "stream":
                async with ctx.open_stream():
                    pytest.fail("opened")
            await trio.lowlevel.checkpoint()
            pytest.fail("a checkpoint passed")
        check(ctx, "own cancel", None)
        assert ctx._local_error is ctx._remote_error


@every_end
async def test_already_out_of_the_block(how: str) -> None:
    """Whoever asks later is told the same: our own cancellation is returned, anything else raised."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        raised: BaseException | None = None
        try:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                pass
        except RemoteActorError as exc:
            raised = exc
        check(ctx, how, raised)
        for _ in range(2):
            if how == "own cancel":
                assert await ctx.wait_for_result() is ctx._remote_error
                ctx.maybe_raise()
            else:
                with pytest.raises(RemoteActorError) as info:
                    await ctx.wait_for_result()
                assert info.value is raised
        with pytest.raises(RemoteActorError) as info:
            async with ctx.open_stream():
                pytest.fail("opened")
        assert info.value is ctx._remote_error


@every_end
async def test_while_the_body_raises_an_error_of_its_own(how: str) -> None:
    """That one wins; the remote one can be seen."""
    own = OSError("own")
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        with pytest.raises(OSError, match="own") as info:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    raise own  # noqa: B904 - the cancellation is no cause
        assert info.value is own is ctx._local_error
        assert ctx.maybe_error is ctx.outcome is ctx._remote_error
        assert isinstance(ctx._remote_error, ContextCancelled) is (how != "error")


@every_end
async def test_in_another_task_of_the_body(how: str) -> None:
    """A task of the body's nursery waits for an item: it gets the error, and the body's group leaves the block."""
    async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(end_soon, pair, how)
        group: ExceptionGroup[Exception] | None = None
        try:
            async with pair.portal.open_context(endpoint, how=how) as (ctx, _):
                async with ctx.open_stream() as stream, trio.open_nursery() as inner:
                    inner.start_soon(stream.receive)
                    await trio.sleep_forever()
        except ExceptionGroup as exc:
            group = exc
        if how == "own cancel":
            assert group is None
            check(ctx, how, None)
            assert ctx._local_error is ctx._remote_error
        else:
            assert group is not None
            assert group.exceptions == (ctx._remote_error,)
            assert isinstance(ctx._local_error, BaseExceptionGroup)
            assert ctx.cancel_called

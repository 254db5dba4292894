"""How the opener's block is entered and, above all, how it is left."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import join as join_actors
from tests.resident import open_pair, open_resident, run_fast
from tractor import Context, ContextCancelled, RemoteActorError, TransportClosed
from tractor.runtime._context import Unresolved
from tractor.runtime._unwind import INTERRUPT_TIMEOUT, UNWIND_TIMEOUT

HERE = __name__
LOG: list[str] = []


@tractor.context
async def sleeper(
    ctx: Context, name: str = "sleeper", seconds: float = float("inf"), cleanup: float = 0
) -> str:
    """Sleep, clean up, and note the end."""
    await ctx.started(name)
    try:
        await trio.sleep(seconds)
        return name
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(cleanup)
        LOG.append(f"{name} ended")


async def cue(word: str) -> None:
    """Wait until the test has come that far: an error would overtake `started()` and keep it out of its block."""
    while word not in LOG:
        await trio.sleep(0.001)


@tractor.context
async def fail_after(ctx: Context, seconds: float) -> None:
    """Raise later, but not before the opener is in its block."""
    await ctx.started()
    await cue("entered")
    await trio.sleep(seconds)
    raise ValueError("remote")


@tractor.context
async def send_then_fail(ctx: Context, items: int) -> None:
    """Send, then raise."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for n in range(items):
            await stream.send(n)
    await cue("entered")
    raise ValueError("after the items")


@tractor.context
async def echo(ctx: Context, greet: bool = False) -> str:
    """Send back what comes."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        if greet:
            await stream.send("greeting")
        async for item in stream:
            await stream.send(item)
    return "echoed"


@tractor.context
async def never_starts(ctx: Context) -> None:
    """Do not come to `started()`."""
    try:
        await trio.sleep_forever()
    finally:
        LOG.append("never_starts ended")


def test_the_block_is_left_when_both_sides_have_ended() -> None:
    """A body that is done first waits for the endpoint."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            async with pair.portal.open_context(sleeper, seconds=3) as (ctx, first):
                assert first == "sleeper"
            assert trio.current_time() - begin == pytest.approx(3, abs=0.01)
            assert ctx.outcome == "sleeper"
            assert LOG == ["sleeper ended"]
            assert pair.portal._router.dialogs == {}

    run_fast(main)


def test_a_remote_error_while_the_block_waits_is_raised_by_it() -> None:
    """The same object that the context keeps."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with pytest.raises(RemoteActorError, match="remote") as info:
                async with pair.portal.open_context(fail_after, seconds=1) as (ctx, _):
                    LOG.append("entered")
            assert ctx.maybe_error is ctx.outcome is info.value
            with pytest.raises(RemoteActorError) as again:
                await ctx.wait_for_result()
            assert again.value is info.value

    run_fast(main)


def test_a_remote_error_cancels_a_body_that_is_elsewhere() -> None:
    """It is raised in place of the cancellation."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with pytest.raises(RemoteActorError, match="remote"):
                async with pair.portal.open_context(fail_after, seconds=1) as (ctx, _):
                    LOG.append("entered")
                    try:
                        await trio.sleep_forever()
                    except trio.Cancelled:
                        LOG.append("body cancelled")
                        raise
            assert LOG == ["entered", "body cancelled"]
            assert ctx.cancelled_caught
            assert not ctx.cancel_called

    run_fast(main)


@pytest.mark.parametrize("error", [ValueError("own"), KeyboardInterrupt(), ExceptionGroup("g", [OSError()])])
@pytest.mark.parametrize("cleanup", [0, 0.3, 3, 30])
def test_an_error_of_the_body_ends_the_endpoint(error: BaseException, cleanup: float) -> None:
    """It is cancelled and awaited, for a while; the body's error is what is raised."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            with pytest.raises(type(error)) as info:
                async with pair.portal.open_context(sleeper, cleanup=cleanup) as (ctx, _):
                    raise error
            # A cancel scope that a group has passed through may have made a copy.
            assert info.value is error or getattr(info.value, "exceptions", 1) == getattr(
                error, "exceptions", 2
            )
            # After Ctrl-C there is less time to spare.
            timeout = INTERRUPT_TIMEOUT if isinstance(error, KeyboardInterrupt) else UNWIND_TIMEOUT
            assert trio.current_time() - begin == pytest.approx(min(cleanup, timeout), abs=0.01)
            assert ctx.cancel_called
            assert type(ctx._local_error) is type(error)
            assert (LOG == ["sleeper ended"]) is (cleanup < timeout)
            if cleanup < timeout:
                assert ctx.cancel_acked
                assert isinstance(ctx.maybe_error, ContextCancelled)
            else:
                await trio.sleep(60)
                assert LOG == ["sleeper ended"]

    run_fast(main)


@pytest.mark.parametrize("where", ["body", "implicit wait", "entering"])
def test_a_cancellation_from_outside_reaches_the_endpoint(where: str) -> None:
    """Wherever the opener is: in its body, waiting for the result, or still waiting for the first value."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.move_on_after(1) as scope:
                func: Any = never_starts if where == "entering" else sleeper
                async with pair.portal.open_context(func) as (ctx, _):
                    if where == "body":
                        await trio.sleep_forever()
            assert scope.cancelled_caught
            assert [f"{func.__name__} ended"] == LOG
            if where != "entering":
                assert ctx.cancel_called
                assert ctx.cancel_acked
            assert pair.bob.actor.served == {}

    run_fast(main)


async def test_an_error_of_the_body_wins_over_one_from_the_peer() -> None:
    """The remote one is kept."""
    async with open_pair(HERE) as pair:
        own = OSError("own")
        with pytest.raises(OSError, match="own") as info:
            async with pair.portal.open_context(send_then_fail, items=0) as (ctx, _):
                LOG.append("entered")
                try:
                    await trio.sleep_forever()
                finally:
                    raise own
        assert info.value is own
        assert ctx._local_error is own
        assert isinstance(ctx.maybe_error, RemoteActorError)


async def test_every_enclosing_context_is_cancelled_by_an_error() -> None:
    """Innermost first."""
    async with open_pair(HERE) as pair:
        contexts: list[Any] = []
        with pytest.raises(ValueError, match="own"):
            async with pair.portal.open_context(sleeper, name="a") as (a, _):
                async with pair.portal.open_context(sleeper, name="b") as (b, _):
                    contexts += [a, b]
                    raise ValueError("own")
        assert [ctx.cancel_called for ctx in contexts] == [True, True]
        assert LOG == ["b ended", "a ended"]


async def test_somebody_elses_cancellation_passes_through() -> None:
    """The contexts around it are released, not cancelled: theirs was no error."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
        to_carol, _ = await join_actors(pair.alice, carol)
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(sleeper, name="outer") as (outer, _):
                async with to_carol.open_context(sleeper, name="inner") as (inner, _):
                    carol.actor.cancel_soon()
                    await trio.sleep_forever()
        assert info.value is inner.maybe_error
        assert info.value.canceller == carol.actor.uid
        assert inner.canceller == carol.actor.uid
        assert (outer.cancel_called, outer._remote_error, outer._local_error) == (False, None, info.value)
        assert sorted(LOG) == ["inner ended", "outer ended"]
        await wait_all_tasks_blocked()
        assert pair.bob.actor.served == {}


@pytest.mark.parametrize("caught", ["passes", "handled"])
async def test_our_own_cancellation_raised_in_the_body_is_absorbed(caught: str) -> None:
    """By the block it belongs to; a body that handles it itself may do so."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(echo) as (ctx, _):
            async with ctx.open_stream() as stream:
                await ctx.cancel()
                with pytest.raises(ContextCancelled) as info:
                    stream.receive_nowait()
                if caught == "passes":
                    await stream.receive()
        assert ctx.outcome is ctx.maybe_error is info.value
        assert ctx.cancel_acked
        if caught == "passes":
            assert ctx._local_error is info.value


@pytest.mark.parametrize("where", ["stream", "result", "nothing"])
async def test_an_error_is_raised_where_the_body_waits_for_the_peer(where: str) -> None:
    """Then the body may handle it; the block raises it all the same, for it has no result."""
    async with open_pair(HERE) as pair:
        seen: list[BaseException] = []
        with pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(fail_after, seconds=0.01) as (ctx, _):
                LOG.append("entered")
                try:
                    if where == "stream":
                        async with ctx.open_stream() as stream:
                            await stream.receive()
                    elif where == "result":
                        await ctx.wait_for_result()
                except RemoteActorError as exc:
                    seen.append(exc)
                    # It was not cancelled: the clean-up may wait.
                    await trio.sleep(0.001)
        assert seen == ([info.value] if where != "nothing" else [])


@pytest.mark.parametrize("items", [0, 1, 2, 40])
@pytest.mark.parametrize("opened", [True, False])
async def test_unread_items_do_not_hide_the_end(items: int, opened: bool) -> None:
    """The block waits for the endpoint, however much was left unread, and raises what it raised."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="after the items"):
            async with pair.portal.open_context(send_then_fail, items=items) as (ctx, _):
                LOG.append("entered")
                if opened:
                    async with ctx.open_stream():
                        pass
        assert ctx.outcome is not Unresolved


@pytest.mark.parametrize("where", ["entering", "body", "result", "implicit wait"])
@pytest.mark.parametrize("how", ["peer closes", "we close", "garbage"])
async def test_a_loss_wakes_the_opener_wherever_it_is(where: str, how: str) -> None:
    """With `TransportClosed` that names the peer; our own closing says so."""
    async with open_pair(HERE) as pair:

        async def lose() -> None:
            await wait_all_tasks_blocked()
            if how == "peer closes":
                pair.back.chan.abort()
            elif how == "we close":
                await pair.portal.aclose()
            else:
                pair.back.chan.transport.send_nowait([b"this is no frame at all, is it?"])

        async def opener() -> None:
            with pytest.raises(TransportClosed, match="bob@") as info:
                func: Any = never_starts if where == "entering" else sleeper
                async with pair.portal.open_context(func) as (ctx, _):
                    if where == "body":
                        await trio.sleep_forever()
                    elif where == "result":
                        await ctx.wait_for_result()
            if how == "we close":
                assert type(info.value.__cause__) is trio.ClosedResourceError

        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(opener)
                await lose()
        await wait_all_tasks_blocked()
        assert len(LOG) == 1


@pytest.mark.parametrize("kwargs", [{"no_such": 1}, {"seconds": object()}, {"name": "x" * 200_000}])
async def test_a_request_that_cannot_be_made_leaves_nothing(kwargs: dict[str, Any]) -> None:
    """The error is raised from entering the block; the portal goes on working."""
    async with open_pair(HERE, limit=100_000) as pair:
        with pytest.raises((TypeError, RemoteActorError, ValueError)):
            async with pair.portal.open_context(sleeper, **kwargs):
                pytest.fail("entered")
        assert pair.portal._router.dialogs == {}
        async with pair.portal.open_context(sleeper, seconds=0) as (_, first):
            assert first == "sleeper"

"""Waiting for a peer's task that was asked to end: as long as the peer lives."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

import tractor
from tests.resident import Pair, open_pair, run_fast
from tractor import Context, ContextCancelled, RemoteActorError
from tractor.runtime._unwind import ANSWER_TIMEOUT, INTERRUPT_TIMEOUT, PATIENCE, UNWIND_TIMEOUT, wait_unwound
from tractor.wire._kinds import Kind

HERE = __name__
ENDED: list[str] = []


@pytest.fixture(autouse=True)
def _clear() -> None:
    ENDED.clear()


async def clean_up(seconds: float) -> None:
    """Sleep; take so long to end."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        ENDED.append("ended")


@tractor.context
async def clean_up_in_context(ctx: Context, seconds: float) -> None:
    """The same as an endpoint."""
    await ctx.started()
    await clean_up(seconds)


async def _leave(pair: Pair, how: str, seconds: float) -> float:
    """Return how long it takes to get out of a block whose endpoint takes `seconds` to clean up."""
    with trio.CancelScope() as scope:
        begin = trio.current_time()
        if how == "call":
            scope.deadline = begin + 0.001
            await pair.portal.run(clean_up, seconds=seconds)
        else:
            async with pair.portal.open_context(clean_up_in_context, seconds=seconds):
                begin = trio.current_time()
                scope.cancel()
    return trio.current_time() - begin


@pytest.mark.parametrize("how", ["call", "context"])
@pytest.mark.parametrize("seconds", [0, 0.3, 1.5, 4])
def test_a_cancelled_block_is_left_when_its_endpoint_has_ended(how: str, seconds: float) -> None:
    """Not earlier: what a block began is over when the block is."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            assert await _leave(pair, how, seconds) == pytest.approx(seconds, abs=0.01)
            assert ENDED == ["ended"]

    run_fast(main)


@pytest.mark.parametrize("how", ["call", "context"])
def test_a_task_that_goes_on_and_on_is_left_to_its_supervisor(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A shield has a deadline, and it is said that it was reached."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with caplog.at_level(logging.WARNING, "tractor"):
                assert await _leave(pair, how, 60) == pytest.approx(UNWIND_TIMEOUT, abs=0.01)
            assert ENDED == []
            assert [(record.task, record.why) for record in caplog.records] == [  # type: ignore[attr-defined]
                (f"{HERE}:clean_up{'' if how == 'call' else '_in_context'}", "it does not end")
            ]
            await trio.sleep(60)

    run_fast(main)


@pytest.mark.parametrize("how", ["call", "context"])
def test_a_peer_that_does_not_answer_is_not_waited_for(how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its loop does not turn: whoever supervises it has to act, and is not kept from it."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            # As if it were in a call that blocks: its frames are not looked at.
            (routers,) = pair.bob.actor.peers.values()
            routers[0]._on_channel_frame = lambda *args: None
            assert await _leave(pair, how, 60) == pytest.approx(PATIENCE + ANSWER_TIMEOUT, abs=0.01)
            assert caplog.records[0].why == "the peer does not answer"  # type: ignore[attr-defined]
            await trio.sleep(60)

    run_fast(main)


@pytest.mark.parametrize("how", ["call", "context"])
def test_a_peer_that_is_lost_meanwhile_is_not_waited_for(how: str) -> None:
    """Nothing more will come."""

    async def main() -> None:
        async with open_pair(HERE) as pair:

            async def cut() -> None:
                await trio.sleep(0.7)
                pair.portal.chan.abort()

            pair.portal._router.start_soon(cut)
            assert await _leave(pair, how, 60) == pytest.approx(0.7, abs=0.02)
            await trio.sleep(60)

    run_fast(main)


def test_after_ctrl_c_there_is_little_time() -> None:
    """The prompt has to be back soon, and every child gone."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            with pytest.raises(KeyboardInterrupt):
                async with pair.portal.open_context(clean_up_in_context, seconds=3):
                    raise KeyboardInterrupt
            assert trio.current_time() - begin == pytest.approx(INTERRUPT_TIMEOUT, abs=0.01)
            await trio.sleep(60)

    run_fast(main)


async def test_a_living_peer_answers() -> None:
    """One question at a time, however many ask; a lost peer needs none."""
    async with open_pair(HERE) as pair:
        router = pair.portal._router
        asked: list[int] = []
        (routers,) = pair.bob.actor.peers.values()
        inner = routers[0]._on_channel_frame

        def note(router: Any, kind: int, body: Any) -> None:
            asked.append(kind)
            inner(router, kind, body)

        routers[0]._on_channel_frame = note
        pongs = {router.ping() for _ in range(10)}
        for pong in pongs:
            await pong.wait()
        assert (len(pongs), asked) == (1, [Kind.PING])
        await router.ping().wait()
        assert asked == [Kind.PING] * 2
        pair.portal.chan.abort()
        await trio.testing.wait_all_tasks_blocked()
        assert not router.ping().is_set()


async def test_an_end_is_news_at_once() -> None:
    """The wait is no polling."""
    async with open_pair(HERE) as pair:
        event = trio.Event()
        event.set()
        with trio.fail_after(1):
            assert await wait_unwound(pair.portal._router, event.wait, ValueError(), "x")


async def fail_at_the_end() -> None:
    """Sleep; fail while cleaning up."""
    try:
        await trio.sleep_forever()
    finally:
        raise OSError("in the clean-up")


@tractor.context
async def fail_at_the_end_of_context(ctx: Context) -> None:
    """The same as an endpoint."""
    await ctx.started()
    await fail_at_the_end()


@pytest.mark.parametrize("how", ["call", "context", "implicit wait", "nursery"])
async def test_an_error_in_the_clean_up_is_not_lost_behind_the_cancellation(how: str) -> None:
    """It is raised where the cancellation would have been, as by a task here that fails while it is cancelled."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="in the clean-up") as info, trio.CancelScope() as scope:
            if how == "call":
                scope.deadline = trio.current_time() + 0.05
                await pair.portal.run(fail_at_the_end)
            async with pair.portal.open_context(fail_at_the_end_of_context) as (ctx, _):
                scope.cancel()
                if how == "context":
                    await trio.sleep_forever()
                elif how == "nursery":
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(trio.sleep_forever)
                        nursery.start_soon(trio.sleep_forever)
        assert not scope.cancelled_caught
        assert info.value.boxed_type is OSError
        if how != "call":
            assert info.value is ctx._remote_error is ctx._local_error is ctx.outcome


async def test_an_error_in_the_clean_up_is_not_lost_behind_a_cancellation_from_elsewhere() -> None:
    """The block was left by another context's `ContextCancelled`: that is a cancellation, and the endpoint's is an error."""
    async with open_pair(HERE) as pair:
        elsewhere = ContextCancelled("of another context", canceller=("carol", "uuid"))
        with pytest.raises(RemoteActorError, match="in the clean-up") as info:
            async with pair.portal.open_context(fail_at_the_end_of_context) as (ctx, _):
                raise elsewhere
        assert info.value is ctx.outcome
        assert info.value.__context__ is elsewhere
        assert not ctx.cancel_called


async def test_an_error_of_the_body_stands_beside_one_in_the_clean_up() -> None:
    """It leaves; the endpoint's is kept."""
    async with open_pair(HERE) as pair:
        with pytest.raises(ValueError, match="own"):
            async with pair.portal.open_context(fail_at_the_end_of_context) as (ctx, _):
                raise ValueError("own")
        assert isinstance(ctx.outcome, RemoteActorError)
        assert ctx.outcome.boxed_type is OSError

"""Who cancels, where and why: as the cancelled task and the canceller are told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import tractor
from tests.resident import Pair, join, open_pair, open_resident
from tractor import Context, ContextCancelled
from tractor.msg._types import Cancel
from tractor.runtime._reasons import describe, find_place, make_cancel, reason_of

HERE = __name__
TOLD: list[trio.Cancelled] = []


@pytest.fixture(autouse=True)
def _clear() -> None:
    TOLD.clear()


async def hang() -> None:
    """Note why it is cancelled."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled as exc:
        TOLD.append(exc)
        raise


@tractor.context
async def hang_in_context(ctx: Context) -> None:
    """The same as an endpoint."""
    await ctx.started()
    await hang()


@tractor.context
async def cancel_itself(ctx: Context) -> None:
    """Say why."""
    await ctx.started()
    await ctx.cancel(reason="nothing left to do")
    await hang()


async def _call(pair: Pair) -> None:
    with trio.move_on_after(0.05):
        await pair.portal.run(hang)


async def _explicit(pair: Pair) -> None:
    async with pair.portal.open_context(hang_in_context) as (ctx, _):
        await ctx.cancel(reason="enough ticks")


async def _error(pair: Pair) -> None:
    with pytest.raises(ValueError, match="no price"):
        async with pair.portal.open_context(hang_in_context):
            raise ValueError("no price")


async def _deadline(pair: Pair) -> None:
    with trio.move_on_after(0.05) as scope:
        async with pair.portal.open_context(hang_in_context):
            # The endpoint must hear of it from us, not from its own clock.
            scope.deadline = trio.current_time()
            await trio.sleep_forever()


async def _scope(pair: Pair) -> None:
    with trio.CancelScope() as scope:
        async with pair.portal.open_context(hang_in_context):
            scope.cancel(reason="the user left")
            await trio.sleep_forever()


async def _actor(pair: Pair) -> None:
    with pytest.raises(ContextCancelled):
        async with pair.portal.open_context(hang_in_context):
            await pair.portal.cancel_actor(reason="a new version")
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (_explicit, "enough ticks"),
        (_error, "ValueError: no price"),
        (_deadline, "its deadline passed"),
        (_scope, "the user left"),
        (_actor, "its actor 'bob' was cancelled: a new version"),
    ],
)
async def test_the_cancelled_task_is_told_who_where_and_why(
    act: Callable[[Pair], Awaitable[None]], why: str
) -> None:
    """In the words of trio's own exception."""
    async with open_pair(HERE) as pair:
        await act(pair)
        (told,) = TOLD
        assert told.reason is not None
        assert told.reason.startswith("cancelled by 'alice'")
        assert told.reason.endswith(why)
        if act is not _actor:
            assert f" at {__file__}:" in told.reason
            assert f"in {act.__name__}" in told.reason


async def test_a_call_is_told_as_well() -> None:
    """Either the caller or the deadline that came with the request ends it; both say so."""
    async with open_pair(HERE) as pair:
        await _call(pair)
        (told,) = TOLD
        assert told.source == "deadline" or "its deadline passed" in str(told.reason)


async def test_the_report_of_a_cancellation_says_why() -> None:
    """`ContextCancelled.reason`, at the other side."""
    async with open_pair(HERE) as pair:
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(cancel_itself):
                await trio.sleep_forever()
        assert "nothing left to do" in info.value.reason
        assert "in cancel_itself" in info.value.reason
        assert "nothing left to do" in str(info.value)
        assert ContextCancelled("made here").reason == ""


@tractor.context
async def pass_on(ctx: Context, _carol: list[Any] = []) -> None:  # noqa: B006 - how the test hands it a portal
    """Open a context further on."""
    async with _carol[0].open_context(hang_in_context):
        await ctx.started()
        await trio.sleep_forever()


async def test_a_chain_of_actors_tells_the_first_cause() -> None:
    """Each names the one before it; the last one still knows why it all began."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
        to_carol, _ = await join(pair.bob, carol)
        assert pass_on.__defaults__ is not None
        handed: list[Any] = pass_on.__defaults__[0]
        handed.append(to_carol)
        try:
            async with pair.portal.open_context(pass_on) as (ctx, _):
                await ctx.cancel(reason="the market has closed")
        finally:
            handed.clear()
        (told,) = TOLD
        assert told.reason is not None
        assert told.reason.startswith("cancelled by 'bob'")
        assert "cancelled by 'alice'" in told.reason
        assert told.reason.endswith("the market has closed")


@pytest.mark.parametrize(
    ("exc", "why"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (ValueError(), "ValueError"),
        (ValueError("one\ntwo"), "ValueError: one"),
    ],
)
def test_an_error_as_a_reason(exc: BaseException, why: str) -> None:
    """One line."""
    assert reason_of(exc) == why


async def test_a_reason_stays_short() -> None:
    """However many actors have passed it on; its end, the first cause, is kept."""
    request = make_cancel(("a", "1"), "x" * 5000 + "the cause")
    assert len(request.reason) < 700
    assert request.reason.endswith("the cause")
    assert len(describe(request)) < 700
    assert describe(Cancel(("a", "1"), "enough")) == "cancelled by 'a': enough"


async def test_the_place_is_the_program_s() -> None:
    """Not the runtime's, and not that of the line that has started trio."""

    async def inner() -> str:
        return find_place()

    assert f"{__file__}:" in await inner()
    assert "inner" in await inner()


def test_outside_of_tasks_there_is_no_place() -> None:
    """Nothing to say, and no error."""
    assert find_place() == ""

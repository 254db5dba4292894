"""The requester's deadline is that of what it asks for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

import tractor
from tests.resident import join, open_pair, open_resident, run_fast
from tractor import Context, ContextCancelled
from tractor.runtime._deadline import bound, find_budget, find_deadline, wait_own_deadline, watch_deadline

HERE = __name__
LOG: list[Any] = []


async def tell_budget() -> float | None:
    """How many seconds it has."""
    return find_budget()


async def hang() -> None:
    """Note when it ends."""
    try:
        await trio.sleep_forever()
    finally:
        LOG.append(trio.current_time())


@tractor.context
async def hang_in_context(ctx: Context) -> None:
    """The same as an endpoint."""
    await ctx.started(find_budget())
    await hang()


@tractor.context
async def sleep_in_context(ctx: Context, seconds: float) -> str:
    """End in order."""
    await ctx.started()
    await trio.sleep(seconds)
    return "slept"


def test_the_time_that_is_left_travels_with_a_request() -> None:
    """With a call, with a context, and no further than it was set."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            assert await pair.portal.run(tell_budget) is None
            with trio.move_on_after(9), trio.CancelScope(deadline=trio.current_time() + 3):
                assert await pair.portal.run(tell_budget) == pytest.approx(3)
                async with pair.portal.open_context(hang_in_context) as (ctx, first):
                    assert first == pytest.approx(3)
                    await ctx.cancel()
            with trio.move_on_after(9), trio.CancelScope(shield=True):
                assert await pair.portal.run(tell_budget) is None

    run_fast(main)


async def relay(_carol: list[Any] = []) -> Any:  # noqa: B006 - how the test hands it a portal
    """Ask the next one."""
    return await _carol[0].run(tell_budget)


def test_it_travels_on_with_what_the_callee_asks_for() -> None:
    """So that a chain of calls is bounded by its first."""

    async def main() -> None:
        async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
            assert relay.__defaults__ is not None
            to_carol, _ = await join(pair.bob, carol)
            relay.__defaults__[0].append(to_carol)
            try:
                with trio.move_on_after(3):
                    assert await pair.portal.run(relay) == pytest.approx(3)
            finally:
                relay.__defaults__[0].clear()

    run_fast(main)


@pytest.mark.parametrize("shielded", [False, True])
@pytest.mark.parametrize("func", [hang, hang_in_context])
def test_a_passed_deadline_is_the_requester_s_own(func: Any, shielded: bool) -> None:
    """It sees its own timeout, never the peer's report; what it asked for has ended at the same time."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            with pytest.raises(trio.TooSlowError), trio.fail_after(2):
                if func is hang:
                    await pair.portal.run(hang)
                else:
                    async with pair.portal.open_context(hang_in_context):
                        # A shield of the body's hides the deadline from the body only.
                        with trio.CancelScope(shield=shielded):
                            await trio.sleep(5)
            assert [pytest.approx(begin + 2)] == LOG
            assert pair.bob.actor.served == {}

    run_fast(main)


def test_a_deadline_that_passes_at_the_peer_first_is_still_the_requester_s_own() -> None:
    """The news of the peer's end arrives before the requester's clock has got there."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            for wait in (
                _receive,
                _receive_in_child_task,
                _receive_later,
                _send_later,
                _want_result,
                _sleep,
            ):
                with pytest.raises(trio.TooSlowError), trio.fail_after(2):
                    async with (
                        pair.portal.open_context(hang_in_context) as (ctx, _),
                        ctx.open_stream() as stream,
                    ):
                        pair.portal._router.start_soon(_hasten, pair.bob.actor, 1.7)
                        await wait(ctx, stream)
            with pytest.raises(trio.TooSlowError), trio.fail_after(2):
                pair.portal._router.start_soon(_hasten, pair.bob.actor, 1.7)
                await pair.portal.run(hang)

    run_fast(main)


async def _receive(_ctx: Any, stream: Any) -> None:
    await stream.receive()


async def _receive_in_child_task(_ctx: Any, stream: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.receive)


async def _receive_later(ctx: Any, stream: Any) -> None:
    """As a task does that was about to run when the news came."""
    with trio.CancelScope(shield=True):
        await ctx._settled.wait()
    await stream.receive()


async def _send_later(ctx: Any, stream: Any) -> None:
    with trio.CancelScope(shield=True):
        await ctx._settled.wait()
    await stream.send(1)


async def _sleep(_ctx: Any, _stream: Any) -> None:
    await trio.sleep_forever()


async def _want_result(ctx: Any, _stream: Any) -> None:
    await ctx.wait_for_result()


async def _hasten(actor: Any, seconds: float) -> None:
    """Let the clock of an actor's requests go wrong."""
    await trio.sleep(0.1)
    for served in actor.served:
        served.scope.deadline -= 2 - seconds


@pytest.mark.parametrize("fed", ["by receiving", "by another task"])
def test_a_watchdog_that_is_fed_keeps_the_endpoint_alive(fed: str) -> None:
    """A deadline that moves is announced before the old one passes."""

    async def main() -> None:
        async with open_pair(HERE) as pair, trio.open_nursery() as nursery:
            with trio.move_on_after(2) as watchdog:

                async def feed() -> None:
                    for _ in range(20):
                        await trio.sleep(1)
                        watchdog.deadline = trio.current_time() + 2

                if fed == "by another task":
                    nursery.start_soon(feed)
                async with pair.portal.open_context(sleep_in_context, seconds=15) as (ctx, _):
                    if fed == "by receiving":
                        await feed()
                    assert await ctx.wait_for_result() == "slept"
            assert not watchdog.cancelled_caught

    run_fast(main)


def test_a_watchdog_that_is_starved_ends_the_endpoint() -> None:
    """At the last deadline that it was given."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.move_on_after(2) as watchdog:
                async with pair.portal.open_context(hang_in_context):
                    await trio.sleep(1)
                    watchdog.deadline = trio.current_time() + 4
                    begin = trio.current_time()
                    await trio.sleep_forever()
            assert watchdog.cancelled_caught
            assert [pytest.approx(begin + 4, abs=0.1)] == LOG

    run_fast(main)


def test_a_deadline_that_is_taken_away_binds_nobody() -> None:
    """Infinity is announced too."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.move_on_after(2) as watchdog:
                async with pair.portal.open_context(sleep_in_context, seconds=50) as (ctx, _):
                    watchdog.deadline = math.inf
                    assert await ctx.wait_for_result() == "slept"

    run_fast(main)


async def test_watching_ends_with_the_block() -> None:
    """No task is left that watches a deadline far away."""
    async with open_pair(HERE) as pair:
        before = len(pair.alice.actor.services.child_tasks)
        with trio.move_on_after(1000):
            async with pair.portal.open_context(sleep_in_context, seconds=0) as (ctx, _):
                await ctx.wait_for_result()
        await trio.testing.wait_all_tasks_blocked()
        assert len(pair.alice.actor.services.child_tasks) == before


@pytest.mark.parametrize("budget", [0.0, -1.0, -math.inf, math.nan])
async def test_a_request_whose_time_is_over_is_refused_at_the_door(budget: float) -> None:
    """Nothing is run for somebody who cannot wait for it; for the requester it is as if its own deadline had passed."""
    async with open_pair(HERE) as pair:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tractor.runtime._call.find_budget", lambda: budget)
            with pytest.raises(ContextCancelled) as info:
                await pair.portal.run(hang)
            with trio.move_on_after(0.3) as scope:
                await pair.portal.run(hang)
        assert info.value.by_deadline
        assert scope.cancelled_caught
        assert LOG == []
        assert await pair.portal.run(tell_budget)


async def test_a_request_that_waited_too_long_to_be_served_is_refused() -> None:
    """It had time when it came, and none when the loop got round to it."""
    with trio.CancelScope() as scope:
        bound(scope, trio.current_time() - 2, 1)
        await trio.lowlevel.checkpoint()
        pytest.fail("served")
    assert scope.cancelled_caught


async def test_the_deadline_of_a_scope() -> None:
    """As trio keeps it: with what is around it but not with what is inside, with shields, and cancelled already."""
    with trio.move_on_after(5) as outer, trio.CancelScope() as scope:
        await trio.lowlevel.checkpoint()
        assert find_deadline(scope) == trio.current_effective_deadline() == outer.deadline
        with trio.move_on_after(3), trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            assert find_deadline(scope) == outer.deadline
        scope.shield = True
        assert find_deadline(scope) == math.inf
        scope.cancel()
        assert find_deadline(scope) == -math.inf
    assert find_deadline(scope) == -math.inf


async def test_waiting_for_the_own_deadline_is_bounded() -> None:
    """Where there is none, or it is far away, there is nothing to wait for."""
    passed = ContextCancelled(by_deadline=True)
    await wait_own_deadline(passed)
    with trio.move_on_after(100):
        await wait_own_deadline(passed)
    with trio.move_on_after(0.01) as scope:
        await wait_own_deadline(ContextCancelled())
        await wait_own_deadline(passed)
        pytest.fail("its own deadline is to end it")
    assert scope.cancelled_caught


def test_only_the_moves_that_matter_are_announced() -> None:
    """A watchdog that is fed a thousand times a second costs a frame now and then."""

    async def main() -> None:
        told: list[float] = []
        with trio.move_on_after(2) as watchdog:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch_deadline, watchdog, 2.0, told.append)
                for _ in range(10_000):
                    await trio.sleep(0.001)
                    watchdog.deadline = trio.current_time() + 2
                nursery.cancel_scope.cancel()
        assert 4 <= len(told) <= 12
        assert all(1 < seconds <= 2 for seconds in told)

    run_fast(main)


async def test_a_peer_that_announces_nonsense_moves_nothing() -> None:
    """NaN and negative seconds are no deadline."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(hang_in_context) as (ctx, _):
            (served,) = pair.bob.actor.served
            before = served.scope.deadline
            for seconds in (math.nan, -1.0):
                ctx.announce_deadline(seconds)
            await trio.testing.wait_all_tasks_blocked()
            assert served.scope.deadline == before
            await ctx.cancel()


async def test_the_report_says_that_it_was_a_deadline() -> None:
    """Where the requester has none about to pass it is the peer's cancellation."""
    async with open_pair(HERE) as pair:
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(hang_in_context):
                (served,) = pair.bob.actor.served
                served.scope.deadline = trio.current_time()
                await trio.sleep_forever()
        assert info.value.by_deadline
        assert "the time that it had" in info.value.reason
        assert not ContextCancelled("made here").by_deadline

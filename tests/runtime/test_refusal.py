"""Requests of a peer that asks for too much at once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.programs import victims
from tests.resident import join, open_held_pair, open_pair, open_resident
from tractor import Context, RemoteActorError, TooManyRequests
from tractor.ipc import _channel
from tractor.runtime._refusal import RESERVE

MODULE = victims.__name__
HERE = __name__
RELEASE: list[trio.Event] = []


async def hold() -> str:
    """Wait for the test."""
    await RELEASE[0].wait()
    return "held"


@tractor.context
async def hold_context(ctx: Context) -> None:
    """Start, then wait for the test."""
    await ctx.started()
    await RELEASE[0].wait()


@pytest.fixture(autouse=True)
def _release() -> None:
    RELEASE[:] = [trio.Event()]


async def fill(nursery: trio.Nursery, portal: Any, count: int) -> None:
    """Have so many requests served, calls and contexts."""

    async def open_one() -> None:
        async with portal.open_context(hold_context):
            pass

    async def call_one() -> None:
        await portal.run(hold)

    for n in range(count):
        nursery.start_soon(open_one if n % 2 else call_one)
    await wait_all_tasks_blocked()


async def test_what_is_over_the_limit_is_refused() -> None:
    """With an error that says so; whoever else asks is served, and so is the peer when it has fewer."""
    async with open_pair(HERE) as pair, open_resident("carol") as carol:
        to_bob, _ = await join(carol, pair.bob)
        pair.bob.actor.max_requests = 6
        async with trio.open_nursery() as nursery:
            await fill(nursery, pair.portal, 6)
            assert pair.back._router.serving == 6
            for _ in range(3):
                with pytest.raises(RemoteActorError, match=r"bob@.* limit \(`max_requests`\) is 6") as info:
                    await pair.portal.run(hold)
                assert info.value.boxed_type is TooManyRequests
                with pytest.raises(RemoteActorError, match="max_requests"):
                    async with pair.portal.open_context(hold_context):
                        pytest.fail("entered")
            nursery.start_soon(to_bob.run, hold)
            await wait_all_tasks_blocked()
            assert len(pair.bob.actor.served) == 7
            RELEASE[0].set()
        assert await pair.portal.run(hold) == "held"
        assert pair.back._router.serving == 0
        assert pair.back._router.dialogs == {}


async def test_who_asks_for_too_much_may_still_cancel() -> None:
    """Its own requests, and the actor."""
    async with open_pair(HERE) as pair:
        pair.bob.actor.max_requests = 4
        async with trio.open_nursery() as nursery:
            await fill(nursery, pair.portal, 4)
            nursery.cancel_scope.cancel()
        assert pair.back._router.serving == 0
        ended: list[str] = []

        async def call() -> None:
            with pytest.raises(tractor.ContextCancelled):
                await pair.portal.run(hold)
            ended.append("call")

        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(call)
                await wait_all_tasks_blocked()
                assert await pair.portal.cancel_actor()
        assert ended == ["call"] * 4


async def test_not_even_the_runtimes_own_requests_are_without_limit() -> None:
    """Beyond a reserve they are refused, too, and so is what makes no sense."""
    async with open_pair(HERE) as pair:
        pair.bob.actor.max_requests = 1
        pair.back._router.serving += RESERVE + 1
        with pytest.raises(RemoteActorError, match="max_requests"):
            await pair.portal.run_from_ns("self", "anything")
        pair.back._router.serving -= RESERVE
        with pytest.raises(RemoteActorError, match="no method 'anything'"):
            await pair.portal.run_from_ns("self", "anything")
        pair.back._router.serving -= 1


async def test_a_peer_that_has_not_read_its_answers_is_refused_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """In words that say why; what was asked before is answered."""
    monkeypatch.setattr(_channel, "UNREAD_LIMIT", 100_000)
    monkeypatch.setattr(_channel, "UNREAD_MOST", 5_000_000)
    async with open_held_pair(MODULE, limit=1024 * 1024) as (pair, near, _):
        answers: list[object] = []

        async def ask() -> None:
            try:
                answers.append(len(await pair.portal.run(victims.make, size=1_000_000)))
            except RemoteActorError as exc:
                answers.append(exc)

        near.held = trio.Event()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
            near.held.set()
        errors = [answer for answer in answers if isinstance(answer, RemoteActorError)]
        assert 0 < len(errors) < 8
        assert {error.boxed_type for error in errors} == {TooManyRequests}
        assert "MiB of answers that you have not read" in str(errors[0])
        assert await pair.portal.run(victims.add, a=1, b=1) == 2


async def test_the_limit_is_the_trees(transport: str) -> None:
    """Children inherit it."""
    async with tractor.open_nursery(enable_transports=[transport], max_requests=3) as an:
        portal = await an.start_actor("child", enable_modules=[MODULE])
        refused: list[RemoteActorError] = []

        async def call() -> None:
            try:
                await portal.run(victims.hang)
            except RemoteActorError as exc:
                refused.append(exc)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(call)
            with trio.fail_after(5):
                while len(refused) < 7:
                    await trio.sleep(0.005)
            nursery.cancel_scope.cancel()
        assert len(refused) == 7
        assert {error.boxed_type for error in refused} == {TooManyRequests}
        assert await portal.run(victims.add, a=1, b=1) == 2
        await an.cancel()

"""One request, one task: the serving end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Pair, open_pair, run_fast
from tractor import ContextCancelled, RemoteActorError
from tractor.ipc._channel import Channel
from tractor.msg._codec import get_codec
from tractor.msg._types import Start
from tractor.runtime._call import call
from tractor.wire._kinds import Flag, Kind

HERE = __name__
LOG: list[str] = []


@pytest.fixture(autouse=True)
def crashes(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """The crashes that were announced."""
    found: list[BaseException] = []
    monkeypatch.setattr("tractor.runtime._serve.announce_crash", found.append)
    return found


async def quick() -> int:
    """Return at once."""
    return 1


async def slow(seconds: float) -> str:
    """Return later, whatever happens."""
    LOG.append("slow began")
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    LOG.append("slow ended")
    return "slow"


async def hang() -> None:
    """Sleep until cancelled."""
    LOG.append("hang began")
    try:
        await trio.sleep_forever()
    finally:
        LOG.append("hang ended")


async def leave(how: str, grouped: bool) -> None:
    """Raise what ends an actor, bare or out of a nursery."""
    exc = {"interrupt": KeyboardInterrupt(), "exit": SystemExit(3)}[how]
    if not grouped:
        raise exc
    async with trio.open_nursery():
        raise exc


@tractor.context
async def sleeper(ctx: tractor.Context, masked: str = "") -> str:
    """Sleep until cancelled; raise `masked` in the clean-up, hidden behind the cancellation."""
    await ctx.started("up")
    try:
        await trio.sleep_forever()
    finally:
        if masked == "error":
            try:
                raise RuntimeError("in the clean-up")
            finally:
                await trio.lowlevel.checkpoint()
        if masked == "raised":
            raise RuntimeError("in the clean-up")
        if masked == "lock":
            await _contended()
    return "never"


async def _contended() -> None:
    lock = trio.Lock()
    lock.acquire_nowait()
    other = trio.Lock()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_hold, other)
        await other.acquire()


async def _hold(lock: trio.Lock) -> None:
    await lock.acquire()


@tractor.context
async def swallower(ctx: tractor.Context) -> str:
    """Return although it was cancelled."""
    await ctx.started()
    with trio.move_on_after(100):
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            pass
    return "ignored"


@tractor.context
async def silent(ctx: tractor.Context) -> str:
    """Return without a word."""
    return "too early"


@tractor.context
async def failing(ctx: tractor.Context, when: str) -> None:
    """Raise."""
    if when == "late":
        await ctx.started()
    raise ValueError(when)


@tractor.context
async def self_cancelling(ctx: tractor.Context, when: str) -> None:
    """Cancel its own end."""
    if when == "late":
        await ctx.started()
    await ctx.cancel()
    assert ctx.cancel_called
    with pytest.raises(RuntimeError, match="cannot be opened after this context was cancelled"):
        async with ctx.open_stream():
            pass
    await trio.lowlevel.checkpoint()


async def serves(pair: Pair) -> None:
    """Check that bob still serves and keeps nothing of what has ended."""
    assert await pair.portal.run(quick) == 1
    await wait_all_tasks_blocked()
    assert pair.bob.actor.served == {}
    assert pair.back._router.dialogs == {}


@pytest.mark.parametrize("when", ["early", "late"])
async def test_an_error_of_an_endpoint_reaches_the_opener(when: str, crashes: list[BaseException]) -> None:
    """From entering the block, before `started()`, or from leaving it; the crash is announced where it happened."""
    async with open_pair(HERE) as pair:
        entered = False
        with pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(failing, when=when):
                entered = True
                await trio.sleep_forever()
        assert not (entered and when == "early")
        assert (info.value.boxed_type, info.value.message) == (ValueError, when)
        assert [str(exc) for exc in crashes] == [when]
        await serves(pair)


async def test_an_endpoint_that_never_started_is_an_error() -> None:
    """Its result is no substitute for the first value."""
    async with open_pair(HERE) as pair:
        with pytest.raises(
            RemoteActorError, match=r"returned without calling `await ctx\.started\(\)`"
        ) as info:
            async with pair.portal.open_context(silent):
                pytest.fail("entered")
        assert info.value.boxed_type is RuntimeError
        await serves(pair)


@pytest.mark.parametrize("when", ["early", "late"])
async def test_an_endpoint_may_cancel_itself(when: str, crashes: list[BaseException]) -> None:
    """The opener is told who did it, and nobody takes it for a crash."""
    async with open_pair(HERE) as pair:
        with pytest.raises(ContextCancelled, match="cancelled by itself") as info:
            async with pair.portal.open_context(self_cancelling, when=when):
                await trio.sleep_forever()
        assert info.value.canceller == pair.bob.actor.uid
        assert "itself" in info.value.message
        assert crashes == []
        await serves(pair)


@pytest.mark.parametrize("masked", ["", "lock"])
async def test_a_cancelled_endpoint_confirms_it(masked: str, crashes: list[BaseException]) -> None:
    """Also where the clean-up took a contended lock, which raises inside trio."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(sleeper, masked=masked) as (ctx, _):
            await ctx.cancel()
            result = await ctx.wait_for_result()
        assert isinstance(result, ContextCancelled)
        assert result is ctx.outcome
        assert crashes == []
        await serves(pair)


@pytest.mark.parametrize("masked", ["error", "raised"])
async def test_an_error_in_the_clean_up_is_not_hidden_by_the_cancellation(masked: str) -> None:
    """The opener gets it, although it was the opener who cancelled."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="in the clean-up") as info:
            async with pair.portal.open_context(sleeper, masked=masked) as (ctx, _):
                await ctx.cancel()
        assert info.value.boxed_type is RuntimeError
        assert ctx.maybe_error is info.value
        await serves(pair)


async def test_an_endpoint_that_swallows_its_cancellation_was_cancelled() -> None:
    """What it returns is discarded."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(swallower) as (ctx, _):
            await ctx.cancel()
            assert isinstance(await ctx.wait_for_result(), ContextCancelled)
        await serves(pair)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("how", "boxed"), [("interrupt", KeyboardInterrupt), ("exit", SystemExit)])
async def test_an_interrupt_or_exit_inside_a_request_ends_the_actor(
    how: str, boxed: type[BaseException], grouped: bool, crashes: list[BaseException]
) -> None:
    """In order: the caller is told first, other requests are cancelled, then everybody hears goodbye."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError) as info:
            await pair.portal.run(leave, how=how, grouped=grouped)
        assert boxed.__name__ in str(info.value)
        if not grouped:
            assert info.value.boxed_type is boxed
        with trio.fail_after(1):
            await pair.bob.gone.wait()
        bye: Any = pair.portal.chan.bye
        assert bye.how == {"interrupt": "interrupted", "exit": "exited"}[how]
        assert crashes == []


@pytest.mark.parametrize("kind", ["call", "context"])
async def test_the_end_of_a_connection_cancels_what_it_asked_for(
    kind: str, crashes: list[BaseException]
) -> None:
    """And nothing is said of it, to nobody."""
    async with open_pair(HERE) as pair:

        async def ask() -> None:
            with pytest.raises(tractor.TransportClosed):
                if kind == "call":
                    await pair.portal.run(hang)
                else:
                    async with pair.portal.open_context(sleeper):
                        await trio.sleep_forever()

        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                assert len(pair.bob.actor.served) == 1
                pair.portal.chan.abort()
        await wait_all_tasks_blocked()
        assert pair.bob.actor.served == {}
        assert crashes == []


def test_a_result_that_finds_nobody_is_no_crash(crashes: list[BaseException]) -> None:
    """The caller has gone meanwhile; the function may run to its end."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with pytest.raises(tractor.TransportClosed):
                        await pair.portal.run(slow, seconds=1)

                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                pair.portal.chan.abort()
            await trio.sleep(2)
            assert LOG == ["slow began", "slow ended"]
            assert crashes == []

    run_fast(main)


def test_a_request_that_comes_while_the_actor_ends_does_not_hold_it_up() -> None:
    """It is cancelled like those that were there before; the actor does not wait for it."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            async with trio.open_nursery() as nursery:

                async def ask(func: Any, **kwargs: Any) -> None:
                    try:
                        await pair.portal.run(func, **kwargs)
                    except (ContextCancelled, tractor.TransportClosed):
                        LOG.append(f"{func.__name__} refused")

                nursery.start_soon(lambda: ask(slow, seconds=0.5))
                await wait_all_tasks_blocked()
                begin = trio.current_time()
                pair.bob.actor.cancel_soon()
                await trio.sleep(0.1)
                nursery.start_soon(lambda: ask(hang))
                await pair.bob.gone.wait()
                assert trio.current_time() - begin == pytest.approx(0.5, abs=0.05)
        assert "hang refused" in LOG

    run_fast(main)


@pytest.mark.parametrize("flags", [0, int(Flag.CONTEXT)])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        get_codec().encode("text"),
        get_codec().encode(Start("self:cancel", {"grace": "soon"})),
        get_codec().encode(Start("self:cancel", {"served": None})),
        get_codec().encode(Start(f"{HERE}:quick", {"ctx": 1, "": 2})),
        get_codec().encode(Start(f"{HERE}:sleeper", {"ctx": 1})),
        get_codec().encode(Start(":", {})),
        get_codec().encode(Start("..:..", {})),
        get_codec().encode(Start(f"{HERE}:\0", {})),
    ],
)
async def test_a_request_that_makes_no_sense_is_answered_with_an_error(flags: int, body: bytes) -> None:
    """It costs the connection nothing, and the actor lives."""
    async with open_pair(HERE) as pair:
        replies: list[int] = []
        router = pair.portal._router

        class Asker:
            def on_frame(self, kind: int, flags: int, body: Any) -> None:
                replies.append(kind)

            def on_loss(self, error: tractor.TransportClosed) -> None:
                pytest.fail("lost")

        did = router.open(Asker())
        router.channel.post(Kind.START, flags, did, body)
        with trio.fail_after(1):
            while not replies:
                await trio.lowlevel.checkpoint()
        router.close(did)
        assert replies == [Kind.ERROR]
        assert not pair.bob.actor.cancel_called
        await serves(pair)


async def test_an_error_nobody_can_be_told_of_is_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel breaks just when the report is sent."""
    async with open_pair(HERE) as pair:
        real_post = Channel.post

        def post(self: Channel, kind: int, flags: int, did: int, body: Any = b"") -> None:
            if kind == Kind.ERROR:
                self.abort()
            real_post(self, kind, flags, did, body)

        monkeypatch.setattr(Channel, "post", post)
        with pytest.raises(tractor.TransportClosed):
            await call(pair.portal._router, f"{HERE}:missing", {})
        await wait_all_tasks_blocked()
        assert not pair.bob.gone.is_set()

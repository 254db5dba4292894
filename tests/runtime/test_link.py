"""What arrives at one end of a context, and what it does there: overruns, cancellation by others, losses."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import join, open_pair, open_resident, run_fast
from tractor import Context, ContextCancelled, RemoteActorError, StreamOverrun, TransportClosed
from tractor.ipc._channel import Channel
from tractor.ipc._transport import Buffer
from tractor.msg._types import Cancel
from tractor.runtime._flow import BUFFER_ITEMS, OVERFLOW_ITEMS
from tractor.wire._kinds import Kind

HERE = __name__
LOG: list[Any] = []


@tractor.context
async def deaf(ctx: Context) -> None:
    """Never open a stream."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        LOG.append(ctx.maybe_error)
        raise


@tractor.context
async def flood(ctx: Context, count: int, wait: bool = False) -> int:
    """Send, after a word if told to `wait`, without waiting for room; then wait for a word."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        if wait:
            await stream.receive()
        for n in range(count):
            await stream.send(n)
        LOG.append("sent")
        await stream.receive()
    return count


@tractor.context
async def slow(ctx: Context, allow: bool, pause: float = 0.01) -> str:
    """Receive slowly."""
    await ctx.started()
    async with ctx.open_stream(allow_overruns=allow) as stream:
        async for item in stream:
            LOG.append(item)
            await trio.sleep(pause)
    return "yo"


@tractor.context
async def catches(ctx: Context) -> str:
    """Note the error that the stream raises, and pass it on."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            await stream.receive()
        except BaseException as exc:
            LOG.append(exc)
            raise
    return "unharmed"


@tractor.context
async def relays(ctx: Context, name: str) -> None:
    """Open a context in the other peer of that name, and live as long as that."""
    actor = tractor.current_actor()
    router = next(r for routers in actor.peers.values() for r in routers if r.peer.name == name)
    await ctx.started()
    async with tractor.Portal(router).open_context(deaf) as (inner, _):
        LOG.append(inner)
        await trio.sleep_forever()


async def test_a_sender_that_is_too_fast_is_told() -> None:
    """One item more than the buffer: its context fails with the receiver's report, wherever it is."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(1), pytest.raises(RemoteActorError, match="No stream open on this side") as info:
            async with pair.portal.open_context(deaf) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for n in range(BUFFER_ITEMS + 1):
                        await stream.send(n)
                    await trio.sleep_forever()
        assert info.value.boxed_type is StreamOverrun
        assert info.value.src_uid == pair.bob.actor.uid
        assert pair.bob.actor.served == {}


async def test_a_full_buffer_is_no_overrun() -> None:
    """The limit is exact."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(deaf) as (ctx, _):
            async with ctx.open_stream() as stream:
                for n in range(BUFFER_ITEMS):
                    await stream.send(n)
                await wait_all_tasks_blocked()
            await ctx.cancel()
        assert ctx.cancel_acked


@pytest.mark.parametrize("opened", [True, False])
async def test_an_endpoint_that_is_too_fast_fails(opened: bool) -> None:
    """It gets the opener's report, which comes back to the opener as the endpoint's error."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(flood, count=200, wait=opened) as (ctx, _):
                if opened:
                    async with ctx.open_stream() as stream:
                        await stream.send("go")
                        await trio.sleep_forever()
                await trio.sleep_forever()
        assert info.value.boxed_type is RemoteActorError
        assert info.value.src_type is StreamOverrun
        assert "StreamOverrun" in info.value.tb_str
        assert info.value.relay_path == [pair.alice.actor.uid, pair.bob.actor.uid]
        assert ("No stream open" in info.value.tb_str) is not opened


async def test_sending_after_an_overrun_was_reported_raises_the_report() -> None:
    """The opener has said its last word on this context; it learns why."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(flood, count=100) as (ctx, _):
                async with ctx.open_stream() as stream:
                    while ctx._dialog.may_send(Kind.ITEM):
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    with trio.CancelScope(shield=True):
                        await stream.send("too late")
        assert info.value.src_type is StreamOverrun


@pytest.mark.parametrize("size", [1, 500])
async def test_the_buffer_size_can_be_chosen(size: int) -> None:
    """For this side only."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="its buffer of "):
            async with pair.portal.open_context(slow, allow=False, pause=1e9) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for n in range(1000):
                        await stream.send(n)
                    await trio.sleep_forever()
        async with pair.portal.open_context(slow, allow=False, pause=0) as (ctx, _):
            async with ctx.open_stream(msg_buffer_size=size) as stream:
                assert ctx._inbox.capacity == size


@pytest.mark.parametrize("burst", [65, 3000])
def test_overruns_may_be_allowed(burst: int) -> None:
    """The endpoint takes what it can: its oldest items and the newest ones; the rest is dropped."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.fail_after(100):
                async with pair.portal.open_context(slow, allow=True) as (ctx, _):
                    await wait_all_tasks_blocked()
                    async with ctx.open_stream() as stream:
                        for n in range(burst):
                            await stream.send(n)
                    assert await ctx.wait_for_result() == "yo"
        if burst < BUFFER_ITEMS + OVERFLOW_ITEMS:
            assert list(range(burst)) == LOG
        else:
            assert LOG[:BUFFER_ITEMS] == list(range(BUFFER_ITEMS))
            assert LOG[-OVERFLOW_ITEMS:] == list(range(burst - OVERFLOW_ITEMS, burst))
            assert sorted(LOG) == LOG

    run_fast(main)


def test_the_opener_may_allow_overruns_too() -> None:
    """The result is that of the whole flood."""

    async def main() -> None:
        async with (
            open_pair(HERE) as pair,
            pair.portal.open_context(flood, count=3000, wait=True) as (ctx, _),
        ):
            async with ctx.open_stream(allow_overruns=True) as stream:
                await stream.send("go")
                while "sent" not in LOG:
                    await trio.sleep(0.1)
                got: list[int] = []
                with trio.move_on_after(1):
                    while True:
                        got.append(await stream.receive())
                await stream.send("thanks")
                assert len(got) >= BUFFER_ITEMS + OVERFLOW_ITEMS - 1
                assert got[-1] == 2999
            assert await ctx.wait_for_result() == 3000

    run_fast(main)


async def test_items_after_an_overrun_are_ignored() -> None:
    """One report is enough, and the reader goes on."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError):
            async with pair.portal.open_context(deaf) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for _ in range(10_000):
                        await stream.send(0)
        async with pair.portal.open_context(deaf) as (ctx, _):
            await ctx.cancel()


@pytest.mark.parametrize("receiver", ["opener", "endpoint"])
async def test_an_overrun_on_a_channel_that_has_broken_is_nobodys_business(receiver: str) -> None:
    """The report cannot be sent; what is still being read must not bring the runtime down."""
    async with open_pair(HERE) as pair:
        theirs, ours = pair.portal.chan, pair.back.chan
        if receiver == "opener":
            theirs, ours = ours, theirs
        with pytest.raises(TransportClosed):
            async with pair.portal.open_context(flood, count=60) as (ctx, _), ctx.open_stream():
                while "sent" not in LOG:
                    await trio.lowlevel.checkpoint()
                # The writer has noticed the end of the peer; the reader has not come so far.
                ours._outbox.break_(BrokenPipeError("gone"))
                for _ in range(100):
                    theirs.post(Kind.ITEM, 0, ctx.did, b"\x00")
                await wait_all_tasks_blocked()
                theirs.abort()
                await trio.sleep_forever()
        await wait_all_tasks_blocked()
        assert not pair.alice.gone.is_set()
        assert not pair.bob.gone.is_set()


@pytest.mark.parametrize("who", ["peer itself", "opener by the portal", "third party"])
async def test_who_cancelled_is_told(who: str) -> None:
    """The canceller of the error is who asked; that of the context is us, or the peer that reported it."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
        to_bob, _ = await join(carol, pair.bob)
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(deaf) as (ctx, _):
                if who == "peer itself":
                    pair.bob.actor.cancel_soon()
                elif who == "third party":
                    assert await to_bob.cancel_actor()
                else:
                    assert await pair.portal.cancel_actor()
                await trio.sleep_forever()
        expected = {"peer itself": pair.bob, "opener by the portal": pair.alice, "third party": carol}[who]
        assert info.value.canceller == expected.actor.uid
        assert info.value.boxed_type is ContextCancelled
        assert ctx.canceller == (pair.alice if who == "opener by the portal" else pair.bob).actor.uid
        assert (ctx.cancel_called, ctx.cancel_acked) == (False, False)


async def test_a_third_partys_cancellation_travels_through_the_actors_between() -> None:
    """Alice talks to bob, bob to carol; dave cancels carol. Everybody learns that it was dave."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol, open_resident("dave") as dave:
        await join(pair.bob, carol)
        to_carol, _ = await join(dave, carol)
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(relays, name="carol") as (ctx, _):
                while not LOG:
                    await trio.lowlevel.checkpoint()
                assert await to_carol.cancel_actor()
                await trio.sleep_forever()
        inner = LOG[0]
        assert inner.maybe_error.canceller == dave.actor.uid
        assert inner.canceller == carol.actor.uid
        assert not inner.cancel_called
        assert info.value.canceller == dave.actor.uid
        assert info.value.src_uid == pair.bob.actor.uid
        assert ctx.canceller == pair.bob.actor.uid


async def test_a_cancellation_for_a_context_that_has_ended_is_ignored() -> None:
    """It crossed the end on its way."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(slow, allow=False) as (ctx, _):
            async with ctx.open_stream():
                pass
            await ctx.wait_for_result()
        await ctx.cancel()
        assert ctx.outcome == "yo"


async def test_only_the_first_request_to_cancel_counts() -> None:
    """Its author stays the canceller."""
    async with open_pair(HERE) as pair:
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(deaf):
                (served,) = pair.bob.actor.served
                served.cancel_task(Cancel(("first", "u-1"), "because"))
                served.cancel_task(Cancel(("second", "u-2"), "too late"))
                await trio.sleep_forever()
        assert info.value.canceller == ("first", "u-1")
        assert "cancelled by 'first': because" in info.value.message


@pytest.mark.parametrize("side", ["parent", "child"])
async def test_a_loss_at_either_end_ends_both(side: str) -> None:
    """Each with an error of its own that names the other; an endpoint can see it in its stream."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TransportClosed, match="bob@") as info:
            async with pair.portal.open_context(catches) as (ctx, _), ctx.open_stream() as stream:
                await wait_all_tasks_blocked()
                (pair.portal if side == "parent" else pair.back).chan.abort()
                await stream.receive()
        assert info.value is ctx.maybe_error
        await wait_all_tasks_blocked()
        (seen,) = LOG
        assert isinstance(seen, TransportClosed)
        assert seen.peer.startswith("alice@")
        assert pair.bob.actor.served == {}


async def test_garbage_in_a_payload_costs_one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The channel and its other dialogs live."""
    async with open_pair(HERE) as pair:
        real_post = Channel.post

        def garble(self: Channel, kind: int, flags: int, did: int, body: Buffer = b"") -> None:
            real_post(self, kind, flags, did, b"\xc1" if kind == Kind.STARTED else body)

        async with pair.portal.open_context(deaf) as (healthy, _):
            monkeypatch.setattr(Channel, "post", garble)
            with pytest.raises(tractor.MsgTypeError):
                async with pair.portal.open_context(deaf):
                    pytest.fail("entered")
            monkeypatch.undo()
            await healthy.cancel()
        assert healthy.cancel_acked

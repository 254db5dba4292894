"""What the peer is told of an endpoint's end: one test for each way in which its task can end."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import join, open_pair, open_resident
from tractor import Context, ContextCancelled, MsgTypeError, RemoteActorError, StreamOverrun, TransportClosed
from tractor.runtime._flow import BUFFER_ITEMS
from tractor.wire._dialog import Half

HERE = __name__
LOG: list[Any] = []


@tractor.context(pld_spec=str | None)
async def typed(ctx: Context[Any, Any, Any], value: Any) -> Any:
    """Return it."""
    await ctx.started()
    return value


@tractor.context
async def raises(ctx: Context, what: str, starts: bool = True) -> None:
    """Raise once the opener is in its block, or before that."""
    if starts:
        await ctx.started()
        await opener_streams(ctx)
    raise ERRORS[what]


ERRORS: dict[str, BaseException] = {
    "error": ValueError("told to"),
    "interrupt": KeyboardInterrupt(),
    "exit": SystemExit(),
    "group": ExceptionGroup("told to", [OSError("one"), ValueError("two")]),
}


async def opener_streams(ctx: Context) -> None:
    """Wait until the opener is in its block: an error would overtake `started()` and keep it out."""
    while ctx._dialog.peer is not Half.STREAMING:
        await trio.lowlevel.checkpoint()


@tractor.context
async def unsendable(ctx: Context, helper: str) -> None:
    """Start with what cannot be sent; cancel a context in another actor on the way out."""
    if not helper:
        await ctx.started(object())
    routers = [router for routers in tractor.current_actor().peers.values() for router in routers]
    (router,) = (router for router in routers if router.peer.name == helper)
    async with tractor.Portal(router).open_context(waits) as (other, _):
        try:
            await ctx.started(object())
        finally:
            await other.cancel()


@tractor.context
async def waits(ctx: Context, ending: str = "", starts: bool = True) -> str:
    """Wait; when cancelled end as told; note what is known by then."""
    if starts:
        await ctx.started()
    if ending == "cancels itself":
        if starts:
            await opener_streams(ctx)
        await ctx.cancel()
        with pytest.raises(RuntimeError, match="opened after this context was cancelled"):
            async with ctx.open_stream():
                pytest.fail("opened")
    try:
        if ending == "nursery":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hides_error)
                await trio.sleep_forever()
        await trio.sleep_forever()
    except trio.Cancelled:
        if ending == "swallows":
            return "ignored"
        raise
    finally:
        assert isinstance(ctx, Context)
        LOG.append((ctx.maybe_error, ctx.canceller, ctx.has_outcome, ctx._cancel_msg is not None))
        if ending == "raises":
            raise ValueError("in the clean-up")
        if ending == "masks":
            try:
                raise ValueError("in the clean-up")
            finally:
                await trio.lowlevel.checkpoint()
    return "never"


async def _hides_error() -> None:
    try:
        raise ValueError("in the clean-up")
    finally:
        await trio.sleep_forever()


@tractor.context
async def retries(ctx: Context) -> None:
    """Wait between two attempts."""
    await ctx.started()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_retry)
        await _retry()


async def _retry() -> None:
    try:
        raise OSError("try again later")
    except OSError:
        await trio.sleep_forever()


@tractor.context
async def floods(ctx: Context) -> None:
    """Send more than is taken; note the error that comes back."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            for n in range(BUFFER_ITEMS + 1):
                await stream.send(n)
            await stream.receive()
        except BaseException as exc:
            LOG.append(exc)
            raise


@pytest.mark.parametrize("cancels_others", [True, False])
async def test_a_first_value_that_cannot_be_sent(cancels_others: bool) -> None:
    """Is the error of who sends it, and reaches the opener, although other contexts are cancelled on the way out."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
        await join(pair.bob, carol)
        with pytest.raises(RemoteActorError, match="cannot send an object of type") as info:
            async with pair.portal.open_context(unsendable, helper="carol" if cancels_others else ""):
                pytest.fail("entered")
        assert info.value.boxed_type is TypeError
        assert info.value.src_uid == pair.bob.actor.uid
        assert carol.actor.served == {}


async def test_a_return_value() -> None:
    """Is the result."""
    async with open_pair(HERE) as pair, pair.portal.open_context(typed, value="fine") as (ctx, _):
        assert await ctx.wait_for_result() == "fine"


@pytest.mark.parametrize("asked", [True, False])
async def test_a_return_value_that_violates_the_spec(asked: bool) -> None:
    """Is refused where it arrives."""
    async with open_pair(HERE) as pair:
        with pytest.raises(MsgTypeError) as info:
            async with pair.portal.open_context(typed, value=10) as (ctx, _):
                if asked:
                    await ctx.wait_for_result()
        assert info.value is ctx.maybe_error is ctx.outcome is ctx._local_error
        assert info.value.bad_msg == 10


@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize(("what", "boxed"), [("error", ValueError), ("group", ExceptionGroup)])
async def test_an_exception(what: str, boxed: type[BaseException], starts: bool) -> None:
    """Is relayed; a group as well."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(raises, what=what, starts=starts) as (ctx, _):
                async with ctx.open_stream():
                    await trio.sleep_forever()
        assert info.value.boxed_type is info.value.src_type is boxed
        assert info.value.src_uid == info.value.relay_uid == pair.bob.actor.uid
        assert not pair.bob.actor.cancel_called


@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize(("what", "boxed"), [("interrupt", KeyboardInterrupt), ("exit", SystemExit)])
async def test_an_order_to_leave(what: str, boxed: type[BaseException], starts: bool) -> None:
    """Is relayed, and ends the actor."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(raises, what=what, starts=starts) as (ctx, _):
                async with ctx.open_stream():
                    await trio.sleep_forever()
        assert info.value.boxed_type is boxed
        with trio.fail_after(1):
            await pair.bob.gone.wait()


@pytest.mark.parametrize("ending", ["", "swallows"])
async def test_a_request_to_end_and_nothing_else(ending: str) -> None:
    """Is confirmed, with the requester as canceller; what is returned in spite of it is not heard of."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(waits, ending=ending) as (ctx, _):
            await ctx.cancel()
        assert isinstance(ctx.outcome, ContextCancelled)
        assert ctx.outcome.canceller == pair.alice.actor.uid
        assert ctx.outcome.boxed_type is ContextCancelled
        assert [(None, pair.alice.actor.uid, False, True)] == LOG


@pytest.mark.parametrize("ending", ["raises", "masks", "nursery"])
async def test_a_request_to_end_and_an_error_in_the_clean_up(ending: str) -> None:
    """Is the error, even if a checkpoint has hidden it behind the cancellation, in whichever task."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="in the clean-up") as info:
            async with pair.portal.open_context(waits, ending=ending) as (ctx, _):
                await wait_all_tasks_blocked()
                await ctx.cancel()
        assert info.value.boxed_type is ValueError
        assert info.value is ctx.outcome
        assert (ctx.cancel_called, ctx.cancel_acked, ctx.canceller) == (True, False, None)


async def test_a_request_to_end_and_an_error_that_was_dealt_with() -> None:
    """Is a confirmation: who waits before another attempt has raised nothing."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(retries) as (ctx, _):
            await wait_all_tasks_blocked()
            await ctx.cancel()
        assert ctx.cancel_acked


@pytest.mark.parametrize("starts", [True, False])
async def test_its_own_cancel(starts: bool) -> None:
    """Is raised at the opener, before or in its block: it was itself."""
    async with open_pair(HERE) as pair:
        entered = False
        with pytest.raises(ContextCancelled) as info:
            async with pair.portal.open_context(waits, ending="cancels itself", starts=starts) as (ctx, _):
                entered = True
                async with ctx.open_stream():
                    await trio.sleep_forever()
        assert entered is starts
        assert info.value.canceller == pair.bob.actor.uid
        assert "itself" in info.value.tb_str
        assert [(None, pair.bob.actor.uid, False, True)] == LOG


@pytest.mark.parametrize("who", ["opener's actor", "third party", "itself"])
async def test_the_cancellation_of_its_actor(who: str) -> None:
    """Is told to every opener, with the actor that has asked; for a signal that is the actor itself."""
    async with open_pair(HERE) as pair, open_resident("carol", HERE) as carol:
        to_bob, _ = await join(carol, pair.bob)
        asker = {"opener's actor": pair.alice, "third party": carol, "itself": pair.bob}[who].actor.uid
        raised: list[ContextCancelled] = []

        async def open_one(portal: Any) -> None:
            with pytest.raises(ContextCancelled) as info:
                async with portal.open_context(waits):
                    await trio.sleep_forever()
            raised.append(info.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_one, pair.portal)
            nursery.start_soon(open_one, to_bob)
            await wait_all_tasks_blocked()
            if who == "itself":
                pair.bob.actor.interrupt_soon("SIGINT")
            else:
                assert await (to_bob if who == "third party" else pair.portal).cancel_actor()
        assert [exc.canceller for exc in raised] == [asker, asker]
        assert [exc.src_uid for exc in raised] == [pair.bob.actor.uid] * 2
        assert [entry[1] for entry in LOG] == [asker, asker]


async def test_the_cancellation_of_its_actor_when_the_channel_is_gone() -> None:
    """Is told to nobody."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TransportClosed):
            async with pair.portal.open_context(waits) as (ctx, _):
                pair.bob.actor.cancel_soon()
                pair.back.chan.abort()
                await trio.sleep_forever()
        assert isinstance(ctx.outcome, TransportClosed)
        await wait_all_tasks_blocked()
        assert pair.bob.actor.served == {}


async def test_an_error_from_the_opener() -> None:
    """Is raised there, and comes back as one that was relayed."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(floods) as (ctx, _):
                await trio.sleep_forever()
        assert (info.value.boxed_type, info.value.src_type) == (RemoteActorError, StreamOverrun)
        assert info.value.is_inception()
        assert info.value.relay_path == [pair.alice.actor.uid, pair.bob.actor.uid]
        assert "StreamOverrun" in info.value.tb_str
        (there,) = LOG
        assert there.boxed_type is StreamOverrun
        assert info.value is ctx._remote_error


async def test_the_loss_of_the_connection() -> None:
    """Is told to nobody; the task is cancelled, by no one."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TransportClosed):
            async with pair.portal.open_context(waits):
                await wait_all_tasks_blocked()
                pair.portal.chan.abort()
                await trio.sleep_forever()
        await wait_all_tasks_blocked()
        ((error, canceller, _, asked),) = LOG
        assert isinstance(error, TransportClosed)
        assert (canceller, asked) == (None, False)
        assert pair.bob.actor.served == {}

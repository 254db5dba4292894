"""Overruns and the end of the context they happen in: whoever lost items, or was told of it, is not left alone with that."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair, run_fast
from tractor import Context, RemoteActorError, StreamOverrun, TransportClosed

HERE = __name__
LOG: list[Any] = []


@tractor.context
async def overrun_and_return(ctx: Context, count: int) -> str:
    """Send at once what the opener has room for, and more, and return."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for n in range(count):
            await stream.send(n)
    return "well"


@pytest.mark.parametrize("count", [3, 4, 5, 20])
@pytest.mark.parametrize("reads", [True, False])
async def test_an_overrun_that_the_endpoint_has_not_heard_of_is_the_openers_error(
    reads: bool, count: int
) -> None:
    """Its RETURN crosses the report: what is left of the stream must not be taken for all of it."""
    async with open_pair(HERE) as pair:
        got: list[int] = []
        with contextlib.nullcontext() if count == 3 else pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(overrun_and_return, count=count) as (ctx, _):
                async with ctx.open_stream(msg_buffer_size=3) as stream:
                    await stream.send("go")
                    # Not as a reader that waits: it would take the first one past the buffer.
                    await wait_all_tasks_blocked()
                    if reads:
                        got += [item async for item in stream]
        if info is not None:
            assert ctx.outcome is ctx._remote_error is info.value
            assert info.value.boxed_type is StreamOverrun
            assert (info.value.src_uid, info.value.sender) == (pair.alice.actor.uid, pair.bob.actor.uid)
            assert got == []
        else:
            assert ctx.outcome == "well"
            assert got == ([0, 1, 2] if reads else [])
        assert pair.portal._router.dialogs == {}


@tractor.context
async def overrun_and_go_on(ctx: Context) -> None:
    """Overrun the opener in one stream, and go on with the next at once."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for n in range(10):
            await stream.send(n)
    async with ctx.open_stream() as stream:
        await stream.send("of the next stream")
    await trio.sleep_forever()


async def test_after_an_overrun_no_later_stream_looks_complete_either() -> None:
    """Its items are dropped as well."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="StreamOverrun"):
            async with pair.portal.open_context(overrun_and_go_on) as (ctx, _):
                async with ctx.open_stream(msg_buffer_size=3) as stream:
                    await stream.send("go")
                    assert await stream.receive() == 0
                async with ctx.open_stream() as stream:
                    pytest.fail(f"received {[item async for item in stream]} and an end")


@tractor.context
async def swallows(ctx: Context) -> None:
    """Swallow the report of an overrun, or of a loss, and go on."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        for n in range(10):
            await stream.send(n)
        try:
            await stream.receive()
        except (RemoteActorError, TransportClosed) as exc:
            LOG.append(exc)
    await trio.sleep_forever()


async def test_an_endpoint_that_swallows_the_report_of_an_overrun_ends() -> None:
    """Its opener has said its last word and could not even cancel it."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(swallows) as (ctx, _):
                async with ctx.open_stream(msg_buffer_size=3) as stream:
                    await stream.send("go")
                    await trio.sleep_forever()
        assert [exc.boxed_type for exc in LOG] == [StreamOverrun]
        assert info.value.src_type is StreamOverrun


async def test_an_endpoint_that_swallows_the_loss_of_its_opener_ends() -> None:
    """Nobody else could end it."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TransportClosed):
            async with pair.portal.open_context(swallows) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.send("go")
                    await wait_all_tasks_blocked()
                    pair.portal.chan.abort()
                    await trio.sleep_forever()
        await wait_all_tasks_blocked()
        assert len(LOG) == 1
        assert pair.bob.actor.served == {}


@tractor.context
async def cleans_up(ctx: Context, fails: bool) -> None:
    """Open no stream, and take some time to end."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        LOG.append("ended")
        if fails:
            raise OSError("in the clean-up")


@pytest.mark.parametrize("fails", [True, False])
def test_an_endpoint_that_is_overrun_has_ended_when_its_opener_hears_of_it(fails: bool) -> None:
    """As with any other end; and what it raises meanwhile is not lost."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with pytest.raises(RemoteActorError) as info:
                async with pair.portal.open_context(cleans_up, fails=fails) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        for n in range(100):
                            await stream.send(n)
                        await trio.sleep_forever()
            assert LOG == ["ended"]
            assert info.value.boxed_type is (OSError if fails else StreamOverrun)
            assert "overran" in info.value.tb_str or not fails

    run_fast(main)

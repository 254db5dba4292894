"""A stream that an error has closed: the other side hears of the error, never that this was all."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import open_pair
from tractor import Context, RemoteActorError

HERE = __name__
LOG: list[Any] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()


@tractor.context
async def breaks_off(ctx: Context, items: int, foreign: bool = False) -> None:
    """Send some items, then fail; `foreign`: with what looks like the end of a stream."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for n in range(items):
            await stream.send(n)
        raise trio.EndOfChannel("of something else") if foreign else ValueError("broke off")


@tractor.context
async def collects(ctx: Context) -> str:
    """Note what comes, and whether that was all."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            async for item in stream:
                LOG.extend([item])
            LOG.append("complete")
        except BaseException as exc:
            LOG.append(type(exc).__name__)
            raise
    return "collected"


@tractor.context
async def tries_again(ctx: Context, pause: bool) -> str:
    """Fail in a stream, and send the same by another one."""
    await ctx.started()
    try:
        async with ctx.open_stream() as stream:
            await stream.send("first")
            raise ValueError("dealt with")
    except ValueError:
        if pause:
            await trio.sleep(0.01)
    async with ctx.open_stream() as stream:
        await stream.send("second")
    return "done"


@pytest.mark.parametrize("foreign", [True, False])
@pytest.mark.parametrize("items", [0, 1, 50])
async def test_an_error_of_the_endpoint_is_no_end_of_its_items(items: int, foreign: bool) -> None:
    """Whoever waits for the next one gets the error."""
    async with open_pair(HERE) as pair:
        received: list[int] = []
        with pytest.raises(RemoteActorError) as info:
            async with pair.portal.open_context(breaks_off, items=items, foreign=foreign) as (ctx, _):
                async with ctx.open_stream() as stream:
                    async for item in stream:
                        received += [item]
                    pytest.fail("that was not all")
        assert info.value.src_type is (trio.EndOfChannel if foreign else ValueError)
        assert received == list(range(len(received)))


@pytest.mark.parametrize("error", [ValueError("own"), KeyboardInterrupt()])
async def test_an_error_of_the_opener_is_no_end_of_its_items(error: BaseException) -> None:
    """The endpoint is cancelled; it must not take for complete what it has got."""
    async with open_pair(HERE) as pair:
        with pytest.raises(type(error)):
            async with pair.portal.open_context(collects) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.send(1)
                    await wait_all_tasks_blocked()
                    raise error
        assert LOG == [1, "Cancelled"]


async def test_a_cancellation_of_the_opener_is_no_end_of_its_items() -> None:
    """The same."""
    async with open_pair(HERE) as pair:
        with trio.CancelScope() as scope:
            async with pair.portal.open_context(collects) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.send(1)
                    await wait_all_tasks_blocked()
                    scope.cancel()
                    await trio.sleep_forever()
        assert scope.cancelled_caught
        assert LOG == [1, "Cancelled"]


@pytest.mark.parametrize("opener_pauses", [True, False])
async def test_an_error_that_was_dealt_with_ends_the_stream(opener_pauses: bool) -> None:
    """The context goes on, so that the other side has to know."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(collects) as (ctx, _):
            with pytest.raises(ValueError, match="own"):
                async with ctx.open_stream() as stream:
                    await stream.send(1)
                    raise ValueError("own")
            if opener_pauses:
                await wait_all_tasks_blocked()
            assert await ctx.wait_for_result() == "collected"
        assert LOG == [1, "complete"]


@pytest.mark.parametrize("pause", [True, False])
async def test_the_next_stream_is_another_one(pause: bool) -> None:
    """However soon it is opened, items of the two are not mixed up."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(tries_again, pause=pause) as (ctx, _):
            for expected in ("first", "second"):
                async with ctx.open_stream() as stream:
                    assert [item async for item in stream] == [expected]
            assert await ctx.wait_for_result() == "done"


async def test_between_processes_it_is_the_same(transport: str) -> None:
    """Whatever the sockets make of the order and the pieces."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("child", enable_modules=[HERE])
        for n in range(30):
            with pytest.raises(RemoteActorError, match="broke off"):
                async with portal.open_context(breaks_off, items=n) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        async for _ in stream:
                            pass
                        pytest.fail("that was not all")
        await nursery.cancel()

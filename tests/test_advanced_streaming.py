"""Many streams at once: over one connection, and through actors between."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

import tractor
from tests.programs import bodies, dialogues
from tractor import ContextCancelled, Portal, RemoteActorError, StreamOverrun
from tractor.runtime._flow import WINDOW_ITEMS

#: How many dialogues of each sort go on at the same time.
EACH = 12


async def talk(portal: Portal) -> None:
    """Send and receive."""
    async with portal.open_context(dialogues.echo) as (ctx, _):
        async with ctx.open_stream() as stream:
            for n in range(100):
                await stream.send(n)
                assert await stream.receive() == n
        assert await ctx.wait_for_result() == 100


async def listen(portal: Portal) -> None:
    """Receive a lot."""
    async with portal.open_context(dialogues.count_up, count=3000) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == list(range(3000))
        assert await ctx.wait_for_result() == 3000


async def cancel(portal: Portal) -> None:
    """Give up in the middle."""
    async with portal.open_context(dialogues.count_up, count=10**9) as (ctx, _):
        async with ctx.open_stream() as stream:
            for n in range(500):
                assert await stream.receive() == n
            await ctx.cancel()
    assert isinstance(ctx.outcome, ContextCancelled)


async def be_cancelled(portal: Portal) -> None:
    """Be given up from outside."""
    with trio.move_on_after(0.05) as scope:
        async with portal.open_context(dialogues.count_up, count=10**9) as (ctx, _):
            async with ctx.open_stream() as stream:
                async for _item in stream:
                    pass
    assert scope.cancelled_caught


async def fail(portal: Portal) -> None:
    """Hear of an error."""
    with pytest.raises(RemoteActorError, match="said it all"):
        async with portal.open_context(dialogues.say, items=[1, 2, 3], then="fail") as (ctx, _):
            async with ctx.open_stream() as stream:
                async for _item in stream:
                    pass


async def overrun(portal: Portal) -> None:
    """Be too fast."""
    with pytest.raises(RemoteActorError) as info:
        async with portal.open_context(dialogues.listen_slowly, allow=False, pause=1) as (ctx, _):
            async with ctx.open_stream() as stream:
                for n in range(1000):
                    await stream.send(n)
                await trio.sleep_forever()
    assert info.value.boxed_type is StreamOverrun


async def test_dialogues_on_one_connection_do_not_disturb_each_other(transport: str) -> None:
    """Whatever happens to some of them, while calls are answered."""
    done: Counter[str] = Counter()
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[dialogues.__name__])

        async def run(func: object, name: str) -> None:
            await func(portal)  # type: ignore[operator]
            done[name] += 1

        sorts = (talk, listen, cancel, be_cancelled, fail, overrun)
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for _ in range(EACH):
                    for func in sorts:
                        nursery.start_soon(run, func, func.__name__)
                while len(nursery.child_tasks) > 0:
                    assert await portal.run(dialogues.count_served) >= 1
                    await trio.sleep(0.01)
        assert done == {func.__name__: EACH for func in sorts}
        assert portal._router.dialogs == {}
        assert await portal.run(dialogues.count_served) == 1
        await an.cancel()


async def test_a_slow_consumer_slows_the_source_behind_a_relay(transport: str) -> None:
    """What is under way is bounded by a window on each hop; everything arrives, in order."""
    count = 20_000
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        source = await an.start_actor("source", enable_modules=[dialogues.__name__])
        middle = await an.start_actor("middle", enable_modules=[dialogues.__name__])
        with trio.fail_after(30):
            async with middle.open_context(dialogues.relay, name="source", count=count) as (ctx, _):
                async with ctx.open_stream() as stream:
                    for n in range(count):
                        if n % 5000 == 0:
                            sent = -1
                            while sent != (sent := await source.run(dialogues.get_sent)):
                                await trio.sleep(0.02)
                            assert sent - n <= 2 * WINDOW_ITEMS + 2
                        assert await stream.receive() == n
                assert await ctx.wait_for_result() == count
        await an.cancel()


async def consume(inner: tractor.ActorNursery, source: Portal, end: str) -> None:
    """Receive what a relay passes on from the source; then bring this to its end."""
    middle = await inner.start_actor("middle", enable_modules=[dialogues.__name__, bodies.__name__])
    with trio.CancelScope() as scope:
        async with middle.open_context(dialogues.relay, name="source", count=10**9) as (ctx, _):
            async with ctx.open_stream() as stream:
                for n in range(100):
                    assert await stream.receive() == n
                assert await source.run(dialogues.count_served) == 2
                match end:
                    case "cancel":
                        await ctx.cancel()
                    case "leave":
                        scope.cancel()
                    case "kill":
                        await bodies.slay(middle)
                await trio.sleep_forever()
    await inner.cancel()


@pytest.mark.parametrize("end", ["cancel", "leave", "kill"])
async def test_the_end_of_a_consumer_reaches_the_source_behind_a_relay(end: str, transport: str) -> None:
    """However it comes: the source does not go on sending to nobody."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        source = await an.start_actor("source", enable_modules=[dialogues.__name__])
        try:
            async with tractor.open_nursery() as inner:
                await consume(inner, source, end)
        except tractor.ActorFailure as exc:
            assert end == "kill"
            assert bodies.SLAIN in str(exc)  # noqa: PT017 - the other ends raise nothing
        with trio.fail_after(2):
            while await source.run(dialogues.count_served) > 1:
                await trio.sleep(0.005)
        await an.cancel()

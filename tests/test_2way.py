"""Two tasks that stream to each other: each rule on its own, in one process, and all of them between processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

import tractor
from tests.programs import dialogues
from tests.resident import open_pair, run_fast
from tractor import ContextCancelled, Portal, RemoteActorError

type Rule = Callable[[Portal], Awaitable[None]]

RULES: dict[str, Rule] = {}


def rule(func: Rule) -> Rule:
    """Note a rule under the words of its name."""
    RULES[func.__name__.replace("_", " ")] = func
    return func


@rule
async def either_side_may_open_first(portal: Portal) -> None:
    """What is sent meanwhile waits."""
    async with portal.open_context(dialogues.say, items=[1, 2, 3], then="return") as (ctx, _):
        await trio.sleep(0.02)
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == [1, 2, 3]
    async with portal.open_context(dialogues.hear, delay=0.02) as (ctx, _):
        async with ctx.open_stream() as stream:
            for n in range(3):
                await stream.send(n)
        assert await ctx.wait_for_result() == [0, 1, 2]


@rule
async def no_stream_before_started(portal: Portal) -> None:
    """The endpoint's error comes out where the block is entered."""
    with pytest.raises(RemoteActorError, match="before started") as info:
        async with portal.open_context(dialogues.streams_early):
            pytest.fail("entered")
    assert info.value.boxed_type is RuntimeError


@rule
async def no_stream_after_our_own_cancel(portal: Portal) -> None:
    """It raises what the cancellation was confirmed with; that leaves the block in silence."""
    async with portal.open_context(dialogues.sleeper) as (ctx, _):
        await ctx.cancel()
        async with ctx.open_stream():
            pytest.fail("opened")
    assert isinstance(ctx.outcome, ContextCancelled)
    assert ctx.outcome.canceller == tractor.current_actor().uid


@rule
async def no_stream_after_an_endpoints_own_cancel(portal: Portal) -> None:
    """An error there; who goes on from it is cancelled at the next checkpoint."""
    for goes_on in (True, False):
        with pytest.raises(RemoteActorError) as info:
            async with portal.open_context(dialogues.streams_after_cancel, goes_on=goes_on):
                await trio.sleep_forever()
        assert info.value.boxed_type is (ContextCancelled if goes_on else RuntimeError)


@rule
async def a_stream_after_the_end_is_empty(portal: Portal) -> None:
    """It can be opened, nothing comes, and nothing can be sent."""
    async with portal.open_context(dialogues.hear) as (ctx, _):
        async with ctx.open_stream():
            pass
        assert await ctx.wait_for_result() == []
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == []
            with pytest.raises(trio.EndOfChannel):
                await stream.send(1)


@rule
async def the_buffer_has_the_size_that_was_asked_for(portal: Portal) -> None:
    """Of this side only."""
    items = list(range(200))
    async with portal.open_context(dialogues.say, items=items, then="return", late=True) as (ctx, _):
        async with ctx.open_stream(msg_buffer_size=200) as stream:
            await stream.send("go")
            await trio.sleep(0.02)
            assert [item async for item in stream] == items


@rule
async def sending_is_refused_with_its_reason(portal: Portal) -> None:
    """A remote error before everything, this side's end, the other side's end, and what cannot be sent."""
    async with portal.open_context(dialogues.echo) as (ctx, _):
        async with ctx.open_stream() as stream:
            for item, error in ((object(), TypeError), (2**70, OverflowError)):
                with pytest.raises(error):
                    await stream.send(item)
            await stream.send("works")
            assert await stream.receive() == "works"
        with pytest.raises(trio.ClosedResourceError):
            await stream.send("closed")
    async with portal.open_context(dialogues.stop_and_go_on, seconds=0) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == []
            with pytest.raises(trio.EndOfChannel):
                await stream.send("stopped")
    async with portal.open_context(dialogues.say, items=[], then="stop") as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == []
            await ctx.cancel()
            with pytest.raises(ContextCancelled) as info:
                await stream.send("cancelled")
        assert info.value is ctx.outcome


@rule
async def the_end_is_the_end_for_ever(portal: Portal) -> None:
    """The same error each time, which the stream's block takes; iterating ends without it."""
    async with portal.open_context(dialogues.say, items=[1], then="return") as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == [1]
            caught = []
            for _ in range(3):
                with pytest.raises(trio.EndOfChannel) as info:
                    await stream.receive()
                caught.append(info.value)
            assert set(caught) == {stream.closed} == {stream._eoc}
            with pytest.raises(trio.EndOfChannel):
                stream.receive_nowait()
            await stream.receive()
            pytest.fail("received")
        assert await ctx.wait_for_result() == "said"


@rule
async def a_remote_error_goes_before_the_end(portal: Portal) -> None:
    """Also the confirmation of our own cancellation."""
    async with portal.open_context(dialogues.say, items=[], then="stop") as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == []
            await ctx.cancel()
            for attempt in (stream.receive, stream.__anext__):
                with pytest.raises(ContextCancelled):
                    await attempt()
            with pytest.raises(ContextCancelled):
                stream.receive_nowait()


@rule
async def receiving_without_waiting(portal: Portal) -> None:
    """Nothing, then something."""
    async with portal.open_context(dialogues.echo) as (ctx, _), ctx.open_stream() as stream:
        with pytest.raises(trio.WouldBlock):
            stream.receive_nowait()
        await stream.send(5)
        with trio.fail_after(1):
            while True:
                try:
                    assert stream.receive_nowait() == 5
                    break
                except trio.WouldBlock:
                    await trio.sleep(0.001)


@rule
async def closing_hands_over_what_is_left(portal: Portal) -> None:
    """Once; the other side may have closed, or ended, before."""
    async with portal.open_context(dialogues.say, items=[1, 2, 3], then="return") as (ctx, _):
        async with ctx.open_stream() as stream:
            assert await stream.receive() == 1
            await trio.sleep(0.02)
            assert await stream.aclose() == [2, 3]
            assert await stream.aclose() == []
            assert isinstance(stream.closed, trio.ClosedResourceError)
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive()
    async with portal.open_context(dialogues.hear) as (ctx, _):
        async with ctx.open_stream() as stream:
            await stream.send(1)
            await stream.aclose()
        assert await ctx.wait_for_result() == [1]


@rule
async def the_blocks_of_both_streams_take_the_end(portal: Portal) -> None:
    """But no other block does."""
    async with portal.open_context(dialogues.ends) as (ctx, _):
        async with ctx.open_stream() as stream:
            await stream.send(1)
        assert await ctx.wait_for_result() == "the block has caught it"
    with pytest.raises(trio.EndOfChannel):
        async with portal.open_context(dialogues.sleeper):
            raise trio.EndOfChannel


@rule
async def an_early_end_disturbs_nobody(portal: Portal) -> None:
    """Neither the body here, when the endpoint stops, nor the endpoint, when we do: its result is waited for."""
    async with portal.open_context(dialogues.stop_and_go_on, seconds=0.05) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert [item async for item in stream] == []
            await trio.sleep(0.01)
            assert not ctx.has_outcome
    assert ctx.outcome == "in my own time"
    async with portal.open_context(dialogues.stop_and_go_on, seconds=0.05) as (ctx, _):
        async with ctx.open_stream():
            pass
    assert ctx.outcome == "in my own time"
    assert not ctx.cancel_called


@rule
async def one_stream_after_the_other(portal: Portal) -> None:
    """The nth of one side talks to the nth of the other."""
    async with portal.open_context(dialogues.rounds, count=5) as (ctx, _):
        for n in range(5):
            async with ctx.open_stream() as stream:
                assert await stream.receive() == n
                for item in range(n):
                    await stream.send(item)
        assert await ctx.wait_for_result() == [list(range(n)) for n in range(5)]


@rule
async def a_stream_says_what_it_belongs_to(portal: Portal) -> None:
    """Its context, its channel, and whether it is over."""
    async with portal.open_context(dialogues.echo) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert (stream.ctx, stream.chan, stream.closed) == (ctx, portal.chan, None)
        assert stream.closed is stream._closed
        assert stream.closed is not None


@rule
async def everything_that_was_sent_before_the_end_arrives(portal: Portal) -> None:
    """In order, after the first value, before the end and the result."""
    items = list(range(64))
    for then in ("return", "stop"):
        async with portal.open_context(dialogues.say, items=items, then=then) as (ctx, first):
            assert first == "before all items"
            await trio.sleep(0.02)
            async with ctx.open_stream() as stream:
                assert [item async for item in stream] == items
            if then == "stop":
                await ctx.cancel()


@rule
async def an_error_overtakes_items(portal: Portal) -> None:
    """What was not taken is lost; it is raised where items are waited for, and ends the body elsewhere."""
    for waits in (True, False):
        with pytest.raises(RemoteActorError, match="said it all") as info:
            async with portal.open_context(dialogues.say, items=[1, 2, 3], then="fail", late=True) as (
                ctx,
                _,
            ):
                async with ctx.open_stream() as stream:
                    await stream.send("go")
                    with trio.CancelScope(shield=True):
                        while not ctx.has_outcome:
                            await trio.sleep(0.001)
                        if waits:
                            await stream.receive()
                    await trio.sleep_forever()
        assert info.value.boxed_type is ValueError
        assert info.value is ctx.outcome


@rule
async def our_own_cancel_loses_items(portal: Portal) -> None:
    """The body ends at its next checkpoint, and its block in silence."""
    reached = []
    async with portal.open_context(dialogues.say, items=[1, 2, 3], then="wait", late=True) as (ctx, _):
        async with ctx.open_stream() as stream:
            await stream.send("go")
            assert await stream.receive() == 1
            await ctx.cancel()
            assert ctx.cancel_acked
            with pytest.raises(ContextCancelled):
                stream.receive_nowait()
            reached.append("after the call")
            await trio.lowlevel.checkpoint()
            reached.append("after a checkpoint")
    assert reached == ["after the call"]
    assert isinstance(ctx.outcome, ContextCancelled)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_in_one_process(name: str) -> None:
    """Between two actors of one process, in no time."""

    async def main() -> None:
        async with open_pair(dialogues.__name__) as pair:
            seen = trio.Event()

            async def check() -> None:
                await RULES[name](pair.portal)
                seen.set()

            pair.alice.spawn(check)
            with trio.fail_after(60):
                await seen.wait()

    run_fast(main)


async def test_every_rule_between_processes(transport: str) -> None:
    """With one child, one after the other: none leaves anything that the next would notice."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[dialogues.__name__])
        for name, check in RULES.items():
            try:
                with trio.fail_after(5):
                    await check(portal)
                    assert portal._router.dialogs == {}
                    while await portal.run(dialogues.count_served) > 1:
                        await trio.sleep(0.001)
            except BaseException as exc:
                exc.add_note(f"in the rule: {name}")
                raise
        await an.cancel()

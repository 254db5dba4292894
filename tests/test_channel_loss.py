"""A connection is lost: whoever waits for its peer fails at once, with the peer's name and, for a child, its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import bodies, losses
from tests.resident import open_pair
from tractor import Context, Portal, TransportClosed

HERE = __name__
#: Seconds within which every waiter has heard of the loss.
AT_ONCE = 1.0

# Everything that can wait for a peer; `ready` is called just before it does.


async def wait_in_run(portal: Portal, ready: Callable[[], None]) -> None:
    """Call a function that does not return."""
    ready()
    await portal.run(losses.hang)


async def wait_in_entry(portal: Portal, ready: Callable[[], None]) -> None:
    """Open a context that does not start."""
    ready()
    async with portal.open_context(losses.never_started):
        pytest.fail("entered")


async def wait_for_result(portal: Portal, ready: Callable[[], None]) -> None:
    """Wait for a result."""
    async with portal.open_context(losses.sleeper) as (ctx, _):
        ready()
        await ctx.wait_for_result()


async def wait_in_receive(portal: Portal, ready: Callable[[], None]) -> None:
    """Wait for an item."""
    async with portal.open_context(losses.sleeper) as (ctx, _), ctx.open_stream() as stream:
        ready()
        await stream.receive()


async def wait_in_iteration(portal: Portal, ready: Callable[[], None]) -> None:
    """The same as a loop: that does not end as if all had been received."""
    async with portal.open_context(losses.sleeper) as (ctx, _), ctx.open_stream() as stream:
        ready()
        async for _item in stream:
            pass


async def wait_for_credit(portal: Portal, ready: Callable[[], None]) -> None:
    """Wait for a receiver that has not opened its stream."""
    async with portal.open_context(losses.sleeper) as (ctx, _):
        async with ctx.open_stream(backpressure=True) as stream:
            ready()
            await stream.send("x")


async def wait_at_exit(portal: Portal, ready: Callable[[], None]) -> None:
    """Wait where the block ends."""
    async with portal.open_context(losses.sleeper):
        ready()


async def wait_elsewhere(portal: Portal, ready: Callable[[], None]) -> None:
    """Wait for something else, in the block."""
    async with portal.open_context(losses.sleeper):
        ready()
        await trio.sleep_forever()


WAITS = [
    wait_in_run,
    wait_in_entry,
    wait_for_result,
    wait_in_receive,
    wait_in_iteration,
    wait_for_credit,
    wait_at_exit,
    wait_elsewhere,
]


async def wait_served(portal: Portal, count: int) -> None:
    """Return when the peer serves so many requests, beside ours."""
    with trio.fail_after(AT_ONCE):
        while await portal.run(losses.count_served) != count + 1:
            await trio.sleep(0.005)


async def ask(portal: Portal, func: Callable[..., Awaitable[None]], kwargs: dict[str, Any]) -> None:
    """Make the peer do something that it does not survive, or does not answer."""
    with pytest.raises(TransportClosed):
        await portal.run(func, **kwargs)


async def lose(
    portal: Portal, cause: Callable[[trio.Nursery], Awaitable[None]]
) -> dict[str, TransportClosed]:
    """Let every wait begin, then cause the loss; return what each raised, by its name."""
    raised: dict[str, TransportClosed] = {}
    waiting: list[str] = []

    async def watch(wait: Callable[..., Awaitable[None]]) -> None:
        with pytest.raises(TransportClosed) as info:
            await wait(portal, lambda: waiting.append(wait.__name__))
        raised[wait.__name__] = info.value

    # Shielded, because the nursery of a child that is lost cancels its block.
    with trio.fail_after(10, shield=True):
        async with trio.open_nursery() as nursery:
            for wait in WAITS:
                nursery.start_soon(watch, wait)
            while len(waiting) < len(WAITS):
                await trio.sleep(0.005)
            await wait_served(portal, len(WAITS))
            nursery.cancel_scope.deadline = trio.current_time() + AT_ONCE
            await cause(nursery)
    assert sorted(raised) == sorted(waiting)
    assert len({id(error) for error in raised.values()}) == len(raised)
    return raised


@asynccontextmanager
async def open_child(transport: str, failure: str) -> AsyncGenerator[Portal]:
    """Run a child that will fail in this way, without having been asked to end."""
    with pytest.raises(tractor.ActorFailure, match=failure):
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            yield await an.start_actor("child", enable_modules=[losses.__name__, bodies.__name__])
            await trio.sleep_forever()


@asynccontextmanager
async def connected(portal: Portal, link: str) -> AsyncGenerator[Portal]:
    """Yield the parent's portal itself, or one over a connection to where the child listens, as a stranger has it."""
    if link == "child":
        yield portal
        return
    router = await tractor.current_actor().connect(portal.chan.peer_addrs[0])
    yield Portal(router)
    await router.channel.aclose()


@pytest.mark.parametrize("state", ["idle", pytest.param("deaf", marks=OF_A_PROCESS)])
@pytest.mark.parametrize("link", ["child", "stranger"])
async def test_a_peer_that_is_killed(link: str, state: str, transport: str) -> None:
    """Its parent knows how it has ended; whoever else talks to it knows who it was."""
    async with open_child(transport, bodies.SLAIN) as child, connected(child, link) as portal:
        pid = child.aid.pid

        async def kill(nursery: trio.Nursery) -> None:
            if state == "deaf":
                nursery.start_soon(ask, portal, losses.block, {})
                await trio.sleep(0.02)
            await bodies.slay(child)

        for error in (await lose(portal, kill)).values():
            assert error.peer == f"child@{pid}"
            assert "closed by the peer" in str(error)
            assert (bodies.SLAIN in str(error)) is (link == "child")
            assert (error.exit is not None) is (link == "child")


@pytest.mark.parametrize(("link", "blocks"), [("child", False), ("child", True), ("stranger", False)])
async def test_a_peer_that_closes_its_socket_and_lives(link: str, blocks: bool, transport: str) -> None:
    """There is nothing to be hoped for from it; a child that does so is ended, also one that does nothing else."""
    async with (
        open_child(transport, "ended unasked|its channel broke") as child,
        connected(child, link) as portal,
    ):
        pid = child.aid.pid

        async def hang_up(nursery: trio.Nursery) -> None:
            nursery.start_soon(ask, portal, losses.hang_up, {"parent": link == "child", "blocks": blocks})

        for error in (await lose(portal, hang_up)).values():
            assert error.peer == f"child@{pid}"
            assert "closed by the peer" in str(error)
        if link == "stranger":
            await wait_served(child, 0)
            await bodies.slay(child)


@pytest.mark.parametrize("link", ["child", "stranger"])
async def test_a_connection_that_is_closed_here(link: str, transport: str) -> None:
    """The cause says so; the peer ends what it was asked for."""
    async with (
        open_child(transport, "ended unasked|its channel broke") as child,
        connected(child, link) as portal,
    ):
        pid = child.aid.pid

        async def close(_: trio.Nursery) -> None:
            await portal.aclose()

        for error in (await lose(portal, close)).values():
            assert type(error.__cause__) is trio.ClosedResourceError
            assert error.src_exc is error.__cause__
            assert error.peer == f"child@{pid}"
            assert "closed locally" in str(error)
        if link == "stranger":
            await wait_served(child, 0)
            await bodies.slay(child)


@tractor.context
async def says_all(ctx: Context) -> str:
    """Send three items and return."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        for n in range(3):
            await stream.send(n)
    return "all said"


@tractor.context
async def stops(ctx: Context) -> None:
    """Close the stream and stay."""
    await ctx.started()
    async with ctx.open_stream():
        pass
    await trio.sleep_forever()


@pytest.mark.parametrize("side", ["portal", "back"])
async def test_a_context_that_has_ended_loses_nothing(side: str) -> None:
    """Its items can be taken, its result stays, and its block is not disturbed."""
    async with open_pair(HERE) as pair:
        async with pair.portal.open_context(says_all) as (ctx, _):
            await wait_all_tasks_blocked()
            getattr(pair, side).chan.abort()
            await wait_all_tasks_blocked()
            async with ctx.open_stream() as stream:
                assert [item async for item in stream] == [0, 1, 2]
                with pytest.raises(trio.EndOfChannel):
                    await stream.send("anybody there?")
            assert await ctx.wait_for_result() == "all said"
        assert ctx.outcome == "all said"
        assert ctx.maybe_error is None


@pytest.mark.parametrize("side", ["portal", "back"])
async def test_an_end_that_was_seen_stays_the_end(side: str) -> None:
    """The same object, whatever is asked of the stream; the context is told of the loss."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TransportClosed):
            async with pair.portal.open_context(stops) as (ctx, _), ctx.open_stream() as stream:
                assert [item async for item in stream] == []
                seen = stream._eoc
                assert seen is not None
                with trio.CancelScope(shield=True):
                    getattr(pair, side).chan.abort()
                    await wait_all_tasks_blocked()
                    for attempt in (stream.send, stream.receive, stream.receive_nowait):
                        with pytest.raises(trio.EndOfChannel) as info:
                            await attempt(*["x"] if attempt == stream.send else [])
                        assert info.value is seen
                await trio.sleep_forever()
        assert isinstance(ctx.maybe_error, TransportClosed)


@pytest.mark.parametrize("side", ["portal", "back"])
async def test_nothing_works_on_a_lost_connection(side: str) -> None:
    """Each attempt says so at once; without a stream that has ended, sending to one does, too."""
    async with open_pair(losses.__name__) as pair:
        with pytest.raises(TransportClosed) as info:
            async with pair.portal.open_context(losses.sleeper) as (ctx, _), ctx.open_stream() as stream:
                with trio.CancelScope(shield=True), trio.fail_after(AT_ONCE):
                    getattr(pair, side).chan.abort()
                    await wait_all_tasks_blocked()
                    attempts: list[Callable[[], Awaitable[Any]]] = [
                        lambda: stream.send("x"),
                        stream.receive,
                        ctx.wait_for_result,
                        lambda: pair.portal.run(losses.hang),
                        lambda: pair.portal.open_context(losses.sleeper).__aenter__(),
                        lambda: ctx.open_stream().__aenter__(),
                    ]
                    for attempt in attempts:
                        with pytest.raises(TransportClosed):
                            await attempt()
                await trio.sleep_forever()
        assert info.value is ctx.maybe_error is ctx.outcome

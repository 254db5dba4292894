"""The runtime between processes, over both transports: what other tests of this directory do in one process."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import tractor
from tests.programs import bodies
from tests.programs.bodies import SLAIN, find_body, slay
from tractor import Context, ContextCancelled, Portal, RemoteActorError, StreamOverrun, TransportClosed

HERE = __name__


async def give_back(value: Any) -> Any:
    """Return the argument."""
    return value


async def fail() -> None:
    """Raise."""
    raise ValueError("over there")


async def hang(path: str) -> None:
    """Sleep until cancelled, then leave a file."""
    try:
        await trio.sleep_forever()
    finally:
        with open(path, "w") as file:
            file.write("ended")


@tractor.context
async def echo(ctx: Context, backpressure: bool = False) -> int:
    """Send back what comes; return how much it was."""
    await ctx.started(find_body())
    count = 0
    async with ctx.open_stream(backpressure=backpressure) as stream:
        async for item in stream:
            await stream.send(item)
            count += 1
    return count


@tractor.context
async def source(ctx: Context, count: int, size: int) -> str:
    """Send as fast as the opener allows."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        for n in range(count):
            await stream.send((n, b"x" * size))
    return "sent"


@tractor.context
async def sleeper(ctx: Context) -> None:
    """Sleep until cancelled."""
    await ctx.started()
    await trio.sleep_forever()


@asynccontextmanager
async def open_child(transport: str, **kwargs: Any) -> AsyncGenerator[Portal]:
    """Run a child that exposes this module; also connect to it by its address, as a stranger would."""
    async with tractor.open_nursery(enable_transports=[transport], **kwargs) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        yield portal
        await an.cancel()


@asynccontextmanager
async def connected(portal: Portal, link: str) -> AsyncGenerator[Portal]:
    """Yield the portal itself, or one over a connection to where the child listens."""
    if link == "inherited":
        yield portal
        return
    router = await tractor.current_actor().connect(portal.chan.peer_addrs[0])
    yield Portal(router)
    await router.channel.aclose()


@pytest.mark.parametrize("link", ["inherited", "connected"])
async def test_calls(transport: str, link: str) -> None:
    """Small and big arguments, many at once, and an error."""
    async with open_child(transport) as child, connected(child, link) as portal:
        for size in (0, 1, 65_535, 65_536, 3_000_000):
            assert await portal.run(give_back, value=b"x" * size) == b"x" * size
        async with trio.open_nursery() as nursery:

            async def ask(n: int) -> None:
                assert await portal.run(give_back, value=[n] * 100) == [n] * 100

            for n in range(200):
                nursery.start_soon(ask, n)
        with pytest.raises(RemoteActorError, match="over there") as info:
            await portal.run(fail)
        assert info.value.src_uid == portal.aid.uid


@pytest.mark.parametrize("link", ["inherited", "connected"])
async def test_streams(transport: str, link: str) -> None:
    """Both ways at once, with and without backpressure, and items bigger than any buffer."""
    async with open_child(transport) as child, connected(child, link) as portal:
        for backpressure in (True, False):
            async with portal.open_context(echo, backpressure=backpressure) as (ctx, body):
                assert body != find_body()
                async with ctx.open_stream() as stream:
                    for n in range(300):
                        await stream.send(n)
                        assert await stream.receive() == n
                    big = b"x" * 5_000_000
                    await stream.send(big)
                    assert await stream.receive() == big
                assert await ctx.wait_for_result() == 301


@pytest.mark.parametrize(("count", "size"), [(20_000, 10), (200, 50_000)])
async def test_a_slow_receiver_slows_its_sender(transport: str, count: int, size: int) -> None:
    """Everything arrives in order, and what is under way is bounded."""
    async with (
        open_child(transport) as portal,
        portal.open_context(source, count=count, size=size) as (ctx, _),
    ):
        async with ctx.open_stream() as stream:
            for n in range(count):
                if n % 5000 == 0:
                    await trio.sleep(0.02)
                    assert len(ctx._inbox.items) <= 1024
                    assert sum(len(item[0]) for item in ctx._inbox.items) <= 2**20 + size + 100
                assert (await stream.receive())[0] == n
        assert await ctx.wait_for_result() == "sent"


async def test_a_call_that_is_cancelled_ends_over_there(transport: str, tmp_path: Any) -> None:
    """By the time the caller goes on."""
    path = tmp_path / "ended"
    async with open_child(transport) as portal:
        with trio.move_on_after(0.05) as scope:
            await portal.run(hang, path=os.fspath(path))
        assert scope.cancelled_caught
        assert path.read_text() == "ended"
        assert await portal.run(give_back, value=1) == 1


async def test_contexts_are_cancelled_from_either_side(transport: str) -> None:
    """By the opener, silently; by its actor, with an error that says who asked."""
    async with open_child(transport) as portal:
        us = tractor.current_actor().uid
        async with portal.open_context(sleeper) as (ctx, _):
            await ctx.cancel()
        assert ctx.cancel_acked
        assert ctx.outcome.canceller == us
        with pytest.raises(ContextCancelled) as info:
            async with portal.open_context(sleeper) as (ctx, _):
                assert await portal.cancel_actor()
                await trio.sleep_forever()
        assert info.value.canceller == us


async def test_an_overrun(transport: str) -> None:
    """The sender's context fails at once."""
    async with open_child(transport) as portal:
        with trio.fail_after(2), pytest.raises(RemoteActorError) as info:
            async with portal.open_context(sleeper) as (ctx, _), ctx.open_stream() as stream:
                for n in range(65):
                    await stream.send(n)
                await trio.sleep_forever()
        assert info.value.boxed_type is StreamOverrun


async def test_messages_over_the_limit_of_the_tree(transport: str) -> None:
    """Refused where they are sent, in either direction; the connection lives."""
    async with open_child(transport, max_msg_size=100_000) as portal:
        with pytest.raises(ValueError, match="over the channel's limit of 100000 bytes"):
            await portal.run(give_back, value=b"x" * 100_000)
        assert len(await portal.run(give_back, value=b"x" * 90_000)) == 90_000
        with pytest.raises(RemoteActorError, match="over the channel's limit"):
            await portal.run(double, value=b"x" * 90_000)
        assert await portal.run(give_back, value=1) == 1


async def double(value: bytes) -> bytes:
    """Return twice as much."""
    return value * 2


@pytest.mark.parametrize("doing", ["call", "context", "stream", "sending"])
async def test_a_child_that_is_killed_wakes_whoever_waits_on_it(transport: str, doing: str) -> None:
    """With its name and how it ended; it is an error of its nursery, too."""
    waiting = trio.Event()

    async def wait(portal: Portal) -> None:
        with pytest.raises(TransportClosed, match=rf"child@.*{SLAIN}"):
            if doing == "call":
                waiting.set()
                await portal.run(hang, path=os.devnull)
            async with portal.open_context(sleeper) as (ctx, _):
                if doing == "context":
                    waiting.set()
                    await trio.sleep_forever()
                async with ctx.open_stream(backpressure=True) as stream:
                    waiting.set()
                    if doing == "stream":
                        await stream.receive()
                    while True:
                        await stream.send(b"x" * 10_000)

    with pytest.raises(tractor.ActorFailure, match=SLAIN):
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            portal = await an.start_actor("child", enable_modules=[HERE, bodies.__name__])
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait, portal)
                    await waiting.wait()
                    await trio.sleep(0.05)
                    await slay(portal)

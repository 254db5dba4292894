"""Endpoints of actors that talk to one another, and not only to the root: sleeper, caller, canceller; server, client, brother."""

from __future__ import annotations

from typing import Any

import trio

import tractor
from tractor import Context, ContextCancelled

#: What a caller has seen when the context that it had opened in a peer failed.
SEEN: list[dict[str, Any]] = []
#: The nursery of a server, while it serves.
NURSERIES: list[tractor.ActorNursery] = []


async def wait_seen() -> dict[str, Any]:
    """Return what was noted in this actor, once it was."""
    while not SEEN:
        await trio.sleep(0.001)
    return SEEN[0]


@tractor.context
async def stream_numbers(ctx: Context) -> None:
    """Send one number after another, slowly, for ever."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        number = 0
        while True:
            await stream.send(number)
            number += 1
            await trio.sleep(0.01)


@tractor.context
async def sleep_on(ctx: Context) -> None:
    """Sleep for ever."""
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def stream_from_peer(ctx: Context, peer: str, hold: bool) -> None:
    """Open a context and a stream in a peer; note how they end, and pass the error on: at once, or to `hold` it until the end."""
    peer_ctx: Any = None
    try:
        async with (
            tractor.wait_for_actor(peer) as portal,
            portal.open_context(stream_numbers) as (peer_ctx, _),
            peer_ctx.open_stream() as stream,
        ):
            await stream.receive()
            await ctx.started()
            async for _ in stream:
                pass
    except ContextCancelled as exc:
        SEEN.append(
            {
                "same": peer_ctx._remote_error is peer_ctx.maybe_error is exc is peer_ctx._local_error,
                "error's canceller": exc.canceller,
                "context's canceller": peer_ctx.canceller,
                "boxed_type": exc.boxed_type_str,
                "cancel_called": peer_ctx.cancel_called,
                "own canceller": ctx.canceller,
                "own cancel_called": ctx.cancel_called,
            }
        )
        if hold:
            await trio.sleep_forever()
        raise


@tractor.context
async def cancel_peer(ctx: Context, peer: str) -> None:
    """Once there is a word cancel the whole actor of a peer; then sleep."""
    async with tractor.wait_for_actor(peer) as portal:
        await ctx.started()
        async with ctx.open_stream() as stream:
            await stream.receive()
            assert await portal.cancel_actor()
            await trio.sleep_forever()


@tractor.context
async def serve_subactors(ctx: Context) -> None:
    """Be a nursery for the actors that peers ask for, until cancelled."""
    async with tractor.open_nursery() as nursery:
        NURSERIES.append(nursery)
        await ctx.started()
        try:
            await trio.sleep_forever()
        finally:
            NURSERIES.clear()


@tractor.context
async def spawn_on_request(ctx: Context) -> None:
    """Start an actor of each name that comes, and send back its uid."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for name in stream:
            portal = await NURSERIES[0].start_actor(name, enable_modules=[__name__])
            await stream.send(portal.aid.uid)


@tractor.context
async def echo_until_error(ctx: Context, fail_after: int) -> None:
    """Send back so many items, then raise; for ever if it is 0."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        count = 0
        async for item in stream:
            await stream.send(item)
            count += 1
            if count == fail_after:
                raise RuntimeError(f"after {count} items")


@tractor.context
async def ask_for_brother(ctx: Context, server: str, name: str, fail_after: int) -> None:
    """Have a server start an actor, find it by its name, and talk to it; tell the opener of every answer."""
    async with (
        tractor.wait_for_actor(server) as portal,
        portal.open_context(spawn_on_request) as (request, _),
        request.open_stream() as requests,
    ):
        await requests.send(name)
        uid = await requests.receive()
        await ctx.started(uid)
        async with (
            tractor.wait_for_actor(name) as brother,
            brother.open_context(echo_until_error, fail_after=fail_after) as (talk, _),
            talk.open_stream() as stream,
            ctx.open_stream() as replies,
        ):
            number = 0
            while True:
                await stream.send(number)
                await replies.send(await stream.receive())
                number += 1
                await trio.sleep(0.001)

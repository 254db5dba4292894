"""A portal over a channel that the program has opened itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import trio

from tractor.ipc._channel import Channel
from tractor.runtime._actor import HANDSHAKE_TIMEOUT, Actor
from tractor.runtime._handshake import greet
from tractor.runtime._portal import Portal
from tractor.runtime._state import current_actor
from tractor.trionics._managers import protected_manager


@protected_manager
async def open_portal(
    channel: Channel, tn: trio.Nursery | None = None, start_msg_loop: bool = True, shield: bool = False
) -> AsyncGenerator[Portal]:
    """Shake hands on a channel that was opened with `Channel.from_addr()`, and yield a portal; close it with the block.

    It is for who knows an address and no name; `find_actor()` is for the others. Of a channel that is served already
    another portal is yielded, and that too is closed.
    `tn`: the nursery whose task serves the channel (default: the actor's own services), behind a shield if `shield`.
    `start_msg_loop=False`: the caller sees to it that it is served.

    Raises `ConnectionRefusedError` for an actor that is leaving, `TransportClosed` for what is no actor, `TimeoutError` for
    what does not answer within ten seconds, and `NoRuntime` outside any actor.
    """
    actor = current_actor()
    try:
        if channel.aid is None:
            with trio.move_on_after(HANDSHAKE_TIMEOUT):
                await greet(channel, actor.aid, actor.server.addrs)
        if channel.aid is None:
            raise TimeoutError(f"{channel.raddr} did not say hello within {HANDSHAKE_TIMEOUT} s")
        if channel.router is None:
            actor.add_router(channel)
            if start_msg_loop:
                (tn or actor.services).start_soon(_serve, actor, channel, shield)
        yield Portal(channel)
    finally:
        await channel.aclose()


@trio.lowlevel.enable_ki_protection
async def _serve(actor: Actor, channel: Channel, shield: bool) -> None:
    with trio.CancelScope(shield=shield):
        await actor.serve_channel(channel)

"""What the peer at the other end of a connection does that is going to be lost."""

import socket
from typing import NoReturn

import trio

import tractor
from tests.programs import bodies
from tractor.ipc._transport import SocketTransport


async def hang() -> NoReturn:
    """Wait in order."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


@tractor.context
async def never_started(ctx: tractor.Context) -> None:
    """Wait before the opener is told anything."""
    await trio.sleep_forever()


@tractor.context
async def sleeper(ctx: tractor.Context) -> None:
    """Never open a stream."""
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def goes_on(ctx: tractor.Context) -> None:
    """Go on for a while after the end of the connection was felt, and be ended by that alone."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()


async def block(seconds: float = 60.0) -> None:
    """Read nothing any more: the loop does not turn."""
    bodies.block(seconds)


async def hang_up(parent: bool, blocks: bool) -> None:
    """Close the socket of one connection, without a word, and go on living: that to the parent, or those of others.

    It may happen where the loop `blocks` from then on.
    """
    actor = tractor.current_actor()
    for routers in list(actor.peers.values()):
        for router in routers:
            transport = router.channel.transport
            if (router is actor.parent) is parent and isinstance(transport, SocketTransport):
                transport._sock.shutdown(socket.SHUT_RDWR)
    if blocks:
        bodies.block()


async def count_served() -> int:
    """Return how many requests are being served, this one among them."""
    return len(tractor.current_actor().served)

"""What every actor does first, done before there is one: the actor itself is up in half the time then.

Its code is specialised by then, its decoders are made and, in a fork, the memory that it writes to is its own already.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import trio

from tractor.ipc._channel import Channel
from tractor.ipc._transport import SocketTransport
from tractor.msg._boxed import Boxed
from tractor.msg._codec import get_codec, has_msgspec
from tractor.msg._types import Bye, Cancel, Hello, SpawnSpec, Start
from tractor.runtime._actor import Actor
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._lifetime import run_actor
from tractor.runtime._portal import Portal
from tractor.runtime._vars import RuntimeVars
from tractor.wire._kinds import MAX_BODY

#: After so many times CPython has specialised what there is to specialise; all together take about 20 ms.
_TIMES = 3
#: Seconds for each.
_TIMEOUT = 5.0


def rehearse() -> None:
    """Have two actors meet here, one ask the other something, and both end; nobody else hears of them."""
    for message in (Boxed, Bye, Cancel, Hello, SpawnSpec, Start):
        get_codec().decoder(message)
    if not has_msgspec():
        # What is spoken with the parent then.
        for message in (Boxed, Cancel, Start):
            get_codec("marshal").decoder(message)
    for _ in range(_TIMES):
        trio.run(_meet)


async def _meet() -> None:
    one, other = socket.socketpair()
    with trio.move_on_after(_TIMEOUT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_play, one, False, _wait)
            await _play(other, True, _ask)
            nursery.cancel_scope.cancel()


async def _play(sock: socket.socket, dials: bool, then: Callable[[Portal], Awaitable[None]]) -> None:
    actor = Actor("rehearsal", variables=RuntimeVars(), modules={__name__: __file__})
    actor.exposed.load()
    channel = Channel(SocketTransport(sock, same_process=True), dialer=dials, limit=MAX_BODY)
    async with run_actor(actor, []):
        say_hello(channel, actor.aid, [])
        await hear_hello(channel)
        actor.add_router(channel)
        actor.services.start_soon(actor.serve_channel, channel)
        await then(Portal(channel))


async def _ask(portal: Portal) -> None:
    await portal.run(answer)


async def _wait(portal: Portal) -> None:  # noqa: ARG001 - what is asked is answered without it
    await trio.sleep_forever()


async def answer() -> None:
    """What is asked for."""

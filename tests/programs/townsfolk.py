"""A program that others find: `python -m tests.programs.townsfolk NAME [REGISTRY] [CHILD...]`.

It prints a line of JSON when it is up, and lives until a signal or the end of its stdin. With `--rounds` it joins and
leaves again for each line of its stdin, which is a registry address, and prints what it became.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import trio

import tractor


async def ping() -> str:
    """The name it gives itself."""
    return tractor.current_actor().name


async def stop_listening() -> None:
    """As if its listener had died: the actor lives on, and nobody new can reach it."""
    tractor.current_actor().ipc_server.cancel()


@tractor.context
async def stop_listening_and_sleep(ctx: tractor.Context[None, None, None]) -> None:
    """The same, and sleep for ever."""
    tractor.current_actor().ipc_server.cancel()
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def count(ctx: tractor.Context[str, int, None]) -> None:
    """Stream numbers until the peer leaves."""
    await ctx.started(tractor.current_actor().aid.uuid)
    async with ctx.open_stream(backpressure=True) as stream:
        number = 0
        while True:
            await stream.send(number)
            number += 1
            await trio.sleep(0.02)


async def block(seconds: float) -> None:
    """Keep the loop from turning."""
    import time

    time.sleep(seconds)


def tell(**facts: Any) -> None:
    """Print a line of JSON."""
    print(json.dumps(facts), flush=True)


def transport_of(registry: str) -> str:
    """The transport that an address is for."""
    return "uds" if registry.startswith("/unix") else "tcp"


async def live(name: str, registry: str, children: list[str]) -> None:
    """Be found, with some children, until the end of stdin."""
    async with tractor.open_nursery(
        name=name,
        registry_addrs=[registry] if registry else [],
        enable_transports=[transport_of(registry)],
        enable_modules=[__name__ if __name__ != "__main__" else "tests.programs.townsfolk"],
    ) as nursery:
        for child in children:
            await nursery.start_actor(child, enable_modules=["tests.programs.townsfolk"])
        actor = tractor.current_actor()
        tell(name=name, pid=os.getpid(), uuid=actor.aid.uuid, registrar=actor.is_registrar)
        async for _ in read_lines():
            pass
        await nursery.cancel()


async def play_rounds(name: str) -> None:
    """Join and leave, again and again, at the registry that each line of stdin names; an empty line ends a round."""
    lines = aiter(read_lines())
    async for registry in lines:
        async with tractor.open_root_actor(
            name=name, registry_addrs=[registry], enable_transports=[transport_of(registry)]
        ) as actor:
            tell(registrar=actor.is_registrar)
            await anext(lines)


async def read_lines() -> AsyncIterator[str]:
    """The lines of stdin, without the loop standing still for them."""
    stream = trio.lowlevel.FdStream(os.dup(0))
    buffer = b""
    async with stream:
        while data := await stream.receive_some():
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                yield line.decode()


if __name__ == "__main__":
    if "--rounds" in sys.argv:
        trio.run(play_rounds, sys.argv[1])
    else:
        trio.run(live, sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "", sys.argv[3:])

"""Functions that tests run in actors that share a process with others."""

import os
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import trio

import tractor


async def describe() -> tuple[str, int, int, bool, bool]:
    """Return the actor's name, its process, its thread, and whether it is the root, and on a main thread."""
    main = threading.current_thread() is threading.main_thread()
    return tractor.current_actor().name, os.getpid(), threading.get_ident(), tractor.is_root_process(), main


async def get_env(name: str) -> str | None:
    """Return a variable of the environment."""
    return os.environ.get(name)


async def use_threads_and_processes() -> list[Any]:
    """Do what needs worker threads and processes."""
    answer = await trio.to_thread.run_sync(lambda: 42)
    done = await trio.run_process([sys.executable, "-c", "print('hello')"], capture_stdout=True)
    found = await trio.socket.getaddrinfo("127.0.0.1", 80)
    return [answer, found[0][4][1], done.stdout.decode().strip()]


async def describe_in_child(start_method: str) -> tuple[str, int, int, bool, bool]:
    """Have a child made as told, and return what it says of itself."""
    async with tractor.open_nursery(start_method=start_method) as nursery:
        portal = await nursery.start_actor("inner", enable_modules=[__name__])
        said = await portal.run(describe)
        await portal.cancel_actor()
    return said


async def fail() -> None:
    """Raise."""
    raise ValueError("as told")


@tractor.context
async def echo(ctx: tractor.Context) -> int:
    """Send back what comes; return how many."""
    count = 0
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        async for item in stream:
            count += 1
            await stream.send(item)
    return count


async def count_to(number: int) -> int:
    """Compute, without a pause."""
    total = 0
    for n in range(number):
        total += n
    return total


async def name_codecs() -> dict[str, str]:
    """Return what is spoken with each peer, by the peer's name."""
    routers = [router for routers in tractor.current_actor().peers.values() for router in routers]
    return {router.peer.name: router.channel.codec.name for router in routers}


async def ask_sibling(name: str) -> tuple[str, str, Any]:
    """Find an actor, and return what is spoken with it at either end, and what it says to some values."""
    async with tractor.wait_for_actor(name) as portal:
        theirs = await portal.run(name_codecs)
        values = [(1, {2}), {"a": b"x", "t": datetime(2020, 1, 1, tzinfo=UTC)}]
        answer = await portal.run(give_back, value=values)
        return portal.chan.codec.name, theirs[tractor.current_actor().name], answer


async def give_back(value: Any) -> Any:
    """Return what has come."""
    return value


async def relay_failure(name: str) -> None:
    """Raise what another actor raises."""
    async with tractor.wait_for_actor(name) as portal:
        await portal.run(fail)


@dataclass
class Parcel:
    """What is sent by those who check it."""

    name: str
    content: bytes
    numbers: list[int]


@tractor.context(pld_spec=Parcel | None)
async def forward(ctx: tractor.Context) -> Parcel | None:
    """Send back parcels, the last as the result."""
    await ctx.started(None)
    last: Parcel | None = None
    async with ctx.open_stream() as stream:
        async for last in stream:
            await stream.send(last)
    return last

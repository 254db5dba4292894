"""What children do in the moment in which they are ended: one function for each."""

import os
import socket
import threading
import time
from typing import Any, NoReturn

import trio

import tractor
from tractor.ipc._transport import SocketTransport


async def wait() -> None:
    """Wait in order."""
    await trio.sleep_forever()


async def nap() -> None:
    """Sleep in C, a little at a time: the loop does not turn."""
    while True:
        time.sleep(0.05)


async def spin() -> None:
    """Compute for ever."""
    while True:
        pass


async def wait_for_event() -> None:
    """Wait for a lock of threads, for long."""
    while True:
        threading.Event().wait(0.5)


async def shielded() -> None:
    """Wait where no cancellation reaches."""
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def swallow() -> None:
    """Ignore what can be ignored, ten times."""
    for _ in range(10):
        try:
            await trio.sleep_forever()
        except BaseException:  # noqa: BLE001 - this is what such code does
            continue


async def in_thread() -> None:
    """Wait for a worker thread that is not in a hurry."""
    await trio.to_thread.run_sync(time.sleep, 0.3)


async def clean_up() -> None:
    """Wait in order, and take a moment more for the way out."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)


ACTS = {
    func.__name__: func for func in (wait, nap, spin, wait_for_event, shielded, swallow, in_thread, clean_up)
}


@tractor.context
async def pour(ctx: tractor.Context) -> None:
    """Send numbers until ended."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        for number in range(1_000_000_000):
            await stream.send(number)


@tractor.context
async def drain(ctx: tractor.Context) -> None:
    """Take what comes."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        async for _ in stream:
            pass


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Send back what comes."""
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        async for item in stream:
            await stream.send(item)


STREAMS = {func.__name__: func for func in (pour, drain, echo)}


@tractor.context
async def nest(ctx: tractor.Context, key: str, options: dict[str, Any], act: str, grace: float) -> None:
    """Have a child that does something."""
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(start_method=key, grace=grace) as nursery:
            portal = await nursery.start_actor("inner", enable_modules=[__name__], proc_kwargs=options)
            tasks.start_soon(call, portal, act)
            await ctx.started(os.getpid())
            await trio.sleep_forever()


async def call(portal: tractor.Portal, act: str) -> None:
    """Have a child do something that will not end well."""
    try:
        await portal.run(ACTS[act])
    except (tractor.TransportClosed, tractor.RemoteActorError):
        return


async def break_channel() -> None:
    """Shut the connection to the parent down, and never let the loop turn: this actor does not notice what it has done."""
    channel = tractor.current_actor().get_parent().chan
    assert isinstance(channel.transport, SocketTransport)
    channel.transport._sock.shutdown(socket.SHUT_RDWR)
    while True:
        time.sleep(0.05)


async def fail(number: int) -> NoReturn:
    """Raise."""
    raise ValueError(f"number {number}")


async def answer(number: int) -> int:
    """Return."""
    return number


async def answer_below(number: int, key: str | None) -> int:
    """The same, from a child; `key`: its start method."""
    async with tractor.open_nursery(start_method=key) as nursery:
        portal = await nursery.start_actor("below", enable_modules=[__name__])
        value: int = await portal.run(answer, number=number)
        await nursery.cancel()
    return value

"""Endpoints that the tests of contexts between processes open: one for each way to behave.

Kept apart from the tests, so that a child need not import pytest to find them.
"""

from __future__ import annotations

import os
import signal
from typing import Any, NoReturn

import trio

import tractor
from tractor import Context

#: The endpoints that have unwound here, by the name their opener gave them.
UNWOUND: list[str] = []


async def get_unwound() -> list[str]:
    """Return the names of the endpoints that have ended in this actor."""
    return UNWOUND


async def wait_unwound(name: str) -> None:
    """Return when the endpoint of that name has ended in this actor."""
    while name not in UNWOUND:
        await trio.sleep(0.001)


@tractor.context
async def simple(ctx: Context, data: int, name: str, block_forever: bool = False) -> str:
    """Give back the next number; then return, or wait; note the end."""
    await ctx.started(data + 1)
    try:
        if block_forever:
            await trio.sleep_forever()
        return "yo"
    finally:
        UNWOUND.append(name)


@tractor.context
async def echo_forever(ctx: Context, send_first: bool = False, name: str = "") -> NoReturn:
    """Send back what comes, for one stream after another; only a cancellation ends it."""
    try:
        await ctx.started()
        async with ctx.open_stream() as stream:
            if send_first:
                await stream.send("first")
            async for item in stream:
                await stream.send(item)
        await trio.sleep_forever()
    finally:
        UNWOUND.append(name)
    raise AssertionError("unreachable")


@tractor.context
async def echo(ctx: Context) -> str:
    """Send back what comes until the opener closes its stream."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)
    return "echoed"


@tractor.context
async def close_at_once(ctx: Context, cancels: bool = False) -> str:
    """Open the stream and close it, or end with it once there is a word."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        if cancels:
            await stream.receive()
            await ctx.cancel()
            await trio.sleep_forever()
    return "closed"


@tractor.context
async def cancel_before_started(ctx: Context) -> None:
    """End itself; what it may not do then is refused, what waits is cancelled."""
    await ctx.cancel()
    try:
        async with ctx.open_stream():
            raise AssertionError("a stream was opened after the context was cancelled")
    except RuntimeError as exc:
        UNWOUND.append(f"refused: {exc}")
    try:
        await trio.lowlevel.checkpoint()
    except trio.Cancelled:
        UNWOUND.append("cancel_before_started")
        raise


@tractor.context
async def misuse_started(ctx: Context, how: str) -> None:
    """Call `started()` too often, or something else too early."""
    if how == "twice":
        await ctx.started()
        await ctx.started()
    elif how == "stream_first":
        async with ctx.open_stream():
            pass
    elif how == "never":
        return
    elif how == "unencodable":
        await ctx.started(object())
    await trio.sleep_forever()


@tractor.context
async def never_open_stream(ctx: Context) -> None:
    """Wait without looking at what comes."""
    await ctx.started()
    await trio.sleep_forever()


@tractor.context
async def keep_sending(ctx: Context, count: int | None = None) -> str:
    """Send as fast as it goes: for ever, or so many items once there is a word, and then wait for the last word."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        if count is not None:
            assert await stream.receive() == "begin"
        number = 0
        while count is None or number < count:
            await stream.send(number)
            number += 1
            await trio.lowlevel.checkpoint()
        async for word in stream:
            if word == "enough":
                break
    return "yo"


@tractor.context
async def take_slowly(ctx: Context, allow: bool, pause: float) -> str:
    """Say so when the stream is open; then receive with pauses, until the opener closes its stream."""
    await ctx.started()
    async with ctx.open_stream(allow_overruns=allow) as stream:
        await stream.send("begin")
        async for _ in stream:
            await trio.sleep(pause)
    return "yo"


@tractor.context
async def wait_then(ctx: Context, ending: str, name: str, delay: float, in_nursery: bool) -> None:
    """Wait for the end, then raise or hide what was raised; with `delay` raise without having been asked, after so long."""
    await ctx.started()
    if not in_nursery:
        await _wait_then(ending, name, delay)
        return
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_wait_then, ending, name, delay)
        nursery.start_soon(trio.sleep_forever)


async def _wait_then(ending: str, name: str, delay: float) -> None:
    if ending == "caught":
        await _retry(name, delay)
    try:
        if delay:
            await trio.sleep(delay)
            raise RuntimeError("on its own")
        await trio.sleep_forever()
    finally:
        if ending == "raise":
            raise RuntimeError("in the clean-up")
        if ending == "mask":
            try:
                raise RuntimeError("in the clean-up")
            finally:
                await trio.lowlevel.checkpoint()
        if ending == "wait":
            # What was raised is on its way out while the opener's request comes.
            UNWOUND.append(f"{name} raised")
            await trio.sleep_forever()


async def _retry(name: str, delay: float) -> None:
    while True:
        try:
            await trio.sleep(delay)
            raise RuntimeError("on its own")
        except RuntimeError:
            UNWOUND.append(f"{name} raised")
            await trio.sleep_forever()


@tractor.context
async def leave(ctx: Context, how: str) -> None:
    """Wait for a word, then raise what ends the whole actor, or have the system send it a signal."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        if how == "signal":
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        raise KeyboardInterrupt if how == "interrupt" else SystemExit(3)


async def get_ctx_of_task() -> Any:
    """Return whether a plain call belongs to a context."""
    return tractor.current_ipc_ctx() is not None

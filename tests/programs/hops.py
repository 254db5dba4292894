"""A chain of actors, and errors that are raised at its far end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NoReturn

import trio

import tractor
from tractor.msg._errtypes import reg_err_types


class OutOfCheese(Exception):
    """An error that every actor of the chain knows by name."""


class Unheard(Exception):
    """An error that no actor knows by name."""


reg_err_types([OutOfCheese])

ERRORS = {
    "ValueError": ValueError("no luck"),
    "OSError": FileNotFoundError(2, "no such thing", "cheese.txt"),
    "OutOfCheese": OutOfCheese("no luck"),
    "Unheard": Unheard("no luck"),
}


async def fail(kind: str) -> NoReturn:
    """Raise the error of that kind."""
    if kind == "group":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "ValueError")
            nursery.start_soon(fail, "OutOfCheese")
    if kind == "mixed":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "cause")
            nursery.start_soon(fail, "nested")
    if kind == "nested":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "OSError")
            nursery.start_soon(fail, "OutOfCheese")
    if kind == "cause":
        try:
            await fail("ValueError")
        except ValueError as exc:
            exc.add_note("a note from afar")
            raise LookupError("no luck") from exc
    raise ERRORS[kind]


async def fail_unheard(register: bool) -> NoReturn:
    """Raise what is known by name here only if asked for."""
    if register:
        reg_err_types([Unheard])
    raise Unheard("no luck")


@asynccontextmanager
async def open_next(hops: int) -> AsyncGenerator[tractor.Portal]:
    """Start the next actor of the chain."""
    async with tractor.open_nursery() as nursery:
        yield await nursery.start_actor(f"hop{hops}", enable_modules=[__name__])
        await nursery.cancel()


async def relay(hops: int, kind: str) -> None:
    """Fail so many actors further on."""
    if hops == 0:
        await fail(kind)
    async with open_next(hops) as portal:
        await portal.run(relay, hops=hops - 1, kind=kind)


@tractor.context
async def relay_context(ctx: tractor.Context, hops: int, kind: str, early: bool) -> None:
    """Do the same by way of contexts; `early`: before `started()`."""
    if hops == 0:
        if not early:
            await ctx.started()
        await fail(kind)
    async with open_next(hops) as portal:
        async with portal.open_context(relay_context, hops=hops - 1, kind=kind, early=early):
            await ctx.started()
            await trio.sleep_forever()


@tractor.context
async def relay_stream(ctx: tractor.Context, hops: int, kind: str) -> None:
    """Do the same by way of streams: each actor passes on items until there is an error instead."""
    await ctx.started()
    async with ctx.open_stream() as ours:
        await ours.send(hops)
        if hops == 0:
            await fail(kind)
        async with open_next(hops) as portal:
            async with portal.open_context(relay_stream, hops=hops - 1, kind=kind) as (there, _):
                async with there.open_stream() as theirs:
                    async for item in theirs:
                        await ours.send(item)


async def crash_main(hops: int, kind: str) -> None:
    """Do the same by way of main functions."""
    if hops == 0:
        await fail(kind)
    async with tractor.open_nursery() as nursery:
        await nursery.run_in_actor(crash_main, name=f"hop{hops}", hops=hops - 1, kind=kind)


async def crash_both(kinds: list[str]) -> None:
    """Start one actor for each kind of error, which raises it."""
    async with tractor.open_nursery() as nursery:
        for kind in kinds:
            await nursery.run_in_actor(fail, name=f"crash {kind}", kind=kind)

"""Functions that fail in every way there is."""

from __future__ import annotations

from typing import Any

import trio

import tractor
from tests.programs import bodies


class Odd(BaseException):
    """No `Exception`, and nothing that anybody knows."""


async def get_body() -> int:
    """Live."""
    return bodies.find_body()


async def fail(how: str) -> Any:
    """Raise, or return what cannot be sent."""
    if how == "result":
        return object()
    if how == "leaked cancellation":
        await leak()
    if how == "leaked in a group":
        try:
            await leak()
        except trio.Cancelled as exc:
            raise BaseExceptionGroup("told to", [exc, OSError("beside it")]) from None
    if how == "recursion":
        return await fail(how)
    if how == "a task":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "exception")
            await trio.sleep_forever()
    if how == "an interrupt in a task":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, "interrupt")
            await trio.sleep_forever()
    raise ERRORS[how]


async def leak() -> None:
    """Raise a cancellation that was another scope's."""
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            kept.append(exc)
    raise kept[0]


@tractor.context
async def fail_in_context(ctx: tractor.Context, how: str, late: bool = True) -> Any:
    """The same, before or after the start."""
    if late:
        await ctx.started()
        async with ctx.open_stream() as stream:
            await stream.receive()
    return await fail(how)


def plain() -> None:
    """Be no async function."""


async def fail_when_cancelled(path: str) -> None:
    """Raise where nobody hears of it any more; leave a mark."""
    try:
        await trio.sleep_forever()
    finally:
        with open(path, "w") as file:
            file.write("ended")
        raise ValueError("unheard")


ERRORS: dict[str, BaseException] = {
    "exception": ValueError("told to"),
    "group": ExceptionGroup("told to", [ValueError("one"), OSError("two")]),
    "base group": BaseExceptionGroup("told to", [ValueError("one"), Odd("two")]),
    "base exception": Odd("told to"),
    "generator exit": GeneratorExit("told to"),
    "interrupt": KeyboardInterrupt("told to"),
    "exit": SystemExit(3),
    "exit in a group": BaseExceptionGroup("told to", [ValueError("one"), SystemExit(3)]),
}

"""Nothing in the runtime sleeps for a fixed time on the way out."""

from __future__ import annotations

import ast
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import dialogues, victims
from tractor import Portal

PACKAGE = Path(tractor.__file__).parent

#: Where the runtime sleeps, and what for. None of these is between a cancellation and its effect.
SLEEPS = {
    "_child/_interpreter.py": "no time at all: a turn for the warden, which is just interrupting",
    "_child/_warden.py": "a thread that ends an orphan: until the moment for the next step",
    "discovery/_api.py": "before it asks again for an actor that is not there",
    "discovery/_client.py": "before it asks a lost registrar again",
    "discovery/_election.py": "before it asks again who keeps the names",
    "discovery/_registrar.py": "between two questions to those who keep entries alive",
    "discovery/_watch.py": "before it asks a lost registrar again",
    "ipc/_server.py": "before it accepts again, when the system has no descriptor left",
    "ipc/_uds.py": "before it tries again for a lock, or a listener whose queue is full",
    "runtime/_deadline.py": "until a deadline that is moved all the time comes near",
    "spawn/_interpreters.py": "a thread that takes an interpreter apart: before it looks again whether another one has ended",
    "spawn/_mp.py": "until a start that blocks a thread takes too long, and before it is given up again",
    "spawn/_subint.py": "half a millisecond, for a thread that has said its last word to have ended",
    "supervise/_verdict.py": "a few milliseconds, to see whether a child whose channel broke is dying",
}


def find_sleeps(source: str) -> int:
    """Return how often it calls something named `sleep`."""
    return sum(
        isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sleep"
        for node in ast.walk(ast.parse(source))
    )


def test_a_sleep_is_found() -> None:
    """By whatever name the module goes; other calls and words are none."""
    assert find_sleeps("await trio.sleep(1)\nsleep(2)\ntime.sleep(3)\nsleep_forever()\n'sleep(4)'") == 3


def test_every_sleep_has_a_reason() -> None:
    """Who adds one says what it is for, and that nobody waits for it who wants to leave."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if find_sleeps(path.read_text()) and path.parent.name != "testing"
    }
    assert found == SLEEPS.keys()


async def cancel_call(portal: Portal) -> None:
    """Give up a call."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.run, victims.hang)
            await portal.run(victims.add, a=1, b=1)
            scope.cancel()


async def cancel_context(portal: Portal) -> None:
    """Give up a context by its own method."""
    async with portal.open_context(dialogues.sleeper) as (ctx, _):
        await ctx.cancel()


async def leave_context(portal: Portal) -> None:
    """Leave the block of a context because of an error."""
    with pytest.raises(KeyError):
        async with portal.open_context(dialogues.sleeper):
            raise KeyError


async def cancel_block(portal: Portal) -> None:
    """Cancel the scope around a context that streams."""
    with trio.CancelScope() as scope:
        async with portal.open_context(dialogues.echo) as (ctx, _), ctx.open_stream() as stream:
            await stream.send(1)
            await stream.receive()
            scope.cancel()
            await stream.receive()


async def hear_error(portal: Portal) -> None:
    """Be told of an error over there."""
    with pytest.raises(tractor.RemoteActorError):
        async with portal.open_context(dialogues.say, items=[], then="fail"):
            await trio.sleep_forever()


WAYS: list[Callable[[Portal], Awaitable[None]]] = [
    cancel_call,
    cancel_context,
    leave_context,
    cancel_block,
    hear_error,
]


async def test_every_way_out_is_quick(transport: str) -> None:
    """A few milliseconds at most: the least of many, because others may have the processor meanwhile."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[dialogues.__name__, victims.__name__])
        for way in WAYS:
            took = []
            for _ in range(20):
                began = time.perf_counter()
                await way(portal)
                took.append(time.perf_counter() - began)
            median = statistics.median(took)
            print(f"{way.__name__}: {median * 1e3:.2f} ms, at least {min(took) * 1e3:.2f}")  # noqa: T201
            assert min(took) < 0.02, way.__name__
        await an.cancel()

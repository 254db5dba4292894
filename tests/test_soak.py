"""The same round of spawn, call and cancel, two hundred times over: none differs from the others."""

import os
import re
from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import actors, bodies
from tests.programs.bodies import SHARED, SLAIN, slay
from tractor.testing import _procs

#: Rounds in all: over both transports and both ways for a child to reach its parent.
ROUNDS = 200
#: Rounds that run at the same time in one root.
WIDTH = 4
#: Seconds after the last round within which the process is as it was after a first.
SETTLE = 1.0
#: How a round ends its child.
ENDINGS = ("cancel nursery", "cancel actor", "run in actor", "cancel scope", "fail", "kill")


async def play(ending: str, number: int) -> str:
    """Start an actor, call it, and end it; return the error that this left with, as text."""
    try:
        async with tractor.open_nursery() as nursery:
            if ending == "run in actor":
                portal = await nursery.run_in_actor(actors.add, name=f"round{number}", a=number, b=1)
                assert await portal.wait_for_result() == number + 1
                return ""
            portal = await nursery.start_actor(
                f"round{number}", enable_modules=[actors.__name__, bodies.__name__]
            )
            assert await portal.run(actors.add, a=number, b=1) == number + 1
            async with portal.open_context(actors.wait_ctx) as (ctx, body):
                assert body == portal.aid.pid or SHARED
                await ctx.cancel()
            await end(ending, nursery, portal)
    except (tractor.RemoteActorError, tractor.ActorFailure) as exc:
        return f"{type(exc).__name__}: {exc}"
    return ""


async def end(ending: str, nursery: tractor.ActorNursery, portal: tractor.Portal) -> None:
    """End the actor of a round."""
    match ending:
        case "cancel nursery":
            await nursery.cancel()
        case "cancel actor":
            assert await portal.cancel_actor()
        case "cancel scope":
            with trio.move_on_after(0.05) as scope:
                await portal.run(actors.sleep_forever)
            assert scope.cancelled_caught
            await nursery.cancel()
        case "fail":
            await portal.run(actors.fail)
        case "kill":
            await slay(portal)
            await trio.sleep_forever()


#: The errors that these leave with; the others leave with none.
EXPECTED = {"fail": r"RemoteActorError: .*AssertionError", "kill": f"ActorFailure: .*{SLAIN}"}


def count_own() -> tuple[int, int]:
    """Return how many descriptors and how many children this process has."""
    procs = [_procs.read_proc(pid) for pid in _procs.all_pids()]
    children = [proc for proc in procs if proc is not None and proc.parent == os.getpid()]
    return len(os.listdir("/proc/self/fd")), len(children)


@pytest.mark.parametrize("link", ["inherit", "connect"])
def test_no_round_differs_from_the_others(link: str, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of them here; behind them this process is as it was after a first."""
    monkeypatch.setenv("TRACTOR_CHILD_LINK", link)
    place = Path(os.environ["XDG_RUNTIME_DIR"], f"{link}-{transport}")
    place.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place))
    numbers = iter(range(ROUNDS // 4))
    played: list[int] = []

    async def keep_playing() -> None:
        for number in numbers:
            ending = ENDINGS[number % len(ENDINGS)]
            with trio.fail_after(20):
                error = await play(ending, number)
            assert re.match(EXPECTED.get(ending, "$"), error, re.DOTALL), (ending, error)
            played.append(number)

    async def main() -> None:
        async with tractor.open_root_actor(enable_transports=[transport]) as root:
            # A fork server comes with the first child, and stays.
            await play("run in actor", -1)
            before = count_own()
            async with trio.open_nursery() as tasks:
                for _ in range(WIDTH):
                    tasks.start_soon(keep_playing)
            assert [one for one in root.peers.values() if one] == []
            assert (root.served, root.expected, root.on_hastened) == ({}, {}, [])
            with trio.move_on_after(SETTLE):
                while count_own() != before:
                    await trio.sleep(0.05)
            assert count_own() == before

    trio.run(main)
    assert sorted(played) == list(range(ROUNDS // 4))
    assert [path for path in place.rglob("*") if path.is_socket()] == []

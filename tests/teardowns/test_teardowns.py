"""Some random ends of children, the same each time, and whether the judge would notice if one went wrong.

`make teardowns` plays ten thousand, of seeds that it chooses at random.
"""

from __future__ import annotations

import os

import pytest
import trio

import tractor
from tests.teardowns.__main__ import play_all
from tests.teardowns.plans import ACTS, LEAVES, Plan, find_kinds, write_plan
from tests.teardowns.stage import Scene
from tractor.spawn._trio import ProcessChild
from tractor.supervise import _nursery
from tractor.supervise._child import SupervisedChild
from tractor.testing import _procs

FIRST = int(os.environ.get("TRACTOR_TEARDOWNS_SEED") or 21_600)
COUNT = 40


def test_however_children_are_ended_nothing_is_left_and_the_truth_is_told() -> None:
    """See `tests.teardowns.stage` for what is judged, and `tests.teardowns.plans` for what may happen."""
    results = play_all(list(range(FIRST, FIRST + COUNT)), jobs=2)
    assert results.played == COUNT
    for seed, fault in results.failures:
        again = f"`make teardowns ARGS='--seed {seed}'` plays it again"
        pytest.fail(f"{write_plan(seed)}\n{fault}\n{again}", pytrace=False)


def test_everything_is_drawn_sooner_or_later() -> None:
    """And a seed always draws the same."""
    plans = [write_plan(seed) for seed in range(600)]
    assert plans == [write_plan(seed) for seed in range(600)]
    assert {plan.kind for plan in plans} == set(find_kinds())
    assert {plan.act for plan in plans} == set(ACTS)
    assert {plan.leave for plan in plans} == set(LEAVES)


# Wrong runtimes.


async def play(act: str, leave: str) -> list[str]:
    """Return the faults of one teardown of a process."""
    plan = Plan(0, "trio", act, leave, 0.05, 0.01, "trio", ("wait",))
    async with tractor.open_root_actor(start_method="trio", registry_addrs=[]):
        return (await Scene(plan).play(os.environ[_procs.MARK])).faults


async def test_control_a_right_runtime_has_no_faults() -> None:
    """In what the others break."""
    for act, leave in (("wait", "raise"), ("nap", "nursery"), ("nested", "killed"), ("pour", "cancel")):
        assert await play(act, leave) == [], (act, leave)


async def test_control_an_error_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body's, in place of which nothing comes out."""

    async def leave(self: object, own: BaseException | None) -> None:
        await original(self, own)  # type: ignore[arg-type]

    original = _nursery.ActorNursery.leave
    monkeypatch.setattr(_nursery.ActorNursery, "leave", leave)
    monkeypatch.setattr(_nursery, "holds_cancelled", lambda exc: False)
    assert any("not BodyError but" in fault for fault in await play("wait", "raise"))


async def test_control_a_caller_that_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits on for a child that is gone."""
    monkeypatch.setattr("tests.teardowns.stage.SLACK", 0.3)

    async def sleep(self: object, func: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2.0)

    monkeypatch.setattr(tractor.Portal, "run", sleep)
    assert any("still waiting" in fault for fault in await play("wait", "nursery"))


async def test_control_a_process_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found, and ended."""
    monkeypatch.setattr("tests.teardowns.stage.SETTLE", 0.3)

    async def start(self: object, *args: object, **kwargs: object) -> object:
        os.posix_spawnp("sleep", ["sleep", "60"], os.environ)  # noqa: ASYNC221 - it is left
        return await original(self, *args, **kwargs)  # type: ignore[arg-type]

    original = tractor.ActorNursery.start_actor
    monkeypatch.setattr(tractor.ActorNursery, "start_actor", start)
    faults = await play("idle", "nursery")
    assert any("left behind" in fault and "sleep 60" in fault for fault in faults)


async def test_control_a_ladder_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes a second more than it may."""
    monkeypatch.setattr("tests.teardowns.stage.SLACK", 0.5)
    monkeypatch.setattr(ProcessChild, "hang_up", lambda self: None)
    monkeypatch.setattr(ProcessChild, "interrupt", lambda self: None)
    original = SupervisedChild._find_grace
    monkeypatch.setattr(SupervisedChild, "_find_grace", lambda self, began: original(self, began) + 1.5)
    assert any("more than it may" in fault for fault in await play("nap", "nursery"))

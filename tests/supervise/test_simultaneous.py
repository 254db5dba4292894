"""Pairs of failures that meet in a nursery: what comes out is what `docs/precedence.md` says."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import trio

import tractor
from tests.precedence import TABLE, find_pairs, find_winner, name_of, press_ctrl_c
from tests.programs import actors, bodies
from tractor import ActorFailure, ContextCancelled, RemoteActorError
from tractor.supervise._errors import combine

OWN = {"body error", "error while unwinding", "masked error"}
#: Seconds in which news of a child arrive.
SOON = 10


def find_outcome(column: str, first: str, second: str) -> list[str]:
    """Return the types of the errors that come out, the body's first."""
    a, b = TABLE[first].cells[column], TABLE[second].cells[column]
    if a.number == b.number == 1:
        ordered = (second, first) if TABLE[second].mark == "*" else (first, second)
        return [TABLE[name].cells[column].what for name in ordered]
    winner = first if a.number < b.number else second
    return [TABLE[winner].cells[column].what]


def leaves(left: BaseException | None) -> list[str]:
    """Return the types of what came out, in the words of the page."""
    if isinstance(left, BaseExceptionGroup):
        return [name_of(exc) for exc in left.exceptions]
    return [name_of(left)]


class Scene:
    """A nursery in which two failures meet."""

    def __init__(self, *failures: str) -> None:
        self.failures = set(failures)
        self.outer = trio.CancelScope()
        self.nursery: Any = None
        self.portals: dict[str, tractor.Portal] = {}
        self.victim: tractor.Portal | None = None

    async def run(self) -> BaseException | None:
        """Return what leaves the nursery, and with it the root actor."""
        with self.outer:
            try:
                async with tractor.open_nursery() as self.nursery:
                    await self.start_children()
                    await self.body()
            except BaseException as exc:  # noqa: BLE001 - that is what is asked
                return exc
        return None

    async def start_children(self) -> None:
        """Start those that are needed, and let functions fail that are to fail."""
        if "child death" in self.failures:
            self.victim = await self.nursery.start_actor("victim", enable_modules=[bodies.__name__])
        if "third-party cancel" in self.failures:
            cancelled = await self.nursery.run_in_actor(actors.sleep_forever, name="cancelled")
            # By then the function runs.
            await cancelled.run(actors.get_body)
            assert await cancelled.cancel_actor(timeout=SOON)
            with pytest.raises(ContextCancelled):
                await cancelled.wait_for_result()
            self.portals["third-party cancel"] = cancelled
        if "remote error" in self.failures:
            failing = await self.nursery.run_in_actor(actors.fail)
            with pytest.raises(RemoteActorError):
                await failing.wait_for_result()
            self.portals["remote error"] = failing

    async def kill(self, *, wait: bool = True) -> None:
        """Let a child die, if one is to die; return when the nursery knows."""
        victim, self.victim = self.victim, None
        if victim:
            with trio.fail_after(SOON), trio.CancelScope(shield=True):
                await bodies.slay(victim)
                while wait and not self.nursery.cancel_called:
                    await trio.sleep(0.001)

    async def end(self) -> None:
        """Be cancelled by what is to cancel the body, if anything is."""
        await self.kill(wait=False)
        if "outer trio cancellation" in self.failures:
            self.outer.cancel()
        if self.failures & {"child death", "outer trio cancellation"}:
            with trio.fail_after(SOON):
                await trio.sleep_forever()

    async def body(self) -> None:
        """Fail as the page says that a body can."""
        if "own confirmed cancel" in self.failures:
            await self.nursery.cancel()
        try:
            try:
                if "Ctrl-C" in self.failures:
                    press_ctrl_c()
                    with suppress(trio.Cancelled):
                        await trio.sleep_forever()
                if not self.failures & {"masked error", "error while unwinding"}:
                    await self.kill()
                if "boot failure" in self.failures:
                    await self.nursery.start_actor("stillborn", proc_kwargs={"cwd": "/no/such/directory"})
                if "masked error" not in self.failures:
                    await self.end()
            except KeyboardInterrupt:
                await self.kill()
                raise
            finally:
                if self.failures & OWN:
                    raise OSError("own")
        finally:
            if "masked error" in self.failures:
                await self.end()


PAIRS = [
    ("body error", "child death"),
    ("masked error", "child death"),
    ("error while unwinding", "child death"),
    ("Ctrl-C", "child death"),
    ("outer trio cancellation", "child death"),
    ("remote error", "child death"),
    ("third-party cancel", "child death"),
    ("body error", "remote error"),
    ("Ctrl-C", "remote error"),
    ("boot failure", "remote error"),
    ("outer trio cancellation", "remote error"),
    ("third-party cancel", "remote error"),
    ("own confirmed cancel", "remote error"),
    ("body error", "third-party cancel"),
    ("masked error", "outer trio cancellation"),
    ("error while unwinding", "outer trio cancellation"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{first}, {second}" for first, second in PAIRS])
def test_a_nursery_of_processes(first: str, second: str) -> None:
    """Nothing is lost: what does not come out is where the page says."""
    scene = Scene(first, second)
    left = trio.run(scene.run)
    expected = find_outcome("root", first, second)
    # Children are in no order.
    assert leaves(left)[:1] == expected[:1] or TABLE[first].mark != "*"
    assert sorted(leaves(left)) == sorted(expected)
    if "third-party cancel" in scene.portals and expected != ["ContextCancelled"]:
        main: Any = scene.portals["third-party cancel"]._wait_for_result
        assert isinstance(main.__self__.error, ContextCancelled)
    assert not scene.nursery._children


async def make(failure: str) -> tuple[BaseException | None, list[BaseException]]:
    """Return what the body raises and what the children report when this has happened."""
    if failure in OWN:
        return OSError("own"), []
    if failure == "Ctrl-C":
        return KeyboardInterrupt(), []
    if failure == "boot failure":
        return ActorFailure("it failed to boot", name="stillborn"), []
    if failure == "outer trio cancellation":
        caught: list[BaseException] = []
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as exc:
                caught.append(exc)
        return caught[0], []
    reports: dict[str, list[BaseException]] = {
        "remote error": [RemoteActorError("remote")],
        "child death": [ActorFailure("it ended unasked", name="kid")],
        "third-party cancel": [ContextCancelled("cancelled", canceller=("carol", "uuid"))],
        "own confirmed cancel": [],
    }
    return None, reports[failure]


@pytest.mark.parametrize("column", ["nursery", "root"])
async def test_every_pair_of_a_nursery(column: str) -> None:
    """What the body raises and what children report, in both orders."""
    count = 0
    for first, second in find_pairs(column):
        (own, reports), (other, more) = await make(first), await make(second)
        if None not in (own, other):
            # A body raises once: of an error and a cancellation around it, the error.
            winner = find_winner(column, first, second)
            own = own if winner == first else other
        left = combine(other if own is None else own, [*reports, *more])
        assert leaves(left) == find_outcome(column, first, second), (first, second)
        count += 1
    assert count > 50


@pytest.mark.parametrize(
    ("what", "kind"), [("interrupt_self", KeyboardInterrupt), ("exit_softly", SystemExit)]
)
def test_an_order_to_leave_comes_before_all_else(what: str, kind: type[BaseException]) -> None:
    """A peer's request to the root has raised it; the error of the body is its cause."""

    async def main() -> None:
        async with tractor.open_nursery(enable_modules=[actors.__name__]) as nursery:
            await nursery.run_in_actor(actors.call_root, what=what)
            try:
                with trio.fail_after(SOON):
                    await trio.sleep_forever()
            finally:
                raise OSError("own")

    with pytest.raises(kind) as info:
        trio.run(main)
    assert leaves(info.value.__cause__)[0] == "itself"

"""Random programs for two actors, and whether the judge would notice if the runtime did wrong.

The suite plays the same ones each time, from `TRACTOR_STATEFUL_SEED=N` on if that is set; what fails says which one it was.
`make stateful` chooses its seeds at random, and plays many more.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio

from tests.stateful.programs import Opener, Program, write_program
from tests.stateful.report import explain, find_failures, minimise
from tests.stateful.world import play
from tractor.runtime import _link, _open, _serve, _unwind
from tractor.runtime._flow import Inbox
from tractor.runtime._link import Link
from tractor.runtime._outflow import Credit
from tractor.runtime._reasons import make_cancel
from tractor.runtime._router import Router
from tractor.runtime._stream import MsgStream

#: Programs of a session.
PROGRAMS = 2_000
BATCHES = 4
#: Programs, from seed 0 on, within which a wrong runtime is found out.
SOON = 400

FIRST = int(os.environ.get("TRACTOR_STATEFUL_SEED") or 1_072_427_053)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_two_actors_do_the_rules_hold(batch: int) -> None:
    """See `tests.stateful.judge` for the rules and `tests.stateful.programs` for what may happen."""
    count = PROGRAMS // BATCHES
    for seed, _ in find_failures(FIRST + batch * count, count):
        pytest.fail(explain(seed), pytrace=False)


def test_a_seed_is_played_alike_each_time() -> None:
    """Or nobody could look into a failure."""

    def tell(seed: int) -> list[str]:
        varies = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}")
        story = play(write_program(seed)).story
        return [varies.sub("", f"{when:.6f} {who} {what}") for when, who, what in story]

    for seed in range(40):
        assert tell(seed) == tell(seed), seed


# Wrong runtimes.

type Patch = Callable[[pytest.MonkeyPatch], None]


def forget_nothing(patch: pytest.MonkeyPatch) -> None:
    """A dialog that is over stays in the router."""
    patch.setattr(Router, "close", lambda self, did: None)


def lose_results(patch: pytest.MonkeyPatch) -> None:
    """The endpoint's RETURN is never sent."""
    patch.setattr(_serve, "_send_result", lambda served, reply: None)


def lose_hidden_errors(patch: pytest.MonkeyPatch) -> None:
    """What a cancellation hides is not reported."""
    patch.setattr(_serve, "_report_masked", lambda *args: None)


def blame_the_peer(patch: pytest.MonkeyPatch) -> None:
    """A request to end names somebody else as the one who asks."""
    original = make_cancel
    patch.setattr(_link, "make_cancel", lambda uid, reason: original(("nobody", uid[1]), reason))


def take_the_newest(patch: pytest.MonkeyPatch) -> None:
    """Items come out of order."""

    def pop(self: Inbox) -> Any:
        body, credited = self.items.pop()
        if credited:
            self._owe(body)
        return body

    patch.setattr(Inbox, "pop", pop)


def wake_no_sender(patch: pytest.MonkeyPatch) -> None:
    """Who waits for credit sleeps on when it comes."""

    def grant(self: Credit, items: int, size: int) -> None:
        self.items += items
        self.bytes += size

    patch.setattr(Credit, "grant", grant)


def end_again_and_again(patch: pytest.MonkeyPatch) -> None:
    """The end of a stream is another error each time."""
    patch.setattr(MsgStream, "_end", lambda self: trio.EndOfChannel())


def hear_of_no_loss(patch: pytest.MonkeyPatch) -> None:
    """The openers' and endpoints' tasks do not hear that the connection is gone."""
    patch.setattr(Link, "on_loss", lambda self, error: None)


def leave_at_once(patch: pytest.MonkeyPatch) -> None:
    """A block that is cancelled does not wait for its endpoint."""
    patch.setattr(_unwind, "UNWIND_TIMEOUT", 0.0)


@pytest.mark.parametrize(
    "wrong",
    [
        forget_nothing,
        lose_results,
        lose_hidden_errors,
        blame_the_peer,
        take_the_newest,
        wake_no_sender,
        end_again_and_again,
        hear_of_no_loss,
        leave_at_once,
    ],
)
def test_control_a_runtime_that_does_wrong_is_found_out(
    wrong: Patch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon, if it does so often."""
    wrong(monkeypatch)
    assert any(play(write_program(seed)).faults for seed in range(SOON))


def test_control_a_program_that_never_ends_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the state of both ends, and where every task waits."""
    lose_results(monkeypatch)
    monkeypatch.setattr(_unwind, "UNWIND_TIMEOUT", float("inf"))
    record = play(Program(1, openers=(Opener("alice", 0.0, ([], [("started",)])),)))
    assert any("has not ended" in fault for fault in record.faults)
    state = "\n".join(record.state)
    assert "<Context 1 parent of bob" in state
    assert "open_plan" in state


def test_control_a_program_that_never_waits_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock does not jump for it."""

    async def spin(*args: object) -> None:
        with trio.CancelScope(shield=True):
            while True:
                await trio.lowlevel.checkpoint()

    monkeypatch.setattr(_open, "wait_unwound", spin)
    plan = ([("raise", "error")], [("started",), ("sleep", 2.0)])
    record = play(Program(1, openers=(Opener("alice", 0.0, plan),)))
    assert any("has not ended" in fault for fault in record.faults)


def test_control_a_program_that_fails_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has nothing to do with the failure is left out."""
    lose_results(monkeypatch)
    seed = next(seed for seed in range(SOON) if play(write_program(seed)).faults)
    report = minimise(write_program(seed))
    assert report.count("('") <= 6, report
    assert "FAULT" in report

"""Processes that are known by a pidfd only, and children in them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio

from tests.spawn.test_backend import SOON
from tractor._errors import Exit
from tractor.spawn._trio import make_ends
from tractor.spawn._watched import WatchedChild, WatchedProcess


class Sleeper(WatchedProcess):
    """A process that waits. `said`: what is known of its end."""

    def __init__(self, said: int | str) -> None:
        super().__init__()
        self.said = said
        self.asked = 0

    async def ask(self) -> None:
        """Know it."""
        self.asked += 1
        if isinstance(self.said, int):
            self.returncode = self.said
        else:
            self.unknown = self.said


@contextmanager
def sleeping(said: int | str = 0, *, gone: bool = False) -> Iterator[Sleeper]:
    """Run one; `gone`: it has ended, and was reaped, before anybody watches it."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        if gone:
            process.kill()
            process.wait()
        sleeper = Sleeper(said)
        sleeper.pid = process.pid
        sleeper.watch()
        try:
            yield sleeper
        finally:
            sleeper.close()
            process.kill()


async def test_it_is_asked_once_how_it_ended_and_not_before() -> None:
    """Whoever waits later is told at once."""
    with sleeping(3) as process:
        with trio.move_on_after(0.05) as scope:
            await process.wait()
        assert (scope.cancelled_caught, process.asked) == (True, 0)
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(SOON):
            await process.wait()
            await process.wait()
        assert (process.returncode, process.asked) == (3, 1)


async def test_one_that_was_gone_before_is_not_waited_for() -> None:
    """No signal goes to whatever has its number now."""
    with sleeping("nobody saw it", gone=True) as process:
        process.kill()
        with trio.fail_after(SOON):
            await process.wait()
        assert process.unknown == "nobody saw it"


async def test_what_it_keeps_open_is_closed_with_it() -> None:
    """The pidfd too; a signal hits nobody then."""
    with sleeping() as process:
        theirs, ours = os.pipe()
        process.keep(ours, "w")
        process.close()
        process.kill()
        assert os.read(theirs, 1) == b""
        os.close(theirs)
        os.kill(process.pid, 0)


@pytest.mark.parametrize(
    ("said", "kill", "expected"),
    [
        (0, False, Exit("returned", 0)),
        (-9, True, Exit("killed", -9)),
        ("nobody saw it", False, Exit("died", None, "nobody saw it")),
        ("nobody saw it", True, Exit("killed", None, "nobody saw it")),
    ],
)
async def test_the_end_of_a_child(said: int | str, kill: bool, expected: Exit) -> None:
    """It is told as far as it is known."""
    with ExitStack() as stack, sleeping(said) as process:
        ends = make_ends(stack, stack, stack, record=False)
        child = WatchedChild(process, ends)
        assert not child.is_gone
        if kill:
            child.kill()
        else:
            process.send_signal(signal.SIGTERM)
        with trio.fail_after(SOON):
            await process.wait()
        assert child.is_gone
        assert child.conclude() == child.exit == expected

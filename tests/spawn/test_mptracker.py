"""The resource tracker: when it is ended, and when it is the program's."""

import os
import subprocess
import sys
import time
from functools import partial

import pytest
import trio

from tractor.spawn._mptracker import wait_gone

#: What a program does with a tracker, beside what a backend does; and whether one is there afterwards.
_PROGRAM = """
import os, sys, trio
from multiprocessing import resource_tracker
from tractor.spawn._mptracker import TRACKER
BEFORE
async def main():
    TRACKER.enter(); TRACKER.enter()
    resource_tracker.ensure_running()
    await TRACKER.leave()
    assert TRACKER.fd is not None
    WITHIN
    await TRACKER.leave()
    print(TRACKER.fd is not None)
trio.run(main)
"""


@pytest.mark.parametrize(
    ("before", "within", "stays"),
    [
        ("", "", False),
        ("resource_tracker.ensure_running()", "", True),
        ("", "import multiprocessing.shared_memory", True),
        (
            "",
            "import multiprocessing, time; process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(0.5,)); process.start()",
            True,
        ),
    ],
)
def test_it_ends_with_the_last_backend_unless_the_program_needs_it(
    before: str, within: str, stays: bool
) -> None:
    """What the program has made itself may still be used behind the root."""
    code = _PROGRAM.replace("BEFORE", before).replace("WITHIN", within)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.strip(), done.returncode) == (str(stays), 0), done.stderr


@pytest.mark.parametrize("kill", [True, False])
def test_one_that_does_not_end_is_not_waited_for_long(kill: bool) -> None:
    """It is killed where that is wanted."""
    process = subprocess.Popen(["sleep", "60"])
    try:
        began = time.monotonic()
        assert trio.run(partial(wait_gone, process.pid, kill=kill)) is kill
        assert time.monotonic() - began < 6.0
    finally:
        process.kill()
        process.wait()


def test_one_that_is_gone_is_reaped() -> None:
    """At once."""
    process = subprocess.Popen(["true"])
    assert trio.run(partial(wait_gone, process.pid, kill=False))
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, 0)
    assert trio.run(partial(wait_gone, process.pid, kill=False))
    process.wait()

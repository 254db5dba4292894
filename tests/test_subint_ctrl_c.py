"""Ctrl-C at a real terminal while tests run on interpreters: whatever they are doing, the session ends."""

import os
import re
import sys
from pathlib import Path

import pexpect
import pytest

from tests.programs.watch import MARK, READY, find_marked

ROOT = Path(__file__).parents[1]
#: Where interpreters have been seen to hang elsewhere: an actor that does not listen any more, and many failures at once.
TESTS = [
    "tests/discovery/test_stale.py::test_stale_entry_is_deleted",
    "tests/test_subint_cancellation.py::test_twenty_five_fail_at_once",
]
#: Seconds; pytest itself needs some of them.
FENCE = 20.0


@pytest.mark.parametrize(("shown", "after"), [(1, 0.0), (1, 0.3), (2, 0.1), (4, 0.6), (5, 0.2), (5, 0.6)])
def test_ctrl_c_ends_a_session(shown: int, after: float) -> None:
    """After so many tests have begun, and a while."""
    mark = f"{os.getpid()}-{shown}-{after}"
    # What an interrupted test had open is open until the session ends, which pytest would call an error of its own.
    quiet = ["-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    command = ["-m", "pytest", "-v", *quiet, "--spawn-backend", "subint", *TESTS]
    env = {**os.environ, MARK: mark}
    terminal = pexpect.spawn(sys.executable, command, cwd=str(ROOT), env=env, encoding="utf-8", timeout=READY)
    try:
        for _ in range(shown):
            terminal.expect(r"::test_\w+\[")
        # Nothing is looked for: this lets the program run and write.
        terminal.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=after)
        terminal.sendintr()
        terminal.expect(pexpect.EOF, timeout=FENCE)
        terminal.wait()
        # By which status pytest ends depends on what of its own was interrupted; no other test was begun.
        assert terminal.exitstatus, terminal.before
        assert not re.search(
            r"^tests/\S+::test_\w+\[", (terminal.before or "").rpartition("^C")[2], re.MULTILINE
        )
        assert find_marked(mark) == []
    finally:
        terminal.close(force=True)

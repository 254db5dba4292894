"""The command, as one calls it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("argv", [["--help"], ["-h"], ["daemon", "--help"], []])
def test_it_says_what_it_can_do(argv: list[str]) -> None:
    """Also without arguments."""
    done = subprocess.run(
        [sys.executable, "-m", "tractor", *argv], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Usage: tractor") or done.stderr.startswith("Usage: tractor")
    assert "daemon" in done.stdout + done.stderr


def test_a_command_that_there_is_not() -> None:
    """A usage error, and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "tractor", "fly"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such command 'fly'" in done.stderr
    assert "Traceback" not in done.stderr

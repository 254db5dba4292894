"""Stacks of a block that takes too long."""

import math
import time
from pathlib import Path

import pytest

from tractor.devx import dump_on_hang


def test_a_block_that_hangs_is_written_down(tmp_path: Path) -> None:
    """While it hangs, also in a call that keeps the interpreter to itself."""
    path = tmp_path / "stacks"
    with dump_on_hang(0.1, path=path):
        until = time.monotonic() + 10
        while not path.read_text() and time.monotonic() < until:
            time.sleep(0.02)
        assert "test_a_block_that_hangs_is_written_down" in path.read_text()
    assert path.exists()


def test_a_block_that_ends_in_time_leaves_nothing(tmp_path: Path) -> None:
    """Whatever it raises; the next one is armed anew."""
    path = tmp_path / "stacks"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), dump_on_hang(60, path=path):
            raise ZeroDivisionError
        assert not path.exists()


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_what_is_no_time_is_an_error(seconds: float, tmp_path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match="positive"), dump_on_hang(seconds, path=tmp_path / "stacks"):
        pytest.fail("entered")
    assert not (tmp_path / "stacks").exists()


def test_one_at_a_time(tmp_path: Path) -> None:
    """A second one would take the first one's watchdog away."""
    with dump_on_hang(60, path=tmp_path / "a"):
        with pytest.raises(RuntimeError, match="armed already"), dump_on_hang(60, path=tmp_path / "b"):
            pytest.fail("entered")

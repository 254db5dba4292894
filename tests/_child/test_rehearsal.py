"""The rehearsal of an actor's beginning leaves nothing but a faster beginning."""

import logging
import os
import threading

import pytest

from tractor._child._rehearsal import rehearse
from tractor.runtime import _state


def test_nothing_is_left_of_a_rehearsal(caplog: pytest.LogCaptureFixture) -> None:
    """No descriptor, no thread, no actor, and nobody was told."""
    caplog.set_level(logging.DEBUG, "tractor")
    rehearse()
    descriptors, threads = os.listdir("/proc/self/fd"), threading.enumerate()
    rehearse()
    assert os.listdir("/proc/self/fd") == descriptors
    assert threading.enumerate() == threads
    assert _state._alive == []
    assert [record.message for record in caplog.records if record.levelno > logging.INFO] == []


def test_a_rehearsal_is_played_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would not do what it is for: the question was asked and answered, as often as it should be."""
    from tractor._child import _rehearsal

    answered: list[int] = []

    async def ask(portal: object) -> None:
        await original(portal)  # type: ignore[arg-type]
        answered.append(1)

    original = _rehearsal._ask
    monkeypatch.setattr(_rehearsal, "_ask", ask)
    rehearse()
    assert len(answered) == _rehearsal._TIMES

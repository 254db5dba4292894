"""What the tests of all kinds of children share."""

import sys

import pytest

from tractor.spawn._backend import BACKENDS

#: Every kind of child that this Python has: its start method and, behind a blank, which lock it runs under.
KINDS = [key for key in sorted(BACKENDS) if key != "subint"]
if sys.version_info >= (3, 14):
    KINDS += ["subint own", "subint shared"]


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of the backend under test, whatever the session's is."""
    key, _, gil = request.param.partition(" ")
    monkeypatch.delenv("TRACTOR_SPAWN_METHOD", raising=False)
    monkeypatch.delenv("TRACTOR_SUBINT_GIL", raising=False)
    if gil:
        monkeypatch.setenv("TRACTOR_SUBINT_GIL", gil)
    chosen: str = key
    return chosen

"""What the tests that run an inner session share."""

import os
from pathlib import Path

import pytest

from tractor.testing import _plugin


@pytest.fixture(autouse=True)
def _import_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let other interpreters import the same tractor."""
    monkeypatch.setenv("PYTHONPATH", os.fspath(Path(_plugin.__file__).parents[2]))

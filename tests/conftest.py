"""The plugin every test of this suite runs under, and what all tests share."""

import logging
import sys
from collections.abc import Iterator

import pytest

pytest_plugins = ["tractor.testing._plugin", "pytester"]

if sys.version_info < (3, 14):
    # They run interpreters; that an older Python refuses them is tested in test_backend.py.
    collect_ignore = [
        "_child/test_interpreter.py",
        "ipc/test_lending.py",
        "spawn/test_interpreters.py",
        "spawn/test_subint.py",
        "test_buffers.py",
        "test_interpreter_links.py",
        "test_backends_benchmark.py",
        "test_links_benchmark.py",
        "test_subint_cancellation.py",
        "test_subint_ctrl_c.py",
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests that can be made a soak do."""
    parser.addoption(
        "--crowd", default="3,4,4", help="programs, actors of each, and seconds, of the crowd at one registry"
    )


@pytest.fixture(autouse=True)
def _restore_logger() -> Iterator[None]:
    """Give the logger "tractor" back as it was found: a level that one test asks for would silence it in others."""
    root = logging.getLogger("tractor")
    handlers, level = list(root.handlers), root.level
    root.setLevel(logging.NOTSET)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)

"""The plugin every test of this suite runs under."""

import pytest

pytest_plugins = ["tractor.testing._plugin", "pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests that can be made a soak do."""
    parser.addoption(
        "--crowd", default="3,4,4", help="programs, actors of each, and seconds, of the crowd at one registry"
    )

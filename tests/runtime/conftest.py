"""What the tests of the runtime share."""

import pytest


@pytest.fixture(autouse=True)
def _clear_log(request: pytest.FixtureRequest) -> None:
    """Empty the list LOG of a test's module, in which the functions that it exposes note what they do."""
    getattr(request.module, "LOG", []).clear()

"""What the tests of supervision share."""

import pytest


@pytest.fixture(params=["inherit", "connect"])
def each_link(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How children reach their parent: over a channel they inherit, or by connecting back with a token."""
    link: str = request.param
    monkeypatch.setenv("TRACTOR_CHILD_LINK", link)
    return link

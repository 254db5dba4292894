"""Which tests have to run on every spawn backend, and on which one cannot.

`no_backend` and `own_backend` say that a test is the same whatever backend the session has, so that one session is enough for
it. That is checked whenever such a test runs, or one that starts actors would be declared by mistake, and never be run on
the other backends.
"""

import os
from collections.abc import Generator

import pytest

#: What tests that need no backend find in place of the session's: a key that there is not.
UNUSED = "none, for a test that is marked no_backend"
MARKERS = (
    "no_backend: starts no actors, or not by the session's backend, which is out of its reach",
    "own_backend: says itself how its actors are made; the session's backend is hidden from it",
    "skip_backend(*keys, see): cannot be asked of actors that these backends make; `see` names the document that says why",
)
KEY = "TRACTOR_SPAWN_METHOD"


_WANTED = pytest.StashKey[list[str]]()


class _Table(dict[str, str]):
    """The table of backends, which notes that the one was wanted that nobody may want."""

    def __init__(self, table: dict[str, str]) -> None:
        super().__init__(table)
        self.wanted: list[str] = []

    def __contains__(self, key: object) -> bool:
        if key == UNUSED:
            self.wanted.append(UNUSED)
        return super().__contains__(key)


def pytest_configure(config: pytest.Config) -> None:
    """Say what the markers mean."""
    for line in MARKERS:
        config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what cannot be asked of the session's backend."""
    key = os.environ.get(KEY) or "trio"
    for item in items:
        for marker in item.iter_markers("skip_backend"):
            if key in marker.args:
                item.add_marker(pytest.mark.skip(reason=f"{key}: see {marker.kwargs['see']}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Keep the session's backend from a test that does not need it, its fixtures of whatever scope included."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("no_backend"):
            item.stash[_WANTED] = _forbid(patch)
        elif item.get_closest_marker("own_backend"):
            item.stash[_WANTED] = _hide(patch)
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that wanted it all the same."""
    result = yield
    if item.stash.get(_WANTED, None):
        pytest.fail(
            "this test is marked no_backend or own_backend, and starts actors by the session's", pytrace=False
        )
    return result


def _forbid(patch: pytest.MonkeyPatch) -> list[str]:
    """Make every start by the session's backend fail, here and in programs that are started; return what was tried."""
    from tractor.spawn import _backend

    table = _Table(_backend.BACKENDS)
    patch.setattr(_backend, "BACKENDS", table)
    patch.setenv(KEY, UNUSED)
    return table.wanted


def _hide(patch: pytest.MonkeyPatch) -> list[str]:
    """Let the test choose; return for which roots it did not."""
    from tractor.runtime._state import current_actor
    from tractor.supervise import _root

    choose, unchosen = _root._choose_method, list[str]()

    def watch(given: str | None, default: str) -> str:
        if given is None and KEY not in os.environ and current_actor(err_on_no_runtime=False) is None:
            unchosen.append(default)
        return choose(given, default)

    patch.setattr(_root, "_choose_method", watch)
    patch.delenv(KEY, raising=False)
    return unchosen

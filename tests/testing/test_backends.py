"""Tests that declare that they are the same on every backend are held to it."""

import pytest


def run(pytester: pytest.Pytester, body: str, *args: str) -> pytest.RunResult:
    """Run a session with the plugin over one file of tests."""
    pytester.makepyfile("import os, subprocess, sys\nimport pytest, tractor, trio\n" + body)
    return pytester.runpytest_subprocess("-p", "tractor.testing._plugin", *args, timeout=60)


SOURCE = """
async def nothing():
    async with tractor.open_nursery():
        pass

def run():
    trio.run(nothing)

CODE = "import trio, tractor\\nasync def main():\\n async with tractor.open_nursery(): pass\\ntrio.run(main)"
"""


def test_a_test_that_needs_no_backend_gets_none(pytester: pytest.Pytester) -> None:
    """It fails when it wants one: itself, through a fixture of its module, in a program, and also where it hides the error."""
    body = """
pytestmark = pytest.mark.no_backend

@pytest.fixture(scope="module")
def tree():
    trio.run(nothing)

def test_itself():
    trio.run(nothing)

def test_by_its_fixture(tree):
    pass

def test_in_a_program():
    subprocess.run([sys.executable, "-c", CODE], check=True)

def test_in_secret():
    with pytest.raises(ValueError):
        trio.run(nothing)
"""
    result = run(pytester, SOURCE + body)
    result.assert_outcomes(failed=3, errors=1)
    result.stdout.fnmatch_lines(["*marked no_backend or own_backend, and starts actors by the session's*"])


def test_a_test_that_needs_no_backend_may_ask_for_one(pytester: pytest.Pytester) -> None:
    """By its key, which is not the session's choice; other tests of the module have that."""
    body = """
from tractor.spawn._backend import load_backend

@pytest.mark.no_backend
def test_asks():
    assert load_backend("trio") is not None

@pytest.mark.no_backend
def test_asks_for_what_is_not_there():
    with pytest.raises(ValueError, match="pigeon"):
        load_backend("pigeon")

def test_other():
    trio.run(nothing)
"""
    run(pytester, SOURCE + body, "--spawn-backend=trio").assert_outcomes(passed=3)


def test_a_test_that_chooses_its_backend_has_to(pytester: pytest.Pytester) -> None:
    """As an argument or in the environment; the session's is not there to be used."""
    body = """
pytestmark = pytest.mark.own_backend

async def test_argument():
    async with tractor.open_nursery(start_method="trio"):
        assert tractor.current_actor().start_method == "trio"
        async with tractor.open_nursery():
            pass

async def test_environment(monkeypatch):
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "trio")
    async with tractor.open_nursery():
        assert tractor.current_actor().start_method == "trio"

async def test_neither():
    async with tractor.open_nursery():
        pass
"""
    result = run(pytester, SOURCE + body, "--spawn-backend=forkserver")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["FAILED *::test_neither*"])


@pytest.mark.parametrize(("key", "skipped"), [("trio", 0), ("forkserver", 1), ("subint", 1)])
def test_what_a_backend_cannot_do_is_left_out_there(
    pytester: pytest.Pytester, key: str, skipped: int
) -> None:
    """The report says for which, and where to read why."""
    body = """
@pytest.mark.skip_backend("subint", "forkserver", see="docs/interpreters.md#the-end")
def test_left_out():
    pass

def test_other():
    pass
"""
    result = run(pytester, body, "-rs", f"--spawn-backend={key}")
    result.assert_outcomes(passed=2 - skipped, skipped=skipped)
    if skipped:
        result.stdout.fnmatch_lines([f"SKIPPED * {key}: see docs/interpreters.md#the-end"])

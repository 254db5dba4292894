"""Interpreters of this process, and those that are kept ready."""

import os
import subprocess
import sys
import threading
import time

import pytest

from tractor.spawn import _interpreters
from tractor.spawn._interpreters import Pool, create, destroy, destroy_later, execute, pool_size

SOON = 10.0


def numbers() -> list[int]:
    """Every interpreter of this process but the first."""
    import _interpreters as stdlib

    return [number for number, _ in stdlib.list_all() if number]


def wait_until(condition: object) -> None:
    """Wait for another thread."""
    until = time.monotonic() + SOON
    assert callable(condition)
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def on_thread(func: object) -> object:
    """Run on a thread that ends: an interpreter cannot be taken apart while one that used it lives on."""
    found: list[object] = []
    assert callable(func)
    thread = threading.Thread(target=lambda: found.append(func()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("own_gil", [True, False])
def test_code_says_how_it_ended(own_gil: bool) -> None:
    """By `SystemExit`, by an error, or not at all."""

    def run() -> list[str]:
        number = create(own_gil=own_gil)
        said = [
            execute(number, code, {"WHAT": "seven"})
            for code in ("pass", "raise SystemExit", "raise SystemExit(7)", "raise SystemExit(WHAT)", "1/0")
        ]
        destroy(number)
        return said

    said = on_thread(run)
    assert isinstance(said, list)
    assert said[:4] == ["0", "0", "7", "seven"]
    assert "ZeroDivisionError" in said[4]
    assert numbers() == []


def test_an_interpreter_with_a_thread_is_taken_apart_when_that_has_ended() -> None:
    """Sooner, it would crash the process; nobody waits for it."""
    reading, writing = os.pipe()
    code = f"import os, threading; threading.Thread(target=os.read, args=({reading}, 1), daemon=True).start()"

    def run() -> None:
        number = create(own_gil=True)
        assert execute(number, code, {}) == "0"
        destroy_later(number)

    on_thread(run)
    time.sleep(0.1)
    assert len(numbers()) == 1
    os.write(writing, b"x")
    wait_until(lambda: not numbers())
    os.close(reading)
    os.close(writing)


def test_a_pool_is_filled_once_one_was_needed_and_no_further() -> None:
    """The first has to be made by whoever needs it."""
    pool = Pool(2, ["colorsys"])
    assert numbers() == []
    assert pool.take() is None
    pool.fill()
    wait_until(lambda: len(pool._ready) == 2)
    assert len(numbers()) == 2
    used: list[int] = []

    def job(number: int) -> None:
        assert (
            execute(
                number,
                "import sys; assert {'colorsys', 'tractor._child._interpreter'} <= set(sys.modules)",
                {},
            )
            == "0"
        )
        destroy(number)
        used.append(number)

    warm = pool.take()
    assert warm is not None
    warm.give(job)
    pool.fill()
    warm.thread.join()
    assert len(used) == 1
    wait_until(lambda: len(pool._ready) == 2)
    for thread in pool.drain():
        thread.join()
    assert numbers() == []


def test_a_pool_that_is_drained_while_it_is_filled_leaves_nothing() -> None:
    """Whoever drains it learns what to wait for; it can be used again."""
    pool = Pool(2)
    for wait in (0.0, 0.05, 0.11, 0.12, 0.15):
        assert pool.take() is None
        pool.fill()
        time.sleep(wait)
        for thread in pool.drain():
            thread.join()
        assert numbers() == []


def test_a_pool_of_none_makes_none() -> None:
    """It is off."""
    pool = Pool(0)
    assert pool.take() is None
    pool.fill()
    assert pool.drain() == []


@pytest.mark.parametrize(("told", "size"), [("", _interpreters.POOL), ("0", 0), ("5", 5)])
def test_the_size_of_the_pool_is_configured(told: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment, for people who need the memory."""
    monkeypatch.setenv("TRACTOR_SUBINT_POOL", told)
    assert pool_size() == size


def test_a_size_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is read."""
    monkeypatch.setenv("TRACTOR_SUBINT_POOL", "many")
    with pytest.raises(ValueError, match="TRACTOR_SUBINT_POOL must be a number of interpreters, not 'many'"):
        pool_size()


def test_a_fork_beside_an_interpreter_is_warned_of() -> None:
    """It would crash; a program that is executed is none."""
    code = """
import os, subprocess, sys
from tractor.spawn._interpreters import create, destroy
def fork():
    if not (pid := os.fork()):
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert fork() == 7
number = create(own_gil=True)
subprocess.run([sys.executable, "-c", ""], check=True)
print("before", file=sys.stderr, flush=True)
print(fork())
destroy(number)
assert fork() == 7
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, _, after = done.stderr.partition("before")
    assert "RuntimeWarning" not in before
    assert after.count("RuntimeWarning: a fork of a process that has interpreters") == 1

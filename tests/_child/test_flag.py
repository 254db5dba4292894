"""An event for a thread that others interrupt."""

import sys
import threading
import time
from contextlib import suppress

from tractor._child._flag import Flag
from tractor._child._interpreter import _interrupt


def test_it_is_set_once_and_for_all() -> None:
    """However often, and whoever looks."""
    flag = Flag()
    assert (flag.is_set(), flag.wait(0), flag.wait(-1)) == (False, False, False)
    flag.set()
    flag.set()
    for _ in range(3):
        assert (flag.is_set(), flag.wait(0), flag.wait(10)) == (True, True, True)


def test_who_waits_is_told() -> None:
    """Long before its time is over."""
    flag = Flag()
    threading.Timer(0.02, flag.set).start()
    began = time.monotonic()
    assert flag.wait(30)
    assert time.monotonic() - began < 10


def test_it_stays_set_while_somebody_waits() -> None:
    """Who looks meanwhile sees nothing else."""
    flag = Flag()
    flag.set()
    waits = threading.Thread(target=lambda: [flag.wait(1) for _ in range(20_000)], daemon=True)
    waits.start()
    seen = {flag.is_set() for _ in range(20_000)}
    waits.join(10)
    assert seen == {True}


def test_a_thread_that_is_interrupted_while_it_sets_it_locks_nobody_out() -> None:
    """Neither itself nor who waits, at whatever moment that is."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        was_set = [_set_in_the_rain() for _ in range(300)]
    finally:
        sys.setswitchinterval(before)
    # An interrupt may also come where no `try` is: such a thread ends, and has locked nobody out either.
    assert was_set.count(True) > 100


def _set_in_the_rain() -> bool:
    flag, inside = Flag(), Flag()
    thread = threading.Thread(target=_set, args=(flag, inside), daemon=True)
    thread.start()
    assert thread.ident is not None
    assert inside.wait(5)
    while not flag.is_set() and thread.is_alive():
        _interrupt(thread.ident, KeyboardInterrupt)
    thread.join(5)
    assert not thread.is_alive()
    return flag.wait(0)


def _set(flag: Flag, inside: Flag) -> None:
    with suppress(KeyboardInterrupt):
        while True:
            try:
                inside.set()
                _compute(1000)
                flag.set()
                # The last interrupt is still under way, and is not to come where the thread is about to end.
                _compute(100_000)
            except KeyboardInterrupt:
                continue
            else:
                return


def _compute(steps: int) -> None:
    for _ in range(steps):
        pass

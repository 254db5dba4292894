"""Interpreters of this process: made one at a time, run on threads of their own, and some kept ready."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from tractor.log import get_logger
from tractor.spawn._backend import encode_paths

log = get_logger(__name__)

#: How many are kept ready, once one was needed: 14 MB each. `TRACTOR_SUBINT_POOL` says another number; 0 is none.
POOL = 2
#: Seconds until another is made: to make one disturbs the actor that is just starting.
_FILL_AFTER = 0.1
#: Seconds between two looks at what keeps an interpreter from being taken apart, at first and at most.
_LOOK_SOON, _LOOK_AGAIN = 0.01, 1.0

#: What an actor says at its end in place of an exit status: that it is to be booted where modules are shared, with the
#: descriptors of its channel and its lifeline and the reason; or which threads nothing has ended. Before a status: that
#: others still look at its buffers.
ANEW, LEFT, LENT = "anew ", "threads are left: ", "lent "

#: What an actor needs before it is told who it is.
IMPORT = """
import sys
sys.path[:] = PATHS.decode(errors="surrogateescape").split("\\0")
import tractor._child._interpreter
"""
_REHEARSE = """
from tractor._child._rehearsal import rehearse
rehearse()
"""
_IN_USE = """
import sys, threading
ours = (threading.current_thread(), threading.main_thread())
if any(thread not in ours and not isinstance(thread, threading._DummyThread) for thread in threading.enumerate()):
    raise SystemExit("some")
lending = sys.modules.get("tractor.ipc._lending")
if lending is not None and lending.count_lent():
    raise SystemExit("lent")
"""

#: Two at a time are not safe to make.
_creating = threading.Lock()
#: For those that are being made and import what they need, which nothing interrupts: more at a time would all take longer,
#: and whoever does not want them any more would have to wait for all.
making = threading.BoundedSemaphore(max(2, os.process_cpu_count() or 2))
_live: set[int] = set()
#: The threads of this interpreter that are the bodies of others, and what hangs up on those.
hosted: dict[threading.Thread, Callable[[], None]] = {}
#: Those that have ended and cannot be taken apart yet; one look at them at a time.
_kept: set[int] = set()
_looking = threading.Lock()


def _warn_of_fork() -> None:
    if _live:
        warnings.warn(
            "a fork of a process that has interpreters crashes in the child, unless it executes another program at once; "
            "start processes by subprocess without preexec_fn, or by tractor",
            RuntimeWarning,
            stacklevel=2,
        )


# Not run for a fork that executes another program, but for one with `preexec_fn`, which is as bad.
os.register_at_fork(before=_warn_of_fork)


def create(*, own_gil: bool) -> int:
    """Make an interpreter, which takes some milliseconds, and return its number."""
    import _interpreters

    # Without daemon threads there are no worker threads of trio's, and no look-ups of names.
    new_config = _interpreters.new_config
    config = new_config("isolated", allow_daemon_threads=True) if own_gil else new_config("legacy")
    with _creating:
        number: int = _interpreters.create(config)
    _live.add(number)
    return number


def execute(number: int, code: str, facts: dict[str, Any]) -> str:
    """Run code in an interpreter, and return what it said by `SystemExit`; where it failed, the traceback."""
    import _interpreters

    failure = _interpreters.exec(number, code, facts)
    if failure is None:
        return "0"
    if failure.type.__name__ == "SystemExit":
        return str(failure.msg or "0")
    return str(failure.errdisplay or failure.formatted)


def destroy(number: int) -> None:
    """Take an interpreter apart in which no thread is left."""
    import _interpreters

    _interpreters.destroy(number)
    _live.discard(number)


def destroy_later(number: int) -> None:
    """Take an interpreter apart when its last thread has ended, and nobody looks at its memory any more.

    Sooner, that thread would crash the process, and the memory would never be given back.
    """

    def wait() -> None:
        pause = _LOOK_SOON
        while not _end_if_unused(number):
            time.sleep(pause)
            pause = min(2 * pause, _LOOK_AGAIN)

    _kept.add(number)
    threading.Thread(target=wait, name="tractor-threads-left", daemon=True).start()


def _end_if_unused(number: int) -> bool:
    """Take an interpreter apart if nothing keeps it; return whether it is gone."""
    with _looking:
        if number not in _kept:
            return True
        if execute(number, _IN_USE, {}) != "0":
            return False
        _kept.discard(number)
        destroy(number)
        return True


@atexit.register
def _end_lenders() -> None:
    """Take those apart that only views of their memory keep: Python would warn of them. The memory stays until the end."""
    with _looking:
        for number in list(_kept):
            if execute(number, _IN_USE, {}) in ("0", "lent"):
                _kept.discard(number)
                destroy(number)


class _Warm:
    """An interpreter that waits for an actor, on the thread that it will run on."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._jobs: SimpleQueue[Callable[[int], None] | None] = SimpleQueue()
        self.thread = threading.Thread(target=self._live, name="tractor-interpreter", daemon=True)
        self.thread.start()

    def give(self, job: Callable[[int], None] | None) -> None:
        """Run the job with it, which disposes of it; None: it is not needed."""
        self._jobs.put(job)

    def _live(self) -> None:
        with suppress(Empty):
            self._jobs.get(timeout=_FILL_AFTER)
            return
        number = create(own_gil=True)
        said = execute(number, self._pool.preload, {"PATHS": encode_paths(sys.path)})
        if said != "0":
            log.warning("no interpreter can be kept ready", extra={"why": said})
        self._pool.put(self, usable=said == "0")
        job = self._jobs.get()
        if job is None:
            destroy(number)
        else:
            job(number)


class Pool:
    """At most `size` interpreters that are ready, or about to be; filled in the background once one was needed.

    `preload`: modules that they have imported then.
    """

    def __init__(self, size: int, preload: Iterable[str] = ()) -> None:
        self._size = size
        self.preload = IMPORT + _REHEARSE + "".join(f"import {name}\n" for name in preload)
        self._lock = threading.Lock()
        self._ready: deque[_Warm] = deque()
        self._making: _Warm | None = None

    def take(self) -> _Warm | None:
        """Return one that is ready, if there is one."""
        with self._lock:
            return self._ready.popleft() if self._ready else None

    def fill(self) -> None:
        """See to it that the next will find one."""
        with self._lock:
            self._fill()

    def put(self, warm: _Warm, *, usable: bool) -> None:
        """It is ready; called on its thread."""
        with self._lock:
            if self._making is not warm:
                # It was let go of meanwhile.
                return
            self._making = None
            if usable:
                self._ready.append(warm)
                self._fill()
            else:
                warm.give(None)

    def drain(self) -> list[threading.Thread]:
        """Let go of all; return the threads that will have ended soon."""
        with self._lock:
            left = [*self._ready, *([self._making] if self._making is not None else [])]
            self._ready.clear()
            self._making = None
        for warm in left:
            warm.give(None)
        return [warm.thread for warm in left]

    def _fill(self) -> None:
        if self._making is None and len(self._ready) < self._size:
            self._making = _Warm(self)


def pool_size() -> int:
    """Return how many are to be kept ready; `ValueError` where the environment says nonsense."""
    told = os.environ.get("TRACTOR_SUBINT_POOL", "")
    if not told:
        return POOL
    if not told.isdecimal():
        raise ValueError(f"TRACTOR_SUBINT_POOL must be a number of interpreters, not {told!r}")
    return int(told)

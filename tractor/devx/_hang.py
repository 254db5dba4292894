"""Stacks of a block that takes too long."""

from __future__ import annotations

import faulthandler
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

# The watchdog thread is one per process, in C: it needs neither the GIL nor a loop that turns.
_armed = False


@contextmanager
def dump_on_hang(seconds: float = 30.0, *, path: str | os.PathLike[str]) -> Iterator[None]:
    """Write the stack of every thread to the file `path` if the block takes longer than `seconds`; it goes on undisturbed.

    A file, because test runners swallow stderr; there is none when the block ends in time. Only the main interpreter's
    threads are seen. Raises `ValueError` for what is no number of seconds, and `RuntimeError` inside another such block.
    """
    global _armed  # noqa: PLW0603 - so is what it guards
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a positive number, not {seconds!r}")
    if _armed:
        raise RuntimeError("dump_on_hang() is armed already: a process has one watchdog")
    with open(path, "w") as file:
        _armed = True
        faulthandler.dump_traceback_later(seconds, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            _armed = False
            if not os.path.getsize(path):
                os.unlink(path)

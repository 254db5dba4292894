"""An event that an interrupt cannot leave locked."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue


class Flag:
    """Set once, by a thread that may be interrupted meanwhile, also by itself; one other may wait for that.

    A `threading.Event` has a lock, and an exception that is raised in a thread from outside may come just when it has taken
    that: nobody ever gives it back. Here every step is an assignment or one call into C.
    """

    def __init__(self) -> None:
        self._set = False
        self._bell: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set it; again, if it is."""
        self._set = True
        self._bell.put(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; return whether it is set."""
        if not self._set:
            with suppress(Empty):
                self._bell.get(timeout=max(0.0, seconds))
        return self._set

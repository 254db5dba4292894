"""An event that an interrupt cannot leave locked."""

from __future__ import annotations

from queue import Empty, SimpleQueue


class Flag:
    """Set once, by a thread that may be interrupted meanwhile, also by itself; others wait for that.

    A `threading.Event` has a lock, and an exception that is raised in a thread from outside may come just when it has taken
    that: nobody ever gives it back. Here every step is one call into C.
    """

    def __init__(self) -> None:
        self._said: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Set it; again, if it is."""
        self._said.put(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return not self._said.empty()

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; return whether it is set. For one thread at a time."""
        try:
            self._said.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        self._said.put(None)
        return True

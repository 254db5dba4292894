"""How low layers announce what happened to whoever listens above them, without importing it.

Listeners are plain functions, called in the order they were added, in the task that announces. They belong to the
process, not to an actor: what listens (a debugger, a hang report) owns the process's terminal as well.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger("tractor.hooks")


class _Hook[*Args]:
    """A list of listeners for one kind of announcement."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[*Args], object]] = []

    @contextmanager
    def listening(self, listener: Callable[[*Args], object]) -> Iterator[None]:
        """Call `listener` at each announcement while the block is open."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def announce(self, *args: *Args) -> None:
        """Call every listener. What one raises is logged, and neither the others nor the caller notice."""
        for listener in tuple(self._listeners):
            try:
                listener(*args)
            except Exception:
                log.exception("a listener failed", extra={"listener": repr(listener)})


_crash = _Hook[BaseException]()
_kill = _Hook[str, str]()


@contextmanager
def on_crash(listener: Callable[[BaseException], object]) -> Iterator[None]:
    """Call `listener(exc)` for each error that ends a task of an actor, while the block is open."""
    with _crash.listening(listener):
        yield


def announce_crash(exc: BaseException) -> None:
    """Tell the listeners that `exc` is about to end a task; called where it is caught, its traceback still whole."""
    _crash.announce(exc)


@contextmanager
def on_kill(listener: Callable[[str, str], object]) -> Iterator[None]:
    """Call `listener(child, why)` before each child that is ended by force, while the block is open."""
    with _kill.listening(listener):
        yield


def announce_kill(child: str, why: str) -> None:
    """Tell the listeners that `child` (its name as people read it) is about to be ended by force, and why."""
    _kill.announce(child, why)

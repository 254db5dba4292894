"""How a child ended: what its body's exit and its own farewell say together; and whether it is ending."""

from __future__ import annotations

import signal
from dataclasses import replace

import trio

from tractor._errors import Exit
from tractor.msg._types import Bye
from tractor.spawn._backend import UNKNOWN_STATUS, Child

#: Seconds in which a dying child has let go of its lifeline as well as of its channel (measured: microseconds, also where
#: a machine is far too busy), and between two looks at it.
_LETTING_GO = 0.05
_LOOK_AGAIN = 0.005


async def is_dying(child: Child, exited: trio.Event) -> bool:
    """Whether a child whose channel was lost is lost itself: whoever dies loses everything at the same time."""
    until = trio.current_time() + _LETTING_GO
    with trio.CancelScope(shield=True):
        while not (exited.is_set() or child.has_let_go()):
            if trio.current_time() >= until:
                return False
            await trio.sleep(_LOOK_AGAIN)
    return True


def find_verdict(exit: Exit | None, bye: Bye | None) -> Exit | None:  # noqa: A002 - the thing's name
    """Return the exit, with what the child said itself when it left."""
    if exit is not None and bye is not None and not exit.detail:
        return replace(exit, detail=": ".join(part for part in (bye.how, bye.detail) if part))
    return exit


def was_interrupted(exit: Exit | None, bye: Bye | None) -> bool:  # noqa: A002 - the thing's name
    """Whether a signal to its own process ended it, such as Ctrl-C in a terminal that it shares with us."""
    if bye is not None:
        return bye.how == "interrupted"
    return exit is not None and exit.code in (-signal.SIGINT, 128 + signal.SIGINT)


def has_crashed(exit: Exit | None, bye: Bye | None) -> bool:  # noqa: A002 - the thing's name
    """Whether an error of its own ended it, or kept it from ending in order."""
    if bye is not None and (bye.how == "crashed" or (exit is not None and exit.detail == UNKNOWN_STATUS)):
        # Of one that has said how it leaves, that is all there is to know.
        return bye.how == "crashed"
    return exit is not None and exit.how == "died"


def left_as_asked(exit: Exit | None, bye: Bye | None) -> bool:  # noqa: A002 - the thing's name
    """Whether it ended in order because somebody, not necessarily its parent, asked its actor to."""
    crashed = exit is not None and exit.code
    return bye is not None and bye.how == "cancelled" and not crashed

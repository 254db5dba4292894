"""The life of a child, and the ladder that ends it: tables and pure functions, no I/O and no clock."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Phase(enum.Enum):
    """Where a child is in its life."""

    BOOTING = "booting"
    UP = "up"
    ENDING = "ending"
    GONE = "gone"


class Sign(enum.Enum):
    """What can happen to a child."""

    #: It has said hello.
    HELLO = "hello"
    #: Its end was asked for, by us.
    END = "end"
    #: Its body is certainly gone.
    EXIT = "exit"


NEXT: dict[Phase, dict[Sign, Phase]] = {
    Phase.BOOTING: {Sign.HELLO: Phase.UP, Sign.END: Phase.ENDING, Sign.EXIT: Phase.GONE},
    Phase.UP: {Sign.END: Phase.ENDING, Sign.EXIT: Phase.GONE},
    Phase.ENDING: {Sign.HELLO: Phase.ENDING, Sign.END: Phase.ENDING, Sign.EXIT: Phase.GONE},
    Phase.GONE: {Sign.END: Phase.GONE},
}


class Refused(Exception):
    """A sign that cannot come in this phase: a bug in the runtime."""


def step(phase: Phase, sign: Sign) -> Phase:
    """Return the phase that follows."""
    try:
        return NEXT[phase][sign]
    except KeyError:
        raise Refused(f"{sign.value} while {phase.value}") from None


class Rung(enum.Enum):
    """The steps that end a child, each harder than the one before. Lifting shields is the warden's, in the child."""

    ASK = "ask"
    HANG_UP = "hang up"
    INTERRUPT = "interrupt"
    KILL = "kill"


#: Seconds after the grace period at which each further rung is reached. The warden lifts shields at 0.1.
AFTER_GRACE = {Rung.HANG_UP: 0.0, Rung.INTERRUPT: 0.2, Rung.KILL: 0.35}

#: What a parent leaves between the end of its children's grace and that of its own.
MARGIN = 0.5
#: The least part of what a parent has left that its children get. A floor in seconds would give all lower levels of a deep
#: tree the same deadline as the parents that have to end them.
LEAST_SHARE = 0.7


@dataclass(frozen=True)
class Step:
    """One rung and when it is reached, in seconds from the moment the end was asked for."""

    rung: Rung
    at: float


def ladder(grace: float, *, start: Rung = Rung.ASK) -> list[Step]:
    """Return the steps for a child that has `grace` seconds to end in order.

    `start` skips gentler rungs: there is nobody to ask before a child is up, and no grace is given then.
    """
    rungs = list(Rung)[list(Rung).index(start) :]
    if start is Rung.ASK:
        return [Step(Rung.ASK, 0.0), *(Step(rung, grace + AFTER_GRACE[rung]) for rung in rungs[1:])]
    return [Step(rung, AFTER_GRACE[rung] - AFTER_GRACE[start]) for rung in rungs]


def shrunk_grace(grace: float, remaining: float | None) -> float:
    """Return the grace for a child of an actor that itself must end within `remaining` seconds (None: any time)."""
    if remaining is None:
        return grace
    left = max(remaining, 0.0)
    return min(grace, max(left - MARGIN, left * LEAST_SHARE))

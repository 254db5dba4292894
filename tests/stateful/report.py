"""What is said of a program that fails."""

from __future__ import annotations

import faulthandler

from tests.stateful.programs import Program, write_program
from tests.stateful.records import Record
from tests.stateful.shrink import kind_of, shrink
from tests.stateful.world import play

#: Seconds that a few hundred programs may take at most; they take two or three.
STUCK = 300


def find_failures(first: int, count: int) -> list[tuple[int, str]]:
    """Play programs; return the seeds of those that fail, and the first fault of each."""
    failures = []
    for seed in range(first, first + count):
        faults = play(write_program(seed)).faults
        if faults:
            failures.append((seed, faults[0]))
    return failures


def find_failures_in_time(first: int, count: int) -> list[tuple[int, str]]:
    """The same in a process of its own, which ends with all stacks written when it is stuck."""
    faulthandler.dump_traceback_later(STUCK, exit=True)
    try:
        return find_failures(first, count)
    finally:
        faulthandler.cancel_dump_traceback_later()


def describe(program: Program, record: Record) -> str:
    """Return the program, what happened, and what is wrong with it."""
    story = "\n".join(f"{when:8.3f}  {who:24}{what}" for when, who, what in record.story)
    parts = [str(program), story]
    if record.state:
        parts.append("When it did not end:\n" + "\n".join(record.state))
    parts.append("\n".join(f"FAULT: {fault}" for fault in record.faults) or "No fault.")
    return "\n\n".join(parts)


def minimise(program: Program) -> str:
    """Return the smallest program that fails in the same way, and what happens in it."""
    kind = kind_of(play(program).faults[0])

    def fails(candidate: Program) -> bool:
        return any(kind_of(fault) == kind for fault in play(candidate).faults)

    smallest = shrink(program, fails)
    return describe(smallest, play(smallest))


def explain(seed: int) -> str:
    """Return all that is to say of the program of a seed that has failed."""
    program = write_program(seed)
    record = play(program)
    smaller = minimise(program) if record.faults else "It has not failed again."
    again = f"`make stateful ARGS='--seed {seed}'` plays it again."
    return f"{describe(program, record)}\n\nThe same, smaller:\n\n{smaller}\n\n{again}"

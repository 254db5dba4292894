"""What the jobs that play random things are told by their arguments: which seeds, and how many at a time."""

import argparse
import os
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Seeds:
    """What to play: one alone, or else so many from the first on, `jobs` at a time."""

    one: int | None
    first: int
    count: int
    jobs: int


def read_seeds(target: str, description: str | None, plural: str, count: int) -> Seeds:
    """Read the arguments of `make TARGET`, which plays `count` of what `plural` says from a random seed on, or what it is told."""
    parser = argparse.ArgumentParser(prog=f"make {target} ARGS=...", description=description)
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--first", type=int, help="the first seed")
    parser.add_argument("--count", type=int, default=count, help=f"how many {plural} (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.process_cpu_count() or 1, help="how many at a time")
    given = parser.parse_args()
    first = random.SystemRandom().randrange(2**31) if given.first is None else given.first
    return Seeds(given.seed, first, given.count, given.jobs)

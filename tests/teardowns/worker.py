"""Plays the plans whose seeds it reads from stdin, and writes what became of each to stdout, one JSON object per line.

All plans of a round have the same kind of child, and one root: its fork server is made once.
"""

from __future__ import annotations

import json
import os
import sys

import trio

import tractor
from tests.programs import torn
from tests.teardowns.plans import Kind, write_plan
from tests.teardowns.stage import SLACK, Scene
from tractor.testing import _procs

#: Seconds beyond those that fail a plan, after which the program is ended with all stacks written.
STUCK = 20.0


def main() -> None:
    """Play what is read, until the end of it."""
    for line in sys.stdin:
        trio.run(play_round, json.loads(line))
        say({"round": "over"})


async def play_round(seeds: list[int]) -> None:
    """Play plans of one kind."""
    # It refuses isolated interpreters, in which this module is loaded as well.
    import faulthandler

    kind = Kind.of(write_plan(seeds[0]).kind)
    async with tractor.open_root_actor(start_method=kind.key, registry_addrs=[]):
        async with tractor.open_nursery() as nursery:
            # What stays until the end of the root is there from now on.
            await nursery.start_actor("first", enable_modules=[torn.__name__], proc_kwargs=kind.options)
            await nursery.cancel()
        for seed in seeds:
            plan = write_plan(seed)
            say({"begins": seed})
            faulthandler.dump_traceback_later(plan.bound + 2 * SLACK + STUCK, exit=True)
            outcome = await Scene(plan).play(os.environ[_procs.MARK])
            faulthandler.cancel_dump_traceback_later()
            say(
                {
                    "seed": seed,
                    "took": outcome.took,
                    "over": outcome.took - plan.bound,
                    "faults": outcome.faults,
                }
            )


def say(what: dict[str, object]) -> None:
    """Write a line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Make interpreters and end them, round after round, some at a time; say what the process has after each.

Usage: python rounds.py ROUNDS LANES
"""

import json
import os
import sys
import threading

import trio

import tractor
from tests.programs import torn

ACTS = (None, torn.spin, torn.shielded, torn.wait)


def count() -> dict[str, int]:
    """Return the threads, descriptors and interpreters there are, and the memory that is used, in KiB."""
    import _interpreters

    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "interpreters": len(_interpreters.list_all()),
        "memory": pages * os.sysconf("SC_PAGESIZE") // 1024,
    }


async def play(number: int) -> None:
    """Be one round: half of the children have a lock of their own, and a quarter each do the same."""
    gil = ("own", "shared")[number % 2]
    act = ACTS[number // 2 % len(ACTS)]
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(grace=0.02, proc_kwargs={"gil": gil}) as nursery:
            portal = await nursery.start_actor(f"lodger{number}", enable_modules=[torn.__name__])
            if act is not None:
                tasks.start_soon(torn.call, portal, act.__name__)
                await trio.sleep(0.01)
            await nursery.cancel()


async def main(rounds: int, lanes: int) -> None:
    """Play in so many lanes; what there is, is counted between the rounds, when nobody plays."""
    async with tractor.open_root_actor(start_method="subint", registry_addrs=[]):
        for number in range(0, rounds, lanes):
            async with trio.open_nursery() as tasks:
                for lane in range(lanes):
                    tasks.start_soon(play, number + lane)
            print(json.dumps(count()), flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))

"""`make stateful`: many random programs, on all processors.

A run chooses its seeds at random and says which; `--first` repeats one. `--seed N` plays one program, tells what happens in
it and, if it fails, makes it smaller.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.seeds import read_seeds
from tests.stateful.programs import write_program
from tests.stateful.report import describe, find_failures_in_time, minimise
from tests.stateful.shrink import kind_of
from tests.stateful.world import play

#: Programs that a worker plays at a time.
BATCH = 250


def play_many(first: int, count: int, jobs: int) -> int:
    """Play many programs; return how many have failed."""
    begin = time.monotonic()
    print(f"{count} programs from seed {first} on, {jobs} at a time", flush=True)
    failures: list[tuple[int, str]] = []
    with ProcessPoolExecutor(jobs) as pool:
        batches = [
            pool.submit(find_failures_in_time, start, min(BATCH, first + count - start))
            for start in range(first, first + count, BATCH)
        ]
        for number, done in enumerate(as_completed(batches), 1):
            failures += done.result()
            if number % 20 == 0 or number == len(batches):
                played = min(number * BATCH, count)
                print(
                    f"{played} played, {len(failures)} failed, {time.monotonic() - begin:.0f} s", flush=True
                )
    kinds = Counter(kind_of(fault) for _, fault in failures)
    examples = {kind_of(fault): (seed, fault) for seed, fault in failures}
    for kind, times in kinds.most_common():
        seed, fault = examples[kind]
        print(f"{times} times, such as --seed {seed}: {fault[:400]}")
    return len(failures)


def main() -> int:
    """Read the arguments, and play."""
    given = read_seeds("stateful", __doc__, "programs", 50_000)
    if given.one is not None:
        program = write_program(given.one)
        record = play(program)
        print(describe(program, record))
        if record.faults:
            print("\nThe same, smaller:\n\n" + minimise(program))
        return bool(record.faults)
    return bool(play_many(given.first, given.count, given.jobs))


if __name__ == "__main__":
    sys.exit(main())

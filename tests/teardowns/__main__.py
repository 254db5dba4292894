"""`make teardowns`: many random ends of children, some at a time.

A run chooses its seeds at random and says which is the first; `--first` repeats one. `--seed N` plays one.
"""

from __future__ import annotations

import json
import os
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.seeds import read_seeds
from tests.teardowns.plans import write_plan
from tractor.testing import _procs

#: Plans that a worker plays under one root.
ROUND = 25
#: Those that have taken longest which are told.
SLOWEST = 5


@dataclass
class Results:
    """What became of all plans."""

    count: int
    began: float = field(default_factory=time.monotonic)
    played: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)
    slowest: list[tuple[float, float, int]] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def note(self, seed: int, took: float, over: float, faults: list[str]) -> None:
        """One more."""
        self.played += 1
        plan = write_plan(seed)
        self.kinds[plan.kind] += 1
        self.slowest = sorted([*self.slowest, (over, took, seed)], reverse=True)[:SLOWEST]
        if faults:
            self.failures.append((seed, faults[0]))
            print(f"\nFAULT: {plan}\n" + "\n".join(faults), flush=True)

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        rate = self.played / seconds * 60
        return f"{self.played} of {self.count} played, {len(self.failures)} failed, {seconds:.0f} s, {rate:.0f} a minute"


def play_all(seeds: list[int], jobs: int) -> Results:
    """Play the plans of all seeds."""
    by_kind: defaultdict[str, list[int]] = defaultdict(list)
    for seed in seeds:
        by_kind[write_plan(seed).kind].append(seed)
    rounds = [some[i : i + ROUND] for some in by_kind.values() for i in range(0, len(some), ROUND)]
    random.Random(seeds[0]).shuffle(rounds)
    todo: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
    for some in rounds:
        todo.put(some)
    results = Results(len(seeds))
    lock = threading.Lock()
    threads = [threading.Thread(target=work, args=(todo, results, lock)) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def work(todo: queue.SimpleQueue[list[int]], results: Results, lock: threading.Lock) -> None:
    """Have rounds played by a worker, and by another one where that dies."""
    while True:
        try:
            seeds = todo.get_nowait()
        except queue.Empty:
            return
        left = seeds
        while left:
            left = play_round(left, results, lock)
        with lock:
            print(f"\r{results}  ", end="" if sys.stdout.isatty() else "\n", flush=True)


def play_round(seeds: list[int], results: Results, lock: threading.Lock) -> list[int]:
    """Have plans played; return those that are left where the worker has died in the middle."""
    with (
        tempfile.TemporaryDirectory(prefix="tractor-teardowns-") as folder,
        tempfile.TemporaryFile() as stderr,
    ):
        mark = f"teardowns-{os.getpid()}-{time.monotonic_ns()}"
        env = {
            **os.environ,
            _procs.MARK: mark,
            "SPT_NOENV": "1",
            "XDG_RUNTIME_DIR": folder,
            "TRACTOR_SUBINT_POOL": "0",
            "TRACTOR_REGISTRY_ADDRS": "",
        }
        env.pop("TRACTOR_SPAWN_METHOD", None)
        command = [sys.executable, "-m", "tests.teardowns.worker"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=env, text=True
        )
        try:
            said, _ = process.communicate(json.dumps(seeds) + "\n", timeout=ROUND * 60)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
        _procs.kill(_procs.find_family(0, mark, _procs.all_pids()))
        stderr.seek(0)
        errors = stderr.read().decode(errors="replace")
    events: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    done = [event["seed"] for event in events if "seed" in event]
    with lock:
        for event in events:
            if "seed" in event:
                results.note(event["seed"], event["took"], event["over"], event["faults"])
        if any("round" in event for event in events) and process.returncode == 0:
            return []
        begun = [event["begins"] for event in events if "begins" in event]
        guilty = begun[-1] if begun else seeds[0]
        fault = f"its program has ended with {process.returncode}, and has written:\n{errors[-8000:]}"
        if guilty not in done:
            results.note(guilty, 0.0, 0.0, [fault])
        else:
            results.failures.append((guilty, fault))
            print(f"\nFAULT: behind {write_plan(guilty)}\n{fault}", flush=True)
    return [seed for seed in seeds if seed not in {*done, guilty}]


def main() -> int:
    """Read the arguments, and play."""
    given = read_seeds("teardowns", __doc__, "teardowns", 10_000)
    if given.one is not None:
        seeds = [given.one]
        print(write_plan(given.one))
    else:
        seeds = list(range(given.first, given.first + given.count))
        print(f"{given.count} teardowns from seed {given.first} on, {given.jobs} at a time", flush=True)
    results = play_all(seeds, given.jobs)
    print(f"\n{results}")
    print(", ".join(f"{kind}: {count}" for kind, count in results.kinds.most_common()))
    for over, took, seed in results.slowest:
        print(f"slowest: {took:.2f} s, {over:+.2f} s of what is meant: {write_plan(seed)}")
    for seed, fault in results.failures:
        print(f"failed: {write_plan(seed)}: {fault.splitlines()[0]}")
    return bool(results.failures)


if __name__ == "__main__":
    sys.exit(main())

"""Cancel a tree of actors, again and again, and print how long that takes.

Run by `make soak`; see `--help`. Every round grows a new tree, cancels the scope around it, and measures from there until the
block is left. TRACTOR_SPAWN_METHOD says what the actors are. The exit status is 1 where an actor was still there then, or a
round took as long as its grace: then something has waited for force.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import trio

import tractor
from benchmarks import _machine, _trees


@dataclass(frozen=True)
class Round:
    """What one round took."""

    actors: int
    #: Seconds until all were up, and from the cancellation until all were gone.
    grow: float
    cancel: float
    #: Processor seconds that the actors and this process needed for that.
    cpu: float
    #: How many actors were left behind.
    left: int
    #: The machine's load average.
    load: float


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make soak", description="Cancel a tree of actors, again and again."
    )
    parser.add_argument("--rounds", type=int, default=100, help="how often (default: %(default)s)")
    parser.add_argument(
        "--depth", type=int, default=3, help="levels below this process (default: %(default)s)"
    )
    parser.add_argument("--width", type=int, default=4, help="children of each actor (default: %(default)s)")
    parser.add_argument("--transport", choices=["tcp", "uds"], default="tcp", help="(default: %(default)s)")
    parser.add_argument(
        "--grace", type=float, default=20.0, help="seconds before force is used (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round to FILE")
    return parser.parse_args(argv)


def _read_fact(body: int, name: str) -> str:
    """Return the first word of what the kernel says under this name of a body, or "" when it is gone."""
    try:
        lines = Path(f"/proc/{body}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next(line.split()[1] for line in lines if line.startswith(f"{name}:"))


def find_pids(bodies: Iterable[int]) -> set[int]:
    """Return the processes that these bodies are in; interpreters share one."""
    return {int(pid) for body in bodies if (pid := _read_fact(body, "Tgid"))}


def used_cpu(pids: Iterable[int]) -> float:
    """Return the processor seconds that these processes have used so far."""
    total = 0
    for pid in pids:
        # Nanoseconds, where `stat` has only ticks of ten milliseconds.
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def used_here() -> float:
    """Return the processor seconds of this process and of those below it that are gone."""
    gone = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + gone.ru_utime + gone.ru_stime


def count_left(bodies: Iterable[int]) -> int:
    """Return how many of these bodies are there and run."""
    return sum(_read_fact(body, "State") not in ("", "Z", "X") for body in bodies)


async def play(options: argparse.Namespace) -> Round:
    """Grow a tree, cancel the scope around it, and see it gone."""
    async with tractor.open_root_actor(enable_transports=[options.transport]):
        before = used_here()
        began = time.perf_counter()
        with trio.CancelScope() as scope:
            async with _trees.growing(options.depth, options.width, options.grace) as bodies:
                grown = time.perf_counter()
                # What interpreters use this process does.
                lived = used_here() - before + used_cpu(find_pids(bodies) - {os.getpid()})
                cancelled = time.perf_counter()
                scope.cancel()
                await trio.sleep_forever()
        gone = time.perf_counter()
    cpu = used_here() - before - lived
    return Round(len(set(bodies)), grown - began, gone - cancelled, cpu, count_left(bodies), _machine.load())


def summarise(rounds: list[Round]) -> str:
    """Return a table of what the rounds took."""
    lines = [f"{'':24}{'least':>9}{'median':>9}{'9 of 10':>9}{'most':>9}"]
    for title, values in (
        ("grown after, s", [each.grow for each in rounds]),
        ("gone after, s", [each.cancel for each in rounds]),
        ("processor time, s", [each.cpu for each in rounds]),
        ("load average", [each.load for each in rounds]),
    ):
        ordered = sorted(values)
        ninth = ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]
        figures = (ordered[0], median(ordered), ninth, ordered[-1])
        lines.append(f"{title:24}" + "".join(f"{figure:9.3f}" for figure in figures))
    return "\n".join(lines)


def find_faults(rounds: list[Round], grace: float) -> list[str]:
    """Say what should not have been."""
    faults = []
    for number, each in enumerate(rounds, 1):
        if each.left:
            faults.append(f"round {number}: {each.left} actors were still there")
        if each.cancel >= grace:
            faults.append(f"round {number}: {each.cancel:.1f} s, so something was ended by force")
    return faults


def main(argv: list[str] | None = None) -> int:
    """Be the program."""
    options = parse(argv)
    machine = _machine.describe()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    rounds: list[Round] = []
    for number in range(1, options.rounds + 1):
        each = trio.run(play, options)
        rounds.append(each)
        print(
            f"{number:4}: {each.actors} actors gone after {each.cancel:.3f} s, {each.cpu:.3f} s of processor time",
            flush=True,
        )
    print(summarise(rounds))
    if options.json is not None:
        options.json.write_text(
            json.dumps({"machine": machine, "rounds": [asdict(each) for each in rounds]}, indent=1)
        )
    faults = find_faults(rounds, options.grace)
    print("\n".join(faults) if faults else "every actor was gone in every round, none by force")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

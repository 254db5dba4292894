"""The main figures of the runtime, each beside its bare floor, in under two minutes.

Run it: make bench-quick, or python benchmarks/quick.py --help. How to read the table: benchmarks/README.md.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from benchmarks import _floors, _imports, _machine, _tractor
from benchmarks._machine import ONE_CORE
from benchmarks._measure import Budget, Measure, Row, alternate, run
from benchmarks._report import LEGEND, table, write_json
from benchmarks._tractor import beside

#: Exit statuses.
FAILED, MISSED, INTERRUPTED = 1, 3, 130
IN_FLIGHT = 64


def catalogue(scale: float = 1.0) -> list[Measure]:
    """Return everything that is measured; `scale` times the usual number of operations in each round."""
    return [*messages(scale), *lives(), *imports()]


def messages(scale: float) -> list[Measure]:
    """Return the measures of a running actor; their rounds take some ten milliseconds."""

    def times(count: int) -> int:
        return max(round(count * scale), IN_FLIGHT)

    bare_calls = partial(_floors.calls, in_flight=IN_FLIGHT)
    calls = partial(_tractor.calls, in_flight=IN_FLIGHT)
    return [
        Measure(
            "call",
            "call, both sides on one core",
            "us",
            beside("echo", _floors.echo, times(500), _tractor.call, times(300), ONE_CORE),
            rounds=150,
            budget=Budget("ratio", 2.5),
        ),
        Measure(
            "call-any-core",
            "call, on any core",
            "us",
            beside("echo", _floors.echo, times(500), _tractor.call, times(300)),
            rounds=150,
        ),
        Measure(
            "calls",
            f"calls, {IN_FLIGHT} in flight",
            "/s",
            beside("serve", bare_calls, times(1280), calls, times(1280)),
            rounds=150,
            budget=Budget("figure", 30_000),
        ),
        Measure(
            "stream",
            "items of 100 bytes, one way",
            "/s",
            beside("pour", _floors.stream, times(50_000), _tractor.stream, times(10_000)),
            rounds=100,
            budget=Budget("figure", 300_000),
        ),
    ]


def lives() -> list[Measure]:
    """Return the measures of a whole actor."""
    return [
        Measure(
            "start",
            "start an actor, to its first reply",
            "ms",
            alternate(_floors.start, _tractor.start),
            rounds=30,
            budget=Budget("ratio", 1.4),
        ),
        Measure(
            "cancel",
            "cancel an idle actor, until gone",
            "ms",
            alternate(_floors.kill, _tractor.cancel),
            rounds=20,
            budget=Budget("figure", 15),
        ),
    ]


def imports() -> list[Measure]:
    """Return the measures of what is loaded."""
    return [
        Measure(
            "import",
            "import trio and the runtime",
            "ms",
            alternate(_imports.trio_seconds, _imports.runtime_seconds),
            rounds=30,
            budget=Budget("ratio", 1.3),
        ),
        Measure(
            "modules",
            "modules, with import tractor",
            "modules",
            alternate(_imports.trio_modules, _imports.facade_modules),
            budget=Budget("excess", 45),
        ),
        Measure(
            "runtime-modules",
            "modules, with the runtime",
            "modules",
            alternate(_imports.trio_modules, _imports.runtime_modules),
        ),
        Measure(
            "child-modules",
            "modules, in a running actor",
            "modules",
            alternate(_imports.trio_modules, _imports.child_modules),
        ),
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    names = [measure.name for measure in catalogue()]
    parser = argparse.ArgumentParser(description="Measure the runtime beside bare floors.")
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=names,
        help=f"measure only this: {', '.join(names)}",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write every figure of every round to a file"
    )
    parser.add_argument(
        "--strict", action="store_true", help=f"exit with status {MISSED} where a budget is missed"
    )
    parser.add_argument("--rounds", metavar="N", type=int, help="at most so many rounds of each measurement")
    parser.add_argument(
        "--scale",
        metavar="X",
        type=float,
        default=1.0,
        help="times the usual number of operations in a round",
    )
    return parser.parse_args(arguments)


def compile_all() -> None:
    """Have everything compiled that is measured: an import that compiles takes several times as long."""
    trees = [_machine.ROOT / "tractor", _machine.ROOT / "benchmarks", Path(trio.__file__).parent]
    command = [sys.executable, "-m", "compileall", "-q", *map(str, trees)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, return the exit status."""
    options = parse(arguments)
    machine = _machine.describe()
    print(", ".join(f"{name} {value}" for name, value in machine.items()), flush=True)
    began = time.monotonic()
    compile_all()
    rows: list[Row] = []
    for measure in catalogue(options.scale):
        if options.only is None or measure.name in options.only:
            print(f"measuring: {measure.title} ...", file=sys.stderr, flush=True)
            rows.append(run(measure, most_rounds=options.rounds))
    print(f"\n{table(rows)}\n\n{LEGEND}\nIt took {time.monotonic() - began:.0f} s.")
    if options.json is not None:
        write_json(options.json, machine, rows)
    for row in rows:
        if row.failure:
            print(f"failed: {row.measure.name}: {row.failure}", file=sys.stderr)
    if any(row.failure for row in rows):
        return FAILED
    return MISSED if options.strict and any(row.within_budget is False for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

"""The machine a figure was taken on, and which of its cores a measurement may use."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: The cores this program may use.
ALL_CORES = frozenset(os.sched_getaffinity(0))
#: One of them: a wake-up across cores costs more than everything else in a round trip.
ONE_CORE = frozenset({max(ALL_CORES)})


@contextmanager
def running_on(cpus: frozenset[int]) -> Iterator[None]:
    """Run this thread only on these cores while the block is open."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with the flags an actor's process gets."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-P", *arguments]


def describe() -> dict[str, str | int]:
    """Return what a reader has to know to compare figures of two machines."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": version("trio"),
        "msgspec": version("msgspec"),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(ALL_CORES),
    }


def _processor() -> str:
    """Return the processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def load() -> float:
    """Return how many processes wanted a core, on average over the last minute."""
    return os.getloadavg()[0]

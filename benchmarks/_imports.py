"""What importing costs: the time, and how many modules it loads."""

import json
import subprocess

from benchmarks import _actors, _tractor
from benchmarks._machine import ROOT, python

#: Prints the seconds that the code takes and the modules that are loaded after it.
_PROGRAM = """
import sys, time
began = time.perf_counter()
{}
seconds, modules = time.perf_counter() - began, list(sys.modules)
import json
print(json.dumps([seconds, modules]))
"""
_TRIO = "import trio"
_FACADE = "import trio, tractor"
#: The facade is lazy: a program pays for the runtime when it names something of it.
_RUNTIME = "import trio, tractor; tractor.open_nursery"


def _run(code: str) -> tuple[float, list[str]]:
    command = python("-c", _PROGRAM.format(code))
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    seconds, modules = json.loads(done.stdout)
    return seconds, modules


def trio_seconds() -> float:
    """Return the seconds of `import trio`."""
    return _run(_TRIO)[0]


def runtime_seconds() -> float:
    """Return the seconds of importing trio, tractor and the runtime."""
    return _run(_RUNTIME)[0]


def trio_modules() -> float:
    """Return how many modules `import trio` has loaded."""
    return len(_run(_TRIO)[1])


def facade_modules() -> float:
    """Return how many there are with `import tractor`."""
    return len(_run(_FACADE)[1])


def runtime_modules() -> float:
    """Return how many there are with tractor and its runtime."""
    return len(_run(_RUNTIME)[1])


def child_modules() -> float:
    """Return how many modules a running actor has loaded, the one it exposes not counted."""
    return len(set(_tractor.loaded_modules()) - {_actors.__name__, "benchmarks"})

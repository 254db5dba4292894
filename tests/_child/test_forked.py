"""What a fork of the server does before it is a child like any other; `tests/spawn/test_forkserver.py` has the rest."""

import json
import os
import subprocess
import sys

import pytest

from tractor._child._forked import LEAST_FDS

#: Puts descriptors where they belong and tells what is where then.
ARRANGE = """
import json, os, sys
pile = [os.dup(0) for _ in range(200)]
from tractor._child._forked import arrange, find_libffi
for fd in pile: os.close(fd)
pass_fds = json.loads(sys.argv[1])
terminal = sys.argv[2] == "terminal"
names = ["lifeline", "channel", "cwd", "stdin", "stdout", "stderr"]
names += ["terminal"] * terminal + [f"passed {fd}" for fd in pass_fds] + ["server"]
folder, fds = sys.argv[3], []
for name in names:
    path = folder if name == "cwd" else os.path.join(folder, name)
    fds.append(os.open(path, os.O_RDONLY if name == "cwd" else os.O_RDWR | os.O_CREAT))
os.set_inheritable(os.open("/dev/zero", os.O_RDONLY), True)
own = arrange(fds, pass_fds)
found = {}
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        found[fd] = [os.path.basename(os.readlink(f"/proc/self/fd/{fd}")), os.get_inheritable(fd)]
    except OSError:
        pass
found = {fd: fact for fd, fact in found.items() if fd not in find_libffi()}
with open("result", "w") as file:
    json.dump([own, found], file)
"""


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("pass_fds", [[], [3, 5, 4], [9, 8, 7, 6, 5, 4, 3], [150]])
def test_every_descriptor_is_where_it_belongs(
    pass_fds: list[int], terminal: bool, tmp_path: os.PathLike[str]
) -> None:
    """Whatever was in its place before, and nothing else is open; only what is for programs to come survives an `exec`."""
    argv = [
        sys.executable,
        "-c",
        ARRANGE,
        json.dumps(pass_fds),
        "terminal" if terminal else "",
        str(tmp_path),
    ]
    subprocess.run(argv, check=True, timeout=30)
    with open(os.path.join(tmp_path, "result")) as file:
        own, facts = json.load(file)
    found = {int(fd): tuple(fact) for fd, fact in facts.items()}
    names = ["lifeline", "channel", *(["terminal"] if terminal else []), "server"]
    assert [found.pop(fd) for fd in own] == [(name, False) for name in names]
    streams = {0: ("stdin", True), 1: ("stdout", True), 2: ("stderr", True)}
    assert found == streams | {fd: (f"passed {fd}", True) for fd in pass_fds}


def test_the_least_are_the_child_s_and_where_its_status_is_said() -> None:
    """The server counts them before it forks."""
    assert len(["status", "lifeline", "channel", "cwd", "stdin", "stdout", "stderr"]) == LEAST_FDS


STREAMS = """
import io, os, sys
from tractor._child._forked import _open_streams
_open_streams()
print(isinstance(sys.stdout.buffer, io.RawIOBase), sys.stdout.write_through, sys.stdout.line_buffering)
print(sys.stderr.line_buffering, sys.stdin.encoding, sys.stdout.errors, sys.__stdout__ is sys.stdout)
sys.stdout.flush()
"""


@pytest.mark.parametrize(("flags", "raw"), [([], False), (["-u"], True)])
def test_streams_are_like_those_of_a_new_interpreter(flags: list[str], raw: bool) -> None:
    """Buffered, unless the interpreter was told otherwise."""
    argv = [sys.executable, "-X", "utf8", *flags, "-c", STREAMS]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30, env=env)
    assert done.stdout.splitlines() == [f"{raw} {raw} False", "True utf-8 surrogateescape True"]


TAKEN = """
import os
from tractor._child._forked import arrange, find_libffi
taken = os.open("libffi.so.8", os.O_RDWR | os.O_CREAT)
assert taken in find_libffi()
try:
    arrange([0, 0, os.open(".", os.O_RDONLY), 0, 1, 2, 0, 0], [taken])
except OSError as exc:
    print(exc)
"""


def test_a_number_that_a_library_has_taken_is_refused(tmp_path: os.PathLike[str]) -> None:
    """It would map whatever is there as its own code. The server keeps the low numbers free, so this is rare."""
    done = subprocess.run(
        [sys.executable, "-c", TAKEN], check=True, capture_output=True, text=True, timeout=30, cwd=tmp_path
    )
    assert done.stdout.startswith("descriptors of these numbers cannot be passed to a fork: [")


def test_to_import_it_changes_nothing() -> None:
    """What a child does first is done by those that are children."""
    code = "import signal, tractor._child._forked; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "set()\n"

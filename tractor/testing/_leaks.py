"""What a test may not leave behind: processes, threads, descriptors, interpreters, socket and shared-memory files.

A snapshot is taken before the test and compared with what is there after it. Reads /proc, so Linux only.
"""

import importlib
import os
import stat
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tractor.testing import _procs

SHM = Path("/dev/shm")
#: trio keeps idle worker threads for ten seconds, to use them again.
CACHED_THREADS = "Trio thread "
#: How the title of a fork begins that no child needs yet; see `tractor._child._spare`.
SPARE = "_forkserver[spare of "


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process has and what there is around it, at one moment."""

    pids: frozenset[int]
    threads: frozenset[int]
    descriptors: dict[int, str]
    interpreters: frozenset[int]
    sockets: frozenset[Path]
    memory: frozenset[Path]


@dataclass(slots=True)
class Leaks:
    """What was left behind, by kind."""

    processes: list[_procs.Proc] = field(default_factory=list)
    threads: dict[int, str] = field(default_factory=dict)
    descriptors: dict[int, str] = field(default_factory=dict)
    interpreters: list[int] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.processes or self.threads or self.descriptors or self.interpreters or self.files)

    def __str__(self) -> str:
        lines = [f"process {proc}" for proc in self.processes]
        lines += [f"thread {name!r} (native id {tid})" for tid, name in self.threads.items()]
        lines += [f"descriptor {number} -> {target}" for number, target in self.descriptors.items()]
        lines += [f"interpreter {number}" for number in self.interpreters]
        lines += [f"file {path}" for path in self.files]
        return "\n".join(f"  {line}" for line in lines)

    def end(self) -> None:
        """Kill the processes and delete the files, so that the next test starts clean.

        Threads, descriptors and interpreters stay: whoever holds them may still use them, and the next snapshot has them.
        """
        _procs.kill(self.processes)
        for path in self.files:
            path.unlink(missing_ok=True)


def take_snapshot(sockets: Path | None = None) -> Snapshot:
    """Return what there is now; `sockets` is the directory below which socket files are looked for."""
    return Snapshot(
        pids=_procs.all_pids(),
        threads=frozenset(_threads()),
        descriptors=_descriptors(),
        interpreters=_interpreters(),
        sockets=_socket_files(sockets),
        memory=_memory_files(),
    )


def find_leaks(before: Snapshot, mark: str, sockets: Path | None = None) -> Leaks:
    """Return what this session (see `_procs.MARK`) has now and had not at `before`."""
    old = Counter(before.descriptors.values())
    descriptors = {}
    for number, target in _descriptors().items():
        # By target, not by number: one that was closed and opened again is not a leak.
        if old[target] > 0:
            old[target] -= 1
        else:
            descriptors[number] = target
    files = sorted(_socket_files(sockets) - before.sockets) + sorted(_memory_files() - before.memory)
    family = _procs.find_family(os.getpid(), mark, _procs.all_pids() - before.pids - {_tracker("_pid")})
    return Leaks(
        processes=[proc for proc in family if not _is_spare(proc, before)],
        threads={tid: name for tid, name in _threads().items() if tid not in before.threads},
        descriptors=descriptors,
        interpreters=sorted(_interpreters() - before.interpreters),
        files=[path for path in files if not _is_mapped_elsewhere(path, mark)],
    )


def settle(before: Snapshot, mark: str, sockets: Path | None = None, *, wait: float = 1.0) -> Leaks:
    """Return the leaks once there are none, or those left after `wait` seconds for what was on its way out."""
    deadline = time.monotonic() + wait
    while True:
        leaks = find_leaks(before, mark, sockets)
        if not leaks or time.monotonic() > deadline:
            return leaks
        time.sleep(0.01)


def find_socket_dir() -> Path | None:
    """Return the directory of tractor's socket files, or None where there is no such thing."""
    try:
        rtdir = importlib.import_module("tractor.ipc._rtdir")
    except ImportError:
        return None
    found: Path = rtdir.get_rt_dir()
    return found


def _threads() -> dict[int, str]:
    # The kernel's list has the threads of other interpreters and of C libraries too; threading only knows its own.
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    threads = {}
    for tid in map(int, os.listdir("/proc/self/task")):
        name = (
            named.get(tid)
            or _procs.read_bytes(os.getpid(), f"task/{tid}/comm").decode(errors="replace").strip()
        )
        if name and not name.startswith(CACHED_THREADS):
            threads[tid] = name
    return threads


def _descriptors() -> dict[int, str]:
    targets = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        # Capturing redirects the standard three, also in the middle of a test.
        if number > 2:
            try:
                targets[number] = os.readlink(f"/proc/self/fd/{number}")
            except FileNotFoundError:
                pass  # the descriptor that the listing itself used
    # libffi opens its own file once in a process and keeps it: whichever test is the first to load ctypes, as trio does.
    return {
        number: target
        for number, target in targets.items()
        if "/libffi.so" not in target and number != _tracker("_fd")
    }


def _is_spare(proc: _procs.Proc, before: Snapshot) -> bool:
    """Whether this is what a fork server that was there before keeps ready: it makes one when it has nothing else to do."""
    return proc.parent in before.pids and proc.command().startswith(SPARE)


def _tracker(name: str) -> int | None:
    """Return what `multiprocessing` knows of its resource tracker, which it starts once and keeps to the end of the program."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    number: int | None = None if module is None else getattr(module._resource_tracker, name, None)
    return number


def _interpreters() -> frozenset[int]:
    module = sys.modules.get("_interpreters")
    return frozenset() if module is None else frozenset(entry[0] for entry in module.list_all()) - {0}


def _socket_files(directory: Path | None) -> frozenset[Path]:
    if directory is None:
        return frozenset()
    found = (Path(folder, name) for folder, _, names in os.walk(directory) for name in names)
    return frozenset(filter(_is_socket, found))


def _memory_files() -> frozenset[Path]:
    try:
        return frozenset(SHM.iterdir())
    except FileNotFoundError:
        return frozenset()


def _is_mapped_elsewhere(path: Path, mark: str) -> bool:
    # /dev/shm is shared by the whole machine, where another session may run its tests right now.
    if path.parent != SHM:
        return False
    pids = _procs.all_pids()
    ours = {os.getpid(), *(proc.pid for proc in _procs.find_family(os.getpid(), mark, pids))}
    return any(os.fsencode(path) in _procs.read_bytes(pid, "maps") for pid in pids - ours)


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return False

"""How the census looks: the live display, the table of results, the JSON file. No actors in here either."""

import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import RawIOBase
from typing import Protocol

from census_analysis import Census, Function, Nesting, printable, shortened
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table
from rich.text import Text

MOST = 10
"""How many of the most imported modules, and of the files with errors, the table shows."""

DISK_SPACE = 64 * 1024
"""Bytes that must be free for the JSON file before the work starts."""


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that ended before its work did, how, and the files it had been sent and not answered.

    The `pid` is 0 for one that did not even start.
    """

    worker: str
    pid: int
    how: str
    in_flight: list[str]


@dataclass(frozen=True, slots=True)
class Run:
    """What a census by a number of workers came to.

    `seconds` count from before the first worker was started until the last was gone; `missing` is the number
    of files that no worker was left to examine.
    """

    workers: int
    seconds: float
    census: Census
    deaths: list[Death]
    missing: int


@dataclass(frozen=True, slots=True)
class Share:
    """How many files a worker has done, and what it does now: a file's name, or how it ended."""

    done: int
    now: str
    alive: bool = True


class Display(Protocol):
    """Shows how far the work is, while it goes on."""

    def update(self, done: int, shares: Mapping[str, Share], deaths: Sequence[Death], /) -> None:
        """Show the number of files done, the share of each worker by its name, and what new deaths there are."""


class Bars:
    """One bar for all files and one for each worker's share of them, redrawn in place."""

    def __init__(self, progress: Progress, title: str, total: int, directories: Sequence[str]) -> None:
        self._progress = progress
        self._directories = directories
        self._total = total
        self._began = time.perf_counter()
        self._all = progress.add_task(title, total=total, count="", now="")
        self._workers: dict[str, TaskID] = {}
        self._deaths = 0

    def update(self, done: int, shares: Mapping[str, Share], deaths: Sequence[Death], /) -> None:
        """Redraw all bars, and say above them who died."""
        for death in deaths[self._deaths :]:
            self._progress.console.print(obituary(death, self._directories), style="red", soft_wrap=True)
        self._deaths = len(deaths)
        seconds = time.perf_counter() - self._began
        rate = f"{done / seconds:,.0f} files/s, {seconds:.1f} s"
        self._progress.update(self._all, completed=done, count=f"{done:,}/{self._total:,}", now=rate)
        for name, share in shares.items():
            if name not in self._workers:
                self._workers[name] = self._progress.add_task("", total=self._total, count="", now="")
            self._progress.update(
                self._workers[name],
                description=f"  {name}" if share.alive else f"  {name} died",
                completed=share.done,
                count=f"{share.done:,}",
                now=printable(os.path.basename(share.now)),
            )
        self._progress.refresh()


class Lines:
    """A plain line for each tenth of the work: for files, pipes and terminals that cannot redraw."""

    def __init__(self, console: Console, title: str, total: int, directories: Sequence[str]) -> None:
        self._console = console
        self._directories = directories
        self._title = title
        self._total = total
        self._tenths = -1
        self._deaths = 0

    def update(self, done: int, _shares: Mapping[str, Share], deaths: Sequence[Death], /) -> None:
        """Print a line for each death, and one if another tenth is done."""
        for death in deaths[self._deaths :]:
            self._console.print(obituary(death, self._directories), soft_wrap=True)
        self._deaths = len(deaths)
        tenths = done * 10 // self._total
        if tenths > self._tenths:
            self._tenths = tenths
            self._console.print(f"{self._title}: {done:,} of {self._total:,} files", soft_wrap=True)


@contextmanager
def open_display(console: Console, workers: int, total: int, directories: Sequence[str]) -> Iterator[Display]:
    """Show how a run over `total` files goes: by bars on a terminal, by plain lines elsewhere."""
    title = f"{workers} workers" if workers > 1 else "1 worker"
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console, title, total, directories)
        return
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(width=15, no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1)),
        TextColumn("{task.fields[count]}", justify="right", table_column=Column(width=13, no_wrap=True)),
        TextColumn("{task.fields[now]}", "dim", markup=False, table_column=Column(width=24, no_wrap=True)),
    )
    # Redrawn by a task of the program: no thread that would have to be ended whatever happens.
    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        expand=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        yield Bars(progress, title, total, directories)


def print_results(console: Console, census: Census, directories: Sequence[str]) -> None:
    """Print the table of what was found; file names are relative to the directories they were found below."""
    room = console.width - 24  # what the first column and the borders leave

    def fit(name: str) -> str:
        return name if len(name) <= room else "..." + name[3 - room :]

    def place(found: Function | Nesting) -> str:
        return fit(f"{shortened(found.file, directories)}:{found.line}")

    table = Table(box=box.SIMPLE_HEAD, show_header=False, title="What is in there", title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("files", f"{census.files:,} ({census.lines:,} lines)")
    table.add_row("functions", f"{census.functions:,}")
    table.add_row("async functions", f"{census.async_functions:,}")
    table.add_row("classes", f"{census.classes:,}")
    if longest := census.longest:
        table.add_row("longest function", f"{longest.lines:,} lines: {longest.name}\n{place(longest)}")
    if deepest := census.deepest:
        table.add_row("deepest nesting", f"{deepest.depth} blocks\n{place(deepest)}")
    table.add_row(
        "most imported", ", ".join(f"{name} {count:,}" for name, count in census.top_imports(MOST)) or "-"
    )
    errors = sorted(census.errors.items())
    table.add_row("do not parse", f"{len(errors):,}")
    for file, error in errors[:MOST]:
        table.add_row("", Text.assemble(fit(shortened(file, directories)), "\n", ("  " + error, "dim")))
    if len(errors) > MOST:
        table.add_row("", f"and {len(errors) - MOST:,} more (--json FILE has them all)")
    console.print(table)


def print_runs(console: Console, runs: Sequence[Run]) -> None:
    """Print what each run took, and how much faster it was than the last one, that of a single worker."""
    table = Table(box=box.SIMPLE_HEAD, title="What it took", title_justify="left")
    for heading in ("workers", "wall time", "files/s", "speed-up"):
        table.add_column(heading, justify="right")
    for run in runs:
        speed_up = f"{runs[-1].seconds / run.seconds:.2f} x" if len(runs) > 1 else "-"
        rate = f"{run.census.files / run.seconds:,.0f}"
        table.add_row(str(run.workers), f"{run.seconds:.2f} s", rate, speed_up)
    console.print(table)


def obituary(death: Death, directories: Sequence[str]) -> str:
    """Which worker died, how, and which files it had been sent and not answered."""
    files = [f"    {shortened(file, directories)}" for file in death.in_flight]
    had = f"  {len(files)} files were in flight and are put back:" if files else "  no file was in flight"
    who = f"{death.worker} (process {death.pid}) died" if death.pid else f"{death.worker} did not start"
    return "\n".join([f"{who}: {death.how}", had, *files])


def as_json(runs: Sequence[Run], transport: str) -> str:
    """The results of the first run, and what every run took, as a JSON text."""
    took = [
        {
            "workers": run.workers,
            "seconds": run.seconds,
            "missing": run.missing,
            "died": [asdict(death) for death in run.deaths],
        }
        for run in runs
    ]
    return (
        json.dumps({"census": runs[0].census.as_dict(), "transport": transport, "runs": took}, indent=2)
        + "\n"
    )


@contextmanager
def reserved(path: str) -> Iterator[Callable[[str], None]]:
    """Open the file for results and try it out: a bad name or a full disk is known before the work begins.

    Yields a function that replaces what is in the file by a text. Both raise OSError. Until then the file
    keeps its content; one that is new and was written nothing to is removed again.
    """
    is_new = not os.path.lexists(path)
    with open(path, "ab", buffering=0) as file:
        found = os.fstat(file.fileno())
        is_regular = stat.S_ISREG(found.st_mode)
        try:
            if is_regular:
                _try_out(file, found.st_size)
            else:
                _write(file, b"\n")  # nothing can be taken back here, but JSON may begin with white space
            yield lambda text: _replace(file, text.encode(), is_regular)
        finally:
            if is_new and is_regular and os.fstat(file.fileno()).st_size == 0:
                os.unlink(path)


def _try_out(file: RawIOBase, size: int) -> None:
    """Find out whether the disk has room for results; the file is left as it was, `size` bytes long."""
    try:
        _write(file, b" " * DISK_SPACE)
    finally:
        file.truncate(size)


def _replace(file: RawIOBase, data: bytes, is_regular: bool) -> None:
    """Write the data in place of the file's content; when that fails, half of it is not left behind."""
    if not is_regular:
        _write(file, data)
        return
    file.truncate(0)
    try:
        _write(file, data)
    except OSError:
        file.truncate(0)
        raise


def _write(file: RawIOBase, data: bytes) -> None:
    """Write all of the data: an unbuffered file may take less at a time."""
    while data:
        data = data[file.write(data) or 0 :]

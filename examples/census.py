"""A census of the Python source on this machine, taken by one worker actor for each core.

The root sends file names to its workers and gets findings back, over one two-way stream for each of them.
Whoever is fast gets more; a worker that dies takes no result with it. In reading order:

    census_worker.py    what a worker does
    census.py           this file: the root, its workers, and what happens when one of them dies
    census_analysis.py  what is found in a file (no actors)
    census_report.py    how it is shown (no actors)

Run it: python examples/census.py --help
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

INTERRUPTED = 130
"""The exit status that shells give to a program ended by Ctrl-C."""


@contextmanager
def quitting_at_once() -> Iterator[None]:
    """In this block, Ctrl-C ends the program on the spot: there is nothing to clean up yet."""

    def quit_now(*_: object) -> None:
        os.write(2, b"census: interrupted\n")
        os._exit(INTERRUPTED)

    handler = signal.signal(signal.SIGINT, quit_now)
    yield
    signal.signal(signal.SIGINT, handler)


with quitting_at_once():  # loading takes a moment
    import argparse
    import math
    import time
    from itertools import product

    import trio
    from census_analysis import PACKAGES, Census, Finding, installed_source, source_files
    from census_report import (
        Death,
        Display,
        Run,
        Share,
        as_json,
        open_display,
        print_results,
        print_runs,
        reserved,
    )
    from census_worker import WINDOW, examine_files
    from rich.console import Console

    import tractor

MOST_WORKERS = 256

LOST = (tractor.ActorFailure, tractor.TransportClosed, tractor.ContextCancelled)
"""What the end of a worker raises here: it died, its connection broke, or somebody else told it to end."""


class Worker:
    """What the root knows of one worker actor, which answers in the order of the files in flight."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self.in_flight: list[str] = []
        self.done = 0
        self.how_died = ""


class Job:
    """The files of one run, shared by its workers: those still waiting, and what was found in the others."""

    def __init__(self, files: Sequence[str], workers: int) -> None:
        self.total = len(files)
        self.census = Census()
        self.workers = [Worker(f"worker-{number}") for number in range(workers)]
        self.deaths: list[Death] = []
        self.half_done = trio.Event()
        self._suspects: set[str] = set()
        self._put, self.waiting = trio.open_memory_channel[str](math.inf)
        for file in files:
            self._put.send_nowait(file)

    @property
    def missing(self) -> int:
        """How many files have no finding yet."""
        return self.total - self.census.files

    def answer(self, worker: Worker, finding: Finding) -> None:
        """Count a finding that a worker sent."""
        worker.in_flight.remove(finding.file)
        worker.done += 1
        self._add(finding)

    def bury(self, worker: Worker, how: str) -> None:
        """Put the files of a dead worker back, last the one it was examining: that may be what it died of.

        Two workers that die over the same file are enough: it is reported then, and not tried again.
        """
        death = Death(worker.name, worker.pid, how, worker.in_flight)
        self.deaths.append(death)
        worker.how_died, worker.in_flight = how, []
        for file in death.in_flight[1:]:
            self._put.send_nowait(file)
        for file in death.in_flight[:1]:
            if file in self._suspects:
                self._add(Finding(file, error=f"two workers died of it, the last one {how}"))
            else:
                self._suspects.add(file)
                self._put.send_nowait(file)

    def _add(self, finding: Finding) -> None:
        """Count a finding; after the last one, nobody waits for another file any more."""
        self.census.add(finding)
        if self.census.files * 2 >= self.total:
            self.half_done.set()
        if not self.missing:
            self._put.close()

    def shares(self) -> dict[str, Share]:
        """What each worker has done and is doing, for the display."""
        return {
            worker.name: Share(
                worker.done, worker.how_died or "".join(worker.in_flight[:1]), not worker.how_died
            )
            for worker in self.workers
        }


async def run_worker(job: Job, worker: Worker) -> None:
    """Start a worker actor, send it files for as long as there are any, and end it; or outlive it.

    An actor that dies is an error of the nursery it was started in. This one holds a single worker, so that
    the error ends this worker's part and nothing else: one nursery for each thing that may fail by itself.
    """
    try:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor(
                worker.name, enable_modules=[examine_files.__module__], inherit_parent_main=False
            )
            async with (
                portal.open_context(examine_files) as (ctx, worker.pid),
                ctx.open_stream(backpressure=True, msg_buffer_size=WINDOW) as stream,
                trio.open_nursery() as tasks,
            ):
                tasks.start_soon(collect, job, worker, stream)
                await feed(job, worker, stream)
                tasks.cancel_scope.cancel()
            await portal.cancel_actor()
    except* LOST as failures:
        job.bury(worker, cause_of_death(failures))


async def feed(job: Job, worker: Worker, stream: tractor.MsgStream[str | Finding]) -> None:
    """Send files to one worker, until there is none that anybody waits for any more."""
    with suppress(trio.EndOfChannel):  # the worker has stopped: its context is about to say why
        async for file in job.waiting:
            worker.in_flight.append(file)
            await stream.send(file)  # waits for as long as the worker has enough to do


async def collect(job: Job, worker: Worker, stream: tractor.MsgStream[str | Finding]) -> None:
    """Take in the findings of one worker."""
    async for finding in stream:
        assert isinstance(finding, Finding)
        job.answer(worker, finding)


def cause_of_death(failures: BaseExceptionGroup[BaseException]) -> str:
    """How a worker ended, such as "killed by SIGKILL", from the errors that were raised by its end."""
    errors = list(leaves(failures))
    for error in errors:
        if isinstance(error, tractor.ActorFailure | tractor.TransportClosed) and error.exit:
            last_words = getattr(error, "stderr_tail", "").splitlines()[-1:]
            return ": ".join([str(error.exit), *last_words])
    return getattr(errors[0], "message", "") or str(errors[0])


def leaves[E: BaseException](group: BaseExceptionGroup[E]) -> Iterator[E]:
    """The errors in a group and in the groups inside it."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


async def kill_busiest(job: Job) -> None:
    """Kill the worker with the most files in flight, once half of the files are done."""
    await job.half_done.wait()
    victim = max(job.workers, key=lambda worker: len(worker.in_flight))
    if victim.in_flight:
        os.kill(victim.pid, signal.SIGKILL)


async def show(job: Job, display: Display) -> None:
    """Keep the display up to date until cancelled."""
    while True:
        display.update(job.census.files, job.shares(), job.deaths)
        await trio.sleep(0.1)


async def take_census(files: Sequence[str], workers: int, display: Display, *, kill_one: bool = False) -> Run:
    """Examine the files with a number of workers; if all of them die before the end, files are missing."""
    began = time.perf_counter()
    job = Job(files, workers)
    async with trio.open_nursery() as background:
        background.start_soon(show, job, display)
        if kill_one:
            background.start_soon(kill_busiest, job)
        async with trio.open_nursery() as crew:
            for worker in job.workers:
                crew.start_soon(run_worker, job, worker)
        background.cancel_scope.cancel()
    display.update(job.census.files, job.shares(), job.deaths)
    return Run(workers, time.perf_counter() - began, job.census, job.deaths, job.missing)


async def run_all(options: argparse.Namespace, files: Sequence[str], console: Console) -> list[Run]:
    """Take the census, and again with one worker if that was not said to be left out."""
    runs: list[Run] = []
    compare = options.workers > 1 and not options.no_compare
    async with tractor.open_root_actor(enable_transports=[options.transport], start_method=options.backend):
        for workers in [options.workers, 1] if compare else [options.workers]:
            with open_display(console, workers, len(files), options.directories) as display:
                runs.append(
                    await take_census(files, workers, display, kill_one=options.kill_one and not runs)
                )
    return runs


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; one that makes no sense ends the program with status 2 and the reason."""
    parser = argparse.ArgumentParser(prog="census", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, metavar="N", help="worker actors (default: one for each core)")
    parser.add_argument(
        "--path", metavar="DIR", help="search here (default: standard library, installed packages)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the results to this file as well")
    parser.add_argument(
        "--transport", choices=["tcp", "uds"], default="tcp", help="how actors can be reached"
    )
    parser.add_argument(
        "--backend",
        choices=["trio", "forkserver", "subint"],
        default="trio",
        help="what workers are: processes, forks of one process, or interpreters of this one (default: trio)",
    )
    parser.add_argument("--kill-one", action="store_true", help="kill a worker half way, to see what happens")
    parser.add_argument("--no-compare", action="store_true", help="do not do it all again with one worker")
    options = parser.parse_args(arguments)
    if options.workers is None:
        cores = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        options.workers = max(cores, 1 + options.kill_one)
    if not 1 <= options.workers <= MOST_WORKERS:
        parser.error(f"argument --workers: must be from 1 to {MOST_WORKERS}, not {options.workers}")
    if options.kill_one and options.workers == 1:
        parser.error("argument --kill-one: needs at least two workers, one of them to finish the work")
    if options.kill_one and options.backend == "subint":
        parser.error("argument --kill-one: kills a process, and interpreters have only one")
    if options.path is not None and not os.path.isdir(options.path):
        parser.error(f"argument --path: not a directory: {options.path!r}")
    options.directories = [os.path.abspath(options.path)] if options.path is not None else installed_source()
    options.leave_out = () if options.path is not None else PACKAGES
    return options


def run_program(options: argparse.Namespace, console: Console) -> int:
    """Do what the options ask for; return the exit status."""
    files, problems = source_files(options.directories, options.leave_out)
    if not files:
        return fail(f"no Python source below {', '.join(options.directories)}")
    if options.kill_one and len(files) == 1:
        return fail("--kill-one needs two files at least: one worker is enough for a single one")
    options.workers = min(options.workers, len(files))
    with ExitStack() as stack:
        try:
            write_json = options.json and stack.enter_context(reserved(options.json))
        except OSError as error:
            return fail(f"cannot write {options.json!r}: {error.strerror}")
        runs = trio.run(
            run_all,
            options,
            files,
            console,
            restrict_keyboard_interrupt_to_checkpoints=True,  # Ctrl-C never lands in the middle of something
        )
        for run, problem in product(runs, problems):
            run.census.add(problem)
        print_results(console, runs[0].census, options.directories)
        print_runs(console, runs)
        try:
            if write_json:
                write_json(as_json(runs, options.transport))
        except OSError as error:
            return fail(f"cannot write {options.json!r}: {error.strerror}", status=1)
    if any(run.missing for run in runs):
        return fail(
            f"no worker is left: {runs[0].missing or runs[-1].missing:,} files were not examined", status=1
        )
    if runs[0].census != runs[-1].census:
        fail("the runs do not agree: files have changed meanwhile")
    return 0


def open_console() -> Console:
    """The standard output; what is printed there is never taken for markup."""
    return Console(highlight=False, markup=False, emoji=False)


def fail(reason: str, *, status: int = 2) -> int:
    """Say why the program ends without success; return the exit status for it."""
    print(f"census: {reason}", file=sys.stderr)
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status; Ctrl-C at any moment ends it with one line."""
    status = INTERRUPTED
    try:
        status = run_program(parse_options(arguments), open_console())
    except* KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the rest takes no time
        open_console().show_cursor()
        fail("interrupted")
    except* SystemExit as ended:  # an option that makes no sense, or nobody reads the output any more
        status = int(next(leaves(ended)).code or 0)
    except* OSError as errors:
        status = fail(f"cannot go on: {next(leaves(errors))}", status=1)
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # if it was the output that failed, it would again at exit
    return status


if __name__ == "__main__":
    exit_status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: there is nothing left to interrupt
    sys.exit(exit_status)

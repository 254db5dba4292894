"""What each backend makes of an actor: how fast it is there, how fast it is gone, and whether two compute at once.

Run it: python benchmarks/backends.py --help. CPython 3.14 or later. How to read the table: benchmarks/README.md.
"""

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio

import tractor
from benchmarks import _actors, _floors, _machine, _peer
from benchmarks._measure import Budget, Limits, Measure, Pair, alternate, run
from benchmarks._report import table

#: Seconds until another child is ready in advance, with time to spare; and until all are that are kept ready.
READY_AGAIN = 0.6
ALL_READY = 1.5
#: Seconds that an actor has which spins; what is measured is what it takes beyond that.
GRACE = 0.2
#: Additions that keep a core busy for some tenths of a second.
SUM = 12_000_000

#: By which a user chooses how all actors are made.
CHOICE = "TRACTOR_SPAWN_METHOD"

type Backend = tuple[str, dict[str, Any]]
PROCESS: Backend = ("trio", {})
FORK: Backend = ("forkserver", {})
OWN: Backend = ("subint", {"gil": "own"})
SHARED: Backend = ("subint", {"gil": "shared"})


async def start(backend: Backend, nursery: tractor.ActorNursery) -> tractor.Portal:
    """Start an actor that imports next to nothing."""
    return await nursery.start_actor(
        "measured", enable_modules=[_actors.__name__], inherit_parent_main=False, proc_kwargs=backend[1]
    )


def starts(backend: Backend, floor: Callable[[], float]) -> Callable[[Limits], list[Pair]]:
    """Return what `Measure.take` needs: the seconds to the first reply of an actor where another came before."""

    async def main(limits: Limits) -> list[Pair]:
        pairs: list[Pair] = []
        async with tractor.open_nursery(start_method=backend[0]) as nursery:
            await start(backend, nursery)
            while limits.allow(len(pairs)):
                await trio.sleep(READY_AGAIN)
                bare = await trio.to_thread.run_sync(floor)
                began = time.perf_counter()
                portal = await start(backend, nursery)
                await portal.run(_actors.add, a=1, b=2)
                pairs.append((bare, time.perf_counter() - began))
                await portal.cancel_actor()
            await nursery.cancel()
        return pairs

    return lambda limits: trio.run(main, limits)


def bare_fork(sock: socket.socket) -> float:
    """Return the seconds until a fork of a process that has loaded trio has answered from a trio loop of its own."""
    began = time.perf_counter()
    sock.send(_peer.READY)
    sock.recv(1)
    return time.perf_counter() - began


def forks() -> Callable[[Limits], list[Pair]]:
    """Return what `Measure.take` needs for forks."""

    def take(limits: Limits) -> list[Pair]:
        with _floors.peer("fork") as (_, sock):
            return starts(FORK, partial(bare_fork, sock))(limits)

    return take


def bare_interpreter() -> float:
    """Return the seconds until an interpreter that has loaded trio, and waits, has answered from a trio loop."""
    import _interpreters

    ours, theirs = socket.socketpair()
    ready, go = threading.Event(), threading.Event()

    def live() -> None:
        config = _interpreters.new_config("isolated", allow_daemon_threads=True)
        number = _interpreters.create(config)
        _interpreters.exec(number, f"import sys; sys.path[:] = {sys.path!r}; import os, trio")
        ready.set()
        go.wait()
        code = f"async def main(): os.write({theirs.fileno()}, b'!')\ntrio.run(main)"
        _interpreters.exec(number, code)
        _interpreters.destroy(number)

    thread = threading.Thread(target=live)
    with ours, theirs:
        thread.start()
        ready.wait()
        began = time.perf_counter()
        go.set()
        ours.recv(1)
        elapsed = time.perf_counter() - began
        thread.join()
    return elapsed


def parallel(backend: Backend) -> Callable[[Limits], list[Pair]]:
    """Return what `Measure.take` needs: the seconds of one that computes, and of two that do the same at once."""

    async def main(limits: Limits) -> list[Pair]:
        pairs: list[Pair] = []
        async with tractor.open_nursery(start_method=backend[0]) as nursery:
            portals = [await start(backend, nursery) for _ in range(2)]
            await compute(portals)
            await trio.sleep(ALL_READY)
            while limits.allow(len(pairs)):
                pairs.append((await compute(portals[:1]), await compute(portals)))
            await nursery.cancel()
        return pairs

    return lambda limits: trio.run(main, limits)


async def compute(portals: Sequence[tractor.Portal]) -> float:
    """Return the seconds in which each of them has done its sum."""
    began = time.perf_counter()
    async with trio.open_nursery() as calls:
        for portal in portals:
            calls.start_soon(partial(portal.run, _actors.compute, count=SUM))
    return time.perf_counter() - began


def end_of_a_spin(backend: Backend) -> float:
    """Return the seconds beyond its grace until an actor is gone that runs `while True: pass`."""

    async def spin(portal: tractor.Portal) -> None:
        try:
            await portal.run(_actors.spin)
        except (tractor.TransportClosed, tractor.RemoteActorError):
            pass

    async def main() -> float:
        async with (
            trio.open_nursery() as calls,
            tractor.open_nursery(start_method=backend[0], grace=GRACE) as nursery,
        ):
            calls.start_soon(spin, await start(backend, nursery))
            await trio.sleep(ALL_READY)
            began = time.perf_counter()
            await nursery.cancel()
            return time.perf_counter() - began - GRACE

    return trio.run(main)


def catalogue() -> list[Measure]:
    """Return everything that is measured."""
    ends: list[tuple[str, str, Backend]] = [
        ("process", "a process", PROCESS),
        ("own", "an interpreter, own GIL", OWN),
        ("shared", "an interpreter, shared GIL", SHARED),
    ]
    return [
        Measure(
            "fork",
            "start a fork, to its first reply",
            "ms",
            forks(),
            rounds=20,
            budget=Budget("figure", 10),
        ),
        Measure(
            "warm",
            "start an interpreter, to its first reply",
            "ms",
            starts(OWN, bare_interpreter),
            rounds=20,
            budget=Budget("figure", 5),
        ),
        Measure(
            "parallel-own",
            "two interpreters that compute, own GIL",
            "ms",
            parallel(OWN),
            rounds=10,
            budget=Budget("ratio", 1.053),
        ),
        Measure(
            "parallel-shared", "two interpreters that compute, shared GIL", "ms", parallel(SHARED), rounds=5
        ),
        *(
            Measure(
                f"spin-{name}",
                f"end {title} that spins, beyond its grace",
                "ms",
                alternate(_floors.kill, partial(end_of_a_spin, backend)),
                rounds=8,
                budget=Budget("figure", 50),
            )
            for name, title, backend in ends
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, return the exit status: 0, or 1 where something could not be measured."""
    parser = argparse.ArgumentParser(description="Measure what each backend makes of an actor.")
    names = [measure.name for measure in catalogue()]
    parser.add_argument("--only", metavar="NAME", action="append", choices=names, help=f"only {names}")
    parser.add_argument("--rounds", metavar="N", type=int, help="at most so many rounds of each")
    options = parser.parse_args(arguments)
    print(", ".join(f"{name} {value}" for name, value in _machine.describe().items()), flush=True)
    # What is measured decides itself how its actors are made.
    chosen = os.environ.pop(CHOICE, None)
    try:
        rows = [
            run(measure, most_rounds=options.rounds, seconds=30.0)
            for measure in catalogue()
            if options.only is None or measure.name in options.only
        ]
    finally:
        if chosen is not None:
            os.environ[CHOICE] = chosen
    print(f"\n{table(rows)}")
    return 1 if any(row.failure for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

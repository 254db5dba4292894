"""The bare floors: the same work with trio, sockets and processes alone.

Those of messages run in a thread of this process, beside the trio loop that runs ours: the two take turns of some
ten milliseconds, with the same interpreter and the same heap, and neither loop knows of the other. Their peers are
fresh processes, as actors are.
"""

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import outcome
import trio
from msgspec import msgpack

from benchmarks import _peer
from benchmarks._machine import ALL_CORES, python

#: Runs one round of so many messages, returns its figure.
type Work = Callable[[trio.socket.SocketType, int], Awaitable[float]]

#: Bytes of one message of a round trip: about what a small call takes on the wire.
MESSAGE = bytes(80)
#: Seconds that a round may take, and that a peer has to end in.
PATIENCE = 30.0


@contextmanager
def peer(
    role: str, *, count: int = 0, cpus: frozenset[int] = ALL_CORES
) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Run a process in one of the roles of `_peer`; yields it and our end of the socket pair."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            fd = theirs.fileno()
            arguments = [role, str(fd), str(count), *map(str, sorted(cpus))]
            process = subprocess.Popen(python(_peer.__file__, *arguments), pass_fds=[fd])
        try:
            if ours.recv(1) != _peer.READY:
                raise RuntimeError(f"the peer {role!r} did not come up")
            yield process, ours
        finally:
            # Not only closed: a thread that still waits for the peer sees the end of the stream.
            ours.shutdown(socket.SHUT_RDWR)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()


@contextmanager
def floor(
    role: str, work: Work, count: int, cpus: frozenset[int] = ALL_CORES
) -> Iterator[Callable[[], float]]:
    """Yield a function that runs one round of `work`, with `count` messages, in a thread that stays on `cpus`."""
    with (
        ThreadPoolExecutor(1, initializer=partial(os.sched_setaffinity, 0, cpus)) as thread,
        peer(role, count=count, cpus=cpus) as (_, sock),
    ):
        stream = trio.socket.from_stdlib_socket(sock)
        yield lambda: thread.submit(trio.run, work, stream, count).result(PATIENCE)


async def receive(stream: trio.socket.SocketType) -> bytes:
    """Return what has come; `EOFError` when the peer has ended."""
    if not (data := await stream.recv(_peer.READ)):
        raise EOFError("the peer has ended in the middle of a round")
    return data


async def echo(stream: trio.socket.SocketType, count: int) -> float:
    """Return the seconds of one round trip between two trio loops."""
    began = time.perf_counter()
    for _ in range(count):
        await stream.send(MESSAGE)
        await stream.recv(1024)
    return (time.perf_counter() - began) / count


async def calls(stream: trio.socket.SocketType, count: int, *, in_flight: int) -> float:
    """Return how many calls are done in a second, with no more than a call cannot do without."""
    encode, decode = msgpack.Encoder().encode, msgpack.Decoder().decode
    share = max(count // in_flight, 1)
    requests: list[bytes] = []
    waiting: dict[int, trio.lowlevel.Task] = {}
    serials = itertools.count()

    async def caller() -> None:
        for _ in range(share):
            serial = next(serials)
            body = encode(("benchmarks:add", {"a": 1, "b": 2}))
            requests.append(_peer.HEADER.pack(len(body), 1, serial) + body)
            waiting[serial] = trio.lowlevel.current_task()
            decode(await trio.lowlevel.wait_task_rescheduled(_never_cancelled))

    began = time.perf_counter()
    rest = b""
    async with trio.open_nursery() as callers:
        for _ in range(in_flight):
            callers.start_soon(caller)
        await _peer.let_all_run()
        while waiting:
            if requests:
                await stream.send(b"".join(requests))
                requests.clear()
            replies, rest = _peer.cut(rest + await receive(stream))
            for serial, body in replies:
                trio.lowlevel.reschedule(waiting.pop(serial), outcome.Value(body))
            # They run, and ask for more, before the next write.
            await _peer.let_all_run()
    return share * in_flight / (time.perf_counter() - began)


def _never_cancelled(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


async def stream(stream: trio.socket.SocketType, count: int) -> float:
    """Return how many ready-made messages a second one trio loop gets from another; none is encoded or decoded."""
    rest, left = b"", count
    began = time.perf_counter()
    await stream.send(_peer.READY)
    while left:
        bodies, rest = _peer.cut(rest + await receive(stream))
        left -= len(bodies)
    return count / (time.perf_counter() - began)


def start() -> float:
    """Return the seconds of a whole process that imports trio and ends."""
    began = time.perf_counter()
    subprocess.run(python("-c", "import trio"), check=True)
    return time.perf_counter() - began


def kill() -> float:
    """Return the seconds from killing a process that has loaded trio until it is gone."""
    with peer("idle") as (process, _):
        began = time.perf_counter()
        process.kill()
        process.wait()
        return time.perf_counter() - began

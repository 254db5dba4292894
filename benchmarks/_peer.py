"""The other process of a bare floor, run by path.

Usage: _peer.py ROLE FD COUNT [CPU...]

It answers on the socket it has inherited, says that it is ready with one byte, and ends with the end of the stream.
It uses trio, msgspec and a socket, and nothing of tractor.
"""

import os
import signal
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

READY = b"!"
#: What is in front of a body: its length, 32 bits for a tag, an id.
HEADER = struct.Struct("<IIQ")
#: Bytes of the body of a streamed message.
ITEM = bytes(100)
#: A sender that collects small messages writes about this many bytes at once.
BATCH = 64 * 1024
READ = 256 * 1024


def cut(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Cut whole messages off `data`: the id and body of each, and the rest."""
    unpack, size = HEADER.unpack_from, HEADER.size
    found = []
    start, end = 0, len(data)
    while end - start >= size:
        length, _, serial = unpack(data, start)
        stop = start + size + length
        if stop > end:
            break
        found.append((serial, data[start + size : stop]))
        start = stop
    return found, data[start:]


async def let_all_run() -> None:
    """Return when every task that could run has run."""
    # In the first turn of the loop they run before or after this one: the order is random.
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()


async def echo(stream: trio.socket.SocketType, count: int) -> None:  # noqa: ARG001 - one shape for all roles
    """Send back what comes."""
    while data := await stream.recv(READ):
        await stream.send(data)


async def serve(stream: trio.socket.SocketType, count: int) -> None:  # noqa: ARG001
    """Do what a call cannot do without: decode, run a function in a task of its own, encode; one write for a burst."""
    from msgspec import msgpack

    encode, decode = msgpack.Encoder().encode, msgpack.Decoder().decode
    replies: list[bytes] = []

    async def add(a: int, b: int) -> int:
        return a + b

    functions: dict[str, Callable[..., Awaitable[Any]]] = {"benchmarks:add": add}

    async def task(serial: int, body: bytes) -> None:
        name, arguments = decode(body)
        reply = encode(await functions[name](**arguments))
        replies.append(HEADER.pack(len(reply), 2, serial) + reply)

    rest = b""
    async with trio.open_nursery() as nursery:
        while data := await stream.recv(READ):
            requests, rest = cut(rest + data)
            for request in requests:
                nursery.start_soon(task, *request)
            await let_all_run()
            await stream.send(b"".join(replies))
            replies.clear()


async def pour(stream: trio.socket.SocketType, count: int) -> None:
    """Send `count` ready-made messages for each byte that comes."""
    pack = HEADER.pack
    output = trio.SocketStream(stream)
    while await output.receive_some(1):
        batch = bytearray()
        for serial in range(count):
            batch += pack(len(ITEM), 1, serial)
            batch += ITEM
            if len(batch) >= BATCH:
                await output.send_all(batch)
                batch = bytearray()
        await output.send_all(batch)


async def idle(stream: trio.socket.SocketType, count: int) -> None:  # noqa: ARG001
    """Wait."""
    await stream.recv(1)


def fork(sock: socket.socket) -> None:
    """For each byte that comes, fork, and have the fork answer from a trio loop; this process never runs one."""

    async def answer() -> None:
        await trio.socket.from_stdlib_socket(sock).send(READY)

    while sock.recv(1):
        pid = os.fork()
        if pid == 0:
            trio.run(answer)
            os._exit(0)
        os.waitpid(pid, 0)
        # The fork's loop has changed that for both.
        sock.setblocking(True)


ROLES: dict[str, Callable[[trio.socket.SocketType, int], Awaitable[None]]] = {
    "echo": echo,
    "serve": serve,
    "pour": pour,
    "idle": idle,
}

if __name__ == "__main__":
    # Ctrl-C in a terminal reaches us as well; the program that started us closes the socket then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    role, fd, count, *cpus = sys.argv[1:]
    os.sched_setaffinity(0, map(int, cpus))
    with socket.socket(fileno=int(fd)) as inherited:
        inherited.send(READY)
        if role == "fork":
            fork(inherited)
            sys.exit()
        trio.run(ROLES[role], trio.socket.from_stdlib_socket(inherited), int(count))

"""Functions that the tests run in other actors: what well-behaved and stubborn code does there.

Kept apart from the tests, so that a child need not import pytest to find them.
"""

import atexit
import os
import signal
import socket
import sys
import threading
import time
from typing import Any, NoReturn

import trio

import tractor
from tests.programs import bodies
from tractor.ipc._transport import SocketTransport


async def add(a: int, b: int) -> int:
    """Return the sum."""
    return a + b


async def get_body() -> int:
    """Return the body this runs in: the pid of a process."""
    return bodies.find_body()


async def kill_self() -> None:
    """End this body by SIGKILL, or what is nearest to that."""
    await bodies.kill_self()


async def describe() -> dict[str, Any]:
    """Return what this actor knows of itself and of the process it lives in."""
    actor = tractor.current_actor()
    return {
        "name": actor.name,
        "pid": os.getpid(),
        "body": bodies.find_body(),
        "root": tractor.is_root_process(),
        "cwd": os.getcwd(),
        "loglevel": actor.loglevel,
        "path": sys.path,
        "addrs": [list(addr) for addr in actor.accept_addrs],
        "title": open("/proc/self/cmdline").read(),
    }


async def get_env(name: str) -> str | None:
    """Return a variable of the environment."""
    return os.environ.get(name)


async def write_fd(fd: int, text: str) -> None:
    """Write to a descriptor that was inherited."""
    os.write(fd, text.encode())


async def get_fds() -> dict[str, str]:
    """Return what is open in this process: targets by descriptor."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            pass
    return found


async def print_twice(text: str) -> None:
    """Write to stdout and to stderr."""
    print(text, flush=True)
    print(text, file=sys.stderr, flush=True)


async def fail(message: str = "as told", delay: float = 0.0) -> NoReturn:
    """Raise `AssertionError` after `delay` seconds."""
    await trio.sleep(delay)
    raise AssertionError(message)


async def fail_late(message: str, moment: float) -> NoReturn:
    """Raise `AssertionError` at a moment of the monotonic clock that all processes share."""
    await trio.sleep(max(0.0, moment - time.monotonic()))
    raise AssertionError(message)


async def sleep_for(seconds: float) -> float:
    """Return after so many seconds, with their number."""
    await trio.sleep(seconds)
    return seconds


async def wait_for_file(path: str) -> float:
    """Return when there is such a file, with the seconds that took."""
    began = trio.current_time()
    while not os.path.exists(path):
        await trio.sleep(0.01)
    return trio.current_time() - began


async def sleep_forever() -> NoReturn:
    """Wait in order."""
    await trio.sleep_forever()
    raise AssertionError("unreachable")


async def block(seconds: float = 60.0) -> None:
    """Sleep in C code: the loop does not turn."""
    bodies.block(seconds)


async def break_channel() -> None:
    """Shut the connection to the parent down, and block the loop: this actor does not notice what it has done."""
    channel = tractor.current_actor().get_parent().chan
    assert isinstance(channel.transport, SocketTransport)
    channel.transport._sock.shutdown(socket.SHUT_RDWR)
    bodies.block()


async def spin() -> NoReturn:
    """Compute for ever: the loop does not turn."""
    while True:
        pass


async def shielded() -> None:
    """Wait where no cancellation reaches."""
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def deaf() -> None:
    """Ignore every polite signal and sleep in C code; where no signal comes, ignore what comes instead."""
    if bodies.is_interpreter():
        await swallow()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(1)


async def swallow() -> None:
    """Ignore every cancellation and every interrupt."""
    while True:
        try:
            await trio.sleep_forever()
        except BaseException:  # noqa: BLE001 - this is what such code does
            time.sleep(0.01)


async def hold_exit() -> None:
    """Leave a thread that keeps the interpreter from ending, then return."""
    threading.Thread(target=bodies.block).start()


async def exit_hard(code: int) -> NoReturn:
    """End the body without any clean-up; the status is 1 where there can be no other."""
    await bodies.die(code)


async def exit_softly(code: int) -> NoReturn:
    """Raise `SystemExit`."""
    sys.exit(code)


async def interrupt_self() -> NoReturn:
    """Raise `KeyboardInterrupt`."""
    raise KeyboardInterrupt


async def send_signal(number: int) -> None:
    """Send a signal to this very process, then wait in order; an interpreter, which none can reach, dies at once."""
    if bodies.is_interpreter():
        await bodies.die()
    os.kill(os.getpid(), number)
    await trio.sleep_forever()


async def cancel_self() -> None:
    """Ask this very actor to end, then wait in order."""
    tractor.current_actor().cancel_soon()
    await trio.sleep_forever()


def _raise_error() -> NoReturn:
    raise ValueError("not clean")


async def spoil_the_end(how: str) -> None:
    """Let the last steps of this actor go wrong: `raise` an error, `exit`, die of a `signal`, or exit `late`."""
    stack = tractor.current_actor().lifetime_stack
    if how == "raise":
        stack.callback(_raise_error)
    elif how == "exit":
        leave: Any = sys.exit if bodies.is_interpreter() else os._exit
        stack.callback(leave, 3)
    elif how == "signal":
        stack.callback(os.kill, os.getpid(), signal.SIGSEGV)
    else:
        atexit.register(os._exit, 4)


async def clean_up_slowly(path: str, seconds: float) -> None:
    """Wait in order; when cancelled take so many seconds, then note in a file that the clean-up was finished."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        with open(path, "a") as file:
            file.write("clean\n")


async def nest(depth: int, target: str, path: str) -> None:
    """Run `target` (a function of this module) `depth` levels further down; append each level's body to a file."""
    with open(path, "a") as file:
        file.write(f"{bodies.find_body()}\n")
    if depth == 0:
        await globals()[target]()
        return
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor(f"level{depth}", enable_modules=[__name__])
        await portal.run(nest, depth=depth - 1, target=target, path=path)


async def spawn_and_leave() -> list[int]:
    """Start two children of this actor, use them and end them; return their bodies."""
    async with tractor.open_nursery() as nursery:
        portals = [await nursery.start_actor(f"kid{i}", enable_modules=[__name__]) for i in range(2)]
        found = [await portal.run(get_body) for portal in portals]
        await nursery.cancel()
    return found


@tractor.context
async def wait_ctx(ctx: tractor.Context) -> NoReturn:
    """Start, then wait in order."""
    await ctx.started(bodies.find_body())
    await trio.sleep_forever()
    raise AssertionError("unreachable")


@tractor.context
async def block_ctx(ctx: tractor.Context) -> None:
    """Start, then block the loop."""
    await ctx.started(bodies.find_body())
    await trio.sleep(0.05)
    bodies.block()


@tractor.context
async def pour(ctx: tractor.Context) -> None:
    """Stream numbers until ended."""
    await ctx.started(bodies.find_body())
    async with ctx.open_stream(backpressure=True) as stream:
        number = 0
        while True:
            await stream.send(number)
            number += 1


async def clean_up_shielded(path: str) -> None:
    """Wait where no cancellation reaches; note in a file that the way out was taken."""
    try:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()
    finally:
        with open(path, "a") as file:
            file.write("clean\n")


async def cancel_root() -> None:
    """Ask the root of this tree to end, then wait in order."""
    assert await tractor.current_actor().get_parent().cancel_actor()
    await trio.sleep_forever()


async def call_root(what: str) -> None:
    """Run a function of this module in the parent."""
    await (
        tractor.current_actor()
        .get_parent()
        .run_from_ns(__name__, what, **({"code": 3} if "exit" in what else {}))
    )

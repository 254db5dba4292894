"""What actors of `multiprocessing` find and do; also a program whose main module notes each time it is run.

Usage: python multi.py KEY FILE
"""

import multiprocessing
import os
import sys
from multiprocessing import util
from pathlib import Path
from typing import Any

import trio

import tractor

# Not where a test imports it, whose arguments are others.
if __name__ != "tests.programs.multi" and len(sys.argv) == 3:
    with open(sys.argv[2], "a") as file:
        file.write(f"{__name__}\n")


async def look() -> dict[str, Any]:
    """Return what `multiprocessing` says of this process, and where this module was loaded first."""
    parent = multiprocessing.parent_process()
    return {
        "name": multiprocessing.current_process().name,
        "parent": None if parent is None else (parent.pid, parent.is_alive()),
        "ppid": os.getppid(),
        "imported_in": _IMPORTED_IN,
        "greeting": os.environ.get("GREETING"),
        "authkey": bytes(multiprocessing.current_process().authkey),
    }


_IMPORTED_IN = os.getpid()


async def look_below(key: str) -> dict[str, Any]:
    """Do the same in a child."""
    async with tractor.open_nursery(start_method=key) as nursery:
        portal = await nursery.start_actor("below", enable_modules=[__name__])
        seen: dict[str, Any] = await portal.run(look)
        await nursery.cancel()
    return seen


async def use(path: str) -> int:
    """Use what the library has, and leave the rest of it to the end of the process."""
    from multiprocessing import shared_memory

    util.Finalize(None, Path(path).write_text, args=("finalized",), exitpriority=10)
    memory = shared_memory.SharedMemory(create=True, size=10)
    context = multiprocessing.get_context("spawn")
    lock = context.Lock()
    buffer = memory.buf
    assert buffer is not None
    with lock:
        buffer[0] = 42
    value: int = buffer[0]
    del buffer
    memory.close()
    memory.unlink()
    return value


async def main(key: str) -> None:
    """Run a function of this script in a child, and one in its child."""
    async with tractor.open_nursery(start_method=key, registry_addrs=[]) as nursery:
        portal = await nursery.start_actor("kid", enable_modules=[__name__])
        assert (await portal.run(look))["name"] == "kid"
        await nursery.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1])

"""What actors that were forked have and do, and modules for a fork server to import."""

import gc
import multiprocessing.process
import os
import random
import signal
import sys
from typing import Any

import tractor
from tests.programs import actors

#: Set in whichever process imports this first: a server that preloads it, or a child.
IMPORTED_IN = os.getpid()


async def look() -> dict[str, Any]:
    """Return what a process has of its own, and what it is told."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "pid": os.getpid(),
        "server": os.getppid(),
        "imported_in": IMPORTED_IN,
        "argv": sys.argv,
        "cwd": os.getcwd(),
        "umask": umask,
        "session": os.getsid(0),
        "greeting": os.environb.get(b"GREETING"),
        "ignores_hup": signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
        "blocked": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))),
        "collects": gc.isenabled(),
        "frozen": gc.get_freeze_count() > 0,
        "random": random.random(),
        "authkey": bytes(multiprocessing.process.current_process().authkey),
        "limit": os.sysconf("SC_OPEN_MAX"),
        "server_module": "tractor._child._forkserver" in sys.modules,
    }


async def look_below(kill_server: bool = False) -> list[dict[str, Any]]:
    """Do so here and in a child; without the server that has made this process if it is to be killed before."""
    above = await look()
    if kill_server:
        os.kill(above["server"], signal.SIGKILL)
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("below", enable_modules=[__name__, actors.__name__])
        below = await portal.run(look)
        await nursery.cancel()
    return [above, below]


async def read_and_write(text: str) -> str:
    """Write to stdout and stderr without flushing; return what stdin has."""
    print(text, "out")
    print(text, "err", file=sys.stderr)
    return sys.stdin.read()

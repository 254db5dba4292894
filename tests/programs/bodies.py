"""What actors are made of: tests ask the same of processes and of interpreters, in the form that each has.

A body is known by the number of the thread that its actor runs on. That of a process is its pid, and the kernel knows both.
"""

import os
import signal
import threading
import time
from typing import NoReturn

import trio

import tractor
from tractor.spawn._backend import SHARING

#: Whether the actors of this session's tests share their process.
SHARED = os.environ.get("TRACTOR_SPAWN_METHOD") in SHARING
#: What whoever waits for an actor is told that its nursery kills. An interpreter is ended from inside only, so that the
#: function may still be able to say by what.
BY_FORCE = "killed|KeyboardInterrupt" if SHARED else "killed by SIGKILL"
LOST = (tractor.TransportClosed, tractor.RemoteActorError) if SHARED else (tractor.TransportClosed,)
#: Seconds in which many bodies are gone that nothing holds, on a busy machine. To take interpreters apart is work.
SOON = 5.0 if SHARED else 2.0
#: Seconds that force may take; a body that only ends from inside is told so again and again for two seconds.
FORCE = 2.5 if SHARED else 0.5
#: Seconds in one call into C that can be ended all the same, and source that waits in such calls.
IN_C = 0.05 if SHARED else 60
SLEEP = f"import time\nwhile True: time.sleep({IN_C})\n"


def death(said: str) -> str:
    """Return how an actor has ended that has died in the middle of its life: what is `said` of a process."""
    return "exit status 1" if SHARED else said


SLAIN = death("killed by SIGKILL")


def is_interpreter() -> bool:
    """Whether this code runs in an interpreter beside others in its process."""
    import _interpreters

    number: int = _interpreters.get_current()[0]
    return number != 0


def find_body() -> int:
    """Return the body of the actor whose task calls."""
    return threading.get_native_id()


async def get_body() -> int:
    """Return the body that this runs in."""
    return find_body()


async def die(code: int = 1) -> NoReturn:
    """End this body with a status, without any clean-up or farewell; that of an interpreter is always 1.

    In an interpreter the loop breaks down with all of its tasks: the runtime, and what the tasks would still do, included.
    """
    if not is_interpreter():
        os._exit(code)
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.lowlevel.wait_task_rescheduled(_break_down)
    raise AssertionError("unreachable")


def _break_down(_: object) -> NoReturn:
    raise RuntimeError("this loop breaks down because a test wants that")


async def kill_self() -> None:
    """End this body by SIGKILL, or the nearest to it that an interpreter knows."""
    if is_interpreter():
        await die()
    os.kill(os.getpid(), signal.SIGKILL)
    await trio.sleep_forever()


async def kill_self_soon() -> None:
    """The same, when the answer to this has been sent."""

    async def wait() -> None:
        await trio.sleep(0.01)
        await kill_self()

    trio.lowlevel.spawn_system_task(wait)


async def slay(portal: tractor.Portal) -> None:
    """End an actor that has this module, without a word to it where that is possible: by SIGKILL."""
    pid = portal.aid.pid
    assert pid is not None
    if pid == os.getpid():
        await portal.run(kill_self_soon)
    else:
        os.kill(pid, signal.SIGKILL)


def block(seconds: float = 60.0) -> None:
    """Keep the loop from turning: in one call into C, or in many where one cannot be ended; see docs/interpreters.md#the-end."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05) if is_interpreter() else left)


def is_there(portal: tractor.Portal) -> bool:
    """Tell whether the body of a child is there; of those that share our process, whether there is any."""
    pid = portal.aid.pid
    assert pid is not None
    if pid == os.getpid():
        return any(thread.name == "tractor-interpreter" for thread in threading.enumerate())
    # Children import this module, too.
    from tests.programs.watch import is_alive

    return is_alive(pid)

"""What a child in an interpreter may do that keeps it from ending."""

import threading
import time
from typing import NoReturn

import trio

import tractor


async def wait_for_event() -> NoReturn:
    """Wait in C for a second at a time, and never for the loop."""
    while True:
        threading.Event().wait(1.0)


async def nap() -> NoReturn:
    """The same, more often."""
    while True:
        time.sleep(0.1)


async def spin_and_swallow() -> NoReturn:
    """Compute for ever, and ignore every third interrupt or more."""
    for _ in range(2):
        try:
            while True:
                pass
        except BaseException:  # noqa: BLE001 - this is what such code does
            continue
    while True:
        pass


async def wait_in_thread() -> None:
    """Have a worker thread that takes a second, and wait for it where that can be cancelled."""
    await trio.to_thread.run_sync(time.sleep, 1.0, abandon_on_cancel=True)


async def leave_thread(seconds: float) -> None:
    """Start a thread that a process would wait for, and return."""
    threading.Thread(target=time.sleep, args=(seconds,)).start()


async def spin_in_thread() -> None:
    """Leave a daemon thread that computes for ever, and return."""
    threading.Thread(target=_spin, daemon=True).start()


def _spin() -> None:
    while True:
        pass


async def sleep_in_c(seconds: float) -> None:
    """Sleep where nothing interrupts it."""
    time.sleep(seconds)


async def fail(number: int) -> NoReturn:
    """Raise."""
    raise ValueError(f"number {number}")


async def with_child(module: str, act: str) -> None:
    """Have a child, an interpreter as well, that does something."""
    async with tractor.open_nursery(start_method="subint", grace=0.1) as nursery:
        portal = await nursery.start_actor("inner", enable_modules=[module])
        await portal.run_from_ns(module, act)

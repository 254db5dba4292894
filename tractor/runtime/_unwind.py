"""Waiting for a peer's task that was asked to end: as long as the peer lives, and no longer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from tractor.log import get_logger
from tractor.runtime._router import Router
from tractor.trionics._interrupts import is_interrupt

log = get_logger(__name__)

#: Seconds in which most tasks have ended, so that nothing needs to be asked.
PATIENCE = 0.1
#: Seconds without an answer after which the peer's loop is taken to be stuck.
ANSWER_TIMEOUT = 0.4
#: Seconds that the task of a peer whose loop does turn has to end.
UNWIND_TIMEOUT = 5.0
#: The same after Ctrl-C, which leaves less than two seconds for this and for the end of every child.
INTERRUPT_TIMEOUT = 0.35


async def wait_unwound(
    router: Router, wait: Callable[[], Awaitable[object]], cause: BaseException, what: str
) -> bool:
    """Wait, shielded, until `wait()` returns: the peer's task `what`, which was asked to end because of `cause`, has ended.

    False where it is given up on, and left to whoever supervises the peer: its loop does not turn, its task goes on and
    on, or Ctrl-C leaves no time.
    """
    timeout = INTERRUPT_TIMEOUT if is_interrupt(cause) else UNWIND_TIMEOUT
    with trio.move_on_after(timeout, shield=True) as patience:
        with trio.move_on_after(PATIENCE):
            await wait()
            return True
        answered = True
        while answered:
            pong = router.ping()
            with trio.move_on_after(ANSWER_TIMEOUT):
                await wait()
                return True
            answered = pong.is_set()
    why = "it does not end" if patience.cancelled_caught else "the peer does not answer"
    log.warning("leaving a task behind", extra={"task": what, "peer": str(router.peer), "why": why})
    return False

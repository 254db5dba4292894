"""How long a requester can wait, as it travels with the request: a budget of seconds, because no two hosts share a clock."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from tractor.msg._boxed import ContextCancelled

if TYPE_CHECKING:
    from trio._core._run import CancelStatus

#: Body of a DEADLINE frame: so many seconds from now, or infinity.
DEADLINE = struct.Struct("<d")

#: The peer's clock may be ahead of ours by this many seconds when it says that our deadline has passed.
_SKEW = 1.0


def find_budget() -> float | None:
    """Return the seconds that are left to the running task; None without a limit."""
    deadline = trio.current_effective_deadline()
    return None if deadline == math.inf else max(deadline - trio.current_time(), 0.0)


def find_deadline(scope: trio.CancelScope) -> float:
    """Return when `scope`, of whichever task, will end by its deadline or one around it, in trio's clock."""
    # trio has no public way to ask this, but for the innermost scope of the running task.
    status: CancelStatus | None = scope._cancel_status
    return -math.inf if status is None else status.effective_deadline()


def bound(scope: trio.CancelScope, began: float, budget: float) -> None:
    """Let `scope` end `budget` seconds after `began`, in trio's clock; at once where that is over already."""
    now = trio.current_time()
    # NaN is no time at all.
    if not began + budget > now:
        scope.cancel(reason="the time of the caller was over before its request could be served")
    scope.deadline = max(began + budget, now) if budget > 0 else now


async def wait_own_deadline(error: BaseException) -> None:
    """Let the running task's own deadline pass, where `error` is the peer's word that it has: then that ends the task.

    Returns where `error` is another one, or no deadline is about to pass.
    """
    if not (isinstance(error, ContextCancelled) and error.by_deadline):
        return
    deadline = trio.current_effective_deadline()
    if deadline - trio.current_time() < _SKEW:
        await trio.sleep_until(deadline)


async def watch_deadline(scope: trio.CancelScope, budget: float, announce: Callable[[float], None]) -> None:
    """Announce each move of the deadline of `scope`, which had `budget` seconds left, before the old one passes.

    A watchdog that is fed all the time moves its deadline as often; only the moves that matter are announced.
    """
    announced = trio.current_time() + budget
    while True:
        margin = min(budget / 4, _SKEW)
        await trio.sleep_until(announced - margin)
        while (deadline := find_deadline(scope)) <= announced:
            if trio.current_time() >= announced:
                return
            await trio.sleep(max(margin / 4, 0.001))
        announced, budget = deadline, deadline - trio.current_time()
        announce(budget)

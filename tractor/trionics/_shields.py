"""Take the shields away from tasks that would otherwise never notice that they are cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from trio._core._run import CancelStatus


def lift_shields(nursery: trio.Nursery) -> int:
    """Unshield every scope of the tasks in `nursery` and below it; return how many shields there were.

    Must run inside the trio loop. The tasks then unwind in order, through their own `finally` blocks.
    """
    lifted = 0
    tasks = list(nursery.child_tasks)
    while tasks:
        task = tasks.pop()
        # trio has no public way from a task to the scopes it is in; the chain ends at the nursery's own scope.
        status: CancelStatus | None = task._cancel_status
        while status is not None and status._scope is not nursery.cancel_scope:
            if status._scope.shield:
                status._scope.shield = False
                lifted += 1
            status = status._parent
        for inner in task.child_nurseries:
            tasks.extend(inner.child_tasks)
    return lifted

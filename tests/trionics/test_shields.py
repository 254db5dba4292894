"""Taking shields away, so that unwinding is orderly all the same."""

import trio
from trio.testing import wait_all_tasks_blocked

from tractor.trionics._shields import lift_shields


async def test_a_shielded_task_of_a_cancelled_nursery_unwinds() -> None:
    """Through its own `finally`."""
    log: list[str] = []

    async def stubborn() -> None:
        try:
            with trio.CancelScope(shield=True), trio.CancelScope(shield=True):
                await trio.sleep_forever()
        finally:
            log.append("unwound")

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stubborn)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            await wait_all_tasks_blocked_here()
            assert log == []
            assert lift_shields(nursery) == 2
    assert log == ["unwound"]


async def wait_all_tasks_blocked_here() -> None:
    """Wait although the calling task is cancelled."""
    with trio.CancelScope(shield=True):
        await wait_all_tasks_blocked()


async def test_tasks_below_tasks_are_found() -> None:
    """In nurseries inside the tasks, at any depth; a scope that several tasks are in counts once."""

    async def leaf() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()

    async def branch(depth: int) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as inner:
                for _ in range(2):
                    inner.start_soon(branch, depth - 1) if depth else inner.start_soon(leaf)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(branch, 2)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            assert lift_shields(nursery) == 1 + 2 + 4 + 8
            assert lift_shields(nursery) == 0


async def test_shields_outside_the_nursery_stay() -> None:
    """They are somebody else's, and hold for the nursery too."""
    with trio.CancelScope(shield=True) as outer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            assert lift_shields(nursery) == 0
            assert outer.shield
            nursery.cancel_scope.cancel()


async def test_a_task_that_is_not_cancelled_goes_on() -> None:
    """Lifting a shield cancels nothing by itself."""
    done = trio.Event()

    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.01)
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shielded)
        await wait_all_tasks_blocked()
        assert lift_shields(nursery) == 1
    assert done.is_set()

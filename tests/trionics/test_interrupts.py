"""Which tasks end because of Ctrl-C."""

import os
import signal

import pytest
import trio
import trio.testing

from tractor.trionics._interrupts import is_interrupt


@pytest.mark.parametrize("where", ["in the block", "while the nursery waits"])
def test_the_tasks_that_an_interrupt_cancels_can_tell(where: str) -> None:
    """However deep they are below the nursery that it came to."""
    told: list[bool] = []

    async def wait() -> None:
        with pytest.raises(trio.Cancelled) as caught:
            await trio.sleep_forever()
        told.append(is_interrupt(caught.value))
        raise caught.value

    async def wait_deeper() -> None:
        async with trio.open_nursery() as inner:
            inner.start_soon(wait)

    async def interrupt() -> None:
        await trio.testing.wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGINT)

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait_deeper)
            trio.lowlevel.spawn_system_task(interrupt)
            if where == "in the block":
                await trio.sleep_forever()

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main)
    assert told == [True, True]


async def test_other_ends_are_none() -> None:
    """A deadline, somebody's own cancellation, any other error."""
    with trio.move_on_after(0), pytest.raises(trio.Cancelled) as deadline:
        await trio.sleep_forever()
    assert not is_interrupt(deadline.value)
    with trio.CancelScope() as scope:
        scope.cancel(reason="enough")
        with pytest.raises(trio.Cancelled) as own:
            await trio.sleep_forever()
    assert not is_interrupt(own.value)
    assert not is_interrupt(ValueError("x"))
    assert is_interrupt(KeyboardInterrupt())
    assert is_interrupt(BaseExceptionGroup("x", [ValueError("x"), KeyboardInterrupt()]))
    assert not is_interrupt(ExceptionGroup("x", [ValueError("x")]))

"""A cancellation is heard of when it comes, not when the cancelled block has got round to it."""

import signal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor.trionics._watch import watch_cancellation


class Heard:
    """Notes when it was called, and why."""

    def __init__(self) -> None:
        self.moments: list[float] = []
        self.causes: list[trio.Cancelled] = []

    def __call__(self, cause: trio.Cancelled) -> None:
        """Note it."""
        self.moments.append(trio.current_time())
        self.causes.append(cause)


@pytest.mark.parametrize("shield", [False, True])
def test_it_is_heard_of_at_once_while_the_block_takes_its_time(shield: bool) -> None:
    """Behind a shield, or in a clean-up that is: the block goes on as it would have."""
    heard = Heard()

    async def main() -> None:
        with trio.move_on_after(1.0) as scope:
            async with watch_cancellation(heard):
                try:
                    with trio.CancelScope(shield=shield):
                        await trio.sleep(5.0 if shield else 100.0)
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(2.0)
                    assert heard.moments == [1.0]
        assert trio.current_time() == (7.0 if shield else 3.0)
        assert scope.cancelled_caught is not shield

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert heard.moments == [1.0]
    assert heard.causes[0].source == "deadline"


async def test_a_block_that_is_not_cancelled_is_no_news() -> None:
    """Nor is the end of it, whatever is cancelled later, or the cancellation of a scope inside."""
    heard = Heard()
    with trio.CancelScope() as scope:
        async with watch_cancellation(heard):
            with trio.CancelScope() as inner:
                inner.cancel()
                await trio.sleep_forever()
            await wait_all_tasks_blocked()
        scope.cancel()
        await trio.sleep_forever()
    assert heard.moments == []


async def test_a_shield_around_it_is_respected() -> None:
    """Whoever put it there did not want the block to be cancelled."""
    heard = Heard()
    with trio.CancelScope() as scope:
        with trio.CancelScope(shield=True):
            async with watch_cancellation(heard):
                scope.cancel()
                await wait_all_tasks_blocked()
        await trio.lowlevel.checkpoint_if_cancelled()
    assert scope.cancelled_caught
    assert heard.moments == []


async def test_a_block_that_is_cancelled_before_it_begins() -> None:
    """The news is there as soon as somebody else can take a step."""
    heard = Heard()
    with trio.CancelScope() as scope:
        scope.cancel()
        async with watch_cancellation(heard):
            assert heard.moments == []
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            assert len(heard.moments) == 1


@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
async def test_an_error_of_the_block_comes_out_bare(kind: type[BaseException], cancelled: bool) -> None:
    """In no group, and not replaced by the cancellation."""
    error = kind("mine")
    with trio.CancelScope() as scope:
        with pytest.raises(kind) as caught:
            async with watch_cancellation(Heard()):
                if cancelled:
                    scope.cancel()
                raise error
    assert caught.value is error


def test_an_interrupt_that_comes_on_the_way_out_is_not_lost() -> None:
    """It comes where the main task waits, which is for the watcher's end."""

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        """Have one held back until the next wait."""
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        async with watch_cancellation(Heard()):
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)

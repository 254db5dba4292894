"""A nursery whose tasks go on serving while the block around them is cancelled."""

import signal

import pytest
import trio

from tests.resident import run_fast
from tractor._errors import InternalError
from tractor.trionics._service import open_service_nursery


async def test_the_tasks_serve_until_the_block_has_ended() -> None:
    """They are cancelled then, and waited for."""
    log: list[str] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0)
            log.append("served")

    async with open_service_nursery() as services:
        services.start_soon(serve)
        await trio.sleep(0)
        log.append("block")
    assert log == ["block", "served"]


def test_cancelling_the_block_does_not_reach_the_tasks() -> None:
    """The unwinding block can still use them, as long as it takes."""

    async def main() -> None:
        beats: list[float] = []

        async def beat() -> None:
            while True:
                await trio.sleep(1)
                beats.append(trio.current_time())

        with trio.move_on_after(1.5) as scope:
            async with open_service_nursery() as services:
                services.start_soon(beat)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(3)
        assert scope.cancelled_caught
        assert len(beats) == 4

    run_fast(main)


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3), ExceptionGroup("g", [OSError()])]
)
async def test_an_error_of_the_block_leaves_it_bare(error: BaseException) -> None:
    """Never inside a group of the nursery's own."""
    with pytest.raises(type(error)) as info:
        async with open_service_nursery() as services:
            services.start_soon(trio.sleep_forever)
            raise error
    assert info.value is error


async def test_the_value_of_a_task_is_none_of_its_business() -> None:
    """A task that ends well ends nothing else."""
    async with open_service_nursery() as services:
        services.start_soon(trio.sleep, 0)
        await trio.sleep(0.001)


async def test_a_crash_of_a_task_ends_the_block_with_an_internal_error() -> None:
    """It is a bug of the runtime: the block is cancelled, and the crash is the cause."""
    crash = ValueError("crashed")

    async def serve() -> None:
        raise crash

    with pytest.raises(InternalError, match=r"a runtime task crashed: ValueError\('crashed'\)") as info:
        async with open_service_nursery() as services:
            services.start_soon(serve)
            await trio.sleep_forever()
    cause = info.value.__cause__
    assert isinstance(cause, BaseExceptionGroup)
    assert cause.split(lambda exc: exc is crash)[1] is None


async def test_an_interrupt_of_a_task_is_an_interrupt_of_the_block() -> None:
    """Ctrl-C may land in any task."""

    async def serve() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_service_nursery() as services:
            services.start_soon(serve)
            await trio.sleep_forever()


async def test_cancellation_from_outside_passes_through() -> None:
    """It belongs to the scope outside."""
    with trio.CancelScope() as scope:
        async with open_service_nursery() as services:
            services.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_it_can_be_cancelled_while_it_opens() -> None:
    """The host of its tasks is shielded, but not yet from this; see ai/conc-anal/host_behind_its_shield.md."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_service_nursery():
            raise AssertionError("unreachable")
    assert scope.cancelled_caught


def test_it_can_be_interrupted_while_it_opens() -> None:
    """One `KeyboardInterrupt`, bare; see ai/conc-anal/host_behind_its_shield.md."""

    @trio.lowlevel.enable_ki_protection
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        async with open_service_nursery():
            raise AssertionError("unreachable")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)

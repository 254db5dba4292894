"""Errors behind cancellations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.trionics import maybe_raise_from_masking_exc


@asynccontextmanager
async def careless() -> AsyncIterator[None]:
    """Wait on the way out, without a shield."""
    try:
        yield
    finally:
        await trio.lowlevel.checkpoint()


async def fail_while_cancelled() -> None:
    """Raise an error that a checkpoint hides."""
    async with careless():
        raise ValueError("hidden")


def records(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said about errors, and forget it."""
    found = [record.__dict__["error"] for record in caplog.records if "masked" in record.message]
    caplog.clear()
    return found


async def test_a_masked_error_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    """With a note on what has hidden it, and a warning; without what has hidden it in its context."""
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(ValueError, match="hidden") as info:
            async with maybe_raise_from_masking_exc(extra_note="shield it") as found:
                await fail_while_cancelled()
    assert found.value is info.value
    assert info.value.__notes__ == ["( this exc was masked by Cancelled ): shield it"]
    assert info.value.__context__ is None
    assert not scope.cancelled_caught
    assert records(caplog) == ["ValueError('hidden')"]


async def test_a_masked_error_may_only_be_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """Then the cancellation goes on."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with maybe_raise_from_masking_exc(raise_unmasked=False) as found:
            await fail_while_cancelled()
    assert scope.cancelled_caught
    assert repr(found.value) == "ValueError('hidden')"
    assert records(caplog) == ["ValueError('hidden')"]


@pytest.mark.parametrize("raise_unmasked", [True, False])
async def test_warnings_can_be_chosen(caplog: pytest.LogCaptureFixture, raise_unmasked: bool) -> None:
    """By what has hidden the error, where that is raised, and by the error."""
    for options, warns in (
        ({"always_warn_on": ()}, not raise_unmasked),
        ({"never_warn_on": (ValueError,)}, False),
        ({"never_warn_on": (KeyError,)}, True),
    ):
        caught: Any = None
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                async with maybe_raise_from_masking_exc(raise_unmasked=raise_unmasked, **options) as found:
                    await fail_while_cancelled()
            except ValueError as exc:
                caught = exc
        assert (caught is found.value) == raise_unmasked
        assert bool(records(caplog)) == warns


async def test_nothing_is_made_up() -> None:
    """No error, an error that nothing has hidden, and a cancellation that has hidden nothing."""
    async with maybe_raise_from_masking_exc() as found:
        pass
    assert found.value is None
    with pytest.raises(ValueError, match="plain"):
        async with maybe_raise_from_masking_exc() as found:
            raise ValueError("plain")
    assert found.value is None
    with trio.CancelScope() as scope:
        scope.cancel()
        async with maybe_raise_from_masking_exc() as found:
            async with careless():
                await trio.sleep_forever()
    assert (scope.cancelled_caught, found.value) == (True, None)


async def test_several_cancellations_hide_one_error() -> None:
    """One `finally` after the other."""
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(ValueError, match="hidden"):
            async with maybe_raise_from_masking_exc():
                async with careless(), careless(), careless():
                    raise ValueError("hidden")


async def test_waiting_for_a_lock_hides_nothing() -> None:
    """Trio raises and handles an error of its own there; one that was there before is found behind it."""
    lock = trio.Lock()

    async def hold() -> None:
        await lock.acquire()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hold)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01) as scope:
            async with maybe_raise_from_masking_exc() as found:
                await lock.acquire()
        assert (scope.cancelled_caught, found.value) == (True, None)
        with trio.move_on_after(0.01), pytest.raises(ValueError, match="hidden"):
            async with maybe_raise_from_masking_exc():
                try:
                    raise ValueError("hidden")
                finally:
                    await lock.acquire()
        nursery.cancel_scope.cancel()


async def test_a_nursery_of_cancelled_tasks_hides_errors_too() -> None:
    """A group of cancellations, with an error behind one of them."""
    with trio.CancelScope() as scope:
        with pytest.raises(ValueError, match="hidden"):
            async with maybe_raise_from_masking_exc():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(fail_while_cancelled)
                    nursery.start_soon(trio.sleep_forever)
                    scope.cancel()


async def test_an_error_that_was_dealt_with_is_none() -> None:
    """The program was about to try again."""
    with trio.CancelScope() as scope:
        scope.cancel()
        async with maybe_raise_from_masking_exc() as found:
            try:
                raise ValueError("dealt with")
            except ValueError:
                await trio.sleep(1)
    assert (scope.cancelled_caught, found.value) == (True, None)


async def test_a_refusal_that_others_have_seen_is_an_error() -> None:
    """The same type, raised into a program's own code."""
    send, _receive = trio.open_memory_channel[int](0)
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.WouldBlock):
            async with maybe_raise_from_masking_exc():
                async with careless():
                    send.send_nowait(1)


async def test_the_end_of_a_loop_is_no_error() -> None:
    """Iterators end by an exception, too."""

    async def items() -> AsyncIterator[int]:
        yield 1

    with trio.CancelScope() as scope:
        scope.cancel()
        async with maybe_raise_from_masking_exc() as found:
            iterator = items()
            await anext(iterator)
            try:
                await anext(iterator)
            except StopAsyncIteration:
                await trio.lowlevel.checkpoint()
    assert (scope.cancelled_caught, found.value) == (True, None)


async def test_who_says_from_none_means_it() -> None:
    """What was put out of sight on purpose stays there."""
    with pytest.raises(KeyError):
        async with maybe_raise_from_masking_exc(unmask_from=(KeyError,)) as found:
            try:
                raise ValueError("handled")
            except ValueError:
                raise KeyError from None
    assert found.value is None


async def test_other_masks_can_be_named() -> None:
    """A tuple of types, nothing else."""
    with pytest.raises(ValueError, match="first"):
        async with maybe_raise_from_masking_exc(unmask_from=(KeyError, trio.Cancelled)):
            try:
                raise ValueError("first")
            finally:
                raise KeyError("second")
    wrong: list[Any] = [trio.Cancelled, {trio.Cancelled}, [trio.Cancelled]]
    for masks in wrong:
        with pytest.raises(ValueError, match="must be a tuple"):
            async with maybe_raise_from_masking_exc(unmask_from=masks):
                pytest.fail("entered")

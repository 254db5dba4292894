"""Groups with one error in them, and groups of cancellations."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import pytest
import trio

from tractor.trionics import collapse_eg, get_collapsed_eg, is_multi_cancelled

NOTE = "( ^^^ this exc was collapsed from a group ^^^ )"


def nested(*leaves: BaseException, depth: int = 1) -> BaseExceptionGroup[BaseException]:
    """Put errors into so many groups, one in the other."""
    group = BaseExceptionGroup("innermost", leaves)
    for _ in range(depth - 1):
        group = BaseExceptionGroup("outer", [group])
    return group


def cancelled() -> BaseException:
    """Make a cancellation; trio lets nobody else do it."""
    caught: list[BaseException] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(0)
            except trio.Cancelled as exc:
                caught.append(exc)
                raise

    trio.run(main)
    return caught[0].with_traceback(None)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_the_only_error_of_a_group_is_found(depth: int) -> None:
    """In whatever depth; among several there is no only one."""
    error = ValueError("x")
    assert get_collapsed_eg(nested(error, depth=depth)) is error
    assert get_collapsed_eg(nested(error, KeyError(), depth=depth)) is None
    assert get_collapsed_eg(BaseExceptionGroup("", [nested(error), nested(error)])) is None


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_lone_error_comes_out_of_its_group(depth: int) -> None:
    """The very object, with its traceback, cause and context, and a note once."""
    error: BaseException
    try:
        try:
            raise KeyError("context")
        except KeyError:
            raise ValueError("x") from OSError("cause")
    except ValueError as exc:
        error = exc
    context = error.__context__
    for _ in range(2):
        with pytest.raises(ValueError, match="x") as info:
            async with collapse_eg():
                raise nested(error, depth=depth)
        assert info.value is error
        assert error.__notes__ == [NOTE]
        assert isinstance(error.__cause__, OSError)
        assert isinstance(context, KeyError)
        assert error.__context__ is context
    assert 'raise ValueError("x")' in "".join(traceback.format_exception(error))
    assert "ExceptionGroup" not in "".join(traceback.format_exception(error))


async def test_the_error_of_a_task_comes_out_of_its_nurseries() -> None:
    """What it is for."""

    async def fail() -> None:
        raise ValueError("in a task")

    with pytest.raises(ValueError, match="in a task"):
        async with collapse_eg(), trio.open_nursery() as outer:
            async with trio.open_nursery() as inner:
                inner.start_soon(fail)
                outer.start_soon(trio.sleep_forever)
                await trio.sleep_forever()


async def test_everything_else_passes() -> None:
    """Several errors, errors that are to be left in their groups, and errors in no group at all."""
    several = nested(ValueError(), KeyError())
    with pytest.raises(BaseExceptionGroup) as info:
        async with collapse_eg():
            raise several
    assert info.value is several
    for error in (ValueError(), UnicodeError()):
        lone = nested(error)
        with pytest.raises(BaseExceptionGroup) as info:
            async with collapse_eg(ignore={ValueError}):
                raise lone
        assert info.value is lone
    with pytest.raises(KeyError) as bare:
        async with collapse_eg(ignore={ValueError}):
            raise KeyError
    assert not hasattr(bare.value, "__notes__")
    async with collapse_eg():
        pass


async def test_the_note_can_be_left_out() -> None:
    """For those who put the group there themselves."""
    error = ValueError("x")
    with pytest.raises(ValueError, match="x"):
        async with collapse_eg(add_notes=False, hide_tb=False):
            raise nested(error)
    assert not hasattr(error, "__notes__")


async def test_a_group_can_be_looked_at_in_the_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it arrives, when asked to."""
    stops: list[Any] = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: stops.append(sys.exception()))
    group = nested(ValueError("x"))
    for bp in (False, True):
        with pytest.raises(ValueError, match="x"):
            async with collapse_eg(bp=bp):
                raise group
    assert stops == [group]


def test_only_what_is_cancelled_through_and_through_is_cancelled() -> None:
    """One other error, wherever it is, and it is not; further types may count."""
    for group in (nested(cancelled()), nested(cancelled(), nested(cancelled(), cancelled(), depth=2))):
        assert is_multi_cancelled(group) is group
    mixed = nested(cancelled(), nested(cancelled(), KeyError()))
    assert is_multi_cancelled(mixed) is False
    assert is_multi_cancelled(mixed, {ValueError}) is False
    assert is_multi_cancelled(mixed, {KeyError})
    # What was passed once is not remembered.
    assert is_multi_cancelled(mixed) is False
    assert is_multi_cancelled(nested(KeyError())) is False
    assert is_multi_cancelled(cancelled()) is False
    assert is_multi_cancelled(KeyError(), {KeyError}) is False

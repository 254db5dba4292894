"""What counts as a cancellation, what is behind one, and when the other side's error takes its place."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import tractor
from tests.resident import open_pair
from tractor import Context, ContextCancelled, RemoteActorError, TransportClosed
from tractor.msg._errbox import pack_error, unpack_error
from tractor.runtime._precedence import find_hidden, is_cancellation, overrules, raise_unchanged

HERE = __name__
#: What a function is to raise.
ORDER: list[Any] = []


async def get_cancelled(before: Exception | None = None) -> trio.Cancelled:
    """Return a cancellation, raised while `before` was on its way."""
    found: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            try:
                if before is not None:
                    raise before
            finally:
                await trio.lowlevel.checkpoint()
        except trio.Cancelled as exc:
            found.append(exc)
    return found[0]


def received(exc: BaseException) -> RemoteActorError:
    """Return what another actor is told of it."""
    return unpack_error(pack_error(exc, ("leaf", "u1")))


async def test_what_is_a_cancellation() -> None:
    """One, a group of nothing else, and the report of such a group."""
    one, other = await get_cancelled(), ContextCancelled("c", canceller=("root", "u2"))
    assert all(
        map(is_cancellation, [one, other, BaseExceptionGroup("g", [one, ExceptionGroup("h", [other])])])
    )
    assert is_cancellation(received(other))
    assert is_cancellation(received(BaseExceptionGroup("g", [other, one])))
    for error in (
        None,
        ValueError(),
        KeyboardInterrupt(),
        RemoteActorError("x"),
        TransportClosed("x"),
        ExceptionGroup("g", [other, ValueError()]),
        received(ValueError()),
        received(ExceptionGroup("g", [other, ValueError()])),
    ):
        assert not is_cancellation(error)


async def test_only_a_cancellation_hides_an_error_and_only_an_error_is_hidden() -> None:
    """Another cancellation is not, nor what stands beside one."""
    error, other = OSError("hidden"), ContextCancelled("c")
    assert find_hidden(await get_cancelled(error)) is error
    assert find_hidden(BaseExceptionGroup("g", [await get_cancelled(error), await get_cancelled()])) is error
    assert find_hidden(await get_cancelled()) is None
    assert find_hidden(await get_cancelled(other)) is None
    assert find_hidden(BaseExceptionGroup("g", [await get_cancelled(error), ValueError()])) is None
    with pytest.raises(ValueError, match="seen") as info:
        try:
            raise error
        finally:
            raise ValueError("seen")
    assert find_hidden(info.value) is None


async def test_an_error_of_the_other_side_takes_the_place_of_a_cancellation() -> None:
    """Not that of an error, nor of itself; the news that the peer is gone only if it came first."""
    one, other = await get_cancelled(), ContextCancelled("c")
    remote, lost = received(ValueError()), TransportClosed("lost")
    for exc in (one, other, BaseExceptionGroup("g", [one, other])):
        for before in (True, False):
            assert overrules(remote, exc, lost_before=before)
            assert overrules(lost, exc, lost_before=before) is before
            assert not overrules(None, exc, lost_before=before)
            assert not overrules(received(other), exc, lost_before=before)
    for exc in (ValueError(), KeyboardInterrupt(), remote):  # type: ignore[assignment]
        assert not overrules(remote, exc, lost_before=True)


def test_an_error_is_raised_as_it_was() -> None:
    """With the context that it had."""
    error, before = OSError("again"), ValueError("before")
    error.__context__ = before
    with pytest.raises(OSError, match="again") as info:
        try:
            raise KeyError
        except KeyError:
            raise_unchanged(error)
    assert info.value is error
    assert error.__context__ is before


@pytest.mark.parametrize("order", [KeyboardInterrupt(), SystemExit(3)])
async def test_a_hidden_order_to_leave_ends_an_actor(order: BaseException) -> None:
    """The caller is told what it was."""
    ORDER[:] = [order]
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError) as info, trio.move_on_after(0.05):
            await pair.portal.run(leave)
        assert info.value.src_type is type(order)
        with trio.fail_after(1):
            await pair.bob.gone.wait()


@tractor.context
async def sleeper(ctx: Context) -> None:
    """Start, and sleep."""
    await ctx.started()
    await trio.sleep_forever()


async def leave() -> None:
    """Raise it, and be cancelled on the way out."""
    try:
        raise ORDER[0]
    finally:
        await trio.sleep_forever()


@pytest.mark.parametrize("acked", [True, False])
async def test_an_error_of_the_body_is_not_hidden_by_our_own_cancel(acked: bool) -> None:
    """The clean-up cancels the endpoint, and waits for something else; that wait is cancelled, the error is not."""
    error = OSError("own")
    async with open_pair(HERE) as pair:
        with pytest.raises(OSError, match="own") as info:
            async with pair.portal.open_context(sleeper) as (ctx, _):
                try:
                    raise error
                finally:
                    await ctx.cancel(timeout=5 if acked else 0)
                    await trio.sleep_forever()
        assert info.value is error
        assert error.__context__ is None
        assert ctx._local_error is error
        assert ctx.cancel_acked
        assert isinstance(ctx.outcome, ContextCancelled)

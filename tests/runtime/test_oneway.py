"""One-way streams between actors of one process: what is read, when it ends, and who is told of errors."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.resident import Pair, open_pair
from tractor import Context, MsgStream, RemoteActorError
from tractor.runtime._flow import WINDOW_ITEMS

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]

HERE = __name__
#: What the functions over there have done.
LOG: list[Any] = []


async def count(to: int, then: str = "end") -> AsyncIterator[int]:
    """Yield numbers, then end, wait, or fail; note how it ends."""
    try:
        for n in range(to):
            LOG.append(n)
            yield n
        if then == "wait":
            await trio.sleep_forever()
        elif then == "fail":
            raise ValueError("over there")
    except BaseException as exc:
        LOG.append(type(exc).__name__)
        raise
    finally:
        LOG.append("finally")


async def count_slowly_out(seconds: float, fails: bool = False) -> AsyncIterator[int]:
    """Yield once, and take so long to end."""
    try:
        yield 1
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
        LOG.append("finally")
        if fails:
            raise ValueError("at the end")


async def give_objects() -> AsyncIterator[object]:
    """Yield what cannot travel."""
    try:
        yield object()
    finally:
        LOG.append("finally")


@tractor.stream
async def send(stream: MsgStream[str], words: list[str], wait: bool = False) -> str:
    """Send words."""
    for word in words:
        await stream.send(word)
    if wait:
        try:
            await trio.sleep_forever()
        finally:
            LOG.append("finally")
    return "never heard"


with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @tractor.stream
    async def send_yield(words: list[str], *, ctx: Context) -> None:
        """Send words the old way."""
        for word in words:
            await ctx.send_yield(word)

    @tractor.stream
    async def for_asyncio(to_trio: Any) -> None:
        """Be run by asyncio only."""


async def plain() -> int:
    """Return."""
    return 1


@tractor.context
async def sends_too_early(ctx: Context) -> None:
    """Use what is for others."""
    await ctx.started()
    await ctx.send_yield("x")


@asynccontextmanager
async def reading(func: Any, **kwargs: Any) -> AsyncGenerator[tuple[Pair, Any]]:
    """Read from a function in another actor."""
    async with open_pair(HERE) as pair:
        with trio.fail_after(5):
            async with pair.portal.open_stream_from(func, **kwargs) as stream:
                yield pair, stream


async def test_a_generator_is_read_to_its_end() -> None:
    """In order; then the stream is at its end, and so is the block."""
    async with reading(count, to=3) as (pair, stream):
        assert isinstance(stream, MsgStream)
        assert [item async for item in stream] == [0, 1, 2]
        assert isinstance(stream.closed, trio.EndOfChannel)
        await wait_all_tasks_blocked()
        assert not pair.bob.actor.served
        assert stream.ctx.outcome is None
        await stream.receive()
        pytest.fail("received more")
    assert LOG == [0, 1, 2, "finally"]


@pytest.mark.parametrize("func", [send, send_yield])
async def test_marked_functions_send(func: Any) -> None:
    """By their `stream`, or by their `ctx`."""
    async with reading(func, words=["a", "b"]) as (_, stream):
        assert [item async for item in stream] == ["a", "b"]


async def test_a_generator_waits_for_its_reader() -> None:
    """It is not further ahead than one window, and goes on as that is emptied."""
    async with reading(count, to=3 * WINDOW_ITEMS) as (_, stream):
        await wait_all_tasks_blocked()
        assert len(LOG) == WINDOW_ITEMS + 1
        for n in range(WINDOW_ITEMS):
            assert await stream.receive() == n
        await wait_all_tasks_blocked()
        assert len(LOG) == 2 * WINDOW_ITEMS + 1
        assert [item async for item in stream] == list(range(WINDOW_ITEMS, 3 * WINDOW_ITEMS))


@pytest.mark.parametrize("then", ["wait", "end"])
async def test_leaving_early_ends_the_generator(then: str) -> None:
    """Where it waits it is cancelled, where it has yielded it is closed; the block is left when it has ended."""
    size = 3 if then == "wait" else 2 * WINDOW_ITEMS
    async with reading(count, to=size, then=then) as (pair, stream):
        assert await stream.receive() == 0
        await wait_all_tasks_blocked()
        assert "finally" not in LOG
    assert LOG[-2:] == ["Cancelled" if then == "wait" else "GeneratorExit", "finally"]
    assert not pair.bob.actor.served
    assert not stream.ctx.cancel_called
    assert stream.ctx.outcome is None


async def test_leaving_early_waits_for_what_the_generator_has_to_do() -> None:
    """As the end of a task in a nursery does."""
    async with reading(count_slowly_out, seconds=0.8) as (_, stream):
        assert await stream.receive() == 1
    assert LOG == ["finally"]


async def test_a_block_that_fails_ends_the_generator_too() -> None:
    """The error is that of the block."""
    with pytest.raises(KeyError):
        async with reading(count, to=3, then="wait") as (_, stream):
            await stream.receive()
            raise KeyError
    assert LOG[-2:] == ["Cancelled", "finally"]


async def test_a_block_that_is_cancelled_ends_the_generator_too() -> None:
    """Before the cancellation goes on."""
    with trio.CancelScope() as scope:
        async with reading(count, to=3, then="wait") as (_, stream):
            await stream.receive()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert LOG[-2:] == ["Cancelled", "finally"]


async def test_closing_ends_the_loop_and_the_generator() -> None:
    """In the middle of an `async for`; the block goes on without being disturbed."""
    async with reading(count, to=3, then="wait") as (pair, stream):
        got = []
        async for item in stream:
            got.append(item)
            if item == 1:
                await wait_all_tasks_blocked()
                assert await stream.aclose() == [2]
        assert got == [0, 1]
        await trio.sleep(0.05)
        assert LOG[-2:] == ["Cancelled", "finally"]
        assert not pair.bob.actor.served
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive()


async def test_closing_ends_a_marked_function() -> None:
    """Wherever it waits."""
    async with reading(send, words=["a"], wait=True) as (_, stream):
        assert await stream.receive() == "a"
        await stream.aclose()
        await wait_all_tasks_blocked()
        assert LOG == ["finally"]


async def test_consumers_come_and_go() -> None:
    """One that is cancelled takes nothing with it; the next one goes on where it was."""
    async with reading(count, to=100) as (_, stream):
        got: list[int] = []
        for _ in range(20):
            with trio.CancelScope() as scope:
                async for item in stream:
                    got.append(item)
                    if len(got) % 10 == 0:
                        scope.cancel()
                        await trio.sleep_forever()
        assert got == list(range(100))


async def test_an_error_is_raised_where_the_reader_waits() -> None:
    """As it is, with its origin."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="over there") as info:
            async with pair.portal.open_stream_from(count, to=0, then="fail") as stream:
                await stream.receive()
        assert info.value.boxed_type is ValueError
        assert info.value.src_uid == pair.bob.actor.uid
    assert LOG == ["ValueError", "finally"]


async def test_an_error_while_closing_is_not_lost() -> None:
    """It is raised where the block ends."""
    with pytest.raises(RemoteActorError, match="at the end"):
        async with reading(count_slowly_out, seconds=0, fails=True) as (_, stream):
            await stream.receive()


async def test_an_item_that_cannot_be_sent_ends_the_generator() -> None:
    """Its reader learns why."""
    with pytest.raises(RemoteActorError) as info:
        async with reading(give_objects) as (_, stream):
            await stream.receive()
    assert info.value.boxed_type is TypeError
    assert LOG == ["finally"]


@pytest.mark.parametrize("func", [count, send, send_yield])
async def test_wrong_arguments_are_an_error_at_once(func: Any) -> None:
    """Before the block is entered."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="no_such_argument") as info:
            async with pair.portal.open_stream_from(func, no_such_argument=1):
                pytest.fail("it was entered")
        assert info.value.boxed_type is TypeError


async def test_the_stream_only_receives() -> None:
    """What would never be read cannot be sent."""
    async with reading(count, to=1) as (_, stream):
        with pytest.raises(RuntimeError, match="only receives"):
            await stream.send("x")
        assert await stream.receive() == 0


async def test_it_can_be_subscribed_to() -> None:
    """As any other stream."""
    async with reading(count, to=3) as (_, stream), stream.subscribe() as receiver:
        assert [item async for item in receiver] == [0, 1, 2]
        assert [item async for item in stream] == [0, 1, 2]


@pytest.mark.parametrize("func", [plain, sends_too_early, len, 3])
async def test_what_is_no_stream_is_refused_here(func: Any) -> None:
    """With what it would have to be; nothing is sent."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TypeError, match=r"must be an async generator function, or .*`@tractor.stream`"):
            pair.portal.open_stream_from(func)


@pytest.mark.parametrize("func", [count, send, send_yield])
async def test_streams_are_not_called(func: Any) -> None:
    """It is refused here, and over there."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TypeError, match=r"must be a non-streaming async function! .*open_stream_from"):
            await pair.portal.run(func)
        with pytest.raises(TypeError, match="not a context endpoint"):
            pair.portal.open_context(func)
        with pytest.raises(RemoteActorError, match=r"open it with `Portal.open_stream_from\(\)`") as info:
            await pair.portal.run_from_ns(HERE, func.__name__)
        assert info.value.boxed_type is TypeError


async def test_arguments_go_by_name() -> None:
    """As everywhere."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TypeError, match="must be given by keyword"):
            pair.portal.open_stream_from(count, 3)


async def test_functions_for_asyncio_are_not_run_by_trio() -> None:
    """They may carry the mark."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="only asyncio"):
            async with pair.portal.open_stream_from(for_asyncio):
                pytest.fail("it was entered")


async def test_sending_the_old_way_needs_a_stream() -> None:
    """It is no way into other contexts."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError, match="no stream open"):
            async with pair.portal.open_context(sends_too_early):
                await trio.sleep_forever()


def test_a_marked_function_has_something_to_send_with() -> None:
    """Else it is refused where it is written; so is what needs no mark, or cannot have one."""
    with pytest.raises(TypeError, match=r"no_ctx must be `ctx: tractor\.Context`"):

        @tractor.stream
        async def no_ctx(words: list[str]) -> None: ...

    with pytest.raises(TypeError, match="must be an `async def` function without `yield`"):
        tractor.stream(count)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="must be an `async def` function"):
        tractor.stream(lambda stream: None)  # type: ignore[type-var]


def test_a_context_to_send_with_is_deprecated() -> None:
    """The function works all the same, whatever its annotations say."""
    with pytest.warns(DeprecationWarning, match="^`@tractor.stream decorated funcs ") as caught:

        @tractor.stream
        async def has_ctx(ctx: Unknown) -> None: ...

    assert [warning.filename for warning in caught] == [__file__]


def test_a_stream_to_send_with_is_not() -> None:
    """By position or by keyword, with any annotation."""

    @tractor.stream
    async def has_stream(words: list[str], *, stream: Unknown) -> None: ...

    assert has_stream.__name__ == "has_stream"

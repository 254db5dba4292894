"""Contexts with type parameters: the first value, the items and the result are known at both ends."""

from collections.abc import Coroutine
from typing import Any, Protocol, assert_type

import tractor


@tractor.context
async def measure(ctx: tractor.Context[str, int, float], start: int, *, step: int = 1) -> float:
    """Start with text, exchange integers, end with a float."""
    await ctx.started("ready")
    async with ctx.open_stream(backpressure=True) as stream:
        assert_type(stream, tractor.MsgStream[int])
        async for item in stream:
            assert_type(item, int)
            await stream.send(item * step + start)
    return 1.0


@tractor.context(pld_spec=int | str)
async def checked(ctx: tractor.Context[str, int, int], n: int) -> int:
    """The same with payloads that are checked at run time."""
    await ctx.started("ready")
    return n


@tractor.context()
async def with_parentheses(ctx: tractor.Context[None, bytes, None]) -> None:
    """The decorator may be called without arguments."""
    await ctx.started()


class Measure(Protocol):
    """The signature of `measure`, parameter names included."""

    def __call__(
        self, ctx: tractor.Context[str, int, float], start: int, *, step: int = 1
    ) -> Coroutine[Any, Any, float]:
        """Take the context by name as well."""


class Checked(Protocol):
    """The signature of `checked`."""

    def __call__(self, ctx: tractor.Context[str, int, int], n: int) -> Coroutine[Any, Any, int]:
        """Take the context by name as well."""


def signatures() -> tuple[Measure, Checked]:
    """The decorator gives back exactly what it was given, with and without arguments."""
    return measure, checked


async def at_the_opener(portal: tractor.Portal) -> None:
    """The block gets the context and the first value; the stream and the result fit the endpoint."""
    async with portal.open_context(measure, start=1, step=2) as (ctx, first):
        assert_type(ctx, tractor.Context[str, int, float])
        assert_type(first, str)
        async with ctx.open_stream() as stream:
            await stream.send(1)
            assert_type(await stream.receive(), int)
            assert_type(stream.receive_nowait(), int)
            assert_type(await stream.aclose(), list[int])
            async for item in stream:
                assert_type(item, int)
        assert_type(await ctx.wait_for_result(), float)
    async with portal.open_context(checked, n=1) as (ctx_2, first_2):
        assert_type(ctx_2, tractor.Context[str, int, int])
        assert_type(first_2, str)
    async with portal.open_context(with_parentheses) as (ctx_3, first_3):
        assert_type(ctx_3, tractor.Context[None, bytes, None])
        assert_type(first_3, None)


async def mistakes_of_the_opener(portal: tractor.Portal) -> None:
    """Wrong arguments, a plain function, and a wrong item are errors."""
    portal.open_context(measure, start="x")  # type: ignore[arg-type]
    portal.open_context(measure)  # type: ignore[call-arg]
    portal.open_context(measure, start=1, size=2)  # type: ignore[call-arg]
    async with portal.open_context(measure, start=1) as (ctx, first):
        first.bit_length()  # type: ignore[attr-defined]
        async with ctx.open_stream() as stream:
            await stream.send("x")  # type: ignore[arg-type]
        await portal.run(measure, start=1)  # type: ignore[call-arg]


async def plain(n: int) -> int:
    """No endpoint."""
    return n


def no_endpoint(portal: tractor.Portal) -> None:
    """A function without a context cannot be opened."""
    portal.open_context(plain)  # type: ignore[arg-type]


def endpoints_that_are_none() -> None:
    """What the decorator refuses at run time, the checker refuses as well."""

    @tractor.context  # type: ignore[type-var]
    async def without_context(n: int) -> int:
        return n

    @tractor.context  # type: ignore[type-var]
    def without_async(ctx: tractor.Context) -> int:
        return 1

    @tractor.context(pld_spec=int)  # type: ignore[type-var]
    async def without_anything() -> None: ...

    @tractor.context("int")  # type: ignore[call-overload, untyped-decorator]
    async def with_a_wrong_argument(ctx: tractor.Context) -> None: ...


@tractor.context
async def first_values(ctx: tractor.Context[str]) -> int:
    """Only a context whose first value may be None can start without one."""
    await ctx.started("x")
    await ctx.started(1)  # type: ignore[arg-type]
    await ctx.started()  # type: ignore[call-arg]
    return 1


@tractor.context
async def optional_first_value(ctx: tractor.Context[str | None]) -> None:
    """None is among the values, so it may be left out."""
    await ctx.started()
    await ctx.started("x")


@tractor.context
async def items(ctx: tractor.Context[None, dict[str, int]]) -> None:
    """Items are checked at the endpoint's side too."""
    async with ctx.open_stream() as stream:
        await stream.send({"x": 1})
        await stream.send({"x": "1"})  # type: ignore[dict-item]


async def half_known(portal: tractor.Portal) -> None:
    """What is left out is Any; the result is what the endpoint says it returns."""
    async with portal.open_context(first_values) as (ctx, first):
        assert_type(ctx, tractor.Context[str, Any, int])
        assert_type(first, str)
        assert_type(await ctx.wait_for_result(), int)


def takes_one_end(ctx: tractor.Context[str, int, float], stream: tractor.MsgStream[int]) -> None:
    """Helpers can be given either end by its type."""
    assert_type(ctx.canceller, tuple[str, str] | None)
    assert_type(stream.closed_locally, bool)

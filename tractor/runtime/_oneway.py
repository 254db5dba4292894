"""Streams in one direction, as older programs have them: an async generator, or a `@stream` function, read from afar.

On the wire they are contexts. The serving side runs an endpoint that is made around the function here: it sends what that
yields. New programs write that endpoint themselves, with `@tractor.context`; async generators stay the shortest way to say it.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any

import trio

from tractor.runtime._context import Context
from tractor.runtime._endpoint import STREAM_PARAMETER, ContextMeta, context, stream_parameter
from tractor.runtime._open import open_context
from tractor.runtime._router import Router
from tractor.runtime._stream import MsgStream

#: The parameter that a `@stream` function sends with; the last is for functions that asyncio runs.
_PARAMETERS = ("stream", "ctx", "to_trio")


type StreamFunction = Callable[..., Coroutine[Any, Any, object]]


def stream[F: StreamFunction](func: F) -> F:
    """Mark an async function as one that a peer can read from with `Portal.open_stream_from`.

    It sends with `await stream.send(item)`, where `stream` is one of its parameters. Older functions have a parameter `ctx`
    and say `await ctx.send_yield(item)`: a `DeprecationWarning`. An async generator needs no such mark.
    Raises `TypeError` for a function that is not async, and for one that has no such parameter.
    """
    name = getattr(func, "__qualname__", repr(func))
    if not inspect.iscoroutinefunction(func):
        raise TypeError(
            f"{name} cannot be a `@tractor.stream` function: it must be an `async def` function without `yield`"
        )
    code = inspect.unwrap(func).__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    parameter = next((name for name in _PARAMETERS if name in names), None)
    if parameter is None:
        raise TypeError(
            f"{name} has nothing to send with: a parameter of {name} must be `ctx: tractor.Context` or, better, "
            "`stream: tractor.MsgStream`"
        )
    if parameter == "ctx":
        warnings.warn(
            "`@tractor.stream decorated funcs should declare a `stream` parameter instead of `ctx`; "
            f"{name} sends with `stream.send()` then",
            DeprecationWarning,
            stacklevel=2,
        )
    setattr(func, STREAM_PARAMETER, parameter)
    return func


def as_endpoint(func: Callable[..., Any]) -> StreamFunction:
    """Return the endpoint that sends what `func`, an async generator or a `@stream` function, gives.

    With backpressure, so that the function is not further ahead of its reader than one window. It is cancelled when the
    reader closes its end.
    """
    parameter = stream_parameter(func)
    return context(_of_generator(func) if parameter is None else _of_function(func, parameter))


# In both the context has a name that no argument of the function has.


def _of_generator(func: Callable[..., AsyncGenerator[Any]]) -> StreamFunction:
    async def endpoint(_tractor_ctx: Context[None, Any, None], **kwargs: Any) -> None:
        generator = func(**kwargs)
        await _tractor_ctx.started()
        async with _open_stream(_tractor_ctx) as stream, aclosing(generator):
            async for item in generator:
                await stream.send(item)

    return endpoint


def _of_function(func: StreamFunction, parameter: str) -> StreamFunction:
    async def endpoint(_tractor_ctx: Context[None, Any, None], **kwargs: Any) -> None:
        if parameter == "to_trio":
            raise TypeError(f"{func.__qualname__} has a parameter `to_trio`: only asyncio can run it")
        # Wrong arguments are an error before anything has started.
        func(**{parameter: None}, **kwargs).close()
        await _tractor_ctx.started()
        async with _open_stream(_tractor_ctx) as stream:
            await func(**{parameter: stream if parameter == "stream" else _tractor_ctx}, **kwargs)

    return endpoint


@asynccontextmanager
async def _open_stream(ctx: Context[None, Any, None]) -> AsyncGenerator[MsgStream[Any]]:
    async with ctx.open_stream(backpressure=True) as stream:
        with trio.CancelScope() as scope:
            ctx.when_stopped(lambda: scope.cancel(reason="its reader has closed the stream"))
            yield stream


class ReceiveStream[ItemT](MsgStream[ItemT]):
    """The reading end of a one-way stream. Closing it ends the function that it reads from, and loops over it."""

    async def send(self, data: ItemT) -> None:  # noqa: ARG002 - the signature of its base
        """Raise `RuntimeError`."""
        raise RuntimeError("this stream only receives; use `@tractor.context` for streams in both directions")

    async def __anext__(self) -> ItemT:
        try:
            return await self.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopAsyncIteration from None


@asynccontextmanager
async def open_stream_from(
    router: Router, target: str, kwargs: dict[str, Any], *, portal: object
) -> AsyncGenerator[MsgStream[Any]]:
    """Read what the function at `target` sends; leaving the block closes the stream and waits for its end."""
    meta = ContextMeta("_tractor_ctx")
    async with open_context(router, target, kwargs, meta, portal=portal) as (ctx, _):
        ctx.stream_type = ReceiveStream
        async with ctx.open_stream(backpressure=True) as stream:
            yield stream

"""A handle on a peer actor: run its functions, open contexts in it, cancel it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import Any, Concatenate, overload

import trio

from tractor._errors import ActorTooSlowError, NoResult, TransportClosed
from tractor._ids import Aid
from tractor.ipc._channel import Channel
from tractor.log import get_logger
from tractor.msg._boxed import ContextCancelled
from tractor.msg._ptr import NamespacePath
from tractor.runtime._call import call
from tractor.runtime._context import Context
from tractor.runtime._endpoint import context_meta, is_one_way
from tractor.runtime._open import open_context
from tractor.runtime._reasons import find_place
from tractor.runtime._router import Router
from tractor.runtime._stream import MsgStream

log = get_logger(__name__)


class PeerActor:
    """What is known here of an actor that one has a portal to. Equal for the same actor, whichever the channel."""

    # No dataclass: every child would pay half a millisecond for it.
    __slots__ = ("aid",)

    def __init__(self, aid: Aid) -> None:
        self.aid = aid

    def __eq__(self, other: object) -> bool:
        """Agrees with that of `aid`."""
        return self.aid == other.aid if isinstance(other, PeerActor) else NotImplemented

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.aid)

    def __repr__(self) -> str:
        return f"<PeerActor {self.aid}>"

    @property
    def name(self) -> str:
        """Its name, which need not be unique."""
        return self.aid.name

    @property
    def uid(self) -> tuple[str, str]:
        """`(name, uuid)`, as errors name it."""
        return self.aid.uid

    @property
    def pid(self) -> int | None:
        """The process it lives in, on its own host."""
        return self.aid.pid

    def __str__(self) -> str:
        """`name@pid`."""
        return str(self.aid)


class Portal:
    """A handle on one peer actor, over one channel. Any number of tasks may use it at once.

    `chan`: a channel that an actor of this process serves, as every portal's is; another one is what
    `tractor.runtime.open_portal()` is for.
    """

    #: Seconds `cancel_actor` waits for the acknowledgement.
    cancel_timeout = 0.5

    def __init__(self, chan: Channel | Router) -> None:
        router = chan.router if isinstance(chan, Channel) else chan
        if router is None:
            raise RuntimeError(f"{chan!r} is served by no actor; make a portal of it with `open_portal()`")
        if not isinstance(router, Router):
            raise TypeError(f"a portal is made of a channel, not of {chan!r}")
        self._router = router
        self._wait_for_result: Callable[[], Awaitable[Any]] | None = None

    def __repr__(self) -> str:
        return f"<Portal to {self._router.peer}>"

    @property
    def chan(self) -> Channel:
        """The channel."""
        return self._router.channel

    channel = chan

    @property
    def aid(self) -> Aid:
        """Who the peer is."""
        return self._router.peer

    @property
    def actor(self) -> PeerActor:
        """What is known of the peer."""
        return PeerActor(self._router.peer)

    async def run[**P, T](self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an async function in the peer and return what it returns.

        The function's module must be exposed by the peer (`enable_modules`). Arguments go by keyword and, like the
        result, must be msgpack types. Cancelling the caller cancels the function.

        Raises `TypeError` for something that is no such function or argument, `RemoteActorError` with what the
        function raised, and `TransportClosed` when the peer is lost before it has replied.
        """
        # The types are for new programs; older ones pass two names.
        given: Any = func
        positional: tuple[Any, ...] = args
        result: T
        if isinstance(given, str):
            if len(positional) != 1:
                raise TypeError(
                    f"pass the function itself rather than {given!r}, and its arguments by keyword"
                )
            warnings.warn(
                "Portal.run(module, function) is deprecated; use Portal.run_from_ns()",
                DeprecationWarning,
                stacklevel=2,
            )
            result = await self.run_from_ns(given, *positional, **kwargs)
            return result
        if args:
            raise TypeError(f"arguments of {_name(func)} must be given by keyword: they travel by name")
        result = await call(self._router, _call_target(func), kwargs)
        return result

    async def run_from_ns(self, namespace_path: str, function_name: str, /, **kwargs: Any) -> Any:
        """Run `function_name` of the peer's module `namespace_path`; `'self'` names the peer's runtime. Else as `run`."""
        return await call(self._router, f"{namespace_path}:{function_name}", kwargs)

    def open_context[StartedT, ItemT, ResultT, **P](
        self,
        func: Callable[Concatenate[Context[StartedT, ItemT, Any], P], Awaitable[ResultT]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AbstractAsyncContextManager[tuple[Context[StartedT, ItemT, ResultT], StartedT]]:
        """Run a `@tractor.context` endpoint in the peer, linked to an `async with` block.

        The block gets the context and the value the endpoint gave to `started()`. It is left when the endpoint has
        ended: an error there is raised here, an error or cancellation here ends the endpoint.
        Two names are not for the endpoint: `allow_overruns=True` says of every stream of this side what it says to
        `Context.open_stream`, and `hide_tb` is taken for the sake of older programs.
        Raises `TypeError` for something that is no endpoint, or that has a parameter of such a name; else as `run`.
        """
        meta = context_meta(func)
        if meta is None:
            raise TypeError(f"{_name(func)} is not a context endpoint: decorate it with `@tractor.context`")
        if args:
            raise TypeError(f"arguments of {_name(func)} must be given by keyword: they travel by name")
        if self._router.peer == self._router.local:
            raise RuntimeError("Invalid Operation: an actor cannot open a context in itself")
        options = _take_options(func, kwargs)
        target = str(NamespacePath.from_ref(func))
        return open_context(
            self._router,
            target,
            kwargs,
            meta,
            portal=self,
            allow_overruns=options.get("allow_overruns", False),
        )

    @overload
    def open_stream_from[ItemT, **P](
        self, func: Callable[P, AsyncIterator[ItemT]], /, *args: P.args, **kwargs: P.kwargs
    ) -> AbstractAsyncContextManager[MsgStream[ItemT]]: ...
    @overload
    def open_stream_from[ItemT, **P](
        self,
        func: Callable[Concatenate[MsgStream[ItemT], P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AbstractAsyncContextManager[MsgStream[ItemT]]: ...
    @overload
    def open_stream_from[ItemT, **P](
        self,
        func: Callable[Concatenate[Context[Any, ItemT, Any], P], Awaitable[object]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AbstractAsyncContextManager[MsgStream[ItemT]]: ...
    def open_stream_from(
        self, func: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AbstractAsyncContextManager[MsgStream[Any]]:
        """Run an async generator, or a `@tractor.stream` function, in the peer, and receive what it yields.

        The block gets a stream that only receives. It ends when the function does; an error there is raised here, where the
        task waits for the next item, else where the block ends. The function runs ahead of its reader by no more than
        1024 items and about 1 MiB, then it waits. Closing the stream, or leaving the block, cancels it: an async generator is
        closed, so that its `finally` blocks run, and the block waits for that.
        Raises `TypeError` for something that is no such function; else as `run`.
        """
        if not is_one_way(func):
            raise TypeError(
                f"{_name(func)} must be an async generator function, or one decorated with `@tractor.stream`"
            )
        if args:
            raise TypeError(f"arguments of {_name(func)} must be given by keyword: they travel by name")
        if self._router.peer == self._router.local:
            raise RuntimeError("Invalid Operation: an actor cannot open a stream from itself")
        from tractor.runtime._oneway import open_stream_from

        return open_stream_from(self._router, str(NamespacePath.from_ref(func)), kwargs, portal=self)

    async def wait_for_result(self, hide_tb: bool = True) -> Any:
        """Return the result of the function given to `run_in_actor()`, as often as asked.

        Raises what it raised. For an actor started in another way the answer is the class `NoResult`, or
        `TransportClosed` where its connection broke.
        """
        __tracebackhide__ = hide_tb
        if self._wait_for_result is None:
            chan = self.chan
            await trio.lowlevel.checkpoint()
            if not chan.connected() and not chan.closed and chan.bye is None:
                raise chan.loss()
            log.warning("an actor without a main function has no result", extra={"peer": str(self.aid)})
            return NoResult
        return await self._wait_for_result()

    async def result(self, hide_tb: bool = True) -> Any:
        """Deprecated: `wait_for_result` says what it does."""
        warnings.warn(
            "Portal.result() is deprecated; use Portal.wait_for_result()", DeprecationWarning, stacklevel=2
        )
        return await self.wait_for_result(hide_tb)

    async def cancel_actor(
        self,
        timeout: float | None = None,
        raise_on_timeout: bool = False,
        *,
        grace: float | None = None,
        reason: str = "",
    ) -> bool:
        """Ask the peer's whole actor to end; return whether it has agreed.

        False when it is gone, or does not answer within `timeout` seconds (default `cancel_timeout`);
        `ActorTooSlowError` in the latter case with `raise_on_timeout=True`.
        It waits shielded from cancellation, for what the peer's contexts say of their end would cancel it otherwise.
        `grace`: the seconds it has before it is ended by force, where the caller means to do so; then without a shield.
        `reason` is for people: it is found in every `trio.Cancelled` and `ContextCancelled` that come of it.
        """
        self.chan.cancel_called = True
        if not self.chan.connected():
            await trio.lowlevel.checkpoint()
            return False
        seconds = self.cancel_timeout if timeout is None else timeout
        with trio.move_on_after(seconds, shield=grace is None) as scope:
            try:
                facts: dict[str, Any] = {"reason": reason or f"`cancel_actor()` at {find_place()}"}
                if grace is not None:
                    facts["grace"] = grace
                await call(self._router, "self:cancel", facts, linked=False)
            except TransportClosed:
                # An actor that has asked itself may hang up on itself before it has heard the answer.
                return self._router.peer == self._router.local
            except ContextCancelled:
                # It was ending already, and took our request down with the others.
                return True
        if scope.cancelled_caught:
            if raise_on_timeout:
                raise ActorTooSlowError(f"{self.aid} did not acknowledge its cancellation within {seconds} s")
            return False
        return True

    async def aclose(self) -> None:
        """Close the channel; everything that is under way on it fails."""
        await self.chan.aclose()


@lru_cache(maxsize=1024)
def _call_target(func: Any) -> str:
    """Return where a peer finds a function that can be called plainly."""
    if not inspect.iscoroutinefunction(func) or context_meta(func) is not None or is_one_way(func):
        hint = " Open it with `Portal.open_context()`" if context_meta(func) is not None else ""
        if is_one_way(func):
            hint = " Open it with `Portal.open_stream_from()`"
        if inspect.iscoroutine(func):
            func.close()
            hint = f" Pass {func.__name__} itself, not {func.__name__}(...), and its arguments by keyword"
        raise TypeError(f"{_name(func)} must be a non-streaming async function!{hint}")
    return str(NamespacePath.from_ref(func))


def _take_options(func: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take out of the endpoint's arguments those that `open_context` understands itself."""
    options: dict[str, Any] = {
        name: kwargs.pop(name) for name in ("allow_overruns", "hide_tb") if name in kwargs
    }
    for name in options:
        if name in inspect.signature(func).parameters:
            raise TypeError(f"{name!r} cannot be passed to {_name(func)}: `open_context` takes it itself")
    return options


def _name(func: object) -> str:
    return getattr(func, "__qualname__", None) or repr(func)

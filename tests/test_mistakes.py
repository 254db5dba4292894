"""What a newcomer does wrong gets an answer that says what to do instead."""

import functools
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio

import tractor
from tests.programs import bodies


async def add(a: int, b: int) -> int:
    """Return a sum."""
    return a + b


def not_async(a: int) -> int:
    """Return at once."""
    return a


async def generator() -> AsyncIterator[int]:
    """Yield."""
    yield 1


@tractor.stream
async def send_one(stream: tractor.MsgStream[int]) -> None:
    """Send."""
    await stream.send(1)


async def give_away_an_object() -> object:
    """Return what cannot travel."""
    return object()


async def forgot_the_decorator(ctx: tractor.Context) -> None:
    """Would be an endpoint."""
    await ctx.started()


@tractor.context
async def forgot_to_start(ctx: tractor.Context) -> None:
    """Return without `started()`."""


@tractor.context
async def echo(ctx: tractor.Context) -> None:
    """Send back what comes."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for item in stream:
            await stream.send(item)


type Mistake = Callable[[tractor.ActorNursery, tractor.Portal], Awaitable[object]]


def mistakes_with_run() -> dict[str, tuple[Mistake, type[BaseException], str]]:
    """Return, for each mistake with `Portal.run` and `run_in_actor`, its error and a part of what that says."""

    async def nested() -> None: ...

    never: Any = lambda: 1  # noqa: E731 - that is the mistake
    partial: Any = functools.partial(add, a=1)
    return {
        "positional": (lambda an, p: p.run(add, 1, 2), TypeError, "must be given by keyword"),
        "called": (lambda an, p: p.run(add(1, 2)), TypeError, "Pass add itself, not add(...)"),
        "not-async": (
            lambda an, p: p.run(not_async, a=1),
            TypeError,
            "must be a non-streaming async function",
        ),
        "generator": (lambda an, p: p.run(generator), TypeError, "must be a non-streaming async function"),
        "stream": (lambda an, p: p.run(send_one), TypeError, "Open it with `Portal.open_stream_from()`"),
        "lambda": (lambda an, p: p.run(never), TypeError, "must be a non-streaming async function"),
        "nested": (lambda an, p: p.run(nested), ValueError, "define it with `def` at the top of a module"),
        "partial": (lambda an, p: p.run(partial, b=2), TypeError, "and its arguments apart"),
        "endpoint": (lambda an, p: p.run(echo), TypeError, "Open it with `Portal.open_context()`"),
        "object": (lambda an, p: p.run(add, a=object(), b=1), TypeError, "at .kwargs['a']"),
        "big-integer": (lambda an, p: p.run(add, a=2**70, b=1), OverflowError, "send it as str or bytes"),
        "run-sync": (lambda an, p: an.run_in_actor(not_async, a=1), TypeError, "must be an async function"),
        "run-stream": (
            lambda an, p: an.run_in_actor(send_one),
            TypeError,
            "use `Portal.open_stream_from()`",
        ),
        "run-endpoint": (lambda an, p: an.run_in_actor(echo), TypeError, "use `Portal.open_context()`"),
        "name": (lambda an, p: an.start_actor(3), TypeError, "name must be a str, not 3"),
        "modules": (
            lambda an, p: an.start_actor("x", enable_modules="trio"),
            TypeError,
            "enable_modules is a list of module names, such as [__name__]; it was 'trio'",
        ),
        "module": (lambda an, p: an.start_actor("x", enable_modules=[trio]), TypeError, "such as [__name__]"),
        "unknown-module": (
            lambda an, p: an.start_actor("x", enable_modules=["no_such_module"]),
            ModuleNotFoundError,
            "check the spelling in enable_modules",
        ),
        "transport": (
            lambda an, p: an.start_actor("x", enable_transports=["zmq"]),
            ValueError,
            "unknown transport 'zmq'; choose one of ['tcp', 'uds']",
        ),
        "address": (lambda an, p: an.start_actor("x", bind_addrs=["here"]), ValueError, "write (host, port)"),
        "used-address": (
            lambda an, p: an.start_actor("x", bind_addrs=[tractor.current_actor().accept_addr]),
            tractor.ActorFailure,
            "Address already in use",
        ),
    }


def test_mistakes_of_whoever_starts_and_calls_are_explained() -> None:
    """At the call itself, in its words; the actor goes on working."""

    async def main() -> None:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("helper", enable_modules=[__name__])
            for label, (mistake, error, text) in mistakes_with_run().items():
                with pytest.raises(error) as caught:
                    await mistake(an, portal)
                assert type(caught.value) is error, label
                assert text in str(caught.value), label
            assert await portal.run(add, a=1, b=2) == 3
            await portal.cancel_actor()

    trio.run(main)


async def open_undecorated(portal: tractor.Portal) -> None:
    """Open what was not marked."""
    async with portal.open_context(forgot_the_decorator):
        pass


async def open_unstarted(portal: tractor.Portal) -> None:
    """Open what does not start."""
    async with portal.open_context(forgot_to_start):
        pass


async def open_twice(portal: tractor.Portal) -> None:
    """Open a second stream inside the first."""
    async with portal.open_context(echo) as (ctx, _), ctx.open_stream(), ctx.open_stream():
        pass


async def send_an_object(portal: tractor.Portal) -> None:
    """Send what cannot travel."""
    async with portal.open_context(echo) as (ctx, _), ctx.open_stream() as stream:
        await stream.send(object())


async def send_too_late(portal: tractor.Portal) -> None:
    """Send when the stream's block is left."""
    async with portal.open_context(echo) as (ctx, _):
        async with ctx.open_stream() as stream:
            pass
        await stream.send(1)


async def start_as_the_opener(portal: tractor.Portal) -> None:
    """Call `started()` at the wrong end."""
    async with portal.open_context(echo) as (ctx, _):
        await ctx.started()


@pytest.mark.parametrize(
    ("mistake", "error", "text"),
    [
        (open_undecorated, TypeError, "decorate it with `@tractor.context`"),
        (open_unstarted, tractor.RemoteActorError, "returned without calling `await ctx.started()`"),
        (open_twice, RuntimeError, "has a stream open; leave its block first"),
        (send_an_object, TypeError, "cannot send an object of type 'object'; send msgpack types"),
        (send_too_late, trio.ClosedResourceError, "this side has closed the stream"),
        (start_as_the_opener, RuntimeError, "is for the endpoint's side"),
    ],
)
def test_mistakes_with_contexts_are_explained(
    mistake: Callable[[tractor.Portal], Awaitable[None]], error: type[BaseException], text: str
) -> None:
    """Each is an error of its block, and of nothing else."""

    async def main() -> None:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("helper", enable_modules=[__name__])
            with pytest.raises(error) as caught:
                await mistake(portal)
            assert text in str(caught.value)
            assert await portal.run(add, a=1, b=2) == 3
            await portal.cancel_actor()

    trio.run(main)


def test_sets_and_tuples_arrive_as_lists() -> None:
    """What msgpack does not know by its own name is no error."""

    async def main() -> None:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("helper", enable_modules=[__name__])
            async with portal.open_context(echo) as (ctx, _), ctx.open_stream() as stream:
                for sent in ({1}, (1,)):
                    await stream.send(sent)
                    assert await stream.receive() == [1]
            await portal.cancel_actor()

    trio.run(main)


def test_a_module_that_is_not_exposed_is_named_with_the_way_out() -> None:
    """The caller learns what to add, and where."""

    async def main() -> None:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("helper")
            with pytest.raises(tractor.RemoteActorError) as caught:
                await portal.run(add, a=1, b=2)
            assert caught.value.boxed_type is tractor.ModuleNotExposed
            assert f"module {__name__!r} is not exposed by this actor; add it to `enable_modules`" in str(
                caught.value
            )
            await portal.cancel_actor()

    trio.run(main)


def test_a_result_that_cannot_travel_is_explained_to_the_caller() -> None:
    """As an error of the function, which does not know who asked."""

    async def main() -> None:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("helper", enable_modules=[__name__])
            with pytest.raises(
                tractor.RemoteActorError, match="cannot send an object of type 'object'"
            ) as caught:
                await portal.run(give_away_an_object)
            assert caught.value.boxed_type is TypeError
            await portal.cancel_actor()

    trio.run(main)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"enable_transports": ["zmq"]}, ValueError, "choose one of"),
        ({"enable_transports": []}, RuntimeError, "must name a transport"),
        ({"start_method": "fork"}, ValueError, "unknown start method 'fork'; choose one of"),
        ({"registry_addrs": ["/unix/tmp/x.sock"]}, ValueError, "but enable_transports is"),
        ({"loglevel": "loud"}, ValueError, "unknown log level 'loud'; use one of"),
        ({"name": None}, TypeError, "name must be a str"),
        ({"debug": True}, TypeError, "unexpected keyword argument 'debug'"),
    ],
)
def test_mistakes_with_the_root_are_explained(
    arguments: dict[str, Any], error: type[BaseException], text: str
) -> None:
    """Before anything is started."""

    async def main() -> None:
        async with tractor.open_nursery(**arguments):
            pass

    with pytest.raises(error) as caught:
        trio.run(main)
    assert text in str(caught.value)


def test_a_second_root_is_refused() -> None:
    """And an inner nursery needs none."""

    async def main() -> None:
        async with tractor.open_nursery():
            with pytest.raises(tractor.RuntimeFailure, match="one root actor at a time"):
                async with tractor.open_root_actor():
                    pass

    trio.run(main)


def test_a_port_in_use_is_named() -> None:
    """With its address, so that one knows which."""

    async def main() -> None:
        with trio.socket.socket() as taken:
            await taken.bind(("127.0.0.1", 0))
            taken.listen()
            host, port = taken.getsockname()
            with pytest.raises(
                ConnectionError, match=f"cannot listen on /ip4/{host}/tcp/{port}: Address already in use"
            ):
                async with tractor.open_root_actor(tpt_bind_addrs=[(host, port)]):
                    pass

    trio.run(main)


async def test_a_closed_nursery_starts_nothing() -> None:
    """Neither after its block nor after `cancel()`."""
    async with tractor.open_nursery() as an:
        await an.cancel()
        with pytest.raises(RuntimeError, match="cannot start 'x': this nursery was cancelled"):
            await an.start_actor("x")
    async with tractor.open_nursery() as an:
        pass
    with pytest.raises(RuntimeError, match="cannot start 'x': this nursery is closed"):
        await an.start_actor("x")


async def leave() -> None:
    """End the body."""
    await bodies.die(7)


async def test_the_error_of_a_child_says_nothing_of_the_cancelled_body() -> None:
    """What the body was doing is not among the reasons, and would be a page of trio's own lines."""
    with pytest.raises(
        tractor.ActorFailure, match=f"it ended unasked: {bodies.death('exit status 7')}"
    ) as caught:
        async with tractor.open_nursery() as an:
            portal = await an.start_actor("leaver", enable_modules=[__name__])
            with suppress(tractor.TransportClosed):
                await portal.run(leave)
            async with trio.open_nursery():
                await trio.sleep_forever()
    assert "Cancelled" not in "".join(traceback.format_exception(caught.value))


def test_public_errors_bear_the_public_name() -> None:
    """A traceback says `tractor.ActorFailure`, which is what one writes in `except`."""
    public = [getattr(tractor, name) for name in tractor.__all__]
    errors = [value for value in public if isinstance(value, type) and issubclass(value, BaseException)]
    assert [error for error in errors if error.__module__ != "tractor"] == []

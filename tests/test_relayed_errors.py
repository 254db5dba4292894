"""Which errors of a request its caller is told of, and what they do to the actor that has served it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import raisers
from tests.programs.raisers import fail, fail_in_context, fail_when_cancelled, get_body
from tractor import ActorFailure, Exit, ModuleNotExposed, Portal, RemoteActorError, TransportClosed
from tractor.msg import _errtypes

#: Seconds in which news arrive.
SOON = 10
MODULE = raisers.__name__

#: How a task fails, and as what its caller is told of it. None of this disturbs anybody else.
RELAYED: dict[str, type[BaseException] | None] = {
    "exception": ValueError,
    "group": ExceptionGroup,
    "base group": BaseExceptionGroup,
    # A type that nobody has registered: only its name is known.
    "base exception": None,
    "generator exit": GeneratorExit,
    "leaked cancellation": RuntimeError,
    "leaked in a group": BaseExceptionGroup,
    "recursion": RecursionError,
    "a task": ExceptionGroup,
    "result": TypeError,
}
#: What is wrong with a request before anything has been run: function, arguments, type and text.
REFUSED: dict[str, tuple[str, str, dict[str, Any], type[BaseException], str]] = {
    "unknown argument": (MODULE, "get_body", {"no_such": 1}, TypeError, "no_such"),
    "missing argument": (MODULE, "fail", {}, TypeError, "how"),
    "no such function": (MODULE, "no_such", {}, AttributeError, "no_such"),
    "no async function": (MODULE, "plain", {}, TypeError, "must be an async function!"),
    "an endpoint": (MODULE, "fail_in_context", {}, TypeError, "Portal.open_context"),
    "no exposed module": ("os", "getpid", {}, ModuleNotExposed, "enable_modules"),
    "no such module": ("no_such_module", "f", {}, ModuleNotExposed, "enable_modules"),
    "no method of the runtime": ("self", "exit_soon", {}, AttributeError, "exit_soon"),
}
#: What ends the actor as well: how it fails, the type that the caller is told, and how the actor's end is called.
FATAL: dict[str, tuple[type[BaseException], str]] = {
    "interrupt": (KeyboardInterrupt, "interrupted"),
    "an interrupt in a task": (BaseExceptionGroup, "interrupted"),
    "exit": (SystemExit, "exited"),
    "exit in a group": (BaseExceptionGroup, "exited"),
}


@asynccontextmanager
async def open_child(transport: str) -> AsyncGenerator[tuple[Portal, Portal]]:
    """Start a child; yield our portal to it, and another one that is really by that transport."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("child", enable_modules=[MODULE])
        router = await tractor.current_actor().connect(portal.chan.peer_addrs[0])
        yield portal, Portal(router)
        await nursery.cancel()


async def ask(portal: Portal, how: str, way: str) -> RemoteActorError:
    """Return the error that a call or context is told."""
    with trio.fail_after(SOON), pytest.raises(RemoteActorError) as info:
        if way == "call":
            await portal.run(fail, how=how)
        else:
            async with portal.open_context(fail_in_context, how=how, late=way == "late") as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.send("now")
                    await trio.sleep_forever()
    return info.value


async def test_what_is_relayed(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error, from every kind of request; the connection and the actor live."""
    monkeypatch.setattr(_errtypes, "_registered", {})
    async with open_child(transport) as (portal, dialled):
        body = await portal.run(get_body)
        for how, boxed_type in RELAYED.items():
            # An endpoint that has a result must have started.
            for way in ("call", "late") if how == "result" else ("call", "early", "late"):
                error = await ask(dialled, how, way)
                assert error.boxed_type is boxed_type, (how, way)
                assert error.src_uid == portal.aid.uid
                assert not error.is_inception()
                assert error.tb_str
                assert await dialled.run(get_body) == body
        assert (await ask(dialled, "base exception", "call")).boxed_type_str == "Odd"
        leaked = await ask(dialled, "leaked in a group", "call")
        assert [member.src_type_str for member in leaked.members] == ["Cancelled", "OSError"]


async def test_what_is_refused(transport: str) -> None:
    """Before it is run, with the error that says what to do; the connection and the actor live."""
    async with open_child(transport) as (portal, dialled):
        body = await portal.run(get_body)
        for what, (module, name, kwargs, boxed_type, text) in REFUSED.items():
            with pytest.raises(RemoteActorError) as info:
                await dialled.run_from_ns(module, name, **kwargs)
            assert info.value.boxed_type is boxed_type, what
            assert text in info.value.message, what
            assert await dialled.run(get_body) == body
        with pytest.raises(RemoteActorError) as info:
            wrong: dict[str, Any] = {"no_such": 1}
            async with dialled.open_context(fail_in_context, **wrong):
                pytest.fail("entered")
        assert info.value.boxed_type is TypeError
        assert await dialled.run(get_body) == body


@pytest.mark.parametrize("way", ["call", "late"])
@pytest.mark.parametrize("how", FATAL)
async def test_what_ends_the_actor_as_well(transport: str, how: str, way: str) -> None:
    """The caller is told first; then the actor ends in order, and its nursery is told why."""
    boxed_type, verb = FATAL[how]
    told: list[RemoteActorError] = []
    with pytest.raises(ActorFailure) as info:
        async with open_child(transport) as (_, dialled):
            with trio.CancelScope(shield=True):
                told.append(await ask(dialled, how, way))
            with trio.fail_after(SOON):
                await trio.sleep_forever()
    assert told[0].boxed_type is boxed_type
    if boxed_type is BaseExceptionGroup:
        order = {"interrupted": KeyboardInterrupt, "exited": SystemExit}[verb]
        assert order in [leaf.src_type for leaf in told[0].leaves()]
    assert isinstance(info.value.exit, Exit)
    assert info.value.exit.code == 0
    assert info.value.exit.detail.startswith(verb)


async def test_an_error_that_nobody_hears(transport: str, tmp_path: Path) -> None:
    """Its caller has hung up: that is no error of the actor's, and nobody else's."""
    mark = tmp_path / "mark"
    async with open_child(transport) as (portal, dialled):
        body = await portal.run(get_body)
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(TransportClosed, match="closed locally"):
                    await dialled.run(fail_when_cancelled, path=str(mark))

            nursery.start_soon(call)
            assert await dialled.run(get_body) == body
            await dialled.aclose()
        with trio.fail_after(SOON):
            while not mark.exists():
                await trio.sleep(0.01)
        assert await portal.run(get_body) == body

"""Types that no codec knows, between actors: without hooks they do not travel, with hooks on both sides they do."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
import trio

import tractor
from tests.programs import payloads
from tests.programs.payloads import DEC, HERE, HOOKED, POINTER
from tests.resident import open_pair
from tractor import MsgTypeError, Portal, RemoteActorError
from tractor.msg import (
    NamespacePath,
    Yield,
    apply_codec,
    current_codec,
    enc_type_union,
    limit_plds,
    mk_codec,
)

SPECS: list[Any] = [Any, NamespacePath, NamespacePath | None, NamespacePath | int | None]
REFUSED = "cannot send an object of type 'NamespacePath'; subclasses of str are not sent as such"

type Rule = Callable[[Portal], Awaitable[None]]


@asynccontextmanager
async def opened(portal: Portal, func: Any, **kwargs: Any) -> AsyncGenerator[tuple[Any, Any]]:
    """Open a context that must end soon."""
    with trio.fail_after(10):
        async with portal.open_context(func, **kwargs) as pair:
            yield pair


async def without_hooks_nothing_foreign_is_sent(portal: Portal) -> None:
    """A `TypeError` where it is tried, and for the opener if that was the endpoint."""
    with pytest.raises(TypeError, match=f"^{REFUSED}".replace(";", r" \(at \.kwargs\['value'\]\);")):
        await portal.run(payloads.type_name, value=POINTER)
    async with opened(portal, payloads.scoped, names=["Any"], how="task") as (ctx, _):
        async with ctx.open_stream() as stream:
            with pytest.raises(TypeError, match=f"^{REFUSED}"):
                await stream.send(POINTER)
            await ctx.cancel()
    with pytest.raises(RemoteActorError, match=REFUSED) as info:
        async with opened(portal, payloads.scoped, names=["Any"], how="neither"):
            pytest.fail("entered")
    assert (info.value.boxed_type, info.value.src_uid) == (TypeError, portal.aid.uid)
    with pytest.raises(RemoteActorError, match=REFUSED) as info:
        await portal.run(payloads.give_pointer)
    assert info.value.boxed_type is TypeError


async def hooks_on_one_side_deliver_what_travels(portal: Portal) -> None:
    """The receiver sees plain text, unless its spec says that it wants more and there is nothing to make that."""
    async with opened(portal, payloads.scoped, names=["Any"], how="task") as (ctx, first):
        assert type(first) is str
        assert first == POINTER
        await ctx.cancel()
    async with opened(portal, payloads.declared) as (ctx, _), ctx.open_stream() as stream:
        await stream.send(POINTER)
        with ctx.pld_rx.decoding(tractor.msg.MsgDec(NamespacePath, lambda kind, value: kind.nothing)):
            with pytest.raises(MsgTypeError, match="nothing") as info:
                await stream.receive()
        assert "lambda" in info.value.tb_str
        assert (info.value.expected_msg_type, info.value.bad_msg) == (Yield, str(POINTER))


async def hooks_of_the_endpoint_serve_both_sides(portal: Portal) -> None:
    """First value, items and result; other members of the union are as they were."""
    async with opened(portal, payloads.declared) as (ctx, first):
        assert type(first) is NamespacePath
        assert first.load_ref() is payloads.open_neighbour
        async with ctx.open_stream() as stream:
            for item in (POINTER, 5, None):
                await stream.send(item)
                got = await stream.receive()
                assert (type(got), got) == (type(item), item)
            with pytest.raises(TypeError, match="'object'"):
                await stream.send(object())
        assert type(await ctx.wait_for_result()) is NamespacePath


async def hooks_of_the_task_serve_what_it_sends_and_takes(portal: Portal) -> None:
    """On both sides, by a spec that the endpoint got by its types' names."""
    for spec in SPECS:
        names = enc_type_union(spec)
        for how in ("task", "context"):
            with ExitStack() as stack:
                stack.enter_context(apply_codec(HOOKED))
                async with opened(portal, payloads.scoped, names=names, how=how) as (ctx, first):
                    assert first == POINTER
                    async with ctx.open_stream() as stream:
                        await stream.send(POINTER)
                        with limit_plds(list[NamespacePath], DEC, [NamespacePath]):
                            got = await stream.receive()
                        assert got == [POINTER, POINTER]
                        assert {type(one) for one in got} == {NamespacePath}
            assert current_codec() is not HOOKED


async def hooks_of_the_task_serve_arguments(portal: Portal) -> None:
    """They arrive as what has travelled: what a function takes has no spec."""
    with apply_codec(HOOKED):
        assert await portal.run(payloads.type_name, value=POINTER) == [str(POINTER), "str"]
        with apply_codec(mk_codec()), pytest.raises(TypeError, match="NamespacePath"):
            await portal.run(payloads.type_name, value=POINTER)


RULES: list[Rule] = [
    without_hooks_nothing_foreign_is_sent,
    hooks_on_one_side_deliver_what_travels,
    hooks_of_the_endpoint_serve_both_sides,
    hooks_of_the_task_serve_what_it_sends_and_takes,
    hooks_of_the_task_serve_arguments,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_in_one_process(rule: Rule) -> None:
    """The rule holds, and nothing is left of the contexts it opened."""
    async with open_pair(HERE) as pair:
        await rule(pair.portal)
        assert pair.portal._router.dialogs == {}


async def test_between_processes(transport: str) -> None:
    """The same rules, one after another with the same child."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("child", enable_modules=[HERE])
        for rule in RULES:
            await rule(portal)
        await nursery.cancel()


async def test_a_limit_without_a_hook_keeps_the_one_of_the_endpoint() -> None:
    """It narrows the types and not the ways to make them."""
    async with open_pair(HERE) as pair:
        async with opened(pair.portal, payloads.declared) as (ctx, _), ctx.open_stream() as stream:
            with limit_plds(NamespacePath):
                await stream.send(POINTER)
                assert type(await stream.receive()) is NamespacePath
                await stream.send(5)
                with pytest.raises(MsgTypeError, match=r"`Yield\.pld: NamespacePath`"):
                    await stream.receive()

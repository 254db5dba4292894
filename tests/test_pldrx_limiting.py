"""Payload specs between two sides of a context: who notices what, what the error says, and what goes on.

Each rule is tried between two actors in one process; then all of them between processes, over both transports.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import tractor
from tests.programs import payloads
from tests.programs.payloads import HERE, SPEC, VALUES, PldMsg
from tests.resident import open_pair
from tractor import MsgTypeError, Portal, RemoteActorError
from tractor.msg import Return, Started, Yield, limit_plds, maybe_limit_plds

DIVIDER = "------ - ------"

type Rule = Callable[[Portal], Awaitable[None]]


@asynccontextmanager
async def opened(portal: Portal, func: Any = payloads.say, **kwargs: Any) -> AsyncGenerator[tuple[Any, Any]]:
    """Open a context that must end soon."""
    with trio.fail_after(10):
        async with portal.open_context(func, **kwargs) as pair:
            yield pair


def check(error: MsgTypeError, message: type, name: str, cid: str | None) -> None:
    """Assert the text and the facts of an error for the value of that name."""
    value = VALUES[name]
    sent = value.to_dict() if isinstance(value, tractor.msg.Struct) else value
    kind = message.__name__
    for part in (
        f"invalid `{kind}` msg payload",
        repr(sent),
        f"has type {type(sent)!r}",
        "not match type-spec",
        f"`{kind}.pld: PldMsg|NoneType`",
    ):
        assert part in error.message, part
        assert part in str(error), part
    assert error.expected_msg_type is message
    assert error.bad_msg == sent
    assert error.cid == (cid or error.cid)
    assert error.bad_msg_as_dict == {"msg_type": kind, "cid": error.cid, "pld": sent}
    assert error.tb_str
    assert str(error).count(DIVIDER) == 2


async def what_matches_is_what_arrives(portal: Portal) -> None:
    """First value, items and result are objects of the spec's types, or None."""
    names = ["good", "none", "good"]
    async with opened(portal, first="good", items=names, result="good", hear=2) as (ctx, first):
        assert first == PldMsg("x")
        assert type(first) is PldMsg
        assert ctx.pld_rx.pld_dec.spec is SPEC
        async with ctx.open_stream() as stream:
            await stream.send(PldMsg("y"))
            await stream.send(None)
            assert [await stream.receive() for _ in names] == [VALUES[name] for name in names]
        assert await ctx.wait_for_result() == PldMsg("x")
        assert ctx.outcome == PldMsg("x")


async def a_bad_first_value_is_noticed_by_its_sender(portal: Portal) -> None:
    """It gets an error of its own, and the opener that error from afar, with the same facts."""
    for name in ("number", "half"):
        with pytest.raises(MsgTypeError) as info:
            async with opened(portal, first=name):
                pytest.fail("entered")
        check(info.value, Started, name, None)
        assert info.value.boxed_type is MsgTypeError
        assert info.value.src_uid == portal.aid.uid


async def a_bad_first_value_that_nobody_checked_is_noticed_by_the_opener(portal: Portal) -> None:
    """The error is made here, and the endpoint is cancelled."""
    for name in ("number", "other", "half"):
        with pytest.raises(MsgTypeError) as info:
            async with opened(portal, first=name, check=False, hear=1):
                pytest.fail("entered")
        check(info.value, Started, name, None)
        assert info.value.ipc_msg is None


async def a_bad_item_is_noticed_by_its_receiver(portal: Portal) -> None:
    """Where it is taken; the ones around it are good, and so is the context."""
    async with opened(portal, items=["good", "number", "other", "none"], hear=1) as (ctx, _):
        async with ctx.open_stream() as stream:
            assert await stream.receive() == PldMsg("x")
            for name in ("number", "other"):
                with pytest.raises(MsgTypeError) as info:
                    await stream.receive()
                check(info.value, Yield, name, ctx.cid)
            assert await stream.receive() is None
            assert ctx.maybe_error is None
            await stream.send(None)


async def a_bad_item_that_nobody_takes_harms_nobody(portal: Portal) -> None:
    """Payloads are decoded by who asks for them."""
    async with opened(portal, items=["number", "other"], result="good") as (ctx, _):
        assert await ctx.wait_for_result() == PldMsg("x")


async def a_bad_item_to_the_endpoint_comes_back_as_its_error(portal: Portal) -> None:
    """With the same facts, if it is not caught there."""
    with pytest.raises(MsgTypeError) as info:
        async with opened(portal, hear=1) as (ctx, _), ctx.open_stream() as stream:
            await stream.send(10)
            await trio.sleep_forever()
    check(info.value, Yield, "number", ctx.cid)
    assert info.value.boxed_type is MsgTypeError
    assert info.value.src_uid == portal.aid.uid
    assert ctx.outcome is info.value


async def a_bad_item_may_be_caught_at_the_endpoint(portal: Portal) -> None:
    """And the stream goes on."""
    async with opened(portal, payloads.forgives) as (ctx, _), ctx.open_stream() as stream:
        await stream.send(10)
        await stream.send(PldMsg("z"))
        assert await stream.receive() == PldMsg("z")
        assert await ctx.wait_for_result() == PldMsg("z")


async def a_bad_result_is_the_remote_error(portal: Portal) -> None:
    """Raised where the result is asked for, then once more by the block; always the same object."""
    with pytest.raises(MsgTypeError) as outer:
        async with opened(portal, first="good", result="number") as (ctx, _):
            for _ in range(2):
                with pytest.raises(MsgTypeError) as info:
                    await ctx.wait_for_result()
                mte = info.value
                assert ctx._local_error is None
                assert mte is ctx._remote_error
                assert mte is ctx.maybe_error
                assert mte is ctx.outcome
    assert outer.value is mte
    check(mte, Return, "number", ctx.cid)


async def a_bad_result_that_nobody_asks_for_is_raised_by_the_block(portal: Portal) -> None:
    """Asking for the outcome instead shows it without raising it."""
    with pytest.raises(MsgTypeError) as info:
        async with opened(portal, result="other"):
            pass
    check(info.value, Return, "other", None)
    with pytest.raises(MsgTypeError) as info:
        async with opened(portal, result="number") as (ctx, _):
            with trio.fail_after(5):
                while not ctx.has_outcome:
                    await trio.sleep(0.001)
            shown = ctx.outcome
            assert isinstance(shown, MsgTypeError)
    assert info.value is shown


async def what_cannot_be_encoded_reaches_the_opener(portal: Portal) -> None:
    """As a `TypeError` of the endpoint, whichever message it was for."""
    for kwargs in ({"first": "unsendable"}, {"items": ["unsendable"]}, {"result": "unsendable"}):
        with pytest.raises(RemoteActorError, match="cannot send an object of type 'object'") as info:
            async with opened(portal, **kwargs):
                pass
        assert info.value.boxed_type is TypeError
        assert info.value.src_uid == portal.aid.uid


async def parity_is_asked_for(portal: Portal) -> None:
    """A value that would arrive as another one is refused where it is sent, if that is wanted."""
    async with opened(portal, payloads.strict, in_a_tuple=False) as (_, first):
        assert first == [1, 2]
    with pytest.raises(MsgTypeError, match=r"arrives as \[1, 2\] of type <class 'list'>") as info:
        async with opened(portal, payloads.strict, in_a_tuple=True):
            pytest.fail("entered")
    assert info.value.boxed_type is MsgTypeError
    assert (info.value.expected_msg_type, info.value.bad_msg) == (Started, [1, 2])
    async with opened(portal, payloads.strict_and_typed) as (ctx, first):
        assert first == (1, 2)
        assert await ctx.wait_for_result() == (1, 2)


async def limits_change_what_is_taken(portal: Portal) -> None:
    """For the length of a block, at this side; what the endpoint declares holds before and after."""
    items = ["number", "good", "number", "good"]
    async with opened(portal, first="good", items=items, result="good", hear=1) as (ctx, _):
        async with ctx.open_stream() as stream:
            with limit_plds(int) as dec:
                assert ctx.pld_rx.pld_dec is dec
                assert await stream.receive() == 10
                with pytest.raises(MsgTypeError, match=r"`Yield\.pld: int`"):
                    await stream.receive()
            async with maybe_limit_plds(ctx) as nothing:
                assert nothing is None
                with pytest.raises(MsgTypeError, match=r"`Yield\.pld: PldMsg\|NoneType`"):
                    await stream.receive()
            assert ctx.pld_rx.pld_dec.spec is SPEC
            with limit_plds(dict[str, str]):
                assert await stream.receive() == {"field": "x"}
                await stream.send(PldMsg("y"))
                assert await ctx.wait_for_result() == {"field": "x"}


async def limits_hold_for_first_values(portal: Portal) -> None:
    """`started()` is refused what is outside of the block's limit, and may be called again."""
    async with opened(portal, payloads.limited) as (ctx, first):
        assert first == 5
        assert await ctx.wait_for_result() == "free again"


RULES: list[Rule] = [
    what_matches_is_what_arrives,
    a_bad_first_value_is_noticed_by_its_sender,
    a_bad_first_value_that_nobody_checked_is_noticed_by_the_opener,
    a_bad_item_is_noticed_by_its_receiver,
    a_bad_item_that_nobody_takes_harms_nobody,
    a_bad_item_to_the_endpoint_comes_back_as_its_error,
    a_bad_item_may_be_caught_at_the_endpoint,
    a_bad_result_is_the_remote_error,
    a_bad_result_that_nobody_asks_for_is_raised_by_the_block,
    what_cannot_be_encoded_reaches_the_opener,
    parity_is_asked_for,
    limits_change_what_is_taken,
    limits_hold_for_first_values,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
async def test_in_one_process(rule: Rule) -> None:
    """The rule holds, and nothing is left of the contexts it opened."""
    async with open_pair(HERE) as pair:
        await rule(pair.portal)
        assert pair.portal._router.dialogs == {}
        assert pair.back._router.dialogs == {}


async def test_between_processes(transport: str) -> None:
    """The same rules, one after another with the same child."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("child", enable_modules=[HERE])
        for rule in RULES:
            await rule(portal)
        await nursery.cancel()


async def test_a_value_that_cannot_be_sent_is_told_whatever_else_ends() -> None:
    """The endpoint cancels contexts of its own on its way out; the error is still the `TypeError`."""
    async with open_pair(HERE) as pair:
        with pytest.raises(RemoteActorError) as info:
            async with opened(pair.portal, payloads.fails_to_start):
                pytest.fail("entered")
        assert info.value.boxed_type is TypeError
        assert pair.alice.actor.served == {}


async def test_a_value_that_cannot_be_sent_is_told_whatever_else_ends_between_processes(
    transport: str,
) -> None:
    """The same with contexts in an actor of the child's own, which ends too."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("child", enable_modules=[HERE])
        with pytest.raises(RemoteActorError) as info:
            async with opened(portal, payloads.fails_to_start, neighbour="grandchild"):
                pytest.fail("entered")
        assert info.value.boxed_type is TypeError
        assert info.value.src_uid == portal.aid.uid
        await nursery.cancel()


async def test_limits_need_a_context() -> None:
    """Outside of one there is no decoder to change; inside an inner block it is the inner one's."""
    with pytest.raises(RuntimeError, match="outside of a context"), limit_plds(int):
        pytest.fail("entered")
    async with open_pair(HERE) as pair:
        with pytest.raises(RuntimeError), limit_plds(int):
            pytest.fail("entered")
        async with opened(pair.portal) as (outer, _), opened(pair.portal) as (inner, _):
            with limit_plds(int) as dec:
                assert inner.pld_rx.pld_dec is dec
                assert outer.pld_rx.pld_dec.spec is SPEC
            # The result of either is None, which is no int: the limit is over by the time it is taken.
        with pytest.raises(RuntimeError), limit_plds(int):
            pytest.fail("entered")

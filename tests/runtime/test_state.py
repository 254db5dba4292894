"""Which actor, and which context, the running code belongs to."""

from typing import Any

import pytest
import trio

import tractor
from tests.resident import open_pair, open_resident
from tractor._errors import InternalError, NoRuntime
from tractor.runtime._state import current_actor, current_ipc_ctx, get_runtime_vars, is_root_process
from tractor.runtime._vars import RuntimeVars


async def whoami() -> list[object]:
    """Return the name of the actor this runs in, and whether a context is set here."""
    return [current_actor().name, current_ipc_ctx() is not None]


@tractor.context
async def same_context(ctx: tractor.Context) -> bool:
    """Return whether the current context is the argument, also in a task of this one's."""
    found: list[Any] = []

    async def look() -> None:
        found.append(current_ipc_ctx())

    await ctx.started(current_ipc_ctx() is ctx)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
    return found == [ctx]


@tractor.context
async def relay_to_alice(ctx: tractor.Context) -> list[object]:
    """Call back into alice from inside a context, over a connection that was made in here."""
    await ctx.started(None)
    portal = next(iter(current_actor().peers.values()))[0]
    return await tractor.Portal(portal).run(whoami)


def test_outside_of_any_actor_there_is_none() -> None:
    """An error that says what to do, or None for who asks politely."""
    with pytest.raises(NoRuntime, match=r"open_nursery\(\)"):
        current_actor()
    assert current_actor(err_on_no_runtime=False) is None
    assert not is_root_process()
    assert get_runtime_vars() == RuntimeVars().as_dict()


async def test_every_task_finds_its_own_actor() -> None:
    """Several live in one process."""
    async with open_pair(__name__) as pair:
        assert await pair.portal.run(whoami) == ["bob", False]
        assert await pair.back.run(whoami) == ["alice", False]
        with pytest.raises(NoRuntime):
            current_actor()


async def test_code_outside_any_task_finds_the_only_actor() -> None:
    """A callback of a C library has no context variables of ours."""
    async with open_resident("alone") as alone:
        assert current_actor() is alone.actor
        assert await trio.to_thread.run_sync(current_actor) is alone.actor
    assert current_actor(err_on_no_runtime=False) is None


async def test_the_current_context_of_both_sides() -> None:
    """In the endpoint it is its argument; in the opener's block the block's; around it nothing."""
    async with open_pair(__name__) as pair:
        assert current_ipc_ctx() is None
        with pytest.raises(InternalError, match="no context"):
            current_ipc_ctx(error_on_not_set=True)
        async with pair.portal.open_context(same_context) as (ctx, first):
            assert first is True
            assert current_ipc_ctx(error_on_not_set=True) is ctx
            assert await ctx.wait_for_result() is True
        assert current_ipc_ctx() is None


async def test_blocks_of_two_contexts_nest() -> None:
    """The inner one counts, until it is left."""
    async with open_pair(__name__) as pair:
        async with pair.portal.open_context(same_context) as (outer, _):
            async with pair.portal.open_context(same_context) as (inner, _):
                assert current_ipc_ctx() is inner
            assert current_ipc_ctx() is outer


async def test_a_call_belongs_to_no_context() -> None:
    """Also one that is made, or comes over a connection that was made, inside a context."""
    async with open_pair(__name__) as pair:
        async with pair.portal.open_context(relay_to_alice) as (ctx, _):
            assert await ctx.wait_for_result() == ["alice", False]
            assert await pair.portal.run(whoami) == ["bob", False]


async def test_a_connection_made_inside_a_context_serves_without_it(transport: str) -> None:
    """What a peer asks for has nothing to do with the task that once connected to it."""
    binds = [tractor.ipc._addr.get_address_cls(transport).get_random("bob")]
    async with open_resident("alice", __name__) as alice, open_resident("bob", __name__, binds=binds) as bob:
        addr = bob.actor.server.addrs[0]

        async with open_pair(__name__) as pair, pair.portal.open_context(same_context):
            done = trio.Event()

            async def connect() -> None:
                router = await alice.actor.connect(addr)
                assert await tractor.Portal(router).run(whoami) == ["bob", False]
                back = bob.actor.peers[alice.actor.aid.uuid][0]
                assert (await tractor.Portal(back).run(whoami))[1] is False
                done.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(connect)
            assert done.is_set()


async def test_runtime_vars_are_copies() -> None:
    """As a dict or as an object: changing them changes no actor."""
    async with open_resident("alone") as alone:
        alone.actor.vars._root_addrs = [["127.0.0.1", 5]]
        assert get_runtime_vars()["_root_addrs"] == [["127.0.0.1", 5]]
        get_runtime_vars()["_root_addrs"].append("x")
        found = get_runtime_vars(as_dict=False)
        assert isinstance(found, RuntimeVars)
        found._root_addrs.append("y")
        assert alone.actor.vars._root_addrs == [["127.0.0.1", 5]]
        assert get_runtime_vars(clear_values=True) == RuntimeVars().as_dict()


async def test_a_root_actor_and_its_children() -> None:
    """Who is the root, and what a real child inherits."""
    async with tractor.open_nursery() as an:
        actor = tractor.current_actor()
        assert is_root_process()
        portal = await an.start_actor("child", enable_modules=[__name__])
        seen = await portal.run(child_view)
        own = get_runtime_vars()
        assert own["_is_root"] is True
        assert own["_root_addrs"] == actor.accept_addrs
        assert seen == {
            **own,
            "_is_root": False,
            "_root_addrs": [list(addr) for addr in actor.accept_addrs],
            "_root_mailbox": list(actor.accept_addrs[0]),
        }
        await an.cancel()
    assert get_runtime_vars() == RuntimeVars().as_dict()


async def child_view() -> dict[str, Any]:
    """Return what an actor knows of its tree."""
    assert not is_root_process()
    return get_runtime_vars()

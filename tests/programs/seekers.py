"""Functions that the tests of discovery run in other actors."""

from typing import NoReturn

import trio

import tractor
from tractor.discovery import get_peer_by_name, get_root
from tractor.runtime._portal import Portal


async def ping() -> str:
    """Return the name of the actor this runs in."""
    return tractor.current_actor().name


async def close_listener() -> None:
    """Stop listening; the channels that are up stay so."""
    tractor.current_actor().server.close()


async def list_names() -> list[str]:
    """Return the names in the registry, as this actor sees it."""
    async with tractor.get_registry() as registry:
        assert isinstance(registry, Portal), "only the registrar answers itself"
        assert await registry.run_from_ns("self", "is_registry")
        entries = await registry.run_from_ns("self", "get_registry")
        return sorted(entry.split(".")[0] for entry in entries)


async def find_and_ping(name: str) -> str | None:
    """Find an actor and return the name it gives itself, or None."""
    async with tractor.find_actor(name) as portal:
        return None if portal is None else await portal.run(ping)


async def wait_and_ping(name: str) -> str:
    """Wait for an actor and return the name it gives itself."""
    async with tractor.wait_for_actor(name) as portal:
        answer: str = await portal.run(ping)
    return answer


async def leave_a_watch() -> list[str]:
    """Leave `watch()` in the ways there are; return how each looked from outside."""
    seen = []
    try:
        async with tractor.watch() as events:
            await events.receive()
            raise ZeroDivisionError
    except ZeroDivisionError as exc:
        seen.append(type(exc).__name__)
    with trio.move_on_after(0.05) as scope:
        async with tractor.watch("nobody") as events:
            await events.receive()
    seen.append("cancelled" if scope.cancelled_caught else "not cancelled")
    async with tractor.watch() as events:
        await events.receive()
    seen.append("left")
    return seen


async def ask_by_way_of_root() -> list[str]:
    """Open a connection to the root for a block, ask the registry meanwhile, and go on when it was closed."""
    async with tractor.find_actor("root") as portal:
        assert portal is not None
        async with tractor.get_registry() as registry:
            await portal.aclose()
            entries = await registry.run_from_ns("self", "get_registry")
            return sorted(entry.split(".")[0] for entry in entries)


@tractor.context
async def keep_child(ctx: tractor.Context, name: str) -> NoReturn:
    """Start a child of this actor, say so, and wait."""
    async with tractor.open_nursery() as nursery:
        await nursery.start_actor(name, enable_modules=[__name__])
        await ctx.started()
        await trio.sleep_forever()
    raise AssertionError("unreachable")


async def in_grandchild(leaf: str, func: str, **kwargs: str) -> object:
    """Run a function of this module in a child of this actor."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor(leaf, enable_modules=[__name__])
        answer = await portal.run_from_ns(__name__, func, **kwargs)
        await portal.cancel_actor()
    return answer


async def ask_root() -> tuple[str, tuple[str, str], list[int]]:
    """Return who the root is, as it says and as the connection to it does, and how often this actor is connected to it."""
    before = len(get_peer_by_name("root"))
    async with get_root() as portal:
        name = await portal.run(ping)
        during = len(get_peer_by_name("root"))
    return name, portal.aid.uid, [before, during, len(get_peer_by_name("root"))]


async def list_peers(names: list[str]) -> dict[str, list[tuple[str, str]]]:
    """Return the uids of the actors of those names that this one is connected to."""
    return {name: [chan.aid.uid for chan in get_peer_by_name(name) if chan.aid is not None] for name in names}


async def tell_root_addrs() -> list[tuple[str | int, ...]]:
    """Return where this actor was told that its root listens."""
    return list(tractor.current_actor().vars._root_addrs)

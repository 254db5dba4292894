"""Queries by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio

from tractor._errors import TransportClosed
from tractor._ids import Aid
from tractor.discovery._registrar import Registrar, registrar_router
from tractor.ipc._addr import TCPAddress, UDSAddress, parse_maddr, wrap_address
from tractor.log import get_logger
from tractor.runtime._actor import Actor
from tractor.runtime._portal import Portal
from tractor.runtime._state import current_actor

log = get_logger(__name__)


class LocalPortal:
    """What `get_registry()` yields inside the registrar: the same questions, answered without a channel."""

    def __init__(self, actor: Actor) -> None:
        assert isinstance(actor.registrar, Registrar), f"{actor!r} is no registrar"
        self.actor = actor
        self._registrar = actor.registrar

    @property
    def peer(self) -> Aid:
        """Who asks: the registrar itself."""
        return self.actor.aid

    async def run_from_ns(self, namespace_path: str, function_name: str, /, **kwargs: Any) -> Any:
        """Call a method of the registrar as a peer would, under the namespace `'self'`."""
        await trio.lowlevel.checkpoint()
        method = self._registrar.methods().get(function_name)
        if namespace_path != "self" or method is None:
            raise AttributeError(f"the registrar exposes no method {namespace_path}:{function_name}")
        return await method(self, **kwargs)


@asynccontextmanager
async def get_registry(addr: Any = None) -> AsyncGenerator[Portal | LocalPortal]:
    """Yield a portal to the registrar: the tree's, or the one at `addr`. Raises `OSError` when nobody is there."""
    actor = current_actor()
    if addr is None:
        if isinstance(actor.registrar, Registrar):
            yield LocalPortal(actor)
        else:
            yield Portal(await registrar_router(actor))
    elif isinstance(actor.registrar, Registrar) and wrap_address(addr) in actor.server.addrs:
        yield LocalPortal(actor)
    else:
        async with _connected(actor, wrap_address(addr)) as portal:
            yield portal


@asynccontextmanager
async def _connected(actor: Actor, addr: TCPAddress | UDSAddress) -> AsyncGenerator[Portal]:
    """Connect for the length of the block."""
    portal = Portal(await actor.connect(addr))
    try:
        yield portal
    finally:
        await portal.aclose()


@asynccontextmanager
async def query_actor(
    name: str, regaddr: Any = None
) -> AsyncGenerator[tuple[Any, Portal | LocalPortal | None]]:
    """Yield the address of the actor of that name, or None, and a portal to the registrar; without connecting to the actor."""
    async with get_registry(regaddr) as registry:
        if name == "registrar" and isinstance(registry, LocalPortal):
            raise RuntimeError("the current actor is the registrar")
        addrs = await registry.run_from_ns("self", "find_actor", name=name)
        yield (prefer_addr(addrs).unwrap() if addrs else None, registry)


def prefer_addr(addrs: list[str]) -> TCPAddress | UDSAddress:
    """Return the best of an actor's addresses: Unix-domain before loopback before anything else."""

    def rank(addr: TCPAddress | UDSAddress) -> int:
        if isinstance(addr, UDSAddress):
            return 0
        return 1 if addr.host.startswith("127.") or addr.host == "::1" else 2

    return min((parse_maddr(text) for text in addrs), key=rank)


@asynccontextmanager
async def find_actor(
    name: str, registry_addrs: list[Any] | None = None, only_first: bool = True, raise_on_none: bool = False
) -> AsyncGenerator[Any]:
    """Yield a portal to the newest actor of that name (or uuid), or None when there is none.

    An actor that is registered but no longer listens is removed from the registry and counts as none.
    With `only_first=False` a list is yielded, one portal for each of `registry_addrs` that knows the actor.
    Raises `RuntimeError` instead of yielding None with `raise_on_none=True`.
    """
    actor = current_actor()
    found: list[Portal] = []
    try:
        for regaddr in registry_addrs or [None]:
            async with get_registry(regaddr) as registry:
                addrs = await registry.run_from_ns("self", "find_actor", name=name)
                portal = await _dial(actor, addrs, registry) if addrs else None
            if portal is not None:
                found.append(portal)
                if only_first:
                    break
        if not found and raise_on_none:
            raise RuntimeError(f"no actor called {name!r} is registered")
        yield (found[0] if found else None) if only_first else found
    finally:
        for portal in found:
            await portal.aclose()


async def _dial(actor: Actor, addrs: list[str], registry: Portal | LocalPortal) -> Portal | None:
    """Connect to a registered actor; one that no longer listens is removed from the registry."""
    addr = prefer_addr(addrs)
    try:
        return Portal(await actor.connect(addr))
    except (OSError, TransportClosed, trio.TooSlowError) as exc:
        log.info("a registered actor no longer listens", extra={"addr": str(addr), "cause": str(exc)})
        await registry.run_from_ns("self", "delete_addr", addr=addr.maddr)
        return None


@asynccontextmanager
async def wait_for_actor(name: str, registry_addr: Any = None) -> AsyncGenerator[Portal]:
    """Wait until an actor of that name is registered and reachable; yield a portal to it."""
    actor = current_actor()
    portal: Portal | None = None
    async with get_registry(registry_addr) as registry:
        while portal is None:
            addrs = await registry.run_from_ns("self", "wait_for_actor", name=name)
            portal = await _dial(actor, addrs, registry)
    try:
        yield portal
    finally:
        await portal.aclose()

"""Queries by name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from tractor._errors import TransportClosed
from tractor._ids import Aid
from tractor.discovery._answers import (
    NoRegistrar,
    RegistrarLost,
    Row,
    ask,
    by_preference,
    is_name,
    read_addrs,
    read_rows,
)
from tractor.discovery._client import FAILURES, RETRY_FIRST, RETRY_MOST, registries_of
from tractor.discovery._registrar import Registrar, local_registrar
from tractor.ipc._addr import TCPAddress, UDSAddress, wrap_address
from tractor.ipc._channel import Channel
from tractor.log import get_logger
from tractor.msg._boxed import RemoteActorError
from tractor.runtime._actor import Actor
from tractor.runtime._portal import Portal
from tractor.runtime._router import Router
from tractor.runtime._state import current_actor

log = get_logger(__name__)

#: Seconds for an actor that was found to say hello, or that it still listens.
DIAL_TIMEOUT = 3.0
#: Seconds that a question waits for the successor of a registrar that was lost.
SUCCESSION_TIMEOUT = 2.0


class LocalPortal:
    """What `get_registry()` yields inside the registrar: the same questions, answered without a channel."""

    def __init__(self, actor: Actor, registrar: Registrar) -> None:
        self.actor = actor
        self._registrar = registrar

    @property
    def peer(self) -> Aid:
        """Who asks: the registrar itself."""
        return self.actor.aid

    @property
    def aid(self) -> Aid:
        """Who answers: the same."""
        return self.actor.aid

    async def run_from_ns(self, namespace_path: str, function_name: str, /, **kwargs: Any) -> Any:
        """Call a function of an exposed module, or a method of the registrar under the namespace `'self'`, as a peer would.

        Its errors are raised as they are: nothing travels.
        """
        await trio.lowlevel.checkpoint()
        if namespace_path != "self":
            func = self.actor.exposed.lookup(f"{namespace_path}:{function_name}", as_context=False)
            return await func(**kwargs)
        method = self._registrar.methods().get(function_name)
        if method is None:
            raise AttributeError(f"the registrar exposes no method {namespace_path}:{function_name}")
        return await method(self, **kwargs)


class SharedPortal(Portal):
    """A portal over a channel that others use as well."""

    async def aclose(self) -> None:
        """Do nothing: the channel is closed by whoever has opened it, or with the last block that uses it."""
        await trio.lowlevel.checkpoint()


async def own_registry(actor: Actor) -> Portal | LocalPortal:
    """Return a portal to the actor's registrar. Raises `OSError` when there is none, and a lost one has no successor."""
    until = trio.current_time() + SUCCESSION_TIMEOUT
    while True:
        registrar = local_registrar(actor)
        if registrar is not None:
            return LocalPortal(actor, registrar)
        try:
            return SharedPortal(await registries_of(actor).router())
        except OSError:
            if trio.current_time() >= until or not registries_of(actor).are_kept:
                raise
        await trio.sleep(RETRY_FIRST)


@asynccontextmanager
async def get_registry(addr: Any = None) -> AsyncGenerator[Portal | LocalPortal]:
    """Yield a portal to the registrar: the tree's, or the one at `addr`.

    Raises `OSError` when nobody is there; the tree's own is given two seconds to have a successor.
    """
    actor = current_actor()
    registrar = local_registrar(actor)
    if addr is None:
        yield await own_registry(actor)
    elif registrar is not None and wrap_address(addr) in actor.server.addrs:
        yield LocalPortal(actor, registrar)
    else:
        async with _connected(actor, wrap_address(addr)) as portal:
            yield portal


@asynccontextmanager
async def _connected(actor: Actor, addr: TCPAddress | UDSAddress) -> AsyncGenerator[Portal]:
    """Connect for the length of the block, unless there is a connection to that address."""
    loans = registries_of(actor).loans
    known = _find_router(actor, lambda router: addr in router.channel.peer_addrs)
    try:
        router = loans.share(known) if known is not None else await loans.connect(addr)
    except TransportClosed as exc:
        raise ConnectionError(f"what listens at {addr} is no actor: {exc}") from exc
    except trio.TooSlowError as exc:
        raise TimeoutError(f"what listens at {addr} does not answer") from exc
    try:
        yield SharedPortal(router)
    finally:
        await loans.give_back(router)


def _find_router(actor: Actor, is_wanted: Callable[[Router], bool]) -> Router | None:
    """Return a live channel that does not end with somebody else's block; none of the actor to itself."""
    for uuid, routers in actor.peers.items():
        for router in routers:
            # Of a channel to itself both ends are in its list.
            if (
                uuid != actor.aid.uuid
                and not router.channel.visiting
                and router.channel.connected()
                and is_wanted(router)
            ):
                return router
    return None


@asynccontextmanager
async def query_actor(
    name: str, regaddr: Any = None
) -> AsyncGenerator[tuple[Any, Portal | LocalPortal | None]]:
    """Yield the address of the actor of that name, or None, and a portal to the registrar; without connecting to the actor.

    Raises `OSError` where there is no registrar, `TypeError` for a name that is no str.
    """
    is_name(name)
    async with get_registry(regaddr) as registry:
        if name == "registrar" and isinstance(registry, LocalPortal):
            raise RuntimeError("the current actor is the registrar")
        rows = await _look_up(registry, name)
        addrs = by_preference(rows[0][2]) if rows else []
        yield (addrs[0].unwrap() if addrs else None, registry)


async def _look_up(registry: Portal | LocalPortal, name: str) -> list[Row]:
    """Return what a registrar knows of the actors of one name, the newest first."""
    if not is_name(name):
        return []
    if isinstance(registry, LocalPortal):
        rows: list[Row] = await registry.run_from_ns("self", "look_up", name=name)
        return rows
    return read_rows(await ask(registry, "look_up", name=name), name)


def prefer_addr(addrs: list[str]) -> TCPAddress | UDSAddress:
    """Return the best of an actor's addresses: Unix-domain before loopback before anything else, of equals the last one.

    Raises `ValueError` where there is none.
    """
    if not addrs:
        raise ValueError("an actor without an address cannot be reached")
    return by_preference(addrs)[0]


@asynccontextmanager
async def find_actor(
    name: str, registry_addrs: list[Any] | None = None, only_first: bool = True, raise_on_none: bool = False
) -> AsyncGenerator[Any]:
    """Yield a portal to the newest actor of that name (or uuid), or None when there is none.

    An actor that is registered but no longer listens is removed from the registry and counts as none. A live channel to
    the actor is used again; one that is made here is closed with the block.
    `registry_addrs`: where to ask, by default the registrars of this actor's tree. With `only_first=False` a list is
    yielded, one portal for each of the registrars that knows the actor.
    Raises `RuntimeError` instead of yielding None with `raise_on_none=True`, `OSError` where no registrar answers, and
    `TypeError` for a name that is no str.
    """
    is_name(name)
    actor = current_actor()
    found: list[Portal] = []
    used: list[Router] = []
    failure: OSError | None = None
    try:
        for regaddr in registry_addrs if registry_addrs is not None else _default_registries(actor):
            try:
                portal = await _find_at(actor, regaddr, name, used)
            except OSError as exc:
                failure = exc
                continue
            if portal is not None:
                found.append(portal)
                if only_first:
                    break
        if not found and failure is not None:
            raise failure
        if not found and raise_on_none:
            raise RuntimeError(f"no actor called {name!r} is registered")
        yield (found[0] if found else None) if only_first else found
    finally:
        await _give_back(actor, used)


async def _give_back(actor: Actor, used: list[Router]) -> None:
    for router in used:
        await registries_of(actor).loans.give_back(router)


def _default_registries(actor: Actor) -> list[Any]:
    links: list[Any] = [link.addr for link in registries_of(actor).links]
    # None: its own table, or the first that is there.
    return [None, *links] if local_registrar(actor) is not None else links if len(links) > 1 else [None]


async def _find_at(actor: Actor, regaddr: Any, name: str, used: list[Router]) -> Portal | None:
    """Ask one registrar; where it is the tree's own and is lost meanwhile, the one that comes after it."""
    until = trio.current_time() + SUCCESSION_TIMEOUT
    while True:
        try:
            async with get_registry(regaddr) as registry:
                return await _reach(actor, name, registry, used)
        except RegistrarLost:
            if regaddr is not None or trio.current_time() >= until or not registries_of(actor).are_kept:
                raise
        await trio.sleep(RETRY_FIRST)


async def _reach(
    actor: Actor, name: str, registry: Portal | LocalPortal, used: list[Router]
) -> Portal | None:
    """Return a portal to the newest actor of that name that can be reached; the channel goes to `used`.

    One that no longer listens is removed from the registry.
    """
    for row in await _look_up(registry, name):
        try:
            with trio.fail_after(DIAL_TIMEOUT):
                portal = await _dial(actor, row, used)
        except (trio.TooSlowError, TimeoutError):
            log.info("a registered actor does not answer", extra={"actor": f"{row[0]}.{row[1]}"})
            continue
        if portal is not None:
            return portal
        log.info("a registered actor does not listen", extra={"actor": f"{row[0]}.{row[1]}"})
        # By its uuid: another may be registered with its address by now.
        forget = {"uid": (row[0], row[1])}
        if isinstance(registry, LocalPortal):
            await registry.run_from_ns("self", "unregister_actor", **forget)
        else:
            await ask(registry, "unregister_actor", **forget)
    return None


async def _dial(actor: Actor, row: Row, used: list[Router]) -> Portal | None:
    """Return a portal to a registered actor, or None where it does not listen any more.

    Raises `OSError` where that cannot be known: the fault may be on our side.
    """
    _, uuid, addrs = row
    loans = registries_of(actor).loans
    known = _find_router(actor, lambda router: router.peer.uuid == uuid)
    if known is not None:
        used.append(loans.share(known))
        try:
            # It may have stopped listening, and go on talking to those who knew it.
            if await Portal(known).run_from_ns("self", "is_listening"):
                return SharedPortal(known)
            return None
        except (TransportClosed, RemoteActorError) as exc:
            log.debug("a channel was lost", extra={"cause": str(exc)})
    for addr in by_preference(addrs):
        try:
            router = await loans.connect(addr)
        except (ConnectionError, TransportClosed) as exc:
            log.debug("nobody listens there", extra={"addr": str(addr), "cause": str(exc)})
            continue
        if router.peer.uuid == uuid:
            used.append(router)
            return SharedPortal(router)
        # The address is somebody else's by now.
        await loans.give_back(router)
    return None


@asynccontextmanager
async def wait_for_actor(name: str, registry_addr: Any = None) -> AsyncGenerator[Portal]:
    """Wait until an actor of that name is registered and reachable; yield a portal to it.

    It goes on waiting where the registrar of this actor's tree is lost, until there is another. Raises `OSError` where
    this tree has none, there is none at `registry_addr`, or something else answers there; and `ValueError` for what no actor
    can be called.
    """
    if not is_name(name):
        raise ValueError(f"no actor is ever called {name!r}")
    actor = current_actor()
    used: list[Router] = []
    portal: Portal | None = None
    delay = 0.0
    try:
        while portal is None:
            try:
                async with get_registry(registry_addr) as registry:
                    if isinstance(registry, LocalPortal):
                        await registry.run_from_ns("self", "wait_for_actor", name=name)
                    else:
                        read_addrs(await ask(registry, "wait_for_actor", name=name))
                    portal = await _reach(actor, name, registry, used)
            except NoRegistrar:
                raise
            except FAILURES:
                if registry_addr is not None or not registries_of(actor).are_kept:
                    raise
            if portal is None:
                # It may be registered and not answer.
                delay = min(max(delay * 2, RETRY_FIRST), RETRY_MOST)
                await trio.sleep(delay)
        yield portal
    finally:
        await _give_back(actor, used)


@asynccontextmanager
async def get_root() -> AsyncGenerator[Portal]:
    """Yield a portal to the root of this actor's tree. Raises `OSError` where it does not listen."""
    actor = current_actor()
    root = [wrap_address(addr).maddr for addr in actor.vars._root_addrs]
    if not root:
        raise ConnectionRefusedError("the root of this tree does not listen")
    async with _connected(actor, prefer_addr(root)) as portal:
        yield portal


def get_peer_by_name(name: str) -> list[Channel]:
    """Return the live channels to actors of that name (or uuid) that this actor is connected to."""
    actor = current_actor()
    return [
        router.channel
        for routers in actor.peers.values()
        for router in routers
        if name in router.peer.uid and router.channel.connected()
    ]

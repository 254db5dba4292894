"""The registrar: an ordinary actor that answers questions about names, and how actors come to be in its table.

Whoever supervises an actor registers it, before handing out its portal, and removes it when it is gone. An entry also
goes when the connection that brought it is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

import trio

from tractor._errors import TransportClosed
from tractor._ids import Aid
from tractor.discovery._table import Entry, Table
from tractor.ipc._addr import parse_maddr, wrap_address
from tractor.log import get_logger
from tractor.msg._boxed import RemoteActorError
from tractor.runtime._actor import Actor
from tractor.runtime._call import call
from tractor.runtime._router import Router

log = get_logger(__name__)

#: Seconds an actor waits for the registrar to take note of a child.
REGISTER_TIMEOUT = 1.0


class Asker(Protocol):
    """Where a question comes from: a request, or a portal of the registrar's own."""

    @property
    def peer(self) -> Aid:
        """Who asks."""


class Registrar:
    """Answers other actors from one table; every method below is open to peers under the namespace `self`."""

    def __init__(self, actor: Actor) -> None:
        self.table = Table()
        self._actor = actor
        self._changed = trio.Event()

    def methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the methods by the names that peers call."""
        return {
            "is_registry": self._is_registry,
            "register_actor": self._register_actor,
            "unregister_actor": self._unregister_actor,
            "find_actor": self._find_actor,
            "wait_for_actor": self._wait_for_actor,
            "get_registry": self._get_registry,
            "delete_addr": self._delete_addr,
        }

    def register(self, aid: Aid, addrs: list[str], keeper: str) -> None:
        """Add an actor and wake whoever waits for its name."""
        self.table.add(Entry(aid.name, aid.uuid, addrs, keeper))
        self._changed.set()
        self._changed = trio.Event()

    async def _is_registry(self, asker: Asker) -> bool:  # noqa: ARG002 - every method gets its request
        return True

    async def _register_actor(self, asker: Asker, uid: tuple[str, str], addrs: list[str]) -> None:
        name, uuid = uid
        for addr in addrs:
            parse_maddr(addr)
        self.register(Aid(name, uuid), addrs, asker.peer.uuid)

    async def _unregister_actor(self, asker: Asker, uid: tuple[str, str]) -> None:
        if not self.table.remove(uid[1]):
            log.info(
                "an actor unregistered that was not registered", extra={"uid": uid, "by": str(asker.peer)}
            )

    async def _find_actor(self, asker: Asker, name: str) -> list[str] | None:  # noqa: ARG002
        return self.find(name)

    async def _wait_for_actor(self, asker: Asker, name: str) -> list[str]:  # noqa: ARG002
        return await self.wait_for(name)

    async def _get_registry(self, asker: Asker) -> dict[str, list[str]]:  # noqa: ARG002
        return self.entries()

    async def _delete_addr(self, asker: Asker, addr: Any) -> tuple[str, str] | None:  # noqa: ARG002
        return self.delete_addr(addr)

    def find(self, name: str) -> list[str] | None:
        """Return the addresses of the newest actor of that name (or uuid), or None."""
        entry = self.table.find(name)
        return entry.addrs if entry is not None else None

    async def wait_for(self, name: str) -> list[str]:
        """Return the addresses of an actor of that name as soon as there is one."""
        while (found := self.find(name)) is None:
            await self._changed.wait()
        return found

    def entries(self) -> dict[str, list[str]]:
        """Return the addresses of every actor by `NAME.UUID`."""
        return {f"{entry.name}.{entry.uuid}": entry.addrs for entry in self.table}

    def delete_addr(self, addr: Any) -> tuple[str, str] | None:
        """Remove the actor registered at an address in any spelling; return its uid if there was one."""
        entry = self.table.remove_addr(wrap_address(addr).maddr)
        return (entry.name, entry.uuid) if entry is not None else None


def become_registrar(actor: Actor) -> Registrar:
    """Make `actor` the registrar of its tree, listed in its own table."""
    registrar = Registrar(actor)
    actor.self_methods.update(registrar.methods())
    actor.registrar = registrar

    def on_lost(router: Router) -> None:
        # A connection of the registrar to itself keeps nothing alive.
        if router.peer.uuid not in actor.peers and router.peer != actor.aid:
            registrar.table.remove_kept_by(router.peer.uuid)

    actor.on_peer_lost.append(on_lost)
    return registrar


async def registrar_router(actor: Actor) -> Router:
    """Return a channel to the tree's registrar, the live one if there is one. Raises `OSError` when it is gone."""
    router = _known_router(actor)
    if router is not None:
        return router
    addrs = actor.vars._registry_addrs
    if not addrs:
        raise ConnectionRefusedError("this tree has no registrar")
    router = await actor.connect(wrap_address(addrs[0]))
    faster = _known_router(actor)
    if faster is not None:
        await router.channel.aclose()
        return faster
    actor.registrar = router
    return router


def _known_router(actor: Actor) -> Router | None:
    """Return the channel that questions go to, if it is up.

    No other will do: one that was opened for a block is closed with it, and anybody can say that it is a registrar.
    """
    for router in (actor.parent, actor.registrar):
        if isinstance(router, Router) and router.peer.is_registrar and router.channel.connected():
            return router
    return None


async def register(actor: Actor, aid: Aid, addrs: list[str]) -> None:
    """Register a child of `actor`; a registrar that does not answer costs a second and a line in the log."""
    registrar = actor.registrar
    if isinstance(registrar, Registrar):
        registrar.register(aid, addrs, aid.uuid)
        return
    try:
        with trio.fail_after(REGISTER_TIMEOUT):
            router = await registrar_router(actor)
            await call(router, "self:register_actor", {"uid": aid.uid, "addrs": addrs})
    except (OSError, TransportClosed, RemoteActorError, trio.TooSlowError) as exc:
        log.warning("an actor could not be registered", extra={"child": str(aid), "cause": str(exc)})


def unregister(actor: Actor, aid: Aid) -> None:
    """Remove a child of `actor` from the registrar's table; returns before the registrar has done so."""
    registrar = actor.registrar
    if isinstance(registrar, Registrar):
        registrar.table.remove(aid.uuid)
    else:
        actor.services.start_soon(_unregister, actor, aid)


@trio.lowlevel.enable_ki_protection
async def _unregister(actor: Actor, aid: Aid) -> None:
    with trio.move_on_after(REGISTER_TIMEOUT), suppress(OSError, TransportClosed, RemoteActorError):
        router = await registrar_router(actor)
        await call(router, "self:unregister_actor", {"uid": aid.uid})

"""The registrar: an ordinary actor that answers questions about names.

Whoever supervises an actor registers it, before handing out its portal, and removes it when it is gone. An entry also
goes when the connection that brought it is lost, and is hidden while whoever brought it does not answer.
"""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Protocol

import trio

from tractor._ids import Aid
from tractor.discovery._table import Entry, Table
from tractor.ipc._addr import parse_maddr, wrap_address
from tractor.log import get_logger
from tractor.runtime._actor import Actor
from tractor.runtime._router import Router

log = get_logger(__name__)

#: Seconds between questions to those who keep entries alive, and after how many without an answer the entries are hidden.
PING_EVERY = 1.0
PINGS = 3
#: The endpoints that a registrar exposes, beside its methods.
WATCH_MODULE = "tractor.discovery._watch"


class Asker(Protocol):
    """Where a question comes from: a request, or a portal of the registrar's own."""

    @property
    def peer(self) -> Aid:
        """Who asks."""


class Registrar:
    """Answers other actors from one table; every method below is open to peers under the namespace `self`."""

    def __init__(self, actor: Actor) -> None:
        self.table = Table(self._on_change)
        self._actor = actor
        self._changed = trio.Event()

    def methods(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        """Return the methods by the names that peers call."""
        return {
            "is_registry": self._is_registry,
            "register_actor": self._register_actor,
            "unregister_actor": self._unregister_actor,
            "find_actor": self._find_actor,
            "look_up": self._look_up,
            "wait_for_actor": self._wait_for_actor,
            "get_registry": self._get_registry,
            "delete_addr": self._delete_addr,
        }

    def _on_change(self, entry: Entry, present: bool) -> None:
        log.info(
            "an actor %s", "arrived" if present else "left", extra={"actor": f"{entry.name}.{entry.uuid}"}
        )
        self._changed.set()
        self._changed = trio.Event()

    def register(self, aid: Aid, addrs: list[str], keeper: str) -> None:
        """Add an actor and wake whoever waits for its name."""
        self.table.add(Entry(aid.name, aid.uuid, addrs, keeper))

    async def _is_registry(self, asker: Asker) -> bool:  # noqa: ARG002 - every method gets its request
        return True

    async def _register_actor(self, asker: Asker, uid: tuple[str, str], addrs: list[str]) -> None:
        name, uuid = _check_uid(uid)
        if not isinstance(addrs, list | tuple):
            raise TypeError(f"addrs must be a list of multiaddrs, not {type(addrs).__name__}")
        # In the spelling by which they are compared.
        spelled = [parse_maddr(addr).maddr for addr in addrs]
        # Whoever says something answers.
        self.table.note_answer(asker.peer.uuid, True)
        self.register(Aid(name, uuid), spelled, asker.peer.uuid)

    async def _unregister_actor(self, asker: Asker, uid: tuple[str, str]) -> None:
        if not self.table.remove(_check_uid(uid)[1]):
            log.info(
                "an actor unregistered that was not registered", extra={"uid": uid, "by": str(asker.peer)}
            )

    async def _find_actor(self, asker: Asker, name: str) -> list[str] | None:  # noqa: ARG002
        return self.find(name)

    async def _look_up(self, asker: Asker, name: str) -> list[tuple[str, str, list[str]]]:  # noqa: ARG002
        return self.look_up(name)

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

    def look_up(self, name: str) -> list[tuple[str, str, list[str]]]:
        """Return name, uuid and addresses of every actor of that name (or uuid), the newest first; of all for ''."""
        found = self.table.find_all(name) if name else self.table
        return [(entry.name, entry.uuid, entry.addrs) for entry in found]

    async def wait_for(self, name: str) -> list[str]:
        """Return the addresses of an actor of that name as soon as there is one."""
        while (found := self.find(name)) is None:
            await self.wait_change()
        return found

    async def wait_change(self) -> None:
        """Return when somebody has arrived or left."""
        await self._changed.wait()

    def entries(self) -> dict[str, list[str]]:
        """Return the addresses of every actor by `NAME.UUID`."""
        return {f"{entry.name}.{entry.uuid}": entry.addrs for entry in self.table}

    def delete_addr(self, addr: Any) -> tuple[str, str] | None:
        """Remove the actor registered at an address in any spelling; return its uid if there was one."""
        entry = self.table.remove_addr(wrap_address(addr).maddr)
        return (entry.name, entry.uuid) if entry is not None else None

    async def check_leases(self) -> None:
        """Ask whoever keeps entries alive, again and again, whether its loop turns. Runs until cancelled."""
        missed: Counter[str] = Counter()
        while True:
            asked = {
                keeper: [router.ping() for router in self._actor.peers.get(keeper, [])]
                for keeper in self.table.keepers() - {self._actor.aid.uuid}
            }
            await trio.sleep(PING_EVERY)
            for keeper, pongs in asked.items():
                if not pongs or any(pong.is_set() for pong in pongs):
                    missed.pop(keeper, None)
                else:
                    missed[keeper] += 1
                self.table.note_answer(keeper, missed[keeper] < PINGS)
            for keeper in missed.keys() - asked.keys():
                del missed[keeper]


def _check_uid(uid: object) -> tuple[str, str]:
    match uid:
        case [str(name), str(uuid)] if name and uuid:
            return name, uuid
    raise TypeError(f"a uid is a pair (name, uuid), not {reprlib.repr(uid)}")


def become_registrar(actor: Actor) -> Registrar:
    """Make `actor` a registrar; it can be one only once."""
    registrar = Registrar(actor)
    actor.aid = replace(actor.aid, is_registrar=True)
    actor.self_methods.update(registrar.methods())
    actor.exposed.modules.setdefault(WATCH_MODULE, "")
    actor.registrar = registrar

    def on_lost(router: Router) -> None:
        # A connection of the registrar to itself keeps nothing alive.
        if router.peer.uuid not in actor.peers and router.peer != actor.aid:
            registrar.table.remove_kept_by(router.peer.uuid)

    actor.on_peer_lost.append(on_lost)
    return registrar


def local_registrar(actor: Actor) -> Registrar | None:
    """Return the actor's own table, where it keeps one."""
    return actor.registrar if isinstance(actor.registrar, Registrar) else None

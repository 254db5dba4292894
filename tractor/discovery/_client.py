"""An actor's connections to its registrars, and what it has registered there."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from random import uniform

import trio

from tractor._errors import TransportClosed
from tractor._ids import Aid
from tractor.discovery._election import Finding, probe
from tractor.discovery._registrar import become_registrar, local_registrar
from tractor.ipc._addr import TCPAddress, UDSAddress, wrap_address
from tractor.log import get_logger
from tractor.msg._boxed import RemoteActorError
from tractor.runtime._actor import Actor
from tractor.runtime._call import call
from tractor.runtime._router import Router

log = get_logger(__name__)

type Address = TCPAddress | UDSAddress

#: Seconds an actor waits for a registrar to take note of another actor.
REGISTER_TIMEOUT = 1.0
#: Seconds between attempts to find a registrar that was lost: the first, and the longest.
RETRY_FIRST, RETRY_MOST = 0.05, 1.0
#: What comes of a registrar that is not there, not well, or not one.
FAILURES = (OSError, TransportClosed, RemoteActorError, trio.TooSlowError)


class RegistryLink:
    """An actor's connection to the registrar at one address.

    What was registered is registered again where the registrar was lost and is back, or another is in its place.
    """

    def __init__(self, owner: Registries, addr: Address) -> None:
        self.addr = addr
        self._owner = owner
        self._actor = owner.actor
        self._router: Router | None = None
        self._connecting = trio.Lock()
        #: Set when the registrar knows of everything that was registered here, or we have become it.
        self.settled = trio.Event()
        #: Cancelled when it may not know of all of that any more.
        self._content = trio.CancelScope()
        #: Whether the connection is restored when it is lost.
        self.kept = False
        self._entries: dict[str, tuple[Aid, list[str]]] = {}

    async def router(self) -> Router:
        """Return a channel to the registrar, the live one if there is one. Raises `OSError` when nobody is there."""
        parent = self._actor.parent
        if parent is not None and _is_registrar_at(parent, self.addr):
            return parent
        async with self._connecting:
            if self not in self._owner.links:
                raise ConnectionRefusedError(f"this actor is the registrar at {self.addr} itself")
            if self._router is None or not self._router.channel.connected():
                # No other channel will do: one that was opened for a block is closed with it, and anybody can say that
                # it is a registrar.
                self._router = await self._actor.connect(self.addr)
            return self._router

    async def register(self, aid: Aid, addrs: list[str]) -> None:
        """Register an actor now, and again whenever that is necessary. Raises what is in `FAILURES`."""
        self._entries[aid.uuid] = (aid, addrs)
        if not self.kept:
            self.kept = True
            self._actor.services.start_soon(self._keep)
        try:
            with trio.fail_after(REGISTER_TIMEOUT):
                await self._register(await self.router(), aid, addrs)
        except FAILURES:
            if self not in self._owner.links:
                # Our own table has taken its place, with every entry, before this news came.
                return
            # It is told again as soon as it answers.
            self.settled = trio.Event()
            self._content.cancel()
            raise

    async def _register(self, router: Router, aid: Aid, addrs: list[str]) -> None:
        await call(router, "self:register_actor", {"uid": aid.uid, "addrs": addrs})
        if aid.uuid not in self._entries:
            # It was removed meanwhile, and the registrar does one thing beside the other: this may have been the last.
            await call(router, "self:unregister_actor", {"uid": aid.uid})

    def unregister(self, aid: Aid) -> None:
        """Remove an actor; returns before the registrar has done so."""
        if self._entries.pop(aid.uuid, None) is not None:
            self._actor.services.start_soon(self._unregister, aid)

    @trio.lowlevel.enable_ki_protection
    async def _unregister(self, aid: Aid) -> None:
        with trio.move_on_after(REGISTER_TIMEOUT), suppress(*FAILURES):
            await call(await self.router(), "self:unregister_actor", {"uid": aid.uid})

    @trio.lowlevel.enable_ki_protection
    async def _keep(self) -> None:
        """Watch the connection, and restore it with its entries when it is lost, until another actor's end is ours."""
        delay = RETRY_FIRST
        while True:
            try:
                router = await self.router()
                with trio.CancelScope() as self._content:
                    for aid, addrs in list(self._entries.values()):
                        if aid.uuid in self._entries:
                            await self._register(router, aid, addrs)
                    delay = RETRY_FIRST
                    self.settled.set()
                    await router.wait_lost()
                    log.info("a registrar was lost", extra={"addr": str(self.addr)})
            except FAILURES as exc:
                log.info("no registrar", extra={"addr": str(self.addr), "cause": str(exc)})
                if await self._owner.take_over(self, self._entries):
                    self.settled.set()
                    return
                # Many have lost it in the same moment.
                await trio.sleep(uniform(delay / 2, delay))
                delay = min(delay * 2, RETRY_MOST)


class Loans:
    """Connections that were made for a block. Another block may use one as well; the last one closes it."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._users: Counter[Router] = Counter()

    async def connect(self, addr: Address) -> Router:
        """Make a connection for a block."""
        router = await self._actor.connect(addr)
        self._users[router] = 1
        return router

    def share(self, router: Router) -> Router:
        """Use one that is there already, made for a block or not."""
        if router in self._users:
            self._users[router] += 1
        return router

    async def give_back(self, router: Router) -> None:
        """The block is left."""
        if router in self._users:
            self._users[router] -= 1
            if not self._users[router]:
                del self._users[router]
                await router.channel.aclose()


class Registries:
    """Where an actor looks for names and registers them: its own table if it keeps one, and other registrars."""

    def __init__(self, actor: Actor, addrs: list[Address]) -> None:
        self.actor = actor
        self.links = [RegistryLink(self, addr) for addr in addrs]
        self.loans = Loans(actor)

    async def register(self, aid: Aid, addrs: list[str]) -> None:
        """Register an actor everywhere; a registrar that does not answer costs a second and a line in the log."""
        if (local := local_registrar(self.actor)) is not None:
            local.register(aid, addrs, aid.uuid)
        async with trio.open_nursery() as nursery:
            for link in self.links:
                nursery.start_soon(self._register_at, link, aid, addrs)

    async def _register_at(self, link: RegistryLink, aid: Aid, addrs: list[str]) -> None:
        local = local_registrar(self.actor)
        if local is not None and link not in self.links:
            # Taken over meanwhile.
            local.register(aid, addrs, aid.uuid)
            return
        try:
            await link.register(aid, addrs)
        except FAILURES as exc:
            facts = {"actor": str(aid), "registrar": str(link.addr), "cause": str(exc)}
            log.warning("an actor could not be registered", extra=facts)

    def unregister(self, aid: Aid) -> None:
        """Remove an actor everywhere; returns before other registrars have done so."""
        if (local := local_registrar(self.actor)) is not None:
            local.table.remove(aid.uuid)
        for link in self.links:
            link.unregister(aid)

    @property
    def are_kept(self) -> bool:
        """Whether a registrar that was lost is looked for again."""
        return local_registrar(self.actor) is not None or any(link.kept for link in self.links)

    async def router(self) -> Router:
        """Return a channel to the first registrar that is there. Raises `OSError` when none is."""
        failure: OSError = ConnectionRefusedError("this tree has no registrar")
        for link in list(self.links):
            try:
                return await link.router()
            except TransportClosed as exc:
                failure = ConnectionError(f"the registrar at {link.addr} does not answer: {exc}")
            except trio.TooSlowError:
                failure = TimeoutError(f"the registrar at {link.addr} does not answer")
            except OSError as exc:
                failure = exc
        raise failure

    def _may_take_over(self) -> bool:
        actor = self.actor
        return actor.is_root and not actor.cancel_called and bool(actor.server.addrs)

    async def take_over(self, link: RegistryLink, entries: dict[str, tuple[Aid, list[str]]]) -> bool:
        """Become the registrar at an address that nobody answers for, so that names can be found again.

        Only the root of a tree does, and of several the one that is the first to listen there. Returns whether it was us.
        """
        actor = self.actor
        if not self._may_take_over() or await probe(link.addr) is not Finding.ABSENT:
            return False
        if not self._may_take_over():
            # It has begun to end, or was told not to listen any more, during the question.
            return False
        registrar = local_registrar(actor)
        try:
            actor.server.bind(link.addr)
        except OSError:
            return False
        self.links.remove(link)
        if registrar is None:
            registrar = become_registrar(actor)
            actor.services.start_soon(registrar.check_leases)
        log.warning("took over as registrar", extra={"addr": str(link.addr)})
        for aid, addrs in entries.values():
            registrar.register(aid, addrs, aid.uuid)
        return True


def registries_of(actor: Actor) -> Registries:
    """Return where `actor` looks for names: what it was told at its start, or what its parent's tree uses."""
    if not isinstance(actor.registries, Registries):
        addrs = [] if local_registrar(actor) is not None else actor.vars._registry_addrs
        actor.registries = Registries(actor, [wrap_address(addr) for addr in addrs])
    return actor.registries


async def register(actor: Actor, aid: Aid, addrs: list[str]) -> None:
    """Register a child of `actor`."""
    await registries_of(actor).register(aid, addrs)


def unregister(actor: Actor, aid: Aid) -> None:
    """Remove a child of `actor`."""
    registries_of(actor).unregister(aid)


def _is_registrar_at(router: Router, addr: Address) -> bool:
    return router.peer.is_registrar and router.channel.connected() and addr in router.channel.peer_addrs

"""How the root of a tree finds the registrars of its machine, or becomes the one."""

from __future__ import annotations

import errno
from collections.abc import Iterable

import trio

from tractor._errors import TransportClosed
from tractor.discovery._client import FAILURES, Registries, RegistryLink, registries_of
from tractor.discovery._election import conclude, probe_all
from tractor.discovery._registrar import become_registrar, local_registrar
from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls
from tractor.log import get_logger
from tractor.runtime._actor import Actor

log = get_logger(__name__)

type Address = TCPAddress | UDSAddress

#: How often to look again where somebody else was faster: whoever wins answers at once, so twice is enough for all who begin in
#: the same moment, unless winners end as soon as they have won.
RACES = 10
#: Seconds for a registrar that was lost just now to have a successor: another program, or this one.
SUCCESSION_TIMEOUT = 2.0


async def settle(
    actor: Actor, registry_addrs: list[Address], bind_addrs: list[Address], *, ensure_registry: bool
) -> None:
    """Ask who answers at `registry_addrs` and listen accordingly; `actor` does not run yet.

    Where there are registrars they are the actor's; it listens at `bind_addrs`, or at a random address beside each of them.
    Where there is none it becomes one, and listens at all of these addresses. Without `registry_addrs` it keeps the names of
    its own tree, at `bind_addrs` or a random address.
    Raises `RuntimeError` for an address that is occupied by something else and, with `ensure_registry`, where there is a
    registrar already; `ConnectionError` for one of `bind_addrs` that is in use, and for any that cannot be listened at.
    """
    for _ in range(RACES):
        live = conclude(await probe_all(addr for addr in registry_addrs if not _is_anywhere(addr)))
        if live:
            if ensure_registry:
                raise RuntimeError(
                    f"there is a registrar at {', '.join(map(str, live))} already, and ensure_registry=True"
                )
            _bind(actor, bind_addrs or _beside(actor, live))
            actor.registries = Registries(actor, live)
            return
        if _bind_all(actor, registry_addrs):
            _bind(actor, bind_addrs or ([] if registry_addrs else _anywhere(actor)))
            become_registrar(actor)
            return
    raise RuntimeError(
        f"nobody stays registrar at {', '.join(map(str, registry_addrs))}: it was lost {RACES} times"
    )


async def enter(actor: Actor) -> None:
    """Be found: register the root itself, now that it runs. Raises `RuntimeError` where no registrar takes note of it."""
    addrs = [addr.maddr for addr in actor.server.addrs]
    registrar = local_registrar(actor)
    if registrar is not None:
        actor.vars._registry_addrs = addrs
        registrar.register(actor.aid, addrs, actor.aid.uuid)
        actor.services.start_soon(registrar.check_leases)
        return
    registries = registries_of(actor)
    actor.vars._registry_addrs = [link.addr.maddr for link in registries.links]
    failures = []
    # Of its own: one may be taken over meanwhile.
    links = list(registries.links)
    for link in links:
        try:
            await _register(link, actor, addrs)
        except FAILURES as exc:
            failures.append(f"{link.addr}: {exc or type(exc).__name__}")
    if failures and len(failures) == len(links):
        raise RuntimeError(f"no registrar takes note of this program: {'; '.join(failures)}")
    for failure in failures:
        log.warning("a registrar takes no note of this program", extra={"cause": failure})


async def _register(link: RegistryLink, actor: Actor, addrs: list[str]) -> None:
    """Register the root; where the registrar has gone since it was asked who it is, wait for another one."""
    try:
        await link.register(actor.aid, addrs)
    except (OSError, TransportClosed):
        with trio.move_on_after(SUCCESSION_TIMEOUT):
            await link.settled.wait()
            return
        raise


def _is_anywhere(addr: Address) -> bool:
    return isinstance(addr, TCPAddress) and addr.port == 0


def _anywhere(actor: Actor) -> list[Address]:
    return [get_address_cls(key).get_random(actor.name) for key in actor.vars._enable_tpts]


def _beside(actor: Actor, live: list[Address]) -> list[Address]:
    """Return a random address beside each registrar, and one for each transport that none of them speaks."""
    beside: dict[tuple[str, object], Address] = {}
    for addr in live:
        match addr:
            case TCPAddress():
                beside["tcp", addr.host] = TCPAddress.get_random(actor.name, addr.host)
            case UDSAddress():
                beside["uds", addr.filedir] = UDSAddress.get_random(actor.name, addr.bindspace)
    spoken = {addr.proto_key for addr in live}
    others = [
        get_address_cls(key).get_random(actor.name) for key in actor.vars._enable_tpts if key not in spoken
    ]
    return [*beside.values(), *others]


def _bind_all(actor: Actor, addrs: Iterable[Address]) -> bool:
    """Listen at all of the addresses; False, and at none, where somebody else does. Raises `ConnectionError` for other reasons."""
    try:
        _bind(actor, addrs)
    except ConnectionError as exc:
        actor.server.close()
        if isinstance(exc.__context__, OSError) and exc.__context__.errno == errno.EADDRINUSE:
            return False
        raise
    return True


def _bind(actor: Actor, addrs: Iterable[Address]) -> None:
    for addr in addrs:
        if addr not in actor.server.addrs:
            actor.server.bind(addr)

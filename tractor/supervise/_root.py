"""The root of a tree: the first actor of a program."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import trio

from tractor._errors import RuntimeFailure
from tractor.discovery._registrar import Registrar, become_registrar
from tractor.ipc._addr import TCPAddress, UDSAddress, check_transports, get_address_cls, wrap_address
from tractor.log import get_console_log, get_logger
from tractor.runtime._actor import Actor
from tractor.runtime._expose import find_modules
from tractor.runtime._lifetime import run_actor
from tractor.runtime._state import current_actor
from tractor.runtime._vars import RuntimeVars
from tractor.spawn._backend import load_backend
from tractor.supervise._nursery import BOOT_TIMEOUT, GRACE, ActorNursery, check_name, run_nursery
from tractor.trionics._managers import protected_manager
from tractor.wire._kinds import MAX_BODY

log = get_logger(__name__)

#: Bytes that the runtime's own messages may need.
_LEAST_MAX_MSG_SIZE = 64 * 1024


@protected_manager
async def open_root_actor(
    *,
    name: str = "root",
    registry_addrs: list[Any] | None = None,
    tpt_bind_addrs: list[Any] | None = None,
    enable_transports: list[str] | None = None,
    enable_modules: list[str] | None = None,
    start_method: str | None = None,
    loglevel: str | None = None,
    max_msg_size: int = MAX_BODY,
) -> AsyncGenerator[Actor]:
    """Run the first actor of a tree around the block, and yield it.

    It keeps the names of its tree's actors. `registry_addrs` and `tpt_bind_addrs` are where it listens (default: a
    random address of its transport); an address is `(host, port)`, `(directory, socket file)` or a multiaddr string.
    `enable_transports`: `["tcp"]` (the default) or `["uds"]`. `enable_modules`: modules whose functions peers may run
    in it. `start_method`: the spawn backend, `"trio"`. `loglevel`: what to show on stderr, here and in children.
    `max_msg_size`: the largest message in bytes, either way.
    The environment's `TRACTOR_LOGLEVEL` and `TRACTOR_SPAWN_METHOD` win over the arguments.

    Raises `RuntimeFailure` for a second root in one process, `ValueError` for arguments that do not fit, and
    `ConnectionError` for an address in use.
    """
    _check_place()
    check_name(name)
    _check_size(max_msg_size)
    loglevel = os.environ.get("TRACTOR_LOGLEVEL") or loglevel
    if loglevel:
        get_console_log(loglevel)
    transport = check_transports(enable_transports, "tcp")
    binds = _bind_addrs(registry_addrs, tpt_bind_addrs, transport)
    method = os.environ.get("TRACTOR_SPAWN_METHOD") or start_method or "trio"
    load_backend(method)
    actor = Actor(
        name,
        variables=RuntimeVars(
            _is_root=True, _enable_tpts=[transport], _start_method=method, _max_msg_size=max_msg_size
        ),
        modules=find_modules(enable_modules or []),
        is_registrar=True,
        loglevel=loglevel,
    )
    registrar = become_registrar(actor)
    left: BaseException | None = None
    try:
        async with run_actor(actor, binds or [get_address_cls(transport).get_random(name)]):
            _note_addrs(actor, registrar)
            yield actor
    except BaseException as exc:
        if actor.exit_cause is None:
            raise
        left = exc
    log.info("Root actor terminated", extra={"root": str(actor.aid)})
    if actor.exit_cause is not None:
        # It left a request of a peer; the program ends as it would have, had it left the block.
        raise actor.exit_cause from left


def _check_place() -> None:
    if current_actor(err_on_no_runtime=False) is not None:
        raise RuntimeFailure("an actor already runs here; a process has one root actor at a time")
    if not trio.lowlevel.in_trio_run():
        raise RuntimeFailure("an actor needs trio: start the program with `trio.run(main)`")


def _check_size(max_msg_size: int) -> None:
    if not _LEAST_MAX_MSG_SIZE <= max_msg_size < 2**32:
        raise ValueError(
            f"max_msg_size must be at least {_LEAST_MAX_MSG_SIZE} bytes and below 2**32, not {max_msg_size!r}"
        )


def _note_addrs(actor: Actor, registrar: Registrar) -> None:
    """Tell the tree, through what its children inherit and through the registrar, where its root listens."""
    addrs = actor.server.addrs
    actor.vars._root_addrs = [addr.unwrap() for addr in addrs]
    actor.vars._root_mailbox = addrs[0].unwrap()
    actor.vars._registry_addrs = [addr.maddr for addr in addrs]
    registrar.register(actor.aid, actor.vars._registry_addrs, actor.aid.uuid)


def _bind_addrs(
    registry_addrs: list[Any] | None, tpt_bind_addrs: list[Any] | None, transport: str
) -> list[TCPAddress | UDSAddress]:
    wrapped = [wrap_address(addr) for addr in [*(registry_addrs or []), *(tpt_bind_addrs or [])]]
    for addr in wrapped:
        if addr.proto_key != transport:
            raise ValueError(
                f"registry_addrs has {addr}, of transport {addr.proto_key!r}, but enable_transports is {[transport]}"
            )
    return wrapped


@protected_manager
async def open_nursery(
    *, grace: float = GRACE, boot_timeout: float = BOOT_TIMEOUT, **root_kwargs: Any
) -> AsyncGenerator[ActorNursery]:
    """Open a nursery for actors; when the block is left, every one of them is gone.

    `grace`: seconds each child has to end in order before it is ended by force, which takes at most half a second.
    `boot_timeout`: seconds each child has to come up. Where no actor runs yet, a root actor is opened around the block
    and gets `root_kwargs`; see `open_root_actor`.

    An error of the body, or of a child, ends all other children; one error is raised bare, several as a group.
    """
    actor = current_actor(err_on_no_runtime=False)
    if actor is None:
        async with (
            open_root_actor(**root_kwargs) as root,
            run_nursery(
                root, start_method=root.start_method, grace=grace, boot_timeout=boot_timeout
            ) as nursery,
        ):
            yield nursery
    else:
        async with run_nursery(
            actor, start_method=actor.start_method, grace=grace, boot_timeout=boot_timeout
        ) as nursery:
            yield nursery

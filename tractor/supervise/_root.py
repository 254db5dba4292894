"""The root of a tree: the first actor of a program."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from typing import Any

import trio

from tractor._errors import RuntimeFailure
from tractor.discovery._boot import enter, settle
from tractor.ipc._addr import TCPAddress, UDSAddress, check_transports, default_lo_addrs, wrap_address
from tractor.log import get_console_log, get_logger
from tractor.runtime._actor import Actor
from tractor.runtime._expose import find_modules
from tractor.runtime._lifetime import run_actor
from tractor.runtime._precedence import find_hidden, raise_unchanged
from tractor.runtime._state import current_actor
from tractor.runtime._vars import MAX_REQUESTS, RuntimeVars
from tractor.spawn._backend import load_backend, open_backend
from tractor.supervise._nursery import BOOT_TIMEOUT, GRACE, ActorNursery, run_nursery
from tractor.supervise._spec import Terms, check_name, merge_modules
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
    rpc_module_paths: list[str] | None = None,
    start_method: str | None = None,
    forkserver_preload: list[str] | None = None,
    loglevel: str | None = None,
    ensure_registry: bool = False,
    max_msg_size: int = MAX_BODY,
    max_requests: int = MAX_REQUESTS,
) -> AsyncGenerator[Actor]:
    """Run the first actor of a tree around the block, and yield it.

    `registry_addrs`: where actors of all programs are registered, by default `127.0.0.1:1616`, for Unix-domain sockets
    `registry@1616.sock` in the runtime directory, or what the environment's `TRACTOR_REGISTRY_ADDRS` says. The first program
    there answers for the names of all; when it ends another takes over. `[]` keeps a tree to itself.
    `ensure_registry`: whether this must be that program.
    `tpt_bind_addrs`: where it listens (default: random addresses). An address is `(host, port)`, `(directory, socket file)` or
    a multiaddr, as a string or an object. `enable_transports`: `["tcp"]` (the default), `["uds"]` or both.
    `enable_modules`: modules whose functions peers may run in it (`rpc_module_paths`: the same, deprecated). `start_method`: how children are made,
    `"trio"` (the default: a fresh process), `"forkserver"` (a fork of one small process, started with the first child) or
    `"subint"` (an interpreter of this process); `"mp_spawn"` and `"mp_forkserver"`: a process that `multiprocessing` starts.
    `forkserver_preload`: modules that the small process imports, once for all its forks; a first child cannot be started
    where one of them fails to import, starts a thread or makes an interpreter. Interpreters that are kept ready import them too.
    `loglevel`: what to show on stderr, here and in children. `max_msg_size`: the largest message in bytes, either way;
    it is not negotiated: all of a tree have the same, and who gets a larger one from elsewhere hangs up.
    `max_requests`: how many requests of one peer each actor serves at a time; further ones get `TooManyRequests`.
    The environment's `TRACTOR_LOGLEVEL` and `TRACTOR_SPAWN_METHOD` win over the arguments.

    Raises `RuntimeFailure` for a second root in one process, `ValueError` for arguments that do not fit, `ConnectionError` for
    an address in use, and `RuntimeError` for a registry address that somebody else occupies, where no registrar takes note of
    this program, or where there is one in spite of `ensure_registry`.
    """
    _check_place()
    check_name(name)
    limits = _check_limits(max_msg_size, max_requests)
    loglevel = _show_log(loglevel)
    transports = check_transports(enable_transports, ["tcp"])
    registries = _registry_addrs(registry_addrs, transports)
    binds = _wrap_all("tpt_bind_addrs", tpt_bind_addrs or [], transports)
    method = _choose_method(start_method, "trio")
    preload = _check_preload(forkserver_preload)
    actor = Actor(
        name,
        variables=RuntimeVars(_is_root=True, _enable_tpts=transports, _start_method=method, **limits),
        modules=find_modules(merge_modules(enable_modules, rpc_module_paths)),
        loglevel=loglevel,
    )
    left: BaseException | None = None
    hidden: BaseException | None = None
    try:
        await settle(actor, registries, binds, ensure_registry=ensure_registry)
        async with open_backend(method, preload=preload) as actor.backend, run_actor(actor, []):
            actor.vars._root_addrs = [addr.unwrap() for addr in actor.server.addrs]
            actor.vars._root_mailbox = actor.vars._root_addrs[0]
            await enter(actor)
            try:
                yield actor
            except BaseException as exc:
                hidden = find_hidden(exc)
                raise
    except BaseException as exc:
        if actor.exit_cause is None and hidden is None:
            raise
        left = exc
    finally:
        actor.server.close()
    _conclude(actor, left if hidden is None else hidden)


def _conclude(actor: Actor, left: BaseException | None) -> None:
    """Raise what comes out of the root actor, if its block was not left with that."""
    log.info("Root actor terminated", extra={"root": str(actor.aid)})
    if actor.exit_cause is not None:
        # It left a request of a peer; the program ends as it would have, had it left the block.
        raise actor.exit_cause from left
    if left is not None:
        raise_unchanged(left)


def _choose_method(given: str | None, default: str) -> str:
    """Return the key of the spawn backend; one that is not used must be right, too."""
    method = os.environ.get("TRACTOR_SPAWN_METHOD") or given or default
    for key in (given or method, method):
        load_backend(key)
    return method


def _check_preload(modules: list[str] | None) -> list[str]:
    """Return the modules a fork server imports; `TypeError` for anything else than a list of names."""
    given: list[object] | str | None = modules  # type: ignore[assignment]
    if isinstance(given, str) or not all(isinstance(name, str) for name in given or []):
        raise TypeError(
            f"forkserver_preload is a list of module names, such as ['numpy']; it was {modules!r}"
        )
    return list(modules or [])


def _show_log(given: str | None) -> str | None:
    """Show the log if it is wanted; return from which level on."""
    level = os.environ.get("TRACTOR_LOGLEVEL") or given
    if level:
        get_console_log(level)
    return level


def _check_place() -> None:
    if current_actor(err_on_no_runtime=False) is not None:
        raise RuntimeFailure("an actor already runs here; a process has one root actor at a time")
    if not trio.lowlevel.in_trio_run():
        raise RuntimeFailure("an actor needs trio: start the program with `trio.run(main)`")


def _check_limits(max_msg_size: int, max_requests: int) -> dict[str, Any]:
    """Return the limits under the names that they have in every actor."""
    if max_requests < 1:
        raise ValueError(f"max_requests must be at least 1, not {max_requests!r}")
    if not _LEAST_MAX_MSG_SIZE <= max_msg_size < 2**32:
        raise ValueError(
            f"max_msg_size must be at least {_LEAST_MAX_MSG_SIZE} bytes and below 2**32, not {max_msg_size!r}"
        )
    return {"_max_msg_size": max_msg_size, "_max_requests": max_requests}


def _registry_addrs(addrs: list[Any] | None, transports: list[str]) -> list[TCPAddress | UDSAddress]:
    if addrs is not None:
        return _wrap_all("registry_addrs", addrs, transports)
    told = os.environ.get("TRACTOR_REGISTRY_ADDRS")
    if told is None:
        return _wrap_all("registry_addrs", default_lo_addrs(transports), transports)
    # It is for all programs, of whichever transport.
    wrapped = [wrap_address(text) for text in told.split()]
    return [addr for addr in wrapped if addr.proto_key in transports]


def _wrap_all(what: str, addrs: list[Any], transports: list[str]) -> list[TCPAddress | UDSAddress]:
    if not isinstance(addrs, list | tuple):
        raise TypeError(f"{what} must be a list of addresses, not {addrs!r}")
    wrapped = [wrap_address(addr) for addr in addrs]
    for addr in wrapped:
        if addr.proto_key not in transports:
            raise ValueError(
                f"{what} has {addr}, of transport {addr.proto_key!r}, but enable_transports is {transports}"
            )
    return wrapped


@protected_manager
async def open_nursery(
    *,
    grace: float = GRACE,
    boot_timeout: float = BOOT_TIMEOUT,
    start_method: str | None = None,
    proc_kwargs: dict[str, Any] | None = None,
    **root_kwargs: Any,
) -> AsyncGenerator[ActorNursery]:
    """Open a nursery for actors; when the block is left, every one of them is gone.

    `grace`: seconds each child has to end in order before it is ended by force, which takes at most half a second.
    `boot_timeout`: seconds each child has to come up. `start_method`: what its children are made of, by default the same
    as this actor's other children. `proc_kwargs`: those of `start_actor` that are not given there. Where no actor runs yet, a root actor is opened around the block
    and gets `root_kwargs`; see `open_root_actor`. Where one runs they are not used, which is logged.

    An error of the body, or of a child, ends all other children; one error is raised bare, several as a group.
    """
    terms = (grace, boot_timeout, {} if proc_kwargs is None else proc_kwargs)
    actor = current_actor(err_on_no_runtime=False)
    if actor is None:
        async with (
            open_root_actor(start_method=start_method, **root_kwargs) as root,
            run_nursery(root, Terms(root.start_method, *terms)) as nursery,
        ):
            yield nursery
    else:
        if root_kwargs:
            unused = {"arguments": ", ".join(sorted(root_kwargs))}
            log.info("an actor runs here already: arguments for a root actor are not used", extra=unused)
        method = _choose_method(start_method, actor.start_method)
        async with run_nursery(actor, Terms(method, *terms)) as nursery:
            yield nursery

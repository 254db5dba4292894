"""What a child is told before it is up."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from typing import Any, NamedTuple

from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls
from tractor.log import level_number
from tractor.msg._codec import get_codec
from tractor.msg._types import SpawnSpec
from tractor.runtime._actor import Actor
from tractor.runtime._expose import find_modules
from tractor.spawn._backend import ChildSpec
from tractor.supervise._mainmod import describe_main

#: Bytes of an actor's name: both are said in the first message of a connection, which may be 64 KiB.
_MAX_NAME = 16 * 1024

#: Where those lines are not that a warning is about.
_NOT_THE_PROGRAM = (os.path.dirname(os.path.dirname(__file__)), contextlib.__file__)


class Terms(NamedTuple):
    """What holds for every child of a nursery: see `open_nursery`."""

    start_method: str
    grace: float
    boot_timeout: float
    proc_kwargs: dict[str, Any]


def check_terms(terms: Terms) -> None:
    """Refuse what is no time, and what are no arguments: `TypeError`, or `ValueError` for a time that is negative."""
    check_seconds("grace", terms.grace)
    check_seconds("boot_timeout", terms.boot_timeout)
    if not isinstance(terms.proc_kwargs, dict):
        raise TypeError(f"proc_kwargs must be a dict of arguments, not {terms.proc_kwargs!r}")


def build_spec(
    actor: Actor,
    name: str,
    uuid: str,
    *,
    enable_modules: list[str],
    bind_addrs: list[TCPAddress | UDSAddress],
    transports: list[str],
    token: bytes,
    loglevel: str | None,
    inherit_parent_main: bool,
    proc_kwargs: dict[str, Any],
) -> ChildSpec:
    """Return the specification of a child of `actor`.

    `token`: what it proves itself with when it connects back; empty for one that inherits its channel. Raises what
    `check_name` and finding the modules raise.
    """
    check_name(name)
    if loglevel:
        level_number(loglevel)
    own_addrs = [addr.maddr for addr in actor.server.addrs]
    boot = SpawnSpec(
        name=name,
        uuid=uuid,
        parent=(actor.name, actor.aid.uuid, os.getpid()),
        parent_addrs=own_addrs,
        connect_to=own_addrs[:1] if token else [],
        token=token,
        main=describe_main() if inherit_parent_main else {},
        runtime_vars={**actor.vars.for_child(), "_enable_tpts": transports},
        enable_modules=find_modules(enable_modules),
        registry_addrs=list(actor.vars._registry_addrs),
        bind_addrs=[addr.maddr for addr in bind_addrs],
        loglevel=loglevel or actor.loglevel or "",
    )
    return ChildSpec(
        name=name, uuid=uuid, sys_path=_search_path(), boot=get_codec().encode(boot), options=proc_kwargs
    )


def own_addrs(name: str, uuid: str, transports: list[str]) -> list[TCPAddress | UDSAddress]:
    """Return where a child listens that shares its pid, which is part of a socket's name, with others of its name."""
    check_name(name)
    return [get_address_cls(key).get_random(f"{name}.{uuid[:8]}") for key in transports]


def merge_modules(enable_modules: list[str] | None, rpc_module_paths: list[str] | None) -> list[str]:
    """Return the modules to expose; warn the program of the old name."""
    if rpc_module_paths is not None:
        text = "rpc_module_paths is deprecated; use enable_modules"
        warnings.warn(text, DeprecationWarning, stacklevel=_find_program())
    for given in (enable_modules, rpc_module_paths):
        if isinstance(given, str):
            raise TypeError(f"enable_modules is a list of module names, such as [__name__]; it was {given!r}")
    return [*(enable_modules or []), *(rpc_module_paths or [])]


def _find_program() -> int:
    """Return at which level of the stack, seen from the caller, the program's own code is."""
    # `skip_file_prefixes` would do, but CPython 3.13.0 stops at the first frame that it should skip.
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_PROGRAM):
        level, frame = level + 1, frame.f_back
    return level


def check_name(name: str) -> None:
    """Refuse what is no name of an actor: `TypeError` for another type than `str`, `ValueError` for an empty one.

    So too for one that is too long for a handshake, and for lone surrogates, which no peer can be told.
    """
    if type(name) is not str:
        raise TypeError(f"an actor's name must be a str, not {name!r}")
    if not name:
        raise ValueError("an actor's name must not be empty")
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ValueError(f"an actor's name must be text without lone surrogates: {name[:100]!r}") from None
    if size > _MAX_NAME:
        raise ValueError(f"an actor's name must be at most {_MAX_NAME} bytes, not {size}: {name[:100]!r}...")


def check_seconds(what: str, value: float) -> None:
    """Refuse what is no time: `TypeError` for another type than a number, `ValueError` for a negative one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number of seconds, not {value!r}")
    if not value >= 0:
        raise ValueError(f"{what} must not be negative: {value!r}")


def _search_path() -> list[str]:
    """Our module search path, as a child in the same working directory must write it."""
    try:
        here = os.getcwd()
    except FileNotFoundError:
        # It was removed, and what is looked for there is not found by us either.
        here = ""
    return [os.path.join(here, entry) for entry in sys.path]

"""Which actor, and which context, the running code belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, overload

from tractor._errors import InternalError, NoRuntime
from tractor.log import actor_name
from tractor.runtime._actor import Actor
from tractor.runtime._context import Context
from tractor.runtime._open import current_context
from tractor.runtime._vars import RuntimeVars

_current: ContextVar[Actor | None] = ContextVar("tractor-actor", default=None)
#: Every actor alive in this process, so that code outside any task finds the only one.
_alive: list[Actor] = []


@contextmanager
def entered(actor: Actor) -> Iterator[None]:
    """Make `actor` the current one for the block and every task started in it."""
    token = _current.set(actor)
    name_token = actor_name.set(actor.name)
    _alive.append(actor)
    try:
        yield
    finally:
        _alive.remove(actor)
        actor_name.reset(name_token)
        _current.reset(token)


@overload
def current_actor(err_on_no_runtime: Literal[True] = True) -> Actor: ...
@overload
def current_actor(err_on_no_runtime: bool) -> Actor | None: ...
def current_actor(err_on_no_runtime: bool = True) -> Actor | None:
    """Return the actor this code runs in.

    Raises `NoRuntime` when there is none, or returns None with `err_on_no_runtime=False`.
    """
    actor = _current.get()
    if actor is None and len(_alive) == 1:
        actor = _alive[0]
    if actor is None and err_on_no_runtime:
        raise NoRuntime(
            "no actor runs here; enter `tractor.open_nursery()` or `tractor.open_root_actor()` first"
        )
    return actor


def current_ipc_ctx(error_on_not_set: bool = False) -> Context[Any, Any, Any] | None:
    """Return the context this task serves or has opened, or None; `InternalError` with `error_on_not_set=True`."""
    ctx = current_context.get()
    if ctx is None and error_on_not_set:
        raise InternalError("this task belongs to no context")
    return ctx


@overload
def get_runtime_vars(as_dict: Literal[True] = True, clear_values: bool = False) -> dict[str, Any]: ...
@overload
def get_runtime_vars(as_dict: Literal[False], clear_values: bool = False) -> RuntimeVars: ...
def get_runtime_vars(as_dict: bool = True, clear_values: bool = False) -> dict[str, Any] | RuntimeVars:
    """Return a copy of what this actor inherited at boot; defaults outside any actor, or with `clear_values=True`."""
    actor = current_actor(err_on_no_runtime=False)
    found = RuntimeVars() if clear_values or actor is None else RuntimeVars(**actor.vars.as_dict())
    return found.as_dict() if as_dict else found


def is_root_process() -> bool:
    """Tell whether this code runs in the root actor of a tree."""
    actor = current_actor(err_on_no_runtime=False)
    return actor is not None and actor.is_root

"""Structured concurrency that does not stop at the process border: trio nurseries whose children are actors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tractor import msg
    from tractor import trionics as trionics
    from tractor._errors import (
        ActorFailure,
        ActorTooSlowError,
        AsyncioCancelled,
        AsyncioTaskExited,
        DebugRequestError,
        Exit,
        InternalError,
        MessagingError,
        ModuleNotExposed,
        NoResult,
        NoRuntime,
        RuntimeFailure,
        TooManyRequests,
        TransportClosed,
        TrioCancelled,
        TrioTaskExited,
    )
    from tractor.discovery._api import find_actor, get_registry, query_actor, wait_for_actor
    from tractor.discovery._watch import Presence, watch
    from tractor.ipc._channel import Channel
    from tractor.msg._boxed import ContextCancelled, MsgTypeError, RemoteActorError, StreamOverrun
    from tractor.msg._errtypes import reg_err_types
    from tractor.runtime._actor import Actor
    from tractor.runtime._context import Context
    from tractor.runtime._endpoint import context
    from tractor.runtime._oneway import stream
    from tractor.runtime._portal import Portal
    from tractor.runtime._state import current_actor, current_ipc_ctx, get_runtime_vars, is_root_process
    from tractor.runtime._stream import MsgStream
    from tractor.runtime._vars import RuntimeVars
    from tractor.supervise._cluster import open_actor_cluster
    from tractor.supervise._daemon import run_daemon
    from tractor.supervise._nursery import ActorNursery
    from tractor.supervise._root import open_nursery, open_root_actor

#: Where each public name lives. Names are loaded when first used: every child pays for what is imported.
_HOME = {
    "_errors": (
        "ActorFailure",
        "ActorTooSlowError",
        "AsyncioCancelled",
        "AsyncioTaskExited",
        "DebugRequestError",
        "Exit",
        "InternalError",
        "MessagingError",
        "ModuleNotExposed",
        "NoResult",
        "NoRuntime",
        "RuntimeFailure",
        "TooManyRequests",
        "TransportClosed",
        "TrioCancelled",
        "TrioTaskExited",
    ),
    "discovery._api": ("find_actor", "get_registry", "query_actor", "wait_for_actor"),
    "discovery._watch": ("Presence", "watch"),
    "ipc._channel": ("Channel",),
    "msg._boxed": ("ContextCancelled", "MsgTypeError", "RemoteActorError", "StreamOverrun"),
    "msg._errtypes": ("reg_err_types",),
    "runtime._actor": ("Actor",),
    "runtime._context": ("Context",),
    "runtime._endpoint": ("context",),
    "runtime._oneway": ("stream",),
    "runtime._portal": ("Portal",),
    "runtime._state": ("current_actor", "current_ipc_ctx", "get_runtime_vars", "is_root_process"),
    "runtime._stream": ("MsgStream",),
    "runtime._vars": ("RuntimeVars",),
    "supervise._cluster": ("open_actor_cluster",),
    "supervise._daemon": ("run_daemon",),
    "supervise._nursery": ("ActorNursery",),
    "supervise._root": ("open_nursery", "open_root_actor"),
}
_MODULE_OF = {name: f"tractor.{module}" for module, names in _HOME.items() for name in names}
#: Public modules; each loads its own names as lazily.
_SUBMODULES = ("msg", "trionics")

__all__ = [
    "Actor",
    "ActorFailure",
    "ActorNursery",
    "ActorTooSlowError",
    "AsyncioCancelled",
    "AsyncioTaskExited",
    "Channel",
    "Context",
    "ContextCancelled",
    "DebugRequestError",
    "Exit",
    "InternalError",
    "MessagingError",
    "ModuleNotExposed",
    "MsgStream",
    "MsgTypeError",
    "NoResult",
    "NoRuntime",
    "Portal",
    "Presence",
    "RemoteActorError",
    "RuntimeFailure",
    "RuntimeVars",
    "StreamOverrun",
    "TooManyRequests",
    "TransportClosed",
    "TrioCancelled",
    "TrioTaskExited",
    "context",
    "current_actor",
    "current_ipc_ctx",
    "find_actor",
    "get_registry",
    "get_runtime_vars",
    "is_root_process",
    "msg",
    "open_actor_cluster",
    "open_nursery",
    "open_root_actor",
    "query_actor",
    "reg_err_types",
    "run_daemon",
    "stream",
    "wait_for_actor",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in _MODULE_OF and name not in _SUBMODULES:
        raise AttributeError(f"module 'tractor' has no attribute {name!r}")
    # An interrupt that lands in an import may be lost there; this one may run in the middle of a program.
    from trio.lowlevel import enable_ki_protection

    value = globals()[name] = enable_ki_protection(_load)(name)
    return value


def _load(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"tractor.{name}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

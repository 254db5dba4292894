"""The contract between supervision and whatever a child is made of."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import trio

from tractor._errors import Exit

#: The detail of an exit of which nobody can tell more than that it has happened.
UNKNOWN_STATUS = "its exit status is unknown, for the fork server was lost"


@dataclass(frozen=True)
class ChildSpec:
    """What a backend is told about the child it is to make."""

    name: str
    uuid: str
    #: Where the child finds its modules.
    sys_path: list[str]
    #: The encoded `SpawnSpec`; opaque here.
    boot: bytes
    #: Seconds a backend waits for a child that it has killed, before it calls it abandoned.
    kill_grace: float = 5.0
    #: Further arguments for whatever makes the child, such as `trio.lowlevel.open_process`.
    options: Mapping[str, Any] = field(default_factory=dict)


class Child(Protocol):
    """A child that exists, or did."""

    pid: int
    #: Our end of the inherited channel; whoever takes it closes it.
    channel: socket.socket
    #: Set once, by the backend, when the child is certainly gone.
    exit: Exit | None

    @property
    def where(self) -> str:
        """What people call its body, such as `pid 4711`."""

    def hang_up(self) -> None:
        """Close the lifeline: the child's warden cancels it, whatever its loop is doing."""

    def has_let_go(self) -> bool:
        """Whether the child's end of the lifeline is closed: it is gone or going. Also true once we have hung up."""

    def interrupt(self) -> None:
        """Interrupt the running code."""

    def kill(self) -> None:
        """End the child by force."""

    def boot_output(self) -> str:
        """Return the end of what it wrote to stderr before it was up."""


class Backend(Protocol):
    """Run one child from its creation to its certain end.

    Calls `task_status.started(child)` once the child exists; returns how it ended. When cancelled it kills the
    child, waits at most `spec.kill_grace` seconds for its end, sets `child.exit` to `killed` or, where that is
    impossible, to `abandoned`, and only then lets go.
    """

    async def __call__(self, spec: ChildSpec, *, task_status: trio.TaskStatus[Child]) -> Exit:
        """Run one child."""


def encode_paths(paths: Sequence[str]) -> bytes:
    """Return a module search path as a child reads it."""
    return "\0".join(paths).encode(errors="surrogateescape")


def has_let_go(lifeline: socket.socket) -> bool:
    """Whether nobody is left at the other end of a lifeline, which does not block."""
    try:
        return not lifeline.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


class FirstHand:
    """Notes a child as soon as there is one: a start that is cancelled at that moment hands nothing over."""

    def __init__(self, status: trio.TaskStatus[Child]) -> None:
        self.child: Child | None = None
        self._status = status

    def started(self, value: Any = None) -> None:
        """Pass it on."""
        self.child = value
        self._status.started(value)


#: Backends by the key users write (`start_method=`), as `module:name`, loaded when first asked for: a function, or a class
#: of which each actor has one object, an async context manager, around its life.
BACKENDS = {
    "forkserver": "tractor.spawn._forkserver:ForkServer",
    "mp_forkserver": "tractor.spawn._mp:MpForkServer",
    "mp_spawn": "tractor.spawn._mp:mp_spawn",
    "subint": "tractor.spawn._subint:Interpreters",
    "trio": "tractor.spawn._trio:trio_proc",
}
#: Those whose children live in the process of their parent, and have its pid.
SHARING = frozenset({"subint"})


def load_backend(key: str) -> Backend:
    """Return a backend, or the class of one; `ValueError` for a key we do not have."""
    if key not in BACKENDS:
        raise ValueError(f"unknown start method {key!r}; choose one of {sorted(BACKENDS)}")
    module, _, name = BACKENDS[key].partition(":")
    backend: Backend = getattr(import_module(module), name)
    return backend


def open_backend(key: str, **options: Any) -> AbstractAsyncContextManager[Backend]:
    """Return a context manager that yields the backend of one actor: what it keeps ends with the block, after all children.

    `options`: for a backend that is a class; others have none. Raises what `load_backend` raises.
    """
    backend: Any = load_backend(key)
    opened: AbstractAsyncContextManager[Backend]
    opened = backend(**options) if isinstance(backend, type) else nullcontext(backend)
    return opened

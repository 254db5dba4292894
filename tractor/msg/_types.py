"""The bodies of the frames that are not user payloads. Plain tuples, so that every codec can carry them."""

from typing import Any, NamedTuple

from tractor.msg._boxed import Boxed

#: Raised whenever an older peer could misread what a newer one sends.
PROTOCOL_VERSION = 1


class Hello(NamedTuple):
    """The first frame each way: who is there."""

    protocol: int
    name: str
    uuid: str
    pid: int
    is_registrar: bool
    is_probe: bool
    #: Where the sender listens, as multiaddr strings.
    addrs: list[str]
    #: Proof that the sender is the child somebody is waiting for; empty for everybody else.
    token: bytes
    #: Whether msgspec does not load where the sender lives.
    is_isolated: bool = False
    #: By which of this process's queues big buffers come from the sender; 0 for none.
    queue: int = 0


class Bye(NamedTuple):
    """The last frame of an actor that leaves in order: how it ended."""

    #: `returned` (its main task ended), `cancelled` (by request), `interrupted` (by a signal), `exited` (`SystemExit`), `crashed` or `failed to boot`.
    how: str
    #: Who asked, where somebody did.
    canceller: tuple[str, str] | None
    detail: str
    error: Boxed | None
    #: Proof that the sender is the child somebody is waiting for, where it connects back and cannot come up.
    token: bytes = b""


class Start(NamedTuple):
    """A request: run the function at `target` (`module:qualname`)."""

    target: str
    kwargs: dict[str, Any]
    #: Seconds the requester can wait, None without a limit. Relative, because no two hosts have the same clock.
    budget: float | None = None


class Cancel(NamedTuple):
    """A request to end a task: who asks, why, and where in whose program that was decided."""

    canceller: tuple[str, str]
    reason: str
    where: str = ""


class SpawnSpec(NamedTuple):
    """What a child needs to become an actor; sent to it by its parent over an inherited descriptor."""

    name: str
    uuid: str
    parent: tuple[str, str, int]
    parent_addrs: list[str]
    #: Where to connect back to the parent, or empty for the inherited channel.
    connect_to: list[str]
    token: bytes
    #: How to find the parent's main module: `{"name": …}`, `{"path": …, "package": …}` or empty.
    main: dict[str, str]
    runtime_vars: dict[str, Any]
    enable_modules: dict[str, str]
    registry_addrs: list[str]
    bind_addrs: list[str]
    loglevel: str

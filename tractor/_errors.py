"""Every exception that needs no runtime to exist, and `Exit`: how a child ended.

Errors carry facts as fields; the sentence people read is built from them.  Callers and tests look at the
fields.  Boxed errors of other actors live in `tractor.msg._boxed`: they need the type registry.
"""

import logging
import signal
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = [
    "ActorFailure",
    "ActorTooSlowError",
    "AsyncioCancelled",
    "AsyncioTaskExited",
    "DebugRequestError",
    "Exit",
    "InternalError",
    "LocalProtocolError",
    "MessagingError",
    "ModuleNotExposed",
    "NoResult",
    "NoRuntime",
    "ProtocolError",
    "RemoteProtocolError",
    "RuntimeFailure",
    "TooManyRequests",
    "TransportClosed",
    "TrioCancelled",
    "TrioTaskExited",
]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended.

    `how` says whose doing it was: `returned` (its main function came to an end), `died` (it ended unasked),
    `killed` (we ended it by force), `abandoned` (it could not be ended and may still be running).
    `code` is the exit status, negative for a signal number, None where there is none (threads, interpreters).
    `detail` is free text for people.
    """

    how: Literal["returned", "died", "killed", "abandoned"]
    code: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        """Say it in words, such as `exit status 3` or `killed by SIGKILL`, with the detail appended."""
        return f"{self._verdict()}: {self.detail}" if self.detail else self._verdict()

    def _verdict(self) -> str:
        if self.how == "abandoned":
            return "abandoned"
        if self.code is None:
            return "exited cleanly" if self.how == "returned" else self.how
        if self.code < 0:
            return f"killed by {_signal_name(-self.code)}"
        if self.how == "killed":
            return f"killed, exit status {self.code}"
        return "exited cleanly" if self.how == "returned" and self.code == 0 else f"exit status {self.code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        # Real-time signals have no name of their own.
        return f"signal {number}"


class RuntimeFailure(RuntimeError):
    """The runtime was used in a way it does not allow, such as a second root in one process."""

    __module__ = "tractor"


class ActorFailure(RuntimeFailure):
    """An actor failed to boot, ended although nobody asked it to, or crashed when it was asked to.

    It says nothing about errors of the actor's *tasks*: those arrive as `RemoteActorError`.

    `name` is the actor's name, `where` the kind of body it had (the spawn backend), `exit` how it ended if
    that is known, `stderr_tail` the last lines it wrote to its stderr.
    """

    __module__ = "tractor"

    def __init__(
        self,
        message: str = "",
        *,
        name: str = "",
        where: str = "",
        exit: Exit | None = None,  # noqa: A002 (the field's name)
        stderr_tail: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.name = name
        self.where = where
        self.exit = exit
        self.stderr_tail = stderr_tail

    def __str__(self) -> str:
        """Build the report from the fields that are known."""
        who = f"actor {self.name!r}" if self.name else "an actor"
        where = f" ({self.where})" if self.where else ""
        known = bool(self.name or self.where)
        if self.message:
            text = f"{who}{where}: {self.message}" if known else self.message
        else:
            text = f"{who}{where} failed"
        if self.exit is not None:
            text += f": {self.exit}"
        if tail := self.stderr_tail.rstrip():
            text += "\nthe end of its stderr:\n" + "\n".join(f"  {line}" for line in tail.splitlines())
        return text


class ActorTooSlowError(RuntimeFailure):
    """A peer did not acknowledge a request to cancel itself in time.

    Not a `trio.TooSlowError`: a deadline of the caller's own must stay distinguishable.
    """

    __module__ = "tractor"


class TooManyRequests(RuntimeFailure):
    """An actor serves so many requests of one peer already, or holds so many unread answers for it, that it takes no more.

    Nothing of what was asked for has happened.
    """

    __module__ = "tractor"


class InternalError(RuntimeError):
    """The runtime broke one of its own rules: a bug here, not in the program."""

    __module__ = "tractor"


class NoRuntime(RuntimeError):
    """Something that needs an actor was called where none is running."""

    __module__ = "tractor"


class NoResult(RuntimeError):
    """Sentinel *returned*, never raised, where an actor has no main function and so no result."""

    __module__ = "tractor"


class ModuleNotExposed(ModuleNotFoundError):
    """The callee does not allow calls into that module: name it in the callee's `enable_modules`."""

    __module__ = "tractor"


class MessagingError(Exception):
    """Something was wrong with a message."""

    __module__ = "tractor"


class ProtocolError(MessagingError):
    """A message was not allowed when it came.  Abstract: the subclass says whose fault that was."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        """Refuse to make one that blames nobody: `TypeError`."""
        if cls is ProtocolError:
            msg = "ProtocolError is abstract: raise LocalProtocolError (ours) or RemoteProtocolError (theirs)"
            raise TypeError(msg)
        return super().__new__(cls, *args, **kwargs)


class LocalProtocolError(ProtocolError):
    """We were about to send what the protocol forbids: fix the caller.  Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol forbids: hang up."""


class TransportClosed(Exception):
    """The connection is or was closed, by either side.

    `src_exc` is the low-level cause and becomes `__cause__`.  `loglevel` names the level at which
    `report_n_maybe_raise()` logs, `raise_on_report` says whether it then raises.  `peer` names the actor at
    the other end and `exit` says how that actor ended, where these are known.
    """

    __module__ = "tractor"

    def __init__(
        self,
        message: str,
        loglevel: str = "transport",
        src_exc: BaseException | None = None,
        raise_on_report: bool = False,
        *,
        peer: str = "",
        exit: Exit | None = None,  # noqa: A002 (the field's name)
    ) -> None:
        super().__init__(message)
        self.message = message
        self.loglevel = loglevel
        self.src_exc = src_exc
        self.raise_on_report = raise_on_report
        self.peer = peer
        self.exit = exit
        if src_exc is not None:
            self.__cause__ = src_exc

    @classmethod
    def from_src_exc(cls, src_exc: BaseException, message: str, body: str = "", **kwargs: Any) -> Self:
        """Make one for a low-level error, with `body` on lines of its own; `kwargs` go to the constructor."""
        return cls(f"{message}\n{body}" if body else message, src_exc=src_exc, **kwargs)

    def __str__(self) -> str:
        """The message, then in brackets who the peer was and how it ended, if known."""
        facts = ", ".join(str(fact) for fact in (self.peer, self.exit) if fact)
        return f"{self.message} ({facts})" if facts else self.message

    def pformat(self) -> str:
        """Several lines: the type and text, then the low-level cause."""
        head = f"{type(self).__name__}: {self}"
        return head if self.src_exc is None else f"{head}\ncaused by: {self.src_exc!r}"

    def report_n_maybe_raise(self, message: str | None = None, hide_tb: bool = True) -> None:
        """Log this error at its own level, after `message` if given; raise it if it was made to be raised."""
        __tracebackhide__ = hide_tb
        level = logging.getLevelNamesMapping().get(self.loglevel.upper(), logging.DEBUG)
        report = self.pformat()
        logging.getLogger("tractor").log(level, "%s", f"{message}\n{report}" if message else report)
        if self.raise_on_report:
            raise self from self.src_exc


class DebugRequestError(RuntimeError):
    """The request for the debugger's tree-wide lock failed."""

    __module__ = "tractor"


class AsyncioCancelled(Exception):
    """The asyncio task of a linked pair was cancelled; raised in its trio task."""

    __module__ = "tractor"


class AsyncioTaskExited(Exception):
    """The asyncio task of a linked pair ended while its trio task still waited for it."""

    __module__ = "tractor"


class TrioCancelled(Exception):
    """The trio task of a linked pair was cancelled; raised in its asyncio task."""

    __module__ = "tractor"


class TrioTaskExited(Exception):
    """The trio task of a linked pair ended while its asyncio task still waited for it."""

    __module__ = "tractor"

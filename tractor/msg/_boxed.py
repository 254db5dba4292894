"""Errors of other actors: what travels (`Boxed`), and what is raised here.

An error crosses as text and facts, never as an object; its type crosses as a name (`tractor.msg._errtypes`).
`tractor.msg._errbox` puts errors into boxes and takes them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import trio

from tractor.msg._errtypes import bare_name, is_ours, resolve

__all__ = [
    "DIVIDER",
    "Boxed",
    "ContextCancelled",
    "MsgTypeError",
    "RemoteActorError",
    "StreamOverrun",
    "unbox",
]

#: The line above and below a remote traceback.
DIVIDER = "------ - ------"
_UNKNOWN = "<unknown>"


class Boxed(NamedTuple):
    """An error as it travels: plain values only, so that every codec can carry it."""

    #: Uid of the actor where it was raised.
    src_uid: tuple[str, str]
    #: Name of the type it had there.
    src_type: str
    #: Name of the type the last sender raised: `src_type`, or `RemoteActorError` once it was relayed.
    boxed_type: str
    #: Uids of all senders so far, the origin first.
    relay_path: tuple[tuple[str, str], ...]
    message: str
    #: The traceback at the origin, then a few lines per relay.
    tb: str
    #: Who asked for the cancellation, if this is one.
    canceller: tuple[str, str] | None = None
    #: Whose message caused the error, where it reports one.
    sender: tuple[str, str] | None = None
    #: Further facts about the error, plain values by name.
    extra: dict[str, Any] | None = None
    #: What `add_note()` had said of it, wherever it was.
    notes: tuple[str, ...] = ()
    #: What it was raised from, or while handling what, the nearest first; their tracebacks are part of `tb`.
    causes: tuple[Boxed, ...] = ()
    #: The members of a group; their tracebacks are part of `tb`.
    members: tuple[Boxed, ...] = ()

    def asdict(self) -> dict[str, Any]:
        """Return the facts under the names that `RemoteActorError` gives them, without `extra`."""
        return {
            "src_uid": self.src_uid,
            "src_type_str": bare_name(self.src_type),
            "boxed_type_str": bare_name(self.boxed_type),
            "relay_path": list(self.relay_path),
            "message": self.message,
            "tb_str": self.tb,
            "canceller": self.canceller,
            "sender": self.sender,
        }


@is_ours
class RemoteActorError(Exception):
    """A task in another actor raised; this is the report.

    `boxed_type` is the type raised by the actor that told us, `src_type` the one raised at the origin.  They
    are the same unless actors in between passed the error on (`is_inception()`); then `boxed_type` is
    `RemoteActorError`.  Either is None where no type of that name is known here: see `reg_err_types()`.

    Made here rather than received, it has no `ipc_msg` and reads as its plain message.  `extra_msgdata` are
    further facts, found again in `msgdata`.
    """

    __module__ = "tractor"

    def __init__(
        self,
        message: str = "",
        ipc_msg: Boxed | None = None,
        boxed_type: type[BaseException] | None = None,
        **extra_msgdata: Any,
    ) -> None:
        super().__init__(message)
        self._message = message
        self._ipc_msg = ipc_msg
        self._boxed_type = boxed_type
        self._extra_msgdata = extra_msgdata
        self._opened: dict[str, tuple[RemoteActorError, ...]] = {}

    @property
    def message(self) -> str:
        """What the error itself said."""
        return self._message

    @property
    def ipc_msg(self) -> Boxed | None:
        """The error as it came, None if it was made here."""
        return self._ipc_msg

    @property
    def msgdata(self) -> dict[str, Any]:
        """All facts by name: the extra ones, then the fields of `ipc_msg`."""
        facts = dict(self._extra_msgdata)
        return facts if self._ipc_msg is None else facts | self._ipc_msg.asdict() | {"sender": self.sender}

    @property
    def src_type_str(self) -> str:
        """Name of `src_type`; there is one even where the type is not known here."""
        return _UNKNOWN if self._ipc_msg is None else bare_name(self._ipc_msg.src_type)

    @property
    def src_type(self) -> type[BaseException] | None:
        """The type at the origin."""
        return None if self._ipc_msg is None else resolve(self._ipc_msg.src_type)

    @property
    def boxed_type_str(self) -> str:
        """Name of `boxed_type`; there is one even where the type is not known here."""
        if self._ipc_msg is not None:
            return bare_name(self._ipc_msg.boxed_type)
        return _UNKNOWN if self._boxed_type is None else self._boxed_type.__name__

    @property
    def boxed_type(self) -> type[BaseException] | None:
        """The type that the last sender raised."""
        if self._boxed_type is None and self._ipc_msg is not None:
            self._boxed_type = resolve(self._ipc_msg.boxed_type)
        return self._boxed_type

    @property
    def src_uid(self) -> tuple[str, str] | None:
        """Uid of the actor where the error was raised."""
        return None if self._ipc_msg is None else self._ipc_msg.src_uid

    @property
    def relay_path(self) -> list[tuple[str, str]]:
        """Uids of all actors that sent it on, the origin first."""
        return [] if self._ipc_msg is None else list(self._ipc_msg.relay_path)

    @property
    def relay_uid(self) -> tuple[str, str] | None:
        """Uid of the actor that told us: the origin, or the last relay."""
        path = self.relay_path
        return path[-1] if path else None

    @property
    def tb_str(self) -> str:
        """The remote traceback as text, empty where there is none."""
        return self._ipc_msg.tb if self._ipc_msg is not None else str(self._extra_msgdata.get("tb_str", ""))

    @property
    def notes(self) -> tuple[str, ...]:
        """What `add_note()` had said of it at its origin, then what those who passed it on have added."""
        return () if self._ipc_msg is None else self._ipc_msg.notes

    @property
    def causes(self) -> tuple[RemoteActorError, ...]:
        """What it was raised from, or while handling what, the nearest first; then those of actors that passed it on.

        Each says itself where it comes from; its traceback is part of ours.
        """
        return self._open("causes")

    @property
    def members(self) -> tuple[RemoteActorError, ...]:
        """The errors in it, where it is a group; each may be a group again.  Their tracebacks are part of ours."""
        return self._open("members")

    def leaves(self) -> Iterator[RemoteActorError]:
        """Yield the members at every depth that are no groups themselves, in order; of a single error only itself."""
        for member in self.members:
            yield from member.leaves()
        if not self.members:
            yield self

    def _open(self, name: str) -> tuple[RemoteActorError, ...]:
        found = self._opened.get(name)
        if found is None:
            found = self._opened[name] = tuple(map(unbox, getattr(self._ipc_msg, name, ())))
        return found

    @property
    def sender(self) -> tuple[str, str] | None:
        """Uid of the actor whose message caused the error or, without such a message, that told us of it."""
        found: tuple[str, str] | None = self._fact("sender")
        return found

    @property
    def cid(self) -> Any:
        """The dialog that the error ended, None if unknown."""
        return self._extra_msgdata.get("cid")

    def _fact(self, name: str) -> Any:
        """Return the field of `ipc_msg` or, if that has none, the extra fact of the same name."""
        found = getattr(self._ipc_msg, name, None)
        return self._extra_msgdata.get(name) if found is None else found

    def is_inception(self) -> bool:
        """Whether actors in between passed the error on."""
        return len(self.relay_path) > 1

    def unwrap(self) -> BaseException:
        """Return a new error of the origin's type, made from the traceback text; of a group, with its members.

        A `RuntimeError` that names the type where that is not known here or cannot be made from a text.
        """
        text = self.tb_str or self._message
        known, name = self.src_type or self._boxed_type, self.src_type_str
        if known is not None:
            name = known.__name__
            members = ([member.unwrap() for member in self.members],) if self.members else ()
            try:
                made: object = known(text, *members)
            except Exception:  # noqa: BLE001 (any constructor may refuse in its own way)
                made = None
            if isinstance(made, BaseException):
                return made
        return RuntimeError(f"{name}: {text}")

    def reprol(self) -> str:
        """One line: the types, the origin's name and the first line of the message, shortened."""
        head = next(iter(self._message.splitlines()), "")
        return f"<{self._title()}: {head if len(head) <= 80 else head[:79] + '…'}>"

    def pformat(self, with_type_header: bool = True) -> str:
        """Several lines: type (if asked for), message, facts and the remote traceback between dividers."""
        lines = [self._message] if self._message else []
        if self._ipc_msg is not None:
            title = f"remote task raised a {self.boxed_type_str!r}"
            if self.src_type_str != self.boxed_type_str:
                title += f" relaying a {self.src_type_str!r}"
            facts = {"src_uid": self.src_uid, "relay_uid": self.relay_uid, "cid": self.cid}
            if self._ipc_msg.canceller is not None:
                facts["canceller"] = self._ipc_msg.canceller
            lines = [title, *lines, *(f"{name}={value!r}" for name, value in facts.items())]
        if self.tb_str:
            lines += [DIVIDER, self.tb_str.rstrip("\n"), DIVIDER]
        text = "\n".join(lines)
        return f"{type(self).__name__}: {text}" if with_type_header else text

    def __str__(self) -> str:
        return self.pformat(with_type_header=False)

    def __repr__(self) -> str:
        return f"<{self._title()}: {self._message}>"

    def _title(self) -> str:
        title = type(self).__name__
        if self._ipc_msg is None:
            return title
        if self.src_type_str not in (title, _UNKNOWN):
            title += f" {self.src_type_str!r}"
        return f"{title} from {self._ipc_msg.src_uid[0]!r}"


@is_ours
class ContextCancelled(RemoteActorError):
    """The task at the other end of a context was cancelled; `canceller` says by whom."""

    __module__ = "tractor"

    @property
    def canceller(self) -> tuple[str, str] | None:
        """Uid of the actor that asked for the cancellation, None if unknown."""
        found: tuple[str, str] | None = self._fact("canceller")
        return found

    @property
    def reason(self) -> str:
        """Why it was cancelled and where in whose program that was decided, as text for people."""
        return str(self._extra_msgdata.get("reason", ""))

    @property
    def by_deadline(self) -> bool:
        """Whether nobody asked for it: the time that the requester had given it was over."""
        return self._extra_msgdata.get("by_deadline") is True


@is_ours
class MsgTypeError(RemoteActorError):
    """A payload or message does not match the type that holds for it.

    Raised where it is noticed: by the sender, without a traceback text, or by the receiver, with what the decoder says.
    """

    __module__ = "tractor"

    @classmethod
    def from_decode(
        cls, message: str, bad_msg: Any = None, bad_msg_as_dict: dict[str, Any] | None = None, **extra: Any
    ) -> Self:
        """Make one for what a decoder refused; `extra` may name `expected_msg_type`, `cid` and `tb_str`."""
        return cls(message, bad_msg=bad_msg, bad_msg_as_dict=bad_msg_as_dict, **extra)

    @property
    def bad_msg(self) -> Any:
        """The value that did not match; its `repr` where it could not travel."""
        return self._extra_msgdata.get("bad_msg")

    @property
    def bad_msg_as_dict(self) -> dict[str, Any] | None:
        """The message that carried `bad_msg`, as a dict: `msg_type`, `cid` and, the value itself, `pld`."""
        found: dict[str, Any] | None = self._extra_msgdata.get("bad_msg_as_dict")
        return found

    @property
    def expected_msg_type(self) -> Any:
        """Which message was bad: `tractor.msg.Started`, `Yield` or `Return`; any other type by name if it came from afar."""
        found = self._extra_msgdata.get("expected_msg_type")
        if not isinstance(found, str):
            return found
        from tractor.msg._messages import BY_NAME

        return BY_NAME.get(found, found)


@is_ours
class StreamOverrun(RemoteActorError, trio.TooSlowError):
    """A stream's receiver was too slow and its buffer overflowed; `sender` is whose item did not fit.

    Received from another actor it is a plain `RemoteActorError` with this `boxed_type`.
    """

    __module__ = "tractor"


def unbox(boxed: Boxed) -> RemoteActorError:
    """Return the error in the box: `ContextCancelled`, `MsgTypeError` or a plain `RemoteActorError`."""
    kinds: dict[str, type[RemoteActorError]] = {
        "ContextCancelled": ContextCancelled,
        "MsgTypeError": MsgTypeError,
    }
    exc = kinds.get(boxed.boxed_type, RemoteActorError)(boxed.message, boxed)
    # Not as keyword arguments: the names are the peer's choice.
    exc._extra_msgdata = dict(boxed.extra or {})
    return exc

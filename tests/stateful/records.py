"""What was seen at both ends of every context while a program ran: the truth that the judge compares with what was told."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import trio

from tractor.runtime._link import Link

#: Instants closer than this, in seconds, count as one.
EPSILON = 1e-6


@dataclass(eq=False)
class StreamRecord:
    """One stream of one end: the items that `send` has accepted, and those that were received."""

    options: dict[str, Any]
    #: By sender, because two tasks may send on one stream.
    sent: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    got: list[tuple[int, int]] = field(default_factory=list)
    #: Whether its end was seen.
    ended: bool = False
    #: Whether it was closed here, or is just being closed.
    closing: bool = False
    closed: bool = False
    #: Whether several tasks have received on it, so that the order of `got` is theirs.
    receivers: set[int] = field(default_factory=set)


@dataclass(eq=False)
class End:
    """One end of one context."""

    actor: str
    uid: tuple[str, str]
    ctx: Any = None
    streams: list[StreamRecord] = field(default_factory=list)
    began: bool = False
    started: bool = False
    #: Whether `ctx.cancel()` was called here.
    cancelled: bool = False
    #: Whether items may have been dropped while a result was awaited.
    discarded: bool = False
    #: What left the body of the block, with whatever that hides; and what was on its way when the block was opened.
    known: list[BaseException] = field(default_factory=list)
    on_the_way: list[BaseException] = field(default_factory=list)
    #: What left the script, what left the block or the endpoint, and when.
    body_left: BaseException | None = None
    body_left_at: float = 0.0
    left: BaseException | None = None
    left_at: float | None = None
    #: Whether the endpoint had been cancelled when its function returned.
    was_cancelled: bool = False
    #: Whether the remote error was raised, or returned, by something that the script waited for.
    told: bool = False
    returned: str | None = None
    #: Whether the other side's last word was there when the block was left, and what was known then.
    settled: bool = False
    peer_gone: bool = False
    outcome: Any = None
    maybe_error: BaseException | None = None
    #: Whether the opener had a deadline, which the endpoint then has too.
    had_deadline: bool = False
    #: Whether the block's own task was being cancelled from outside when it left.
    outer_cancelled: bool = False
    #: What was seen of the context's state so far; it may not be taken back.
    saw_cancel_called: bool = False
    saw_remote_error: BaseException | None = None

    @property
    def gone(self) -> bool:
        """Whether the task of this end has left it."""
        return self.left_at is not None

    def leave(self, exc: BaseException | None) -> None:
        """Note how and when the task leaves."""
        self.left = exc
        self.left_at = trio.current_time()


@dataclass(eq=False)
class Pair:
    """Both ends of one context."""

    number: int
    plan: Any
    opener: End
    endpoint: End

    @property
    def ends(self) -> tuple[End, End]:
        """Both."""
        return self.opener, self.endpoint

    def peer_of(self, end: End) -> End:
        """Return the other end."""
        return self.endpoint if end is self.opener else self.opener


class Record:
    """All that was seen in one run."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        #: What is wrong.
        self.faults: list[str] = []
        self.story: list[tuple[float, str, Any]] = []
        #: The errors that scripts have raised, and which task has.
        self.raised: dict[BaseException, trio.lowlevel.Task] = {}
        #: What was the matter when a program did not end.
        self.state: list[str] = []
        #: All ends of contexts that the runtime has made.
        self.links: list[Link] = []
        #: Who has asked an actor to end, by name.
        self.ended_by: dict[str, set[tuple[str, str]]] = {"alice": set(), "bob": set()}
        #: Whether the program itself has harmed the connection, or an actor has ended.
        self.link_harmed = False
        #: Plain calls that run.
        self.calls = 0
        #: Tags of those that have failed because they were cancelled.
        self.late_errors: list[str] = []
        #: Whether the connection may have stopped moving without anybody noticing.
        self.stalled = False
        self._tags = 0
        self._players = 0

    def tag(self, prefix: str) -> str:
        """Return a word that occurs once, to be found again at the other end."""
        self._tags += 1
        return f"<{prefix}{self._tags}>"

    def next_player(self) -> int:
        """Return a number that no other player of this run has."""
        self._players += 1
        return self._players

    def tell(self, who: str, what: Any) -> None:
        """Note what happens, for the report of a failure."""
        self.story.append((trio.current_time() if trio.lowlevel.in_trio_run() else float("inf"), who, what))

    def blame(self, text: str) -> None:
        """Note that something is wrong."""
        self.faults.append(text)
        self.tell("FAULT", text)


def leaves(exc: BaseException) -> list[BaseException]:
    """Return the errors of a group, or the one there is."""
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in leaves(inner)]
    return [exc]


def is_only_cancelled(exc: BaseException) -> bool:
    """Whether `exc` is nothing but a cancellation by trio."""
    return all(isinstance(leaf, trio.Cancelled) for leaf in leaves(exc))


def behind(exc: BaseException) -> list[BaseException]:
    """Return an error, its members, and whatever any of them has come of."""
    found, todo = list[BaseException](), [exc]
    while todo:
        exc = todo.pop()
        if not any(exc is other for other in found):
            found.append(exc)
            parts = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
            todo += [part for part in (*parts, exc.__context__) if part is not None]
    return found

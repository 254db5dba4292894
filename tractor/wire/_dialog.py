"""What the two parties of one dialog may say, and when.  No I/O, no clock, no trio.

Both ends keep the same book: two half-machines, one per party, each moved only by that party's own messages.
So messages that cross on the wire can never make the ends disagree.  Five rules make it work:

1. A party's half moves only on what that party says (`Rules.moves`).
2. A limit that the *other* party's half sets is a gate.
3. A gate that stays open once it is open is checked at both ends (`Rules.once`).
4. A gate that may close while a message is in flight is checked by the sender only (`Rules.live`): the
   receiver cannot know what the sender knew.
5. Urgent frames overtake the data frames of the same sender (`_kinds.URGENT`), so after a CANCEL or an ERROR
   come data frames that were said before it.  They are late: correct, and without effect (`Rules.late`).

Flow control and deadlines are no part of this: CREDIT and DEADLINE move nothing.

The tables below are the truth, written to be read; `_flatten` makes of them what the machine looks up.  That
the tables are right is proved by the walk over every interleaving in `tests/wire/test_dialog.py`: no correct
peer is refused, the ends agree whenever nothing is in flight, and every dialog can end.
"""

import enum
from typing import NamedTuple

from tractor._errors import LocalProtocolError, RemoteProtocolError
from tractor.wire._kinds import Kind


class Role(enum.IntEnum):
    """Which party one is: the parent says START, the child says how it ended."""

    PARENT = 0
    CHILD = 1

    @property
    def peer(self) -> "Role":
        """The other party."""
        return Role(1 - self)


class Style(enum.IntEnum):
    """What START asked for."""

    CALL = 0  # one request, one reply
    CONTEXT = 1  # a task that says STARTED, and streams both ways


class Half(enum.IntEnum):
    """How far one party is."""

    IDLE = 0  # has said nothing
    OPEN = 1  # may talk
    STREAMING = 2  # sends items
    STOPPED = 3  # sent its items, and may open a stream again
    CANCELLING = 4  # asked the child to end early
    DONE = 5  # the child ended with a value
    FAILED = 6  # the child ended with an error; the parent reported one and says no more


TERMINAL = frozenset({Half.DONE, Half.FAILED})

type Moves = dict[Half, dict[Kind, Half]]
type Gates = dict[tuple[Role, Kind], frozenset[Half]]


class Rules(NamedTuple):
    """The rules of one style.

    `moves`: what each party may say in each of its halves, and the half that follows.  A half without an
    entry may say nothing.
    `once` and `live`: who, what -> the halves of the *other* party that permit it; no entry, no limit.
    `late`: who, in which half -> the kinds its own urgent frames may have overtaken; ignored on receipt.
    """

    moves: dict[Role, Moves]
    once: Gates
    live: Gates
    late: dict[tuple[Role, Half], frozenset[Kind]]


_PARENT, _CHILD = Role
_HALVES = frozenset(Half)
_LEFT_IDLE = _HALVES - {Half.IDLE}
_STREAM_DATA = frozenset({Kind.STREAM, Kind.ITEM, Kind.STOP})

_CALL = Rules(
    moves={
        _PARENT: {
            Half.IDLE: {Kind.START: Half.OPEN},
            Half.OPEN: {Kind.CANCEL: Half.CANCELLING},
        },
        _CHILD: {
            Half.IDLE: {Kind.RETURN: Half.DONE, Kind.ERROR: Half.FAILED},
        },
    },
    once={(_CHILD, kind): _LEFT_IDLE for kind in (Kind.RETURN, Kind.ERROR)},
    live={(_PARENT, kind): _HALVES - TERMINAL for kind in (Kind.START, Kind.CANCEL)},
    late={},
)

_CONTEXT = Rules(
    moves={
        _PARENT: {
            Half.IDLE: {Kind.START: Half.OPEN},
            Half.OPEN: {
                Kind.STREAM: Half.STREAMING,
                Kind.CREDIT: Half.OPEN,
                Kind.DEADLINE: Half.OPEN,
                Kind.CANCEL: Half.CANCELLING,
                Kind.ERROR: Half.FAILED,
            },
            Half.STREAMING: {
                Kind.ITEM: Half.STREAMING,
                Kind.STOP: Half.STOPPED,
                Kind.CREDIT: Half.STREAMING,
                Kind.DEADLINE: Half.STREAMING,
                Kind.CANCEL: Half.CANCELLING,
                Kind.ERROR: Half.FAILED,
            },
            Half.STOPPED: {
                Kind.STREAM: Half.STREAMING,
                Kind.CREDIT: Half.STOPPED,
                Kind.DEADLINE: Half.STOPPED,
                Kind.CANCEL: Half.CANCELLING,
                Kind.ERROR: Half.FAILED,
            },
            # The body may go on receiving until the child has ended.
            Half.CANCELLING: {Kind.CREDIT: Half.CANCELLING},
        },
        _CHILD: {
            # No RETURN: who was asked for a context must say STARTED first.
            Half.IDLE: {Kind.STARTED: Half.OPEN, Kind.ERROR: Half.FAILED},
            Half.OPEN: {
                Kind.STREAM: Half.STREAMING,
                Kind.CREDIT: Half.OPEN,
                Kind.RETURN: Half.DONE,
                Kind.ERROR: Half.FAILED,
            },
            Half.STREAMING: {
                Kind.ITEM: Half.STREAMING,
                Kind.STOP: Half.STOPPED,
                Kind.CREDIT: Half.STREAMING,
                Kind.RETURN: Half.DONE,
                Kind.ERROR: Half.FAILED,
            },
            Half.STOPPED: {
                Kind.STREAM: Half.STREAMING,
                Kind.CREDIT: Half.STOPPED,
                Kind.RETURN: Half.DONE,
                Kind.ERROR: Half.FAILED,
            },
        },
    },
    once={
        (_CHILD, kind): _LEFT_IDLE
        for kind in (Kind.STARTED, *_STREAM_DATA, Kind.CREDIT, Kind.RETURN, Kind.ERROR)
    }
    | {(_PARENT, kind): _LEFT_IDLE for kind in (*_STREAM_DATA, Kind.CREDIT, Kind.ERROR)},
    live={
        (_PARENT, kind): _HALVES - TERMINAL
        for kind in (Kind.START, *_STREAM_DATA, Kind.CREDIT, Kind.DEADLINE, Kind.CANCEL, Kind.ERROR)
    }
    # A parent that is CANCELLING still listens; one that is FAILED does not.
    | {(_CHILD, kind): _HALVES - {Half.FAILED} for kind in (*_STREAM_DATA, Kind.CREDIT)},
    late={
        (_PARENT, Half.CANCELLING): _STREAM_DATA,
        (_PARENT, Half.FAILED): _STREAM_DATA,
        # RETURN is never late: it travels with the data, and nothing is said after it.
        (_CHILD, Half.FAILED): _STREAM_DATA,
    },
)

RULES = {Style.CALL: _CALL, Style.CONTEXT: _CONTEXT}

# The state of a dialog is one number, (parent half, child half, 00000), to which the kind is added.
_KIND_BITS, _HALF_BITS = 5, 3
_PARENT_SHIFT, _CHILD_SHIFT = _KIND_BITS + _HALF_BITS, _KIND_BITS
_HALF_MASK = (1 << _HALF_BITS) - 1
_HALF_OF = tuple(Half)
_DONE = Half.DONE.value  # an int: the halves from here on are terminal for a child
_REFUSED, _LATE = -1, -2


def _flatten(rules: Rules, who: Role, *, sending: bool) -> tuple[int, ...]:
    """What `who` says, as a table from state + kind to the state that follows, or `_REFUSED`, or `_LATE`."""
    assert max(Kind) < 1 << _KIND_BITS, "a kind would be taken for part of the state"
    assert max(Half) <= _HALF_MASK, "a half would be taken for part of the other"
    table = [_REFUSED] * (1 << _PARENT_SHIFT + _HALF_BITS)
    shift, peer_shift = (_PARENT_SHIFT, _CHILD_SHIFT) if who is _PARENT else (_CHILD_SHIFT, _PARENT_SHIFT)
    for own in Half:
        entries: list[tuple[Kind, Half | None]] = [*rules.moves[who].get(own, {}).items()]
        if not sending:
            entries += [(kind, None) for kind in rules.late.get((who, own), ())]
        for kind, after in entries:
            permitting = rules.once.get((who, kind), _HALVES)
            if sending:
                permitting &= rules.live.get((who, kind), _HALVES)
            for peer in permitting:
                rest = peer << peer_shift
                table[rest | own << shift | kind] = _LATE if after is None else rest | after << shift
    return tuple(table)


_SEND, _RECV = (
    tuple(tuple(_flatten(RULES[style], who, sending=sending) for who in Role) for style in Style)
    for sending in (True, False)
)


class Dialog:
    """One party's book on one dialog: which halves both parties are in.

    Every frame goes through `send()` before it leaves, or through `recv()` when it came.  A refusal raises
    and changes nothing.  `role` is the party that keeps this book.
    """

    __slots__ = ("_recv", "_send", "_state", "role", "style")

    def __init__(self, role: Role, style: Style) -> None:
        self.role = role
        self.style = style
        self._state = 0
        self._send = _SEND[style][role]
        self._recv = _RECV[style][1 - role]

    def __repr__(self) -> str:
        parent, child = self.half
        return f"<{self.style.name} dialog kept by the {self.role.name}: {parent.name}/{child.name}>"

    def may_send(self, kind: int) -> bool:
        """Whether `send(kind)` would be permitted now."""
        return self._send[self._state + kind] >= 0

    def send(self, kind: int) -> None:
        """Note that this party says `kind`; raises `LocalProtocolError` if it may not."""
        after = self._send[self._state + kind]
        if after < 0:
            raise LocalProtocolError(self._refusal(self.role, "may not say", kind))
        self._state = after

    def recv(self, kind: int) -> bool:
        """Note that the peer said `kind`; raises `RemoteProtocolError` if it could not.

        False if the frame is late: one that the peer's CANCEL or ERROR overtook, to be ignored.
        """
        after = self._recv[self._state + kind]
        if after < 0:
            if after == _LATE:
                return False
            raise RemoteProtocolError(self._refusal(self.role.peer, "said", kind))
        self._state = after
        return True

    @property
    def half(self) -> tuple[Half, Half]:
        """The halves of both parties: the parent's, the child's."""
        return _HALF_OF[self._state >> _PARENT_SHIFT], _HALF_OF[self._state >> _CHILD_SHIFT & _HALF_MASK]

    @property
    def own(self) -> Half:
        """The half of the party that keeps this book."""
        return self.half[self.role]

    @property
    def peer(self) -> Half:
        """The half of the other party."""
        return self.half[1 - self.role]

    @property
    def over(self) -> bool:
        """Whether the child has ended, which ends the dialog; the parent has nothing to say any more."""
        return self._state >> _CHILD_SHIFT & _HALF_MASK >= _DONE

    def _refusal(self, who: Role, verb: str, kind: int) -> str:
        """Why `kind` was refused, as a sentence."""
        name = Kind(kind).name if kind in Kind else f"kind {kind}"
        own, peer = self.half[who], self.half[1 - who]
        where = f"in a {self.style.name} dialog, as {own.name} (the {who.peer.name} is {peer.name})"
        return f"the {who.name} {verb} {name} {where}"

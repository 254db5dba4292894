"""The dialog tables: every entry, and every interleaving of two correct parties."""

import functools
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pytest

from tractor._errors import LocalProtocolError, ProtocolError, RemoteProtocolError
from tractor.wire import _dialog
from tractor.wire._dialog import RULES, TERMINAL, Dialog, Half, Role, Rules, Style
from tractor.wire._kinds import URGENT, Kind

type Halves = tuple[Half, Half]
type Verb = Literal["send", "recv"]
# (whose book, its halves, verb, kind) -> the halves that follow, "late", or None for a refusal
type Step = Callable[[Role, Halves, Verb, int], Halves | Literal["late"] | None]

ALL_HALVES = [(parent, child) for parent in Half for child in Half]
# Every number a kind could be; most are no kind at all.
NUMBERS = range(32)


def dialog_at(style: Style, role: Role, halves: Halves) -> Dialog:
    """A dialog put into any state, reachable or not."""
    dialog = Dialog(role, style)
    dialog._state = halves[0] << _dialog._PARENT_SHIFT | halves[1] << _dialog._CHILD_SHIFT
    assert dialog.half == halves
    return dialog


def by_machine(style: Style) -> Step:
    """What the real machine does."""

    @functools.cache
    def step(role: Role, halves: Halves, verb: Verb, kind: int) -> Halves | Literal["late"] | None:
        dialog = dialog_at(style, role, halves)
        try:
            if getattr(dialog, verb)(kind) is False:
                assert dialog.half == halves
                return "late"
        except ProtocolError:
            assert dialog.half == halves
            return None
        return dialog.half

    return step


def by_rules(rules: Rules, *, live_on_receipt: bool = False) -> Step:
    """What the tables that people read say, followed literally."""

    @functools.cache
    def step(role: Role, halves: Halves, verb: Verb, number: int) -> Halves | Literal["late"] | None:
        if number not in Kind:
            return None
        kind, who = Kind(number), role if verb == "send" else role.peer
        own, peer = halves[who], halves[who.peer]
        gates = [rules.once, rules.live] if verb == "send" or live_on_receipt else [rules.once]
        if any((who, kind) in gate and peer not in gate[who, kind] for gate in gates):
            return None
        after = rules.moves[who].get(own, {}).get(kind)
        if after is None:
            late = verb == "recv" and kind in rules.late.get((who, own), ())
            return "late" if late else None
        return (after, peer) if who is Role.PARENT else (peer, after)

    return step


# The table, entry by entry.


@pytest.mark.parametrize("verb", ["send", "recv"])
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("style", Style, ids=lambda style: style.name)
def test_the_machine_does_exactly_what_the_tables_say(style: Style, role: Role, verb: Verb) -> None:
    """In every state, for every number a kind could be: the look-up tables equal the readable ones."""
    machine, rules = by_machine(style), by_rules(RULES[style])
    for halves in ALL_HALVES:
        for number in NUMBERS:
            assert machine(role, halves, verb, number) == rules(role, halves, verb, number), (halves, number)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("style", Style, ids=lambda style: style.name)
def test_a_refusal_raises_and_changes_nothing(style: Style, role: Role) -> None:
    """Sending blames us, receiving the peer; afterwards the dialog goes on as if nothing was said."""
    step = by_rules(RULES[style])
    refusals = 0
    for halves in ALL_HALVES:
        for number in NUMBERS:
            dialog = dialog_at(style, role, halves)
            if step(role, halves, "send", number) is None:
                assert not dialog.may_send(number)
                with pytest.raises(LocalProtocolError):
                    dialog.send(number)
                refusals += 1
            else:
                assert dialog.may_send(number)
            if step(role, halves, "recv", number) is None:
                with pytest.raises(RemoteProtocolError):
                    dialog.recv(number)
                refusals += 1
            assert dialog.half == halves
    assert refusals > 1000


def test_views_of_the_halves() -> None:
    """`own` and `peer` depend on who keeps the book, `over` on the child alone."""
    for halves in ALL_HALVES:
        parent = dialog_at(Style.CONTEXT, Role.PARENT, halves)
        child = dialog_at(Style.CONTEXT, Role.CHILD, halves)
        assert (parent.own, parent.peer) == halves
        assert (child.peer, child.own) == halves
        assert parent.over is child.over is (halves[1] in TERMINAL)


def test_a_refusal_names_the_party_the_kind_and_both_halves() -> None:
    """The sentence is enough to find the fault without a debugger."""
    dialog = Dialog(Role.PARENT, Style.CONTEXT)
    with pytest.raises(LocalProtocolError, match=r"PARENT may not say ITEM.*as IDLE \(the CHILD is IDLE\)"):
        dialog.send(Kind.ITEM)
    dialog.send(Kind.START)
    with pytest.raises(RemoteProtocolError, match=r"CHILD said RETURN in a CONTEXT dialog, as IDLE"):
        dialog.recv(Kind.RETURN)
    with pytest.raises(RemoteProtocolError, match="CHILD said kind 7"):
        dialog.recv(7)
    assert repr(dialog) == "<CONTEXT dialog kept by the PARENT: OPEN/IDLE>"


def test_who_still_listens_may_be_talked_to() -> None:
    """A parent that cancels still grants credit and is sent items; after its ERROR the child only ends."""
    stream = {Kind.STREAM, Kind.ITEM, Kind.STOP, Kind.CREDIT}

    def sayable(role: Role, parent: Half, child: Half) -> set[Kind]:
        dialog = dialog_at(Style.CONTEXT, role, (parent, child))
        return {kind for kind in Kind if dialog.may_send(kind)}

    assert sayable(Role.PARENT, Half.CANCELLING, Half.STREAMING) == {Kind.CREDIT}
    ends = {Kind.RETURN, Kind.ERROR}
    assert sayable(Role.CHILD, Half.CANCELLING, Half.STREAMING) == ends | stream - {Kind.STREAM}
    assert sayable(Role.CHILD, Half.FAILED, Half.STREAMING) == ends
    for ended in TERMINAL:
        assert sayable(Role.PARENT, Half.STREAMING, ended) == set()


def test_a_stream_may_be_opened_again() -> None:
    """STREAM, items, STOP, STREAM: the second stream is as good as the first; items need an open one."""
    parent, child = Dialog(Role.PARENT, Style.CONTEXT), Dialog(Role.CHILD, Style.CONTEXT)
    parent.send(Kind.START)
    assert child.recv(Kind.START)
    child.send(Kind.STARTED)
    assert parent.recv(Kind.STARTED)
    for _ in range(2):
        assert not parent.may_send(Kind.ITEM)
        for kind in (Kind.STREAM, Kind.ITEM, Kind.ITEM, Kind.STOP):
            parent.send(kind)
            assert child.recv(kind)
    assert parent.half == child.half == (Half.STOPPED, Half.OPEN)


# The walk.


class Lanes(NamedTuple):
    """What one party has in flight.  Each data frame knows how many urgent ones said before it are ahead."""

    urgent: tuple[int, ...] = ()
    data: tuple[tuple[int, int], ...] = ()

    def put(self, kind: int, depth: int) -> "Lanes | None":
        """With one more frame; None if its lane is full."""
        if kind in URGENT:
            return None if len(self.urgent) == depth else Lanes((*self.urgent, kind), self.data)
        if len(self.data) == depth:
            return None
        return Lanes(self.urgent, (*self.data, (kind, len(self.urgent))))

    def arrivals(self, *, overtaking: bool) -> "Iterator[tuple[int, Lanes]]":
        """Each frame that may be the next to arrive, and what is then still in flight.

        Urgent frames keep their order and are never overtaken; a data frame waits for those said before it.
        """
        if self.data and self.data[0][1] == 0:
            yield self.data[0][0], Lanes(self.urgent, self.data[1:])
        if self.urgent and (overtaking or not self.data or self.data[0][1] > 0):
            data = tuple((kind, max(0, ahead - 1)) for kind, ahead in self.data)
            yield self.urgent[0], Lanes(self.urgent[1:], data)


# What each of the two ends believes, and what is in flight from each of them.
type World = tuple[tuple[Halves, Halves], tuple[Lanes, Lanes]]
START: World = (((Half.IDLE, Half.IDLE),) * 2, (Lanes(), Lanes()))


@dataclass
class Walk:
    """Everything that can happen between two parties that follow `step`."""

    step: Step
    depth: int = 2
    overtaking: bool = True
    worlds: dict[World, tuple[World, str] | None] = field(default_factory=lambda: {START: None})
    before: dict[World, list[World]] = field(default_factory=lambda: defaultdict(list))
    steps: int = 0
    refused: list[tuple[World, str]] = field(default_factory=list)
    moved: set[tuple[Role, Half, int]] = field(default_factory=set)
    late: set[tuple[Role, Half, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        todo = deque([START])
        while todo:
            world = todo.popleft()
            for label, after in self.successors(world):
                self.steps += 1
                self.before[after].append(world)
                if after not in self.worlds:
                    self.worlds[after] = (world, label)
                    todo.append(after)

    def successors(self, world: World) -> Iterator[tuple[str, World]]:
        """Every single thing that can happen next."""
        ends, flying = world
        for who in Role:
            for kind in Kind:
                halves = self.step(who, ends[who], "send", kind)
                assert halves != "late"
                if halves and (lanes := flying[who].put(kind, self.depth)):
                    self.moved.add((who, ends[who][who], kind))
                    yield f"{who.name}!{kind.name}", (with_(ends, who, halves), with_(flying, who, lanes))
            peer = who.peer
            for number, lanes in flying[who].arrivals(overtaking=self.overtaking):
                halves = self.step(peer, ends[peer], "recv", number)
                label = f"{peer.name}?{Kind(number).name}"
                if halves is None:
                    self.refused.append((world, label))
                    continue
                if halves == "late":
                    self.late.add((who, ends[peer][who], number))
                    halves = ends[peer]
                yield label, (with_(ends, peer, halves), with_(flying, who, lanes))

    def disagreements(self) -> list[World]:
        """Nothing is in flight, and the ends believe different things."""
        return [world for world in self.worlds if quiet(world) and world[0][0] != world[0][1]]

    def stuck(self) -> set[World]:
        """Worlds from which no end of the dialog, seen by both and with nothing in flight, can be reached."""
        good = {w for w in self.worlds if quiet(w) and all(halves[Role.CHILD] in TERMINAL for halves in w[0])}
        todo = list(good)
        while todo:
            for world in self.before[todo.pop()]:
                if world not in good:
                    good.add(world)
                    todo.append(world)
        return set(self.worlds) - good

    def path(self, world: World) -> list[str]:
        """A shortest way to a world, for the message of a test that failed."""
        labels: list[str] = []
        while (origin := self.worlds[world]) is not None:
            world, label = origin
            labels.append(label)
        return labels[::-1]


def with_[T](pair: tuple[T, T], who: Role, value: T) -> tuple[T, T]:
    """The pair with one party's element replaced."""
    return (value, pair[1]) if who is Role.PARENT else (pair[0], value)


def quiet(world: World) -> bool:
    """Whether nothing is in flight."""
    return world[1] == START[1]


@functools.cache
def walk_of(style: Style) -> Walk:
    """The walk of the real machine, as deep as every test wants it."""
    return Walk(by_machine(style))


@pytest.fixture(params=Style, ids=lambda style: style.name)
def walk(request: pytest.FixtureRequest) -> Walk:
    """One walk for each style."""
    return walk_of(request.param)


def test_no_correct_peer_is_ever_refused(walk: Walk) -> None:
    """Whatever a party was allowed to say, the other accepts, in every interleaving."""
    assert [(walk.path(world), label) for world, label in walk.refused] == []


def test_the_ends_agree_whenever_nothing_is_in_flight(walk: Walk) -> None:
    """Both books hold the same halves as soon as every frame has arrived."""
    assert [walk.path(world) for world in walk.disagreements()] == []


def test_every_dialog_can_end(walk: Walk) -> None:
    """From every world, one can be reached where both ends know that the child has ended."""
    assert [walk.path(world) for world in walk.stuck()] == []


def test_the_child_may_end_whatever_the_parent_does(walk: Walk) -> None:
    """Once it was started it may always say ERROR, and RETURN too unless its STARTED is missing."""
    for (_, child), _ in walk.worlds:
        if child[Role.PARENT] is Half.IDLE or child[Role.CHILD] in TERMINAL:
            continue
        sayable = {kind for kind in Kind if walk.step(Role.CHILD, child, "send", kind)}
        assert Kind.ERROR in sayable
        assert sayable & {Kind.RETURN, Kind.STARTED}


def test_the_parent_may_cancel_whatever_the_child_does(walk: Walk) -> None:
    """Until it knows that the child ended, unless it did so before or reported an error."""
    for (parent, _), _ in walk.worlds:
        if parent[Role.CHILD] not in TERMINAL and parent[Role.PARENT] in {
            Half.OPEN,
            Half.STREAMING,
            Half.STOPPED,
        }:
            assert walk.step(Role.PARENT, parent, "send", Kind.CANCEL)


@pytest.mark.parametrize("style", Style, ids=lambda style: style.name)
def test_every_entry_of_the_tables_is_used(style: Style) -> None:
    """The walk takes every move, and meets every late kind: nothing in the tables is dead."""
    walk, rules = walk_of(style), RULES[style]
    halves = ((who, half, kinds) for who, moves in rules.moves.items() for half, kinds in moves.items())
    assert walk.moved == {(who, half, kind) for who, half, kinds in halves for kind in kinds}
    assert walk.late == {(who, half, kind) for (who, half), kinds in rules.late.items() for kind in kinds}


@pytest.mark.parametrize("style", Style, ids=lambda style: style.name)
def test_a_gate_is_in_the_right_table(style: Style) -> None:
    """No move of the other party closes a `once` gate; some move closes a `live` one."""
    rules = RULES[style]

    def closes(who: Role, permitting: frozenset[Half]) -> bool:
        moves = rules.moves[who.peer]
        return any(after not in permitting for half in permitting for after in moves.get(half, {}).values())

    assert not [gate for gate, permitting in rules.once.items() if closes(gate[0], permitting)]
    assert [gate for gate, permitting in rules.live.items() if not closes(gate[0], permitting)] == []


# Controls: the same walk finds the faults of tables that are wrong.


@pytest.mark.parametrize("style", Style, ids=lambda style: style.name)
def test_control_live_gates_on_receipt_refuse_correct_peers(style: Style) -> None:
    """The receiver cannot know what the sender knew: CANCEL crosses the end of the child."""
    walk = Walk(by_rules(RULES[style], live_on_receipt=True), depth=1)
    shortest = min(([*walk.path(world), label] for world, label in walk.refused), key=len)
    assert len(shortest) == 5
    assert shortest[-1] == "CHILD?CANCEL"


def test_control_each_late_kind_is_needed() -> None:
    """Without any one of them a correct peer is refused."""
    rules = RULES[Style.CONTEXT]
    for (who, half), kinds in rules.late.items():
        for kind in kinds:
            poorer = rules._replace(late=rules.late | {(who, half): kinds - {kind}})
            refused = {label for _, label in Walk(by_rules(poorer), depth=1).refused}
            assert refused == {f"{who.peer.name}?{kind.name}"}, (who, half)


def test_control_nothing_is_late_where_nothing_overtakes() -> None:
    """Over one plain queue per direction the late table is never looked at."""
    walk = Walk(by_rules(RULES[Style.CONTEXT]), depth=1, overtaking=False)
    assert walk.late == set()
    assert len(walk.worlds) > 100


def test_control_a_child_that_cannot_end_is_found() -> None:
    """With neither RETURN nor ERROR after STARTED, the walk reports worlds that are stuck."""
    rules = RULES[Style.CONTEXT]
    child = {
        Half.IDLE: {Kind.STARTED: Half.OPEN, Kind.ERROR: Half.FAILED},
        Half.OPEN: {Kind.CREDIT: Half.OPEN},
    }
    walk = Walk(by_rules(rules._replace(moves=rules.moves | {Role.CHILD: child})), depth=1)
    assert walk.stuck()
    assert not walk.refused


def test_control_a_move_by_the_other_party_makes_the_ends_disagree() -> None:
    """Rule 1 broken: were CANCEL to end the child's half, the ends would differ with nothing in flight."""
    honest = by_rules(RULES[Style.CALL])

    def step(role: Role, halves: Halves, verb: Verb, kind: int) -> Halves | Literal["late"] | None:
        if (role, verb, kind) == (Role.CHILD, "recv", Kind.CANCEL):
            return Half.CANCELLING, Half.FAILED
        return honest(role, halves, verb, kind)

    assert Walk(step, depth=1).disagreements()

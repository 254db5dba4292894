"""What an error of another actor is made of, as data: its notes, its causes, and the members of a group."""

from __future__ import annotations

from typing import Any, Self

import pytest
import trio

from tractor._errors import ActorFailure, Exit, TransportClosed
from tractor.msg import _errbox
from tractor.msg._boxed import Boxed, ContextCancelled, MsgTypeError, RemoteActorError
from tractor.msg._codec import get_codec
from tractor.msg._errbox import pack_error, shrink_error, unpack_error

LEAF, MID, TOP, ROOT = ("leaf", "u1"), ("mid", "u2"), ("top", "u3"), ("root", "u4")
PATH = [LEAF, MID, TOP, ROOT, ("moon", "u5")]

type Uid = tuple[str, str]


class HostileNotes(Exception):
    """An error whose notes and members cannot be had."""

    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no notes")


class HostileGroup(ExceptionGroup[Exception]):
    """A group that hides its members."""

    @property
    def exceptions(self) -> Any:
        """Fail."""
        raise RuntimeError("no members")


class Picky(ExceptionGroup[Exception]):
    """A group that has a constructor of its own."""

    def __new__(cls, reason: str) -> Self:
        """Take a text only."""
        return super().__new__(cls, reason, [ValueError("always the same")])


class Impostor(Exception):
    """An error type that makes something else."""

    def __new__(cls, *args: object) -> Any:
        """Return what is no error."""
        return super().__new__(cls, *args) if len(args) > 1 else 5


def hop(exc: BaseException, uid: Uid, **kwargs: Any) -> RemoteActorError:
    """Raise `exc` in the actor `uid`, and return what arrives at the next."""
    codec = get_codec()
    return unpack_error(codec.decoder(Boxed)(codec.encode(pack_error(exc, uid, **kwargs))), sender=uid)


def hops(exc: BaseException, count: int) -> RemoteActorError:
    """Let `exc` be passed on by so many actors."""
    error = hop(exc, PATH[0])
    for uid in PATH[1:count]:
        error = hop(error, uid)
    return error


def chained(exc: Exception, cause: Exception, *, explicit: bool = True) -> Exception:
    """Raise `exc` from `cause`, or while handling it."""
    try:
        try:
            raise cause
        except type(cause):
            if explicit:
                raise exc from cause
            raise exc  # noqa: B904 - that is the point
    except Exception as caught:  # noqa: BLE001 - whatever it is
        return caught


def noted(exc: Exception, *notes: str) -> Exception:
    """Add notes."""
    for note in notes:
        exc.add_note(note)
    return exc


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_members_of_a_group_keep_type_and_origin_over_any_number_of_hops(count: int) -> None:
    """Those that were raised beside each other, and those that had come from elsewhere before."""
    elsewhere = hop(hop(KeyError("far"), ("far", "u8")), ("near", "u9"))
    group = ExceptionGroup("outer", [ValueError("one"), ExceptionGroup("inner", [OSError("two"), elsewhere])])
    error = hops(group, count)
    assert error.src_type is ExceptionGroup
    assert error.src_uid == LEAF
    assert error.relay_path == PATH[:count]
    one, inner = error.members
    assert (one.src_type, one.message, one.src_uid, one.members) == (ValueError, "one", LEAF, ())
    assert (inner.src_type, inner.message, inner.src_uid) == (
        ExceptionGroup,
        "inner (2 sub-exceptions)",
        LEAF,
    )
    two, three = inner.members
    assert (two.src_type, two.boxed_type, two.src_uid) == (OSError, OSError, LEAF)
    assert (three.src_type, three.boxed_type, three.src_uid) == (KeyError, RemoteActorError, ("far", "u8"))
    assert three.relay_path == [("far", "u8"), ("near", "u9"), LEAF]
    assert [leaf.message for leaf in error.leaves()] == ["one", "two", "'far'"]
    assert [leaf.message for leaf in one.leaves()] == ["one"]
    assert error.members is error.members


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("explicit", [True, False])
def test_the_chain_of_causes_keeps_types_over_any_number_of_hops(count: int, explicit: bool) -> None:
    """Explicit or implicit, the nearest first, as a traceback shows them."""
    first = chained(KeyError("middle"), OSError(2, "deepest"), explicit=explicit)
    error = hops(chained(ValueError("last"), first, explicit=explicit), count)
    assert [(cause.src_type, cause.src_uid) for cause in error.causes] == [
        (KeyError, LEAF),
        (FileNotFoundError, LEAF),
    ]
    assert [cause.causes for cause in error.causes] == [(), ()]
    assert [cause.message for cause in error.causes] == ["'middle'", "[Errno 2] deepest"]


def test_what_a_traceback_would_not_show_is_no_cause() -> None:
    """`raise ... from None`, and cancellations: those are why something ended, not what went wrong."""
    error = chained(ValueError("last"), KeyError("hidden"))
    error.__cause__ = None
    assert hop(error, LEAF).causes == ()

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            finally:
                raise chained(ValueError("in the clean-up"), OSError("why"))

    with pytest.raises(ValueError, match="clean-up") as info:
        trio.run(main)
    assert [cause.src_type for cause in hop(info.value, LEAF).causes] == [OSError]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_notes_arrive_in_order_and_relays_may_add_theirs(count: int) -> None:
    """The origin's first; members and causes have their own."""
    group = ExceptionGroup("g", [noted(ValueError("x"), "of a member")])
    cause = noted(KeyError("y"), "of a cause")
    origin = noted(chained(group, cause), "first", "second\nline")
    error: BaseException = origin
    for uid in PATH[:count]:
        error = hop(error, uid)
        error.add_note(f"after {uid[0]}")
    assert isinstance(error, RemoteActorError)
    expected = ["first", "second\nline", *(f"after {uid[0]}" for uid in PATH[: count - 1])]
    assert list(error.notes) == expected
    assert error.members[0].notes == ("of a member",)
    assert error.causes[0].notes == ("of a cause",)


def test_a_relay_s_own_causes_come_after_those_of_the_origin() -> None:
    """Each says where it is from."""
    error = hop(chained(ValueError("last"), KeyError("at the origin")), LEAF)
    again = hop(chained(error, OSError("at the relay")), MID)
    assert [(cause.src_type, cause.src_uid) for cause in again.causes] == [(KeyError, LEAF), (OSError, MID)]
    assert again.src_type is ValueError


def test_an_error_raised_from_one_of_another_actor_says_so() -> None:
    """Its cause is the remote error, with origin and path."""
    error = hop(chained(LookupError("here"), hop(hop(ValueError("there"), LEAF), MID)), TOP)
    assert (error.src_type, error.src_uid) == (LookupError, TOP)
    cause = error.causes[0]
    assert (cause.src_type, cause.src_uid, cause.relay_path) == (ValueError, LEAF, [LEAF, MID, TOP])


def test_members_are_what_they_were() -> None:
    """Cancellations keep their canceller; errors of the runtime their class."""
    cancelled = ContextCancelled("c", boxed_type=trio.Cancelled, canceller=ROOT)
    group = ExceptionGroup("g", [cancelled, MsgTypeError("m"), hop(cancelled, MID)])
    first, second, third = hop(group, LEAF).members
    assert isinstance(first, ContextCancelled)
    assert (first.canceller, first.src_uid) == (ROOT, LEAF)
    assert isinstance(second, MsgTypeError)
    assert isinstance(third, ContextCancelled)
    assert (third.canceller, third.src_uid) == (ROOT, LEAF)


def test_a_group_is_unwrapped_with_its_members() -> None:
    """Each of them from what is known of it; what cannot be made again leaves a `RuntimeError`."""
    group = BaseExceptionGroup(
        "g", [ValueError("x"), KeyboardInterrupt(), UnicodeDecodeError("utf-8", b"", 0, 1, "y")]
    )
    made = hop(group, LEAF).unwrap()
    assert type(made) is BaseExceptionGroup
    assert [type(exc) for exc in made.exceptions] == [ValueError, KeyboardInterrupt, RuntimeError]
    assert str(made.exceptions[0]) == "x"
    assert str(made.exceptions[2]).startswith("UnicodeDecodeError: ")


@pytest.mark.parametrize("kind", [Picky, Impostor])
def test_types_that_cannot_be_made_anew_leave_a_runtime_error(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever their constructors do."""
    monkeypatch.setattr("tractor.msg._errtypes._registered", {kind.__name__: kind})
    exc = Picky("reason") if kind is Picky else Impostor("a", "b")
    made = hop(exc, LEAF).unwrap()
    assert type(made) is RuntimeError
    assert str(made).startswith(f"{kind.__name__}: ")


def test_errors_of_the_runtime_tell_what_they_know() -> None:
    """Which actor, and how it ended, as facts by name."""
    failure = ActorFailure("it ended unasked", name="kid", where="trio", exit=Exit("died", -9))
    for count in (1, 2, 3):
        facts = hops(failure, count).msgdata
        assert (facts["name"], facts["where"], facts["exit"]) == ("kid", "trio", "killed by SIGKILL")
    facts = hop(TransportClosed("gone", peer="kid@7", exit=Exit("died", 3)), LEAF).msgdata
    assert (facts["peer"], facts["exit"]) == ("kid@7", "exit status 3")
    assert hop(TransportClosed("gone"), LEAF).msgdata["exit"] is None


def test_hostile_errors_travel_without_what_they_hide() -> None:
    """Nothing that their attributes do keeps the report from being sent."""
    error = hop(HostileNotes("x"), LEAF)
    assert (error.message, error.notes) == ("x", ())
    error = hop(HostileGroup("g", [ValueError("seen")]), LEAF)
    assert [member.message for member in error.members] == ["seen"]
    bad = ValueError("x")
    bad.__notes__ = ["good", HostileText(), "never reached"]  # type: ignore[list-item]
    assert hop(bad, LEAF).notes == ("good",)


class HostileText:
    """A note that cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_that_causes_itself_ends() -> None:
    """A loop in the chain is gone through once."""
    one, two = ValueError("one"), KeyError("two")
    one.__context__, two.__context__ = two, one
    assert [cause.src_type for cause in hop(one, LEAF).causes] == [KeyError]


def count_parts(error: RemoteActorError) -> int:
    """Return how many errors are in there."""
    return 1 + sum(map(count_parts, (*error.members, *error.causes)))


def test_what_is_sent_along_is_bounded() -> None:
    """In number, in depth, and in the length of every text; what is left out is counted."""
    wide = hop(ExceptionGroup("wide", [ValueError(f"{n}") for n in range(5000)]), LEAF)
    assert len(wide.members) == _errbox._WIDTH
    assert wide.notes == (f"[… {5000 - _errbox._WIDTH} more errors left out …]",)
    tree: Exception = ValueError("leaf")
    for _ in range(50):
        tree = ExceptionGroup("deep", [tree, noted(ValueError("x" * 10_000), *["y" * 10_000] * 99)])
    boxed = pack_error(tree, LEAF)._replace(tb="")
    assert len(get_codec().encode(boxed)) < 1.5 * _errbox._PARTS_LIMIT
    error = unpack_error(boxed)
    depth = 0
    while error.members:
        error, depth = error.members[0], depth + 1
    assert depth == _errbox._DEPTH
    assert error.notes == ("[… 2 more errors left out …]",)
    bush = ExceptionGroup(
        "b", [ExceptionGroup("c", [ValueError(f"{n}") for n in range(90)]) for _ in range(90)]
    )
    assert count_parts(hop(bush, LEAF)) == 1 + _errbox._PARTS
    chain = ValueError("last")
    for n in range(500):
        chain = chained(ValueError(f"{n}"), chain)  # type: ignore[assignment]
    assert len(hop(chain, LEAF).causes) == _errbox._WIDTH


def test_what_a_peer_sends_is_bounded_too() -> None:
    """A box of boxes without end costs its reader nothing, and can be passed on."""
    boxed = leaf = Boxed(LEAF, "ValueError", "ValueError", (LEAF,), "x", "t" * 10_000)
    for _ in range(3000):
        boxed = leaf._replace(members=(boxed, leaf), causes=(leaf,), notes=("n",) * 500)
    error = unpack_error(get_codec().decoder(Boxed)(get_codec().encode(boxed)))
    assert count_parts(error) <= 1 + _errbox._PARTS
    assert len(repr(error.ipc_msg)) < 1_000_000
    assert len(error.members[0].notes) == _errbox._NOTES
    again = hop(ExceptionGroup("g", [error]), MID)
    assert again.members[0].members[0].src_uid == LEAF
    assert count_parts(again) <= 1 + _errbox._PARTS


def test_a_report_that_must_fit_leaves_the_parts_out() -> None:
    """The text of the whole still names them."""
    group = noted(ExceptionGroup("g", [chained(ValueError("x"), KeyError("y"))]), "note")
    small = shrink_error(pack_error(group, LEAF), 4000)
    assert (small.members, small.causes, small.notes) == ((), (), ())
    assert "ValueError: x" in small.tb


def test_lists_of_an_untyped_codec_become_tuples() -> None:
    """Also in the parts."""
    boxed: Any = Boxed(*get_codec().decoder()(get_codec().encode(pack_error(noted(ValueError(), "n"), LEAF))))
    assert unpack_error(boxed).notes == ("n",)


def test_an_error_made_here_has_no_parts_of_another_actor() -> None:
    """Python's own attributes say what it is made of."""
    error = RemoteActorError("x")
    assert (error.notes, error.causes, error.members, list(error.leaves())) == ((), (), (), [error])

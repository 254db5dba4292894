"""Errors into boxes and out again."""

import sys
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tractor.msg import _errbox
from tractor.msg._boxed import DIVIDER, Boxed, ContextCancelled, MsgTypeError, RemoteActorError, StreamOverrun
from tractor.msg._codec import get_codec
from tractor.msg._errbox import pack_error, shrink_error, unpack_error

LEAF, MID, TOP, ROOT = ("leaf", "u1"), ("mid", "u2"), ("top", "u3"), ("root", "u4")


class HomeMade(Exception):
    """An error that nobody registers."""


class Hostile(Exception):
    """An error whose methods fail."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def raised[E: BaseException](exc: E, cause: BaseException | None = None) -> E:
    """Raise and catch `exc` in a frame of this module."""
    with pytest.raises(type(exc)):
        raise exc from cause
    return exc


def hop(exc: BaseException, uid: tuple[str, str], **kwargs: Any) -> RemoteActorError:
    """Raise `exc` in the actor `uid`, and return what arrives at the next."""
    codec = get_codec()
    data = codec.encode(pack_error(raised(exc), uid, **kwargs))
    return unpack_error(codec.decoder(Boxed)(data), sender=uid, cid=len(uid[0]))


def test_one_hop_keeps_type_message_and_traceback() -> None:
    """`boxed` and `src` are the same."""
    exc = hop(ValueError("bad price"), LEAF)
    assert type(exc) is RemoteActorError
    assert exc.boxed_type is exc.src_type is ValueError
    assert exc.message == "bad price"
    assert (exc.src_uid, exc.relay_path, exc.sender, exc.cid) == (LEAF, [LEAF], LEAF, 4)
    assert exc.tb_str.startswith("Traceback (most recent call last):\n")
    assert exc.tb_str.endswith("ValueError: bad price\n")
    assert "in raised\n    raise exc from cause\n" in exc.tb_str


@pytest.mark.parametrize(
    "error", [ValueError("bad price"), HomeMade("bad price"), StreamOverrun("bad price")]
)
@pytest.mark.parametrize("hops", [2, 3, 4])
def test_the_origin_survives_any_number_of_hops(error: Exception, hops: int) -> None:
    """Its type, known or not, its actor, its message and its traceback."""
    path = [LEAF, MID, TOP, ROOT][:hops]
    first = exc = hop(error, path[0])
    for uid in path[1:]:
        exc = hop(exc, uid)
    assert type(exc) is RemoteActorError
    assert exc.boxed_type is RemoteActorError
    assert exc.is_inception()
    assert (exc.src_type_str, exc.src_type) == (type(error).__name__, first.boxed_type)
    assert (exc.src_uid, exc.relay_path, exc.relay_uid) == (LEAF, path, path[-1])
    assert exc.message == "bad price"
    assert exc.tb_str.startswith(first.tb_str)


def test_the_text_after_three_hops_stays_short_and_flat() -> None:
    """One box, the origin's traceback first, then two or three lines per relay."""
    first = hop(ValueError("bad price"), LEAF)
    text = str(hop(hop(first, MID), TOP))
    assert text.startswith(
        "remote task raised a 'RemoteActorError' relaying a 'ValueError'\nbad price\nsrc_uid=('leaf'"
    )
    assert text.count(DIVIDER) == 2
    assert text.count("ValueError: bad price") == 1
    assert text.count("Traceback (most recent call last)") == 1
    assert "relayed from ('leaf', 'u1') by ('mid', 'u2'):\n  File" in text
    assert "relayed from ('mid', 'u2') by ('top', 'u3'):\n  File" in text
    assert len(text.splitlines()) <= len(str(first).splitlines()) + 2 * 4


def test_what_a_relay_adds_is_kept() -> None:
    """Notes and an explicit cause, after the place."""
    exc = hop(ValueError("bad price"), LEAF)
    exc.add_note("while asking\nfor quotes")
    tb = pack_error(raised(exc, cause=KeyError("lost")), MID).tb
    assert tb.endswith("  raised there from KeyError: 'lost'\n  while asking\n  for quotes\n")


def test_a_relay_that_never_raised_it_has_no_place_to_show() -> None:
    """It still says who it was."""
    exc = hop(ValueError("bad price"), LEAF)
    assert pack_error(exc, MID).tb == exc.tb_str + "relayed from ('leaf', 'u1') by ('mid', 'u2'):\n"


def test_a_cancellation_is_raised_anew_by_each_actor() -> None:
    """The canceller and the traceback stay those of the first, the source is whoever sent it last."""
    local = ContextCancelled("cancelled by itself", boxed_type=trio.Cancelled, canceller=LEAF)
    exc: RemoteActorError = local
    for uid in (LEAF, MID, TOP):
        exc = hop(exc, uid)
        assert type(exc) is ContextCancelled
        assert exc.boxed_type is exc.src_type is ContextCancelled
        assert exc.canceller == LEAF
        assert (exc.src_uid, exc.relay_path, exc.is_inception()) == (uid, [uid], False)
        assert "by itself" in exc.tb_str
    assert str(exc).count(DIVIDER) == 2
    assert "relayed from ('mid', 'u2') by ('top', 'u3')" in exc.tb_str


def test_the_sender_may_name_the_canceller() -> None:
    """In place of what the error says."""
    exc = hop(ContextCancelled("c", canceller=LEAF), MID, canceller=TOP)
    assert isinstance(exc, ContextCancelled)
    assert exc.canceller == TOP


def test_a_type_error_keeps_its_facts() -> None:
    """Values that can travel do, types go by name, and numbers of dialogs stay at home."""
    local = MsgTypeError(
        "bad",
        bad_msg={"a": [1, None, b"x"]},
        bad_msg_as_dict={"o": HomeMade(), "n": 3},
        expected_msg_type=HomeMade,
        cid=77,
    )
    for exc in (hop(local, LEAF), hop(hop(local, LEAF), MID)):
        assert type(exc) is MsgTypeError
        assert exc.bad_msg == {"a": [1, None, b"x"]}
        assert exc.expected_msg_type == "HomeMade"
        assert exc.bad_msg_as_dict == {"o": "HomeMade()", "n": 3}
        assert exc.cid != 77
        assert "MsgTypeError: bad" in exc.tb_str


def test_an_overrun_arrives_as_a_plain_error() -> None:
    """With the matching type, and the actor whose item did not fit rather than the one that told us."""
    exc = hop(StreamOverrun("full", sender=TOP), LEAF)
    assert type(exc) is RemoteActorError
    assert exc.boxed_type is StreamOverrun
    assert exc.sender == TOP
    again = hop(exc, MID)
    assert (again.boxed_type, again.sender) == (RemoteActorError, TOP)
    assert "StreamOverrun" in again.tb_str


@pytest.mark.parametrize(
    "exc", [KeyboardInterrupt(), SystemExit(3), BaseExceptionGroup("g", [KeyboardInterrupt()])]
)
def test_base_exceptions_travel(exc: BaseException) -> None:
    """They are errors to others, though not to be swallowed here."""
    assert hop(exc, LEAF).boxed_type is type(exc)


def test_a_group_travels_as_text_with_every_member() -> None:
    """Also where the traceback module would leave some out; members from elsewhere lose their dividers."""
    members: list[Exception] = [hop(ValueError(f"bad price {index}"), LEAF) for index in range(40)]
    nested = ExceptionGroup("outer", [ExceptionGroup("inner", members)])
    for _ in range(12):
        nested = ExceptionGroup("more", [nested])
    exc = hop(nested, MID)
    assert exc.boxed_type is ExceptionGroup
    for index in range(40):
        assert f"| ValueError: bad price {index}\n" in exc.tb_str
    assert DIVIDER not in exc.tb_str
    assert str(exc).count(DIVIDER) == 2


def test_causes_contexts_and_notes_travel_in_the_traceback() -> None:
    """As they would be printed at home."""
    exc = ValueError("bad price")
    exc.add_note("asked twice")
    tb = pack_error(raised(exc, cause=raised(KeyError("lost"))), LEAF).tb
    assert (
        tb.index("KeyError: 'lost'")
        < tb.index("direct cause")
        < tb.index("ValueError: bad price\nasked twice\n")
    )


def test_frames_of_the_runtime_above_the_program_s_are_left_out() -> None:
    """The error itself is not changed."""
    scope: dict[str, Any] = {"__name__": "tractor.runtime._fake"}
    exec("def invoke(function, exc):\n    return function(exc)\n", scope)  # a frame of the runtime

    def fail(exc: Exception) -> None:
        raise exc

    exc = ValueError("bad price")
    with pytest.raises(ValueError, match="bad price"):
        scope["invoke"](fail, exc)
    # The outermost frame is this test; the runtime would have it hidden behind its own.
    assert exc.__traceback__ is not None
    exc.__traceback__ = inner = exc.__traceback__.tb_next
    tb = pack_error(exc, LEAF).tb
    assert "in fail" in tb
    assert "in invoke" not in tb
    assert exc.__traceback__ is inner


def test_an_error_of_the_runtime_alone_keeps_its_frames() -> None:
    """There is nothing else to show."""
    scope: dict[str, Any] = {"__name__": "trio._fake"}
    exec("def invoke(exc):\n    raise exc\n", scope)
    exc = ValueError("bad price")
    with pytest.raises(ValueError, match="bad price"):
        scope["invoke"](exc)
    assert exc.__traceback__ is not None
    exc.__traceback__ = exc.__traceback__.tb_next
    assert "in invoke" in pack_error(exc, LEAF).tb


def test_a_deep_recursion_is_told_briefly() -> None:
    """Repeated frames are counted, not listed."""

    def forever() -> None:
        forever()

    with pytest.raises(RecursionError) as caught:
        forever()
    boxed = pack_error(caught.value, LEAF)
    assert boxed.boxed_type == "RecursionError"
    assert "Previous line repeated" in boxed.tb
    assert len(boxed.tb) < 5_000


def test_an_error_whose_methods_fail_travels_all_the_same() -> None:
    """So does one that carries such objects or notes."""
    exc = hop(Hostile(), LEAF, extra={"fact": Hostile(), "lists": [Hostile()]})
    assert exc.src_type_str == "Hostile"
    assert "RuntimeError" in exc.message
    assert "Hostile object" in exc.msgdata["fact"]
    noted = hop(ValueError("bad price"), LEAF)
    noted.__notes__ = [Hostile()]  # type: ignore[list-item]
    assert hop(noted, MID).src_uid == LEAF


def test_text_that_is_not_text_is_escaped() -> None:
    """File names that cannot be decoded turn up in messages, and would not be sent."""
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    exc = hop(FileNotFoundError(2, "missing", name), LEAF, extra={name: name})
    assert "udce9" in exc.message
    assert exc.boxed_type is FileNotFoundError
    assert exc.msgdata["caf\\udce9"] == "caf\\udce9"


def test_an_error_is_never_too_big_to_send() -> None:
    """Head and tail stay, the middle goes."""
    boxed = pack_error(
        raised(ValueError("head" + "x" * 5_000_000 + "tail")),
        LEAF,
        extra={"a": [0.5] * 10**6, "b": b"x" * 10**6},
    )
    assert len(get_codec().encode(boxed)) < 2_000_000
    assert boxed.message.startswith("head")
    assert boxed.message.endswith("tail")
    assert "characters left out" in boxed.message
    assert boxed.tb.startswith("Traceback")


def test_extra_facts_are_added_and_travel_on() -> None:
    """They are found in `msgdata`, after a relay as well."""
    exc = hop(ValueError("bad"), LEAF, extra={"colour": "red", "sizes": [1, 2]})
    assert exc.msgdata["colour"] == "red"
    again = hop(exc, MID, extra={"colour": "blue"})
    assert (again.msgdata["colour"], again.msgdata["sizes"]) == ("blue", [1, 2])


def test_what_holds_in_one_actor_only_stays_there() -> None:
    """The dialog, and who told us; what has a field of its own is not sent twice."""
    exc = hop(ValueError("bad"), LEAF)
    assert (exc.sender, exc.cid) == (LEAF, 4)
    again = pack_error(exc, MID)
    assert (again.sender, again.extra) == (None, None)
    local = ContextCancelled("c", canceller=MID, sender=TOP, cid=3, tb_str="text")
    boxed = pack_error(local, LEAF)
    assert (boxed.canceller, boxed.sender, boxed.extra) == (MID, TOP, None)


def test_a_peer_cannot_reach_into_the_receiver_by_names_of_facts() -> None:
    """What we know ourselves, and what has a field, is not theirs to say."""
    extra = {"message": "m", "ipc_msg": 1, "boxed_type": 2, "self": 3, "cid": 4, "sender": 5, "tb_str": "t"}
    boxed = Boxed(LEAF, "ValueError", "ValueError", (LEAF,), "bad", "tb", extra=extra)
    exc = unpack_error(boxed, sender=LEAF, cid=7)
    assert (exc.message, exc.cid, exc.sender, exc.tb_str) == ("bad", 7, LEAF, "tb")
    assert exc.boxed_type is ValueError
    assert exc.msgdata["message"] == "bad"


def test_lists_of_an_untyped_codec_become_tuples() -> None:
    """Uids are compared with tuples and used as keys; a path has at least the origin."""
    boxed: Any = Boxed(
        *get_codec().decoder()(get_codec().encode(pack_error(ContextCancelled("c", canceller=MID), LEAF)))
    )
    exc = unpack_error(boxed)
    assert isinstance(exc, ContextCancelled)
    assert (exc.src_uid, exc.relay_path, exc.canceller) == (LEAF, [LEAF], MID)
    assert unpack_error(boxed._replace(relay_path=[])).relay_uid == LEAF


def test_somebody_s_own_context_cancelled_is_not_taken_for_ours() -> None:
    """Its name travels with its module."""
    foreign = type("ContextCancelled", (Exception,), {"__module__": "shop"})
    exc = hop(foreign("closing time"), LEAF)
    assert type(exc) is RemoteActorError
    assert (exc.boxed_type, exc.boxed_type_str) == (None, "ContextCancelled")


_JSONLIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(st.text(st.characters()), st.dictionaries(st.text(st.characters()), _JSONLIKE, max_size=3))
def test_whatever_an_error_says_it_can_be_sent(message: str, extra: dict[str, Any]) -> None:
    """Any text, lone surrogates included, and any facts."""
    boxed = pack_error(ValueError(message), LEAF, extra=extra)
    arrived = get_codec().decoder(Boxed)(get_codec().encode(boxed))
    assert arrived.message == message.encode("utf-8", "backslashreplace").decode()


def test_facts_that_every_codec_carries_stay_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest, and what is too long, becomes text."""
    loop: list[Any] = []
    loop.append(loop)
    monkeypatch.setattr(_errbox, "_TEXT_LIMIT", 100)
    values: dict[str, Any] = {
        "list": [1, 2.5, None, True, {"a": "é"}],
        "big": 2**63,
        "long": "x" * 101,
        "loop": loop,
    }
    extra = pack_error(ValueError(), LEAF, extra=values).extra
    assert extra is not None
    assert extra["list"] == values["list"]
    assert extra["big"] == str(2**63)
    assert len(extra["long"]) < 2 * 101
    assert extra["loop"].startswith("<list object at")


def test_a_limit_on_tracebacks_of_this_process_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for none gets the error alone."""
    monkeypatch.setattr(sys, "tracebacklimit", 0, raising=False)
    assert pack_error(raised(ValueError("bad price")), LEAF).tb == "ValueError: bad price\n"


@pytest.mark.parametrize("size", [400, 5000, 100_000])
def test_a_report_can_be_made_to_fit(size: int) -> None:
    """Its facts stay; of its texts the ends."""
    boxed = pack_error(
        raised(ValueError("first " + "é" * 200_000 + " last")), LEAF, extra={"x": "y" * 50_000}
    )
    small = shrink_error(boxed, size)
    assert len(get_codec().encode(small)) <= size
    assert small.message.startswith("first")
    assert small.message.endswith("last")
    assert (small.src_uid, small.src_type, small.extra) == (LEAF, "ValueError", None)
    assert shrink_error(small, size).src_type == "ValueError"

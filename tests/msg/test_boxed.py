"""Errors of other actors: their classes, their text and the names of types."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from tractor.msg import _errtypes
from tractor.msg._boxed import DIVIDER, Boxed, ContextCancelled, MsgTypeError, RemoteActorError, StreamOverrun
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._errtypes import reg_err_types
from tractor.msg._messages import Return, Yield

LEAF, MID = ("leaf", "uuid-1"), ("mid", "uuid-2")
TB = 'Traceback (most recent call last):\n  File "leaf.py", line 3, in work\nValueError: bad price\n'
DIRECT = Boxed(LEAF, "ValueError", "ValueError", (LEAF,), "bad price", TB)
RELAYED = DIRECT._replace(boxed_type="RemoteActorError", relay_path=(LEAF, MID))


class HomeMade(Exception):
    """An error of the program's own."""


class Demanding(Exception):
    """An error that cannot be made from a text."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registrations of one test are unknown to the next."""
    with monkeypatch.context() as patch:
        patch.setattr(_errtypes, "_registered", {})
        yield


def received(boxed: Boxed, **facts: Any) -> RemoteActorError:
    """Return an error as if it had come."""
    return RemoteActorError(boxed.message, boxed, **facts)


def test_a_direct_error_tells_type_and_origin() -> None:
    """From one actor to the next, the last hop is the origin."""
    exc = received(DIRECT)
    assert exc.boxed_type is exc.src_type is ValueError
    assert exc.boxed_type_str == exc.src_type_str == "ValueError"
    assert exc.src_uid == exc.relay_uid == LEAF
    assert exc.relay_path == [LEAF]
    assert exc.message == "bad price"
    assert exc.tb_str == TB
    assert exc.ipc_msg == DIRECT
    assert not exc.is_inception()


def test_a_relayed_error_tells_both_ends() -> None:
    """What the last actor raised, and what it was at first."""
    exc = received(RELAYED)
    assert (exc.boxed_type, exc.src_type) == (RemoteActorError, ValueError)
    assert (exc.src_uid, exc.relay_uid, exc.relay_path) == (LEAF, MID, [LEAF, MID])
    assert exc.is_inception()


def test_msgdata_has_all_facts_by_name() -> None:
    """Those of the message win over extra ones of the same name; the traceback is among them."""
    exc = received(DIRECT, cid=7, colour="red", tb_str="not this")
    assert exc.msgdata == {
        "cid": 7,
        "colour": "red",
        "src_uid": LEAF,
        "src_type_str": "ValueError",
        "boxed_type_str": "ValueError",
        "relay_path": [LEAF],
        "message": "bad price",
        "tb_str": TB,
        "canceller": None,
        "sender": None,
    }
    assert exc.msgdata["tb_str"] == exc.tb_str


def test_the_text_of_a_direct_error() -> None:
    """Type, message, facts, and the traceback between dividers."""
    assert str(received(DIRECT, cid=7)) == (
        "remote task raised a 'ValueError'\n"
        "bad price\n"
        "src_uid=('leaf', 'uuid-1')\n"
        "relay_uid=('leaf', 'uuid-1')\n"
        "cid=7\n"
        f"{DIVIDER}\n{TB}{DIVIDER}"
    )


def test_the_text_of_a_relayed_error_names_both_types() -> None:
    """It begins like any other."""
    first, *_, last = str(received(RELAYED)).splitlines()
    assert first == "remote task raised a 'RemoteActorError' relaying a 'ValueError'"
    assert last == DIVIDER
    assert "relay_uid=('mid', 'uuid-2')" in str(received(RELAYED))


def test_pformat_may_show_the_class() -> None:
    """In front of the text, unless told not to."""
    exc = received(DIRECT)
    assert exc.pformat() == f"RemoteActorError: {exc}"
    assert exc.pformat(with_type_header=False) == str(exc)


def test_the_short_forms_name_type_and_origin() -> None:
    """`repr` with the whole message, `reprol` on one line."""
    exc = received(DIRECT._replace(message="one\n" + "two" * 99))
    assert repr(exc) == f"<RemoteActorError 'ValueError' from 'leaf': {exc.message}>"
    assert exc.reprol() == "<RemoteActorError 'ValueError' from 'leaf': one>"
    assert len(received(DIRECT._replace(message="x" * 999)).reprol()) < 140
    assert RemoteActorError().reprol() == "<RemoteActorError: >"


def test_an_error_made_here_reads_as_its_message() -> None:
    """It has no origin, and its types are those it was given."""
    exc = RemoteActorError("it went wrong", boxed_type=KeyError, colour="red")
    assert (str(exc), exc.message, exc.boxed_type, exc.boxed_type_str) == (
        "it went wrong",
        "it went wrong",
        KeyError,
        "KeyError",
    )
    assert exc.msgdata == {"colour": "red"}
    assert [exc.ipc_msg, exc.src_uid, exc.relay_uid, exc.sender, exc.src_type, exc.cid] == [None] * 6
    assert (exc.relay_path, exc.tb_str, exc.is_inception()) == ([], "", False)
    assert RemoteActorError("x").boxed_type_str == "<unknown>"
    assert RemoteActorError("x").boxed_type is None


def test_an_unknown_type_keeps_its_name() -> None:
    """No type, but all of the text."""
    exc = received(DIRECT._replace(src_type="shop.OutOfStock", boxed_type="shop.OutOfStock"))
    assert exc.boxed_type is exc.src_type is None
    assert exc.boxed_type_str == exc.src_type_str == "OutOfStock"
    assert str(exc).startswith("remote task raised a 'OutOfStock'\n")


def test_a_type_registered_late_is_found() -> None:
    """An error already here learns its type; what was not found is not remembered."""
    exc = received(DIRECT._replace(src_type=f"{__name__}.HomeMade", boxed_type=f"{__name__}.HomeMade"))
    assert exc.boxed_type is None
    reg_err_types([HomeMade])
    assert exc.boxed_type is exc.src_type is HomeMade


@pytest.mark.parametrize("boxed", [DIRECT, RELAYED])
def test_unwrap_makes_an_error_of_the_origin_s_type(boxed: Boxed) -> None:
    """From the traceback text, however many actors were in between."""
    exc = received(boxed)
    assert exc.boxed_type is not None
    inner = exc.unwrap()
    assert type(inner) is ValueError
    assert inner.args == (TB,)


@pytest.mark.parametrize("name", ["shop.OutOfStock", "ExceptionGroup", "Cancelled", "Demanding"])
def test_unwrap_falls_back_to_a_runtime_error(name: str) -> None:
    """For types that are unknown, or that cannot be made from a text."""
    reg_err_types([Demanding])
    inner = received(DIRECT._replace(src_type=name, boxed_type=name)).unwrap()
    assert type(inner) is RuntimeError
    assert str(inner) == f"{name.rpartition('.')[2]}: {TB}"


def test_unwrap_of_an_error_made_here_uses_what_there_is() -> None:
    """The type it was given, the message for want of a traceback."""
    assert repr(RemoteActorError("a", boxed_type=KeyError).unwrap()) == "KeyError('a')"
    assert repr(RemoteActorError("a").unwrap()) == "RuntimeError('<unknown>: a')"


def test_a_cancellation_names_its_canceller() -> None:
    """Received or made here; only a received one says so in its text."""
    boxed = DIRECT._replace(boxed_type="ContextCancelled", src_type="ContextCancelled", canceller=MID)
    exc = ContextCancelled("cancelled", boxed)
    assert exc.boxed_type is ContextCancelled
    assert exc.canceller == MID
    assert "\ncanceller=('mid', 'uuid-2')\n" in str(exc)
    local = ContextCancelled("cancelled", boxed_type=trio.Cancelled, canceller=LEAF)
    assert (local.boxed_type, local.canceller, str(local)) == (trio.Cancelled, LEAF, "cancelled")
    assert ContextCancelled("cancelled").canceller is None


def test_a_local_type_error_is_its_message_and_nothing_else() -> None:
    """No traceback text, no box, and a `repr` that holds every line."""
    exc = MsgTypeError(
        "invalid payload\n\nvalue: 3\n  expected: str", bad_msg=3, expected_msg_type=str, cid=5
    )
    assert exc.tb_str == ""
    assert (exc.bad_msg, exc.expected_msg_type, exc.cid) == (3, str, 5)
    for text in (repr(exc), str(exc), exc.tb_str, exc._message):
        assert DIVIDER not in text
    for line in exc.message.splitlines():
        assert line in repr(exc)


def test_a_type_error_is_made_from_what_a_decoder_refused() -> None:
    """With a traceback text if the caller has one."""
    exc = MsgTypeError.from_decode(
        "bad", bad_msg=[1], bad_msg_as_dict={"x": 1}, cid=9, tb_str="the traceback"
    )
    assert type(exc) is MsgTypeError
    assert (exc.bad_msg, exc.bad_msg_as_dict, exc.cid) == ([1], {"x": 1}, 9)
    assert exc.expected_msg_type is None
    assert exc.tb_str == exc.msgdata["tb_str"] == "the traceback"
    assert str(exc) == f"bad\n{DIVIDER}\nthe traceback\n{DIVIDER}"


@pytest.mark.parametrize(
    ("travelled", "expected"),
    [("Yield", Yield), ("Return", Return), ("HomeMade", "HomeMade"), (int, int), (None, None)],
)
def test_the_bad_message_is_known_by_its_type_from_afar_too(travelled: Any, expected: Any) -> None:
    """Types travel by name; those of messages mean the same everywhere."""
    assert MsgTypeError("bad", expected_msg_type=travelled).expected_msg_type is expected


def test_an_overrun_is_also_a_timeout_of_trio() -> None:
    """It can be made here, with the actor whose item did not fit."""
    exc = StreamOverrun("buffer full", sender=MID)
    assert isinstance(exc, RemoteActorError)
    assert isinstance(exc, trio.TooSlowError)
    assert (exc.sender, str(exc)) == (MID, "buffer full")


def test_errors_can_be_copied() -> None:
    """Tools that hand exceptions on copy them."""
    for exc in (received(DIRECT, cid=1), StreamOverrun("full", sender=MID)):
        clone = copy.copy(exc)
        assert type(clone) is type(exc)
        assert str(clone) == str(exc)
        assert clone.msgdata == exc.msgdata


def test_a_box_travels_as_an_array() -> None:
    """Twelve plain values, in the order of the fields, typed again on arrival; with boxes in them."""
    codec = get_codec()
    boxed = RELAYED._replace(canceller=MID, sender=LEAF, extra={"a": [1, None]}, notes=("n",))
    boxed = boxed._replace(members=(DIRECT, boxed), causes=(RELAYED._replace(members=(DIRECT,)),))
    data = codec.encode(boxed)
    assert codec.decoder(Boxed)(data) == boxed
    raw = codec.decoder()(data)
    assert len(raw) == 12
    assert raw[:4] == [list(LEAF), "ValueError", "RemoteActorError", [list(LEAF), list(MID)]]
    with pytest.raises(DecodeError):
        codec.decoder(Boxed)(codec.encode([*raw[:3], "not a path", *raw[4:]]))

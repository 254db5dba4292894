"""Errors for payloads that do not match their spec."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor.msg._boxed import DIVIDER, MsgTypeError
from tractor.msg._codec import get_codec
from tractor.msg._messages import Return, Started, Yield
from tractor.msg._violation import refuse_to_change, refuse_to_send, refuse_to_take


def take(body: bytes, spec: Any, dec_hook: Any = None) -> MsgTypeError:
    """Return the error for a payload that has come."""
    try:
        get_codec().raw_decoder(spec, dec_hook)(body)
    except Exception as exc:  # noqa: BLE001 - whatever the library raises
        return refuse_to_take(body, spec, "Yield", "7", exc)
    raise AssertionError("it matches")


def test_an_error_of_the_sender_is_its_message_and_facts() -> None:
    """Nothing remote is in it, so there is no traceback text and no box."""
    error = refuse_to_send(10, str | None, "Started", "3", ValueError("Expected `str`"))
    assert error.message == (
        "invalid `Started` msg payload\n"
        "10 has type <class 'int'>, does not match type-spec `Started.pld: str|NoneType`: Expected `str`"
    )
    assert (error.bad_msg, error.cid, error.expected_msg_type) == (10, "3", Started)
    assert error.bad_msg_as_dict == {"msg_type": "Started", "cid": "3", "pld": 10}
    assert error.tb_str == ""
    assert str(error) == error.message
    for text in (repr(error), str(error), error._message):
        assert DIVIDER not in text
    for line in error.message.splitlines():
        assert line in repr(error)


def test_an_error_of_the_receiver_has_the_report_of_the_decoder() -> None:
    """The same message and facts, and a traceback text beside them."""
    error = take(get_codec().encode("x"), int)
    assert error.message.startswith(
        "invalid `Yield` msg payload\n'x' has type <class 'str'>, does not match type-spec `Yield.pld: int`: "
    )
    assert (error.bad_msg, error.cid, error.expected_msg_type) == ("x", "7", Yield)
    assert error.bad_msg_as_dict == {"msg_type": "Yield", "cid": "7", "pld": "x"}
    assert "ValidationError: Expected `int`, got `str`" in error.tb_str
    assert str(error).count(DIVIDER) == 2


def test_the_report_shows_the_hook_that_has_failed() -> None:
    """From the program's own line on; the runtime's lines above it tell nobody anything."""

    def hook(kind: Any, value: Any) -> Any:
        raise LookupError("no such account")

    error = take(get_codec().encode("x"), Yield_, hook)
    assert "no such account" in error.message
    assert "in hook" in error.tb_str
    assert 'raise LookupError("no such account")' in error.tb_str
    assert "_codec.py" not in error.tb_str


class Order(NamedTuple):
    """A type of the program."""

    item: str


class Yield_:  # noqa: N801 - not the message
    """A type for a hook."""


def test_bytes_that_are_no_value_are_shown_as_they_are() -> None:
    """Nothing else can be said about them."""
    error = take(b"\xc1", int)
    assert error.bad_msg == b"\xc1"
    assert "b'\\xc1' is no value of the codec" in error.message


def test_a_value_that_would_change_is_shown_before_and_after() -> None:
    """With both types."""
    error = refuse_to_change((1,), [1], "Return", "3")
    assert error.message == (
        "invalid `Return` msg payload\n"
        "(1,) has type <class 'tuple'>, but arrives as [1] of type <class 'list'>"
    )
    assert error.expected_msg_type is Return


@given(st.binary(max_size=60), st.sampled_from([int, str | None, list[int], dict[str, Order], Order]))
def test_whatever_a_peer_sends_there_is_an_error_for_it(data: bytes, spec: Any) -> None:
    """With a message, also where the bytes are nonsense or nested without end."""
    try:
        get_codec().raw_decoder(spec)(data)
    except Exception as exc:  # noqa: BLE001 - whatever the library raises
        error = refuse_to_take(data, spec, "Return", "3", exc)
        assert error.message.startswith("invalid `Return` msg payload\n")
        assert error.tb_str


@pytest.mark.parametrize("value", ["x" * 10_000_000, list(range(1_000_000)), {n: n for n in range(100_000)}])
def test_the_text_is_short_whatever_the_value(value: Any) -> None:
    """The value itself is a fact of the error."""
    error = take(get_codec().encode(value), int)
    assert len(error.message) < 2000
    assert error.bad_msg == value

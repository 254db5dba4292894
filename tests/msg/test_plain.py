"""Objects to the plain values that arrive in their place. What those are, `assert_same` says by way of marshal."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from msgpack import ExtType, Timestamp

from tests.msg.libraries import MSGSPEC
from tests.msg.test_codec import _VALUES, Order, Point
from tests.msg.test_codec_hooks import Money, pay
from tractor.msg._plain import plainer

plain = plainer(None, ExtType, Timestamp)


@given(_VALUES)
def test_what_is_plain_stays_what_it_is(value: Any) -> None:
    """The same object, not a copy: nearly all messages are like that."""
    assert plain(value) is value


@pytest.mark.parametrize(
    "value",
    [
        (1, (2,)),
        [1, {"a": (2,)}],
        {(1, (2,)): 3},
        {"a": {1, 2}},
        Point(1, 2),
        Order("nut", [Point(1)], {"k": b"x"}),
        [bytearray(b"x"), memoryview(b"y")],
        {1.5: frozenset({"é"}), None: "é"},
        [datetime(2020, 1, 1, tzinfo=UTC)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_not_becomes_what_msgpack_makes_of_it(value: Any) -> None:
    """The value itself is left alone."""
    before = repr(value)
    found = plain(value)
    assert found == MSGSPEC.decoder()(MSGSPEC.encode(value))
    assert repr(value) == before


def test_objects_of_msgpack_itself() -> None:
    """A time is one of Python's; bytes of an extension are those."""
    assert plain([Timestamp(0), ExtType(5, b"x")]) == [datetime(1970, 1, 1, tzinfo=UTC), ExtType(5, b"x")]
    assert type(plain(ExtType(5, b"x"))) is ExtType


def test_a_hook_is_asked_for_what_nobody_knows() -> None:
    """Until it answers with something that somebody does."""
    assert plainer(pay, ExtType, Timestamp)([Money(5), {"a": Money(6)}]) == [5, {"a": 6}]
    with pytest.raises(TypeError, match="Money"):
        plain([Money(5)])
    with pytest.raises(RecursionError):
        plainer(lambda obj: obj, ExtType, Timestamp)(Money(5))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([2**64], OverflowError),
        ({-(2**63) - 1: 1}, OverflowError),
        (["\udcff"], UnicodeEncodeError),
        ({("a", "\udcff"): 1}, UnicodeEncodeError),
        ([1j], TypeError),
        (memoryview(b"abcd")[::2], BufferError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_does_not_travel_is_refused(value: Any, error: type[Exception]) -> None:
    """Wherever it is."""
    with pytest.raises(error):
        plain(value)

"""marshal for links inside one process: what msgpack carries and refuses, to and from an end where msgspec does not load.

That both ends make the same of every value, type and record is asserted wherever the libraries for msgpack are compared:
`assert_same` includes marshal.
"""

import marshal
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.msg.libraries import GUEST, HOST, MSGSPEC, assert_hooks_refused, assert_marshal_same, outcome
from tests.msg.test_codec import _SPECS, _VALUES, Order, Point, Text
from tests.msg.test_codec_hooks import Colour, Money, earn, paint, pay, under
from tests.msg.test_types import SAMPLES
from tractor.msg._codec import Codec, DecodeError, get_codec
from tractor.msg._violation import refuse_to_take

ENDS = pytest.mark.parametrize("codec", [HOST, GUEST], ids=["host", "guest"])

_EXTRA = (
    st.complex_numbers()
    | st.just(...)
    | st.integers()
    | st.text(st.characters())
    | st.sets(st.integers())
    | st.frozensets(st.text())
)
#: What marshal carries and msgpack does not, among what it does.
_ODD = st.recursive(
    _VALUES | _EXTRA,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.tuples(st.integers()), inner, max_size=4)
    ),
    max_leaves=10,
)


def attempt(codec: Codec, value: Any) -> tuple[type[Exception], str] | None:
    """Return how the codec refuses the value, if it does."""
    try:
        codec.encode(value)
    except (TypeError, ValueError, OverflowError) as exc:
        return type(exc), str(exc)
    return None


def test_it_is_got_by_name() -> None:
    """One object, of the library that this interpreter has."""
    assert get_codec("marshal") is get_codec("marshal")
    assert get_codec("marshal").name == "marshal"
    assert get_codec("marshal").encode([1]) == HOST.encode([1])


@given(_VALUES)
def test_plain_values_go_both_ways(value: Any) -> None:
    """And come back equal, of the same types, from every kind of buffer."""
    assert_marshal_same(Any, value, (type(value), repr(value)))
    body = GUEST.encode(value)
    assert HOST.encode(value) == body
    for buffer in (body, bytearray(body), memoryview(body)):
        assert HOST.decoder()(buffer) == GUEST.decoder()(buffer) == value


@given(_ODD)
def test_what_marshal_has_beyond_is_converted_or_refused_as_by_msgpack(value: Any) -> None:
    """Tuples and sets arrive as lists; numbers of many bits, complex ones and half characters are refused."""
    expected = attempt(MSGSPEC, value)
    assert attempt(HOST, value) == attempt(GUEST, value) == expected
    if expected is None:
        assert_marshal_same(Any, value, outcome(MSGSPEC, Any, MSGSPEC.encode(value)))


@given(_ODD, st.sampled_from(_SPECS))
def test_whatever_marshal_can_write_is_read_or_refused(value: Any, spec: Any) -> None:
    """A peer that has not kept to it gets the error of every bad payload, and no other."""
    body = marshal.dumps(value, 2)
    for codec in (HOST, GUEST):
        found = outcome(codec, spec, body)
        if spec is int and type(value) is int and -(2**63) <= value < 2**64:
            assert found == (int, repr(value))


@given(_VALUES, st.data())
def test_a_message_that_is_cut_is_refused(value: Any, data: st.DataObject) -> None:
    """Anywhere. What is behind a message is not looked at."""
    body = HOST.encode(value)
    cut = data.draw(st.integers(0, len(body) - 1))
    for codec in (HOST, GUEST):
        with pytest.raises(DecodeError):
            codec.decoder()(body[:cut])


@ENDS
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"r\0\0\0\0",
        b"i\1",
        b"[\1\0\0\0" * 5000 + b"N",
        b"{[\0\0\0\0N0",
        b"(\1\0\0\0>\1\0\0\0N",
        b"(\1\0\0\0>\2\0\0\0i\1\0\0\0N",
        marshal.dumps(compile("1", "", "eval")),
        marshal.dumps((frozenset((2**70, b"")),)),
        marshal.dumps((complex("nan"),)),
        marshal.dumps((complex(1e300, 0),)),
    ],
    ids=range(12),
)
def test_broken_bytes_are_a_decode_error(codec: Codec, body: bytes) -> None:
    """No code either, whoever has written it."""
    for spec in (int, list[int], Order):
        with pytest.raises(DecodeError):
            codec.decoder(spec)(body)
    assert codec.decoder()(codec.encode([1])) == [1]


MOMENTS = [
    datetime(2020, 1, 1, tzinfo=UTC),
    datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]


@pytest.mark.parametrize(
    "value",
    [
        *MOMENTS,
        [{"a": MOMENTS}, (MOMENTS[0], [])],
        {MOMENTS[0]: 1, (1, (MOMENTS[1], "x")): MOMENTS[2]},
        datetime(2020, 1, 1),  # noqa: DTZ001 - arrives as text
        {"a": timedelta(days=1), "b": (1, MOMENTS[0])},
    ],
    ids=str,
)
def test_times_travel(value: Any) -> None:
    """As what they are, whichever end they begin at, also as keys."""
    assert_marshal_same(Any, value, outcome(MSGSPEC, Any, MSGSPEC.encode(value)))
    for spec in (datetime, list[datetime], dict[str, Any], Order):
        expected = outcome(MSGSPEC, spec, MSGSPEC.encode(value))
        assert_marshal_same(spec, value, expected)


def test_bytes_of_an_extension_travel() -> None:
    """Each end has them as its msgpack has them."""
    at_host, at_guest = msgspec.msgpack.Ext(5, b"ab"), msgpack.ExtType(5, b"ab")
    for body in (HOST.encode([at_host]), GUEST.encode([at_guest])):
        (found,) = HOST.decoder()(body)
        assert (type(found), found.code, found.data) == (msgspec.msgpack.Ext, 5, b"ab")
        assert GUEST.decoder()(body) == [at_guest]
    assert GUEST.decoder()(GUEST.encode(at_guest)) == at_guest


def test_a_list_that_is_there_twice_arrives_as_two() -> None:
    """As by msgpack; marshal by itself would keep them one."""
    inner = [1]
    for writer in (HOST, GUEST):
        first, second = GUEST.decoder()(writer.encode([inner, inner]))
        assert first == second
        assert first is not second


def test_what_only_msgspec_writes_arrives() -> None:
    """Its structs are at home where it is, and plain beyond."""

    class Pair(msgspec.Struct, array_like=True):
        x: int
        y: Any = None

    assert GUEST.decoder()(HOST.encode({"a": [Pair(1, (2,))]})) == {"a": [[1, [2]]]}
    assert HOST.decoder(Pair)(GUEST.encode((1, (2,)))) == Pair(1, [2])
    assert GUEST.decoder()(HOST.encode(msgspec.Raw(MSGSPEC.encode({"b": 1})))) == {"b": 1}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_what_the_runtime_sends_goes_both_ways(sample: Any) -> None:
    """And a lie about it is refused in the same words."""
    spec = type(sample)
    assert_marshal_same(spec, sample, (spec, repr(sample)))
    for at in range(len(sample)):
        lie = [*sample[:at], 1.5, *sample[at + 1 :]]
        assert_marshal_same(spec, lie, outcome(MSGSPEC, spec, MSGSPEC.encode(lie)))


@ENDS
def test_hooks_are_asked_alike(codec: Codec) -> None:
    """At either end, in both directions, with the same refusals."""
    for other in (HOST, GUEST):
        assert other.decoder(list[Money], earn)(codec.encoder(pay)([Money(5)])) == [Money(5)]
        assert other.decoder()(under(paint, lambda: codec.encoder(pay)([Money(5), Colour()]))) == [5, "blue"]
    assert_hooks_refused(codec)
    with pytest.raises(TypeError, match="'Text'"):
        codec.encode([Point(1), Text("a")])


@ENDS
@pytest.mark.parametrize("levels", [2_500, 200_000])
def test_a_value_that_nests_too_deeply_is_refused(codec: Codec, levels: int) -> None:
    """By Python or by marshal, and a high limit of recursion does not change that."""
    value: Any = None
    for _ in range(levels):
        value = [value]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with pytest.raises(ValueError, match="nested too deeply"):
            codec.encode(value)
    finally:
        sys.setrecursionlimit(limit)
        # Taken apart by hand: the interpreter would recurse as deep.
        while value:
            value = value.pop()


@ENDS
def test_a_violation_shows_the_value(codec: Codec) -> None:
    """It is read by the codec of its link."""
    body = codec.encode({"a": ["x"]})
    with pytest.raises(DecodeError) as caught:
        codec.decoder(dict[str, list[int]])(body)
    error = refuse_to_take(body, dict[str, list[int]], "Yield", "7", caught.value, codec)
    assert error.bad_msg == {"a": ["x"]}
    assert "Expected `int`, got `str` - at `$[...][0]`" in error.message

"""Objects to bytes and back."""

import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor.msg import _codec
from tractor.msg._codec import DecodeError, get_codec


class Point(NamedTuple):
    """A spec that travels as an array."""

    x: int
    y: int = 0


@dataclass
class Order:
    """A spec that travels as a map."""

    item: str
    points: list[Point]
    payload: Any = None


@dataclass
class Picky:
    """A spec with an opinion of its own."""

    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ArithmeticError("negative")


class Text(str):
    """Text, but not plain."""

    __slots__ = ()


class Number(int):
    """A number, but not plain."""


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(0, 99), inner, max_size=4)
    ),
    max_leaves=20,
)
_SPECS: list[Any] = [Any, int, str, list[int], dict[str, bytes], Point, Order, Order | None, tuple[str, ...]]


def test_msgspec_is_loaded_on_first_use() -> None:
    """A child that sends nothing, or cannot load it, does not pay for it."""
    code = (
        "import sys, tractor.msg._codec as c; assert 'msgspec' not in sys.modules;"
        "c.get_codec(); assert 'msgspec' in sys.modules"
    )
    root = Path(_codec.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=30)


def test_a_codec_is_got_by_name() -> None:
    """There is one object per name; an unknown name is refused with those there are."""
    assert get_codec() is get_codec("msgpack")
    assert get_codec().name == "msgpack"
    with pytest.raises(ValueError, match=r"'pickle'.*msgpack"):
        get_codec("pickle")


@given(_VALUES)
def test_plain_values_survive(value: Any) -> None:
    """Whatever msgpack knows comes back equal and of the same type, from every kind of buffer."""
    codec = get_codec()
    data = codec.encode(value)
    for buffer in (data, bytearray(data), memoryview(data)):
        decoded = codec.decoder()(buffer)
        assert decoded == value
        assert type(decoded) is type(value)


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        ((1, (2, 3)), [1, [2, 3]]),
        ({1}, [1]),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ({(1, 2): {3: 4}}, {(1, 2): {3: 4}}),
        (OrderedDict(a=1), {"a": 1}),
        (Point(1, 2), [1, 2]),
        (Order("nut", [Point(1)]), {"item": "nut", "points": [[1, 0]], "payload": None}),
    ],
)
def test_richer_containers_arrive_as_plain_ones(sent: Any, arrived: Any) -> None:
    """Without a spec nothing says what they were."""
    decoded = get_codec().decoder()(get_codec().encode(sent))
    assert decoded == arrived
    assert type(decoded) is type(arrived)


@pytest.mark.parametrize("value", [Point(1, 2), Order("nut", [Point(1)], {"a": [None]}), (1, "a"), {1, 2}])
def test_a_spec_brings_the_type_back(value: Any) -> None:
    """Named tuples, dataclasses, tuples and sets."""
    decoded = get_codec().decoder(type(value))(get_codec().encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


def test_fields_with_defaults_may_be_missing() -> None:
    """An older sender knows fewer fields."""
    codec = get_codec()
    assert codec.decoder(Point)(codec.encode([1])) == Point(1, 0)
    assert codec.decoder(Order)(codec.encode({"item": "a", "points": []})) == Order("a", [])


@pytest.mark.parametrize(
    ("spec", "value", "place"),
    [
        (list[int], [1, "2"], r"\$\[1\]"),
        (Point, ["a"], r"\$\[0\]"),
        (Order, {"item": 1, "points": []}, r"\$\.item"),
        (int | None, "a", "int"),
        (Picky, {"value": -1}, "negative"),
    ],
)
def test_what_does_not_match_the_spec_is_a_decode_error(spec: Any, value: Any, place: str) -> None:
    """The text names the place."""
    with pytest.raises(DecodeError, match=place):
        get_codec().decoder(spec)(get_codec().encode(value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xa2\xff\xff",
        b"\x91" * 200_000,
        b"\x81\x80\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xd7\xff" + b"\xff" * 8,
    ],
)
def test_broken_bytes_are_a_decode_error(data: bytes) -> None:
    """Also bad text, bottomless nesting, lying lengths and impossible times."""
    with pytest.raises(DecodeError):
        get_codec().decoder()(data)


@given(st.binary(max_size=60), st.sampled_from(_SPECS))
def test_decoders_raise_nothing_but_decode_errors(data: bytes, spec: Any) -> None:
    """Whatever a peer sends."""
    try:
        get_codec().decoder(spec)(data)
    except DecodeError:
        pass


@given(_VALUES, st.data())
def test_a_damaged_message_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    """One byte changed in a good message raises nothing but a decode error."""
    message = bytearray(get_codec().encode(value))
    message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        get_codec().decoder()(message)
    except DecodeError:
        pass


def test_decoders_are_kept_per_spec() -> None:
    """Equal specs share one, different ones do not."""
    codec = get_codec()
    assert codec.decoder(list[int]) is codec.decoder(list[int])
    assert codec.decoder() is codec.decoder(Any)
    assert codec.decoder(list[int]) is not codec.decoder(list[str])


def test_a_spec_that_cannot_be_a_key_works_uncached() -> None:
    """Its metadata may be a dict, for example."""
    spec: Any = Annotated[int, {"unit": "ms"}]
    with pytest.raises(TypeError):
        hash(spec)
    decode = get_codec().decoder(spec)
    assert decode(get_codec().encode(5)) == 5
    with pytest.raises(DecodeError):
        decode(get_codec().encode("5"))


def test_kept_decoders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that makes up specs as it goes does not leak, and all keep working."""
    monkeypatch.setattr(_codec, "_CACHE_LIMIT", 8)
    codec = _codec.Codec(_codec._Msgspec())
    for limit in range(40):
        assert codec.decoder(Annotated[int, msgspec.Meta(le=limit)])(codec.encode(0)) == 0
        assert codec.encoder(lambda _: limit)(object()) == codec.encode(limit)  # noqa: B023 - called at once
    assert len(codec._decoders) <= 8
    assert len(codec._raw_decoders) <= 8
    assert len(codec._encoders) <= 8


def test_a_spec_that_cannot_be_checked_is_refused_at_once() -> None:
    """When the decoder is asked for, not when the first message comes."""
    with pytest.raises(TypeError):
        get_codec().decoder(3)


@pytest.mark.parametrize(
    ("value", "kind", "place"),
    [
        (object(), "object", ""),
        ({"a": [1, object()]}, "object", " (at ['a'][1])"),
        ([{(1, 1j): 2}], "complex", " (at [0] key (1, 1j)[1])"),
        (Order("nut", [], payload={"k": range(3)}), "range", " (at .payload['k'])"),
        ([Point(object(), 1)], "object", " (at [0].x)"),  # type: ignore[arg-type]
        (Point, "type", ""),
    ],
)
def test_a_type_that_cannot_be_sent_is_named_with_its_place(value: Any, kind: str, place: str) -> None:
    """And with what can be sent."""
    with pytest.raises(TypeError) as caught:
        get_codec().encode(value)
    assert str(caught.value) == (
        f"cannot send an object of type '{kind}'{place}; send msgpack types "
        "(None, bool, int, float, str, bytes, list, tuple, dict), convert it first, or give an `enc_hook`"
    )


@pytest.mark.parametrize(("value", "base"), [(Text("a"), "str"), (Number(1), "int")])
def test_a_subclass_of_a_plain_type_is_refused_with_the_conversion(value: Any, base: str) -> None:
    """It would arrive as something else."""
    with pytest.raises(TypeError, match=rf"{type(value).__name__}.*\[0\].*{base}\(…\)"):
        get_codec().encode([value])


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**6000], ids=["over", "under", "far over"])
def test_an_integer_that_does_not_fit_is_an_overflow(number: int) -> None:
    """With the range, the place, and the size rather than the digits."""
    with pytest.raises(OverflowError, match=rf"{number.bit_length()} bits.*'a'.*2\*\*64 - 1"):
        get_codec().encode({"a": number})
    with pytest.raises(OverflowError, match=rf"{number.bit_length()} bits \(at key"):
        get_codec().encode({number: "a"})


def test_text_that_is_not_text_is_refused_with_a_way_out() -> None:
    """Undecodable file names hold lone surrogates."""
    with pytest.raises(ValueError, match=r"surrogates \(at \[1\]\).*os\.fsencode"):
        get_codec().encode(["a", b"\xff".decode("utf-8", "surrogateescape")])


def test_an_object_that_contains_itself_is_refused() -> None:
    """Instead of an endless search for the culprit."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        get_codec().encode(loop)


def test_a_refusal_without_a_type_to_blame_keeps_its_reason() -> None:
    """Some values of a good type cannot be sent either."""
    with pytest.raises(TypeError, match=r"'memoryview'.*contiguous"):
        get_codec().encode(memoryview(b"abcd")[::2])

    class Odd(Enum):
        """A member that is none of the plain types."""

        ONE = 1j

    with pytest.raises(TypeError, match="'Odd'"):
        get_codec().encode(Odd.ONE)


def test_only_one_module_imports_msgspec() -> None:
    """Everybody else goes through it, so that another library can take its place."""
    package = Path(_codec.__file__).parents[1]
    importers = {path.name for path in package.rglob("*.py") if "import msgspec" in path.read_text()}
    importers |= {path.name for path in package.rglob("*.py") if "from msgspec" in path.read_text()}
    assert importers == {"_codec.py"}


def test_values_are_turned_into_what_their_fields_hold() -> None:
    """As they are if they match; of what does not, something that does where that is asked for."""
    assert _codec.to_type(1, int) == 1
    assert _codec.to_type("1", int, lax=True) == 1
    assert _codec.to_type(1, str, lax=True) == "1"
    assert _codec.to_type([1], list[int] | None) == [1]
    assert _codec.to_type(3, int | Picky) == 3
    for lax in (False, True):
        with pytest.raises(TypeError, match="Expected `int"):
            _codec.to_type("x", list[int] | int, lax=lax)
    with pytest.raises(TypeError, match="cannot make int of 'x'"):
        _codec.to_type("x", int, lax=True)

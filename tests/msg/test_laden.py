"""Messages with big buffers beside them. What both ends make of them is in test_marshal.py as well."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from tests.msg.libraries import GUEST, HOST, MSGSPEC, outcome
from tests.msg.test_codec_hooks import Money
from tractor.msg._codec import Codec, DecodeError
from tractor.msg._laden import BIG, Laden, is_laden
from tractor.msg._marshal import flatten

ENDS = pytest.mark.parametrize("codec", [HOST, GUEST], ids=["host", "guest"])
DATA = bytes(range(256)) * (BIG // 256)


@dataclass
class Parcel:
    """A buffer in a field."""

    name: str
    content: bytes


class Pair(NamedTuple):
    """A buffer in a place."""

    name: str
    content: Any


VALUES: list[Any] = [
    DATA,
    bytearray(DATA),
    memoryview(DATA),
    memoryview(DATA).cast("I"),
    memoryview(bytearray(DATA)).toreadonly(),
    [1, DATA, DATA],
    (DATA, {"a": (1, [DATA])}),
    {"a": DATA, "b": {1: bytearray(DATA)}},
    Pair("a", DATA),
    [Pair("a", {"b": DATA}), Pair("c", None)],
    Parcel("a", DATA),
    [{"p": Parcel("a", DATA)}],
]


@ENDS
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_arrives_is_the_same(codec: Codec, value: Any) -> None:
    """As by msgpack, beside the message or in it; the message weighs what all of it does."""
    body = codec.encode(value)
    assert type(body) is Laden
    assert memoryview(body).nbytes < 300
    assert len(body) >= BIG
    for spec in (Any, bytes, list[Any], dict[str, Any], Parcel, Pair, memoryview, int | bytes, bytearray):
        expected = outcome(MSGSPEC, spec, MSGSPEC.encode(value))
        for other in (HOST, GUEST):
            assert outcome(other, spec, body) == expected
            assert outcome(other, spec, flatten(body)) == expected


@ENDS
@pytest.mark.parametrize(
    "value",
    [DATA[1:], [DATA[1:]] * 3, b"", "x" * BIG, [1] * BIG],
    ids=["less", "several", "none", "text", "numbers"],
)
def test_what_is_smaller_or_no_buffer_is_in_the_message(codec: Codec, value: Any) -> None:
    """It costs less than to hand it over."""
    assert type(codec.encode(value)) is bytes
    assert codec.decoder()(codec.encode(value)) == value


@ENDS
def test_a_view_is_of_the_memory_itself(codec: Codec) -> None:
    """Where the spec says so for the whole payload; inside of one it is of a copy, and bytes are always one."""
    body = codec.encode(DATA)
    for spec in (memoryview, memoryview | None):
        view = codec.decoder(spec)(body)
        assert type(view) is memoryview
        assert view.obj is DATA
        assert view.readonly
    assert codec.decoder(bytes)(body) is not DATA
    (view,) = codec.decoder(list[memoryview])(codec.encode([DATA]))
    assert type(view) is memoryview
    assert view == DATA
    assert codec.decoder(memoryview)(codec.encode(b"short")) == b"short"


@ENDS
def test_what_can_change_is_copied_when_it_is_sent(codec: Codec) -> None:
    """So that the receiver has what was there then."""
    memory = bytearray(DATA)
    body = codec.encode([memory, memoryview(memory), memoryview(memory).toreadonly()])
    memory[:] = bytes(len(memory))
    assert codec.decoder()(body) == [DATA] * 3
    # It is not locked either.
    del memory[:]


@ENDS
def test_what_cannot_be_sent_is_refused(codec: Codec) -> None:
    """Beside a buffer as elsewhere."""
    with pytest.raises(TypeError, match=r"'Money' \(at \[1\]\)"):
        codec.encode([DATA, Money(1)])
    with pytest.raises(TypeError, match=r"memoryview.*C-contiguous"):
        codec.encode(memoryview(DATA * 2)[::2])
    loop: list[Any] = [DATA]
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        codec.encode(loop)


@ENDS
def test_a_message_without_its_buffers_is_a_decode_error(codec: Codec) -> None:
    """Also one that names others than there are."""
    body = codec.encode([DATA])
    for spec in (Any, bytes, list[bytes]):
        with pytest.raises(DecodeError):
            codec.decoder(spec)(Laden(bytes(memoryview(body)), []))


def test_a_hook_may_answer_with_a_buffer() -> None:
    """Whose bytes are not in the message either."""
    for codec in (HOST, GUEST):
        body = codec.encoder(lambda obj: DATA)([Money(1)])
        assert type(body) is Laden
        assert codec.decoder()(body) == [DATA]


def test_only_what_is_big_enough_counts() -> None:
    """In lists, tuples and dicts at any depth, and nowhere else."""
    assert is_laden([{"a": [(DATA,)]}])
    assert is_laden([memoryview(DATA).cast("Q")])
    assert not is_laden([DATA[1:], {"a": "x" * BIG}, Parcel("a", DATA), {DATA: 1}])

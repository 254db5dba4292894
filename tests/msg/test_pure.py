"""msgpack in pure Python: the same bytes, the same values and the same refusals as by msgspec."""

import gc
import re
import subprocess
import sys
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.msg.libraries import MSGSPEC, PURE, assert_hooks_refused, assert_same, outcome
from tests.msg.test_codec import _SPECS, _VALUES, Number, Order, Point, Text
from tests.msg.test_codec_hooks import Colour, Money, paint, pay, under
from tractor.msg import _codec
from tractor.msg._codec import Codec, DecodeError
from tractor.msg._pure import Pure

CODECS = pytest.mark.parametrize("codec", [MSGSPEC, PURE], ids=["msgspec", "pure"])


class Some(Enum):
    """Members of all kinds."""

    NUMBER = 1
    TEXT = "a"
    PAIR = (1, 2)
    NOTHING = None


class Bit(Flag):
    """Members that add up."""

    ONE = 1
    TWO = 2


class One(IntEnum):
    """A number with a name."""

    ONE = 1


class Word(StrEnum):
    """Text with a name."""

    A = "a"


class Names(list[str]):
    """A list of its own type."""


class Half(float):
    """A number, but not plain."""


class Raw(bytes):
    """Bytes, but not plain."""


@given(_VALUES)
def test_plain_values_are_the_same_bytes(value: Any) -> None:
    """And come back equal, from every kind of buffer."""
    assert_same(Any, value)
    data = PURE.encode(value)
    for buffer in (data, bytearray(data), memoryview(data)):
        assert PURE.decoder()(buffer) == value


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_every_header_is_the_same(size: int) -> None:
    """Lengths and numbers at both sides of each border."""
    assert_same(Any, "x" * size, b"x" * size, [None] * size, dict.fromkeys(range(size)))
    for number in range(65):
        assert_same(Any, *(2**number - 1, -(2**number) // 2, -(2**number) // 2 + 1))


@pytest.mark.parametrize(
    "value",
    [
        (1, (2, 3)),
        {1},
        frozenset({"a"}),
        bytearray(b"x"),
        memoryview(b"abcd"),
        memoryview(b"abcd").cast("H"),
        {(1, (2,)): {3: 4}, None: 1, b"x": 2, 1.5: 3},
        OrderedDict(a=1),
        defaultdict(int, a=1),
        Counter("a"),
        Names("ab"),
        Point(1, 2),
        Order("nut", [Point(1)]),
        *Some,
        Bit.ONE | Bit.TWO,
        One.ONE,
        Word.A,
        {Word.A: One.ONE, Some.NUMBER: {frozenset({1}): 2}},
        [datetime(2020, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, 0, 0, 0, 1, tzinfo=UTC)],
    ],
    ids=lambda value: re.sub(" at 0x.*", ">", repr(value)),
)
def test_richer_values_are_the_same_bytes(value: Any) -> None:
    """They arrive as plain ones."""
    assert_same(Any, value, [value], {"a": value})


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {"a": [1, object()]},
        [{(1, 1j): 2}],
        Order("nut", [], payload={"k": range(3)}),
        Point,
        Order,
        Text("a"),
        [Number(1)],
        Half(1.5),
        Raw(b"x"),
        UserDict(a=1),
        deque([1]),
        {1: 2}.keys(),
        Ellipsis,
        {"a": 2**64},
        [-(2**63) - 1],
        {2**64: "a"},
        ["a", "\udcff"],
        LOOP,
        memoryview(b"abcd")[::2],
        [Some.PAIR, (number for number in [1])],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_sent_is_refused_alike(value: Any) -> None:
    """With the same error, place and way out."""
    errors = []
    for codec in (MSGSPEC, PURE):
        with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
            codec.encode(value)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]
    assert PURE.encode([1]) == b"\x91\x01"


@pytest.mark.parametrize("spec", _SPECS, ids=str)
@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_alike(spec: Any, body: bytes) -> None:
    """Whatever a peer sends, bad text in what nobody reads and bytes of extensions aside."""
    expected, found = outcome(MSGSPEC, spec, body), outcome(PURE, spec, body)
    if "Ext" in str(expected) or "utf-8" in str(found):
        return
    assert (expected[0] == "refused") == (found[0] == "refused")
    assert expected[0] == "refused" or found == expected


@given(_VALUES, st.data())
def test_a_damaged_message_is_read_or_refused(value: Any, data: st.DataObject) -> None:
    """Cut anywhere it is refused; with one byte changed it raises nothing but a decode error."""
    message = bytearray(PURE.encode(value))
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(DecodeError, match="truncated"):
        PURE.decoder()(message[:cut])
    with pytest.raises(DecodeError, match="trailing"):
        PURE.decoder()(message + b"\x01")
    message[cut] = data.draw(st.integers(0, 255))
    outcome(PURE, Any, bytes(message))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\xa2\xff\xff",
        b"\x91" * 200_000,
        b"\x81\x80\x01",
        b"\x81\x91\x80\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xd7\xff" + b"\xff" * 8,
    ],
)
def test_broken_bytes_are_a_decode_error(body: bytes) -> None:
    """Also bad text, bottomless nesting and lying lengths, and the next message is read as if nothing had been."""
    for spec in (Any, int, list[int], Order):
        with pytest.raises(DecodeError):
            PURE.decoder(spec)(body)
    assert PURE.decoder()(b"\x91\x01") == [1]


@CODECS
def test_lists_may_nest_some_hundred_levels(codec: Codec) -> None:
    """Deeper than programs go; a deeper one is refused at either end, and does no harm."""
    value: Any = None
    for _ in range(300):
        value = [value]
    assert codec.decoder()(codec.encode(value)) == value
    for _ in range(200_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        codec.encode(value)
    # Taken apart by hand: the interpreter would recurse as deep.
    while value:
        value = value.pop()


@CODECS
def test_the_limit_of_the_packer_is_the_same_refusal(codec: Codec) -> None:
    """Where the interpreter allows more levels than the packer does."""
    value: Any = None
    for _ in range(1100):
        value = [value]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        if codec is MSGSPEC:
            assert codec.encode(value) == b"\x91" * 1100 + b"\xc0"
        else:
            with pytest.raises(ValueError, match="nested too deeply"):
                codec.encode(value)
    finally:
        sys.setrecursionlimit(limit)


@CODECS
def test_a_hook_may_send_messages_itself(codec: Codec) -> None:
    """While the message that it was asked for is half written."""

    def hook(obj: Any) -> Any:
        return codec.encoder(hook)([obj.cents - 1, Money(obj.cents - 1)]) if obj.cents else "end"

    expected: Any = "end"
    for cents in range(5):
        expected = codec.encode([cents, expected])
    assert codec.decoder()(codec.encoder(hook)(Money(5))) == expected


@CODECS
def test_hooks_are_asked_alike(codec: Codec) -> None:
    """Also for what another hook has answered; one that gives back what it was given is refused."""
    assert codec.encoder(pay)({"a": [Money(5)]}) == codec.encode({"a": [5]})
    assert under(paint, lambda: codec.encoder(pay)([Money(5), Colour()])) == codec.encode([5, "blue"])
    assert codec.encoder(lambda obj: Some.PAIR)(Money(1)) == codec.encode([1, 2])
    assert codec.encoder(lambda obj: Money(obj.cents - 1) if obj.cents else None)(Money(50)) == b"\xc0"
    assert_hooks_refused(codec)


def test_threads_may_use_it_at_once() -> None:
    """Each call has its own buffers."""
    values = [{"number": number, "list": [number] * (number % 50)} for number in range(400)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda value: PURE.decoder()(PURE.encode(value)), values)) == values


def test_a_big_message_leaves_no_memory_behind() -> None:
    """What has read it is let go."""
    codec = Codec(Pure())
    body = codec.encode(b"x" * 3_000_000)
    assert len(codec.decoder()(body)) == 3_000_000
    kept = [found for found in gc.get_objects() if type(found).__name__ == "Unpacker"]
    assert max((len(found._buffer) for found in kept), default=0) < 1_000_000


@pytest.mark.parametrize("name", ["msgpack._cmsgpack", "cattrs"])
def test_what_it_need_not_load_it_does_not(name: str) -> None:
    """Above all not the C part of msgpack."""
    code = (
        "import sys; from tractor.msg._pure import Pure; from tractor.msg._codec import Codec\n"
        "codec = Codec(Pure()); assert codec.decoder()(codec.encode([1])) == [1]\n"
        "import msgpack; assert msgpack.Packer.__module__ == 'msgpack.fallback'\n"
        f"assert sys.modules.get({name!r}) is None\n"
    )
    root = Path(_codec.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=30)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("module msgspec._core does not support loading in subinterpreters", Pure),
        ("No module named 'msgspec'", ImportError),
        ("/lib/msgspec/_core.so: undefined symbol: PyNothing", ImportError),
    ],
)
def test_it_is_used_only_where_the_interpreter_refuses_msgspec(
    text: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken installation is no reason to be forty times slower without a word."""

    def refuse() -> None:
        raise ImportError(text)

    monkeypatch.setattr(_codec, "_Msgspec", refuse)
    choose: Callable[[], Any] = _codec._LIBRARIES["msgpack"]
    if kind is Pure:
        assert type(choose()) is Pure
    else:
        with pytest.raises(ImportError, match=text.partition(" ")[2]):
            choose()


@pytest.mark.parametrize(("library", "home"), [("msgpack", "_pure.py"), ("cattrs", "_records.py")])
def test_one_module_imports_each_library(library: str, home: str) -> None:
    """And nobody imports that where msgspec does."""
    package = Path(_codec.__file__).parents[1]
    lines = re.compile(rf"^\s*(?:import|from) {library}\b", re.MULTILINE)
    assert {path.name for path in package.rglob("*.py") if lines.search(path.read_text())} == {home}
    users = re.compile(r"import (?:Pure|checker|record)\b")
    assert {path.name for path in package.rglob("*.py") if users.search(path.read_text())} == {
        "_codec.py",
        "_pure.py",
        "_strict.py",
    }

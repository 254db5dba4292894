"""The msg layer in an interpreter that shares no GIL with the others, where msgspec refuses to load."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.isolated import run_isolated
from tests.msg.libraries import outcome
from tests.msg.test_types import SAMPLES
from tests.programs.isolated import Point
from tractor.msg._boxed import Boxed
from tractor.msg._codec import get_codec
from tractor.msg._errbox import pack_error, unpack_error

#: Older ones have no such interpreters, and here is nothing to test.
__test__ = sys.version_info >= (3, 14)

WORDS = "does not support loading in subinterpreters"
#: Modules that such an interpreter cannot load, and what of each refuses. None of them is a part of a running actor.
REFUSED = {
    "tractor.devx._hang": "faulthandler",
    "tractor.msg._struct": "msgspec._core",
    "tractor.testing._guard": "faulthandler",
    "tractor.testing._plugin": "faulthandler",
}


@pytest.fixture
def isolated(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Calls a function of the program in an interpreter of its own; neither it nor its thread is left."""
    import _interpreters

    interpreters, threads = _interpreters.list_all(), threading.enumerate()
    yield lambda name, *args: run_isolated(tmp_path / "report", f"tests.programs.isolated:{name}", *args)
    assert _interpreters.list_all() == interpreters
    # Idle ones of earlier tests may have ended meanwhile.
    assert set(threading.enumerate()) <= set(threads)


def test_messages_of_the_runtime_go_in_and_out(isolated: Callable[..., Any]) -> None:
    """Unchanged; lies about them are refused in the same words as here."""
    encode = get_codec().encode
    good = [(type(sample), encode(sample)) for sample in SAMPLES]
    bad = [
        (type(sample), encode([*sample[:at], 1.5, *sample[at + 1 :]]))
        for sample in SAMPLES
        for at in range(len(sample))
    ]
    others: list[Any] = [None, {}, [], "x"]
    bad += [(type(sample), encode(value)) for sample in SAMPLES for value in others]
    found = isolated("relay", [(spec.__name__, body.hex()) for spec, body in good + bad])
    for (spec, body), answer in zip(good, found, strict=False):
        assert get_codec().decoder(spec)(bytes.fromhex(answer)) == get_codec().decoder(spec)(body)
    for (spec, body), answer in zip(bad, found[len(good) :], strict=True):
        expected = outcome(get_codec(), spec, body)
        assert answer == (expected[1] if expected[0] == "refused" else body.hex())


def test_errors_go_in_and_out(isolated: Callable[..., Any]) -> None:
    """Their origin is kept on the way through, and those that begin there have theirs."""
    codec, origin = get_codec(), ("origin", "u-0")
    try:
        raise ValueError("no such thing")
    except ValueError as exc:
        body = codec.encode(pack_error(exc, origin))
    text, relayed, own = isolated("relay_error", body.hex())
    assert text == "ValueError: no such thing"
    boxed = codec.decoder(Boxed)(bytes.fromhex(relayed))
    assert (boxed.relay_path, boxed.notes) == ((origin, ("isolated", "u-2")), ("seen",))
    error = unpack_error(boxed)
    assert (error.src_type, error.src_uid) == (ValueError, origin)
    assert "isolated" in error.tb_str
    group = unpack_error(codec.decoder(Boxed)(bytes.fromhex(own)))
    assert (group.src_type, group.src_uid) == (ExceptionGroup, ("isolated", "u-2"))
    assert group.msgdata["big"] == 2**63 - 1


def test_payloads_are_limited_by_a_spec(isolated: Callable[..., Any]) -> None:
    """Those that match arrive as what it says, others are the same `MsgTypeError` as here."""
    encode = get_codec().encode
    found = isolated("limit", encode({"a": Point(1, 2)}).hex(), encode({"a": ["1"]}).hex())
    assert found[0] == "{'a': Point(x=1, y=2)}"
    assert found[1].startswith(
        "True invalid `Return` msg payload\n{'a': ['1']} has type <class 'dict'>, does not match"
    )
    assert found[1].endswith("Expected `int`, got `str` - at `$[...][0]`")
    assert found[2].startswith("True invalid `Started`")
    assert found[2].endswith("Expected `object | null`, got `array`")
    assert found[3] == "[1, 2]"


def test_what_needs_msgspec_says_so(isolated: Callable[..., Any]) -> None:
    """In msgspec's own words, by which a supervisor knows that this actor needs another interpreter."""
    found = isolated("refusals")
    assert len(found) == 4
    assert all((WORDS in text and "msgspec" in text) or "_core" in text for text in found)


def test_all_modules_load_but_those(isolated: Callable[..., Any]) -> None:
    """None that an actor is made of needs msgspec, or anything else that refuses."""
    found = isolated("modules")
    assert {
        name: text.removeprefix("module ").removesuffix(f" {WORDS}") for name, text in found.items()
    } == REFUSED


def test_a_child_loads_only_what_it_needs(isolated: Callable[..., Any]) -> None:
    """The codec with its first message, cattrs not at all, the C part of msgpack never."""
    assert isolated("eager") == {"before": [], "after": ["msgpack"], "c parts": []}

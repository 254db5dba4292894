"""The bodies of frames that are not user payloads."""

from typing import Any

import pytest

from tractor.msg._boxed import Boxed
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._types import Bye, Cancel, Hello, SpawnSpec, Start

BOXED = Boxed(("a", "1"), "ValueError", "ValueError", (("a", "1"),), "no", "tb")
SAMPLES: list[Any] = [
    Hello(1, "bob", "u-1", 42, False, False, ["/ip4/127.0.0.1/tcp/1"], b"token"),
    Bye("crashed", None, "ValueError: no", BOXED),
    Bye("cancelled", ("root", "u-0"), "", None),
    Bye("failed to boot", None, "ValueError: no", BOXED, b"token"),
    Start("mod:func", {"a": 1, "b": [None, "x"]}),
    Cancel(("root", "u-0"), "enough"),
    SpawnSpec(
        "bob", "u-1", ("root", "u-0", 7), [], [], b"", {}, {"_is_root": False}, {"mod": "mod.py"}, [], [], ""
    ),
]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_body_arrives_as_it_was_sent(sample: Any) -> None:
    """Every body survives the codec with its own type, nested ones included."""
    codec = get_codec()
    arrived = codec.decoder(type(sample))(codec.encode(sample))
    assert type(arrived) is type(sample)
    assert arrived == sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_body_with_a_field_missing_is_refused(sample: Any) -> None:
    """A peer that leaves out what has no default is told so, not guessed at."""
    codec = get_codec()
    with pytest.raises(DecodeError):
        codec.decoder(type(sample))(codec.encode(tuple(sample)[:1]))


@pytest.mark.parametrize(
    ("spec", "body"),
    [
        (Hello, (1, 2, "u-1", 42, False, False, [], b"")),
        (Start, ("mod:func", ["not", "a", "dict"])),
        (Cancel, ("root", "enough")),
        (Bye, ("crashed", None, None, None)),
    ],
)
def test_a_body_with_a_field_of_another_type_is_refused(spec: type, body: tuple[object, ...]) -> None:
    """Fields are checked on arrival, so nothing deeper in the runtime has to."""
    codec = get_codec()
    with pytest.raises(DecodeError):
        codec.decoder(spec)(codec.encode(body))

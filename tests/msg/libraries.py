"""The two libraries for msgpack side by side, and marshal with each of them, in an interpreter that can load all."""

from typing import Any

import pytest

from tests.msg.test_codec_hooks import Money, pay
from tractor.msg._codec import Codec, DecHook, DecodeError, _Msgspec
from tractor.msg._marshal import Marshal
from tractor.msg._pure import Pure

MSGSPEC = Codec(_Msgspec())
PURE = Codec(Pure())
#: The two ends of a link inside one process: one where msgspec loads, and one where it does not.
HOST, GUEST = Codec(Marshal(_Msgspec())), Codec(Marshal(Pure()))


def outcome(codec: Codec, spec: Any, body: bytes, dec_hook: DecHook | None = None) -> tuple[Any, ...]:
    """Return what the codec makes of the bytes and its type, or the text of the refusal."""
    try:
        value = codec.decoder(spec, dec_hook)(body)
    except DecodeError as exc:
        # msgspec itself has two words for that.
        return "refused", str(exc).replace("got `null`", "got `None`")
    # By its text, because two objects that are not a number are not equal, and 1 is equal to True.
    return type(value), bytes(value) if isinstance(value, memoryview) else repr(value)


def assert_same(spec: Any, *values: Any) -> None:
    """Assert that both write each value as the same bytes, and make the same of them, or refuse with the same text.

    So do the two with marshal, whichever of them writes and whichever reads.
    """
    for value in values:
        body = MSGSPEC.encode(value)
        assert PURE.encode(value) == body, value
        found, expected = outcome(PURE, spec, body), outcome(MSGSPEC, spec, body)
        assert found == expected, (spec, value)
        assert_marshal_same(spec, value, expected)


def assert_marshal_same(
    spec: Any, value: Any, expected: tuple[Any, ...], dec_hook: DecHook | None = None
) -> None:
    """Assert that each end of a link inside one process makes the expected of what either end has written."""
    for writer in (HOST, GUEST):
        marshalled = writer.encode(value)
        for reader in (HOST, GUEST):
            assert outcome(reader, spec, marshalled, dec_hook) == expected, (spec, value)


def assert_refused(spec: Any) -> None:
    """Assert that none can check the spec."""
    for codec in (MSGSPEC, PURE, HOST, GUEST):
        try:
            codec.decoder(spec)
        except TypeError:
            continue
        raise AssertionError(f"{codec} takes {spec}")


def assert_hooks_refused(codec: Codec) -> None:
    """Assert that a hook that answers with the same object or with what cannot be sent, or refuses, is an error that says so."""
    with pytest.raises(ValueError, match="contains itself or is nested too deeply"):
        codec.encoder(lambda obj: obj)(Money(1))
    with pytest.raises(OverflowError, match=r"cannot send an integer"):
        codec.encoder(lambda obj: 2**64)(Money(1))
    with pytest.raises(TypeError, match=r"'Money' \(at \[1\]\): debts stay at home"):
        codec.encoder(pay)([1, Money(-1)])

"""The two libraries for msgpack side by side, both in an interpreter that can load both."""

from typing import Any

from tractor.msg._codec import Codec, DecHook, DecodeError, _Msgspec
from tractor.msg._pure import Pure

MSGSPEC = Codec(_Msgspec())
PURE = Codec(Pure())


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
    """Assert that both write each value as the same bytes, and make the same of them, or refuse with the same text."""
    for value in values:
        body = MSGSPEC.encode(value)
        assert PURE.encode(value) == body, value
        found, expected = outcome(PURE, spec, body), outcome(MSGSPEC, spec, body)
        assert found == expected, (spec, value)


def assert_refused(spec: Any) -> None:
    """Assert that neither can check the spec."""
    for codec in (MSGSPEC, PURE):
        try:
            codec.decoder(spec)
        except TypeError:
            continue
        raise AssertionError(f"{codec} takes {spec}")

"""Why an object cannot be sent. What codecs do with it is in `test_codec.py`; here is what they cannot meet together."""

from typing import Any

import pytest

from tractor.msg._codec import get_codec
from tractor.msg._refusal import explain


def refuse(bad: type[Exception]) -> Any:
    """Return an encode function that refuses whatever holds the word, with that exception."""

    def raw(obj: Any) -> bytes:
        if "bad" in repr(obj):
            raise bad("as told")
        return b""

    return raw


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (TypeError, TypeError, r"\(at \['a'\]\[1\]\); "),
        (NotImplementedError, TypeError, r"\(at \['a'\]\[1\]\); "),
        (ArithmeticError, TypeError, r"\(at \['a'\]\[1\]\): as told; "),
        (OverflowError, OverflowError, r"\(at \['a'\]\[1\]\); integers go from"),
        (RecursionError, ValueError, "contains itself"),
    ],
)
def test_the_error_names_the_innermost_part(bad: type[Exception], kind: type[Exception], text: str) -> None:
    """And keeps the reason where it is more than a refusal."""
    obj = {"a": [1, {"bad"}], "b": 2}
    obj["a"] = [1, bytearray(b"bad")]
    error = explain(refuse(bad), obj, bad("as told"))
    assert type(error) is kind
    with pytest.raises(kind, match=text):
        raise error


def test_an_object_that_cannot_even_be_shown_is_refused() -> None:
    """The search for the culprit looks at values, and short forms of keys only."""

    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(TypeError, match="'Shy'"):
        get_codec().encode([Shy()])

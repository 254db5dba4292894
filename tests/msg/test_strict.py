"""Types as they stand in annotations: unions, aliases, types that only hooks make, and the runtime's own."""

import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    LiteralString,
    NamedTuple,
    Never,
    NewType,
    Optional,
    Self,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.msg.libraries import GUEST, HOST, MSGSPEC, PURE, assert_refused, assert_same, outcome
from tests.msg.test_checks import CHOICES, PLAIN, SCALARS, Number, Pair, Point, Word
from tests.msg.test_codec import Order
from tests.msg.test_codec_hooks import Colour, Money, earn
from tests.msg.test_records import Attrs, Box, Half, IntBox, Node, Plain
from tests.msg.test_types import SAMPLES
from tractor.msg import _strict
from tractor.msg._boxed import Boxed
from tractor.msg._codec import DecHook
from tractor.msg._strict import checker
from tractor.msg._types import Bye, Cancel, Hello, SpawnSpec, Start

type Alias = int | list[str]
type ListOf[T] = list[T]
type Tree = int | list[Tree]
Id = NewType("Id", int)
Bound = TypeVar("Bound", bound=int)
OneOf = TypeVar("OneOf", int, str)


class Card(TypedDict):
    """Travels as a map."""

    x: int


@dataclass
class Frame:
    """Parts of many types."""

    ids: list[Id]
    by_name: dict[str, "Frame | None"]
    shape: tuple[int, str] | None = None
    kind: Word | Literal[1, 2] = 1


@pytest.mark.parametrize(
    "spec",
    [
        int | str,
        int | float,
        float | None,
        bool | int,
        bytes | int,
        Optional[Any],  # noqa: UP045 - as people write it
        int | Any,
        list[int] | dict[str, int] | None,
        tuple[int, ...] | None,
        Point | int,
        Order | None,
        Card | list[int],
        Number | str,
        Literal[1, 2] | str,
        int | Literal[1],  # noqa: PYI051 - as people write it
        str | Literal[1, "a"] | None,  # noqa: PYI051
        Literal[1] | Literal[2],  # noqa: PYI030 - two that are merged
        datetime | int,
        Decimal | int,
        Decimal | float,
        UUID | None,
        Alias,
        Alias | None,
        ListOf[int],
        Id,
        Annotated[int, "unit"],
        Annotated[int, {"unit": "ms"}],
        list[Annotated[int, {}]],
        Final[int],
        Bound,
        TypeVar("Free"),
        complex,
        range,
        type,
        frozenset[Id] | None,
        Frame,
        object,
        TypeVar,
    ],
    ids=str,
)
def test_values_are_taken_or_refused_alike(spec: Any) -> None:
    """By both libraries and with the same text."""
    assert_same(spec, *PLAIN)
    assert_same(list[spec], PLAIN)


@pytest.mark.parametrize(
    "spec",
    [
        3,
        "int",
        "Nowhere",
        LiteralString,
        Never,
        Self,
        OneOf,
        str | bytes,
        list[int] | set[int],
        tuple[int, ...] | list[int],
        dict[str, int] | Order,
        Card | Order,
        Point | list[int],
        Number | int,
        Word | str,
        datetime | str,
        bytes | UUID,
        Money | int,
        list[Money | int],
    ],
    ids=str,
)
def test_what_cannot_be_checked_is_refused_at_once(spec: Any) -> None:
    """Also unions whose members nothing on the wire tells apart."""
    assert_refused(spec)


def test_a_type_may_be_a_part_of_itself() -> None:
    """Which msgspec can do for classes only."""
    decode = PURE.decoder(Tree)
    assert decode(PURE.encode([1, [2, [3]]])) == [1, [2, [3]]]
    with pytest.raises(ValueError, match=r"Expected `int \| array`, got `str`"):
        decode(PURE.encode([1, ["a"]]))
    assert_same(Frame, {"ids": [1], "by_name": {"a": {"ids": [2], "by_name": {"b": None}}}})
    assert_same(Frame, {"ids": [1], "by_name": {"a": {"ids": ["2"], "by_name": {}}}})


def _of(kind: Any, args: Any) -> Any:
    return kind[args]


def _composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return types made of others."""
    return st.one_of(
        st.builds(_of, st.sampled_from([list, set, frozenset, Pair, Box]), inner),
        st.builds(_of, st.just(tuple), st.tuples(inner, st.just(...))),
        st.builds(_of, st.sampled_from([tuple, dict, Union]), st.tuples(inner, inner)),
    )


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values made of others, some of which look like records."""
    keys = SIMPLE | st.tuples(SIMPLE, SIMPLE)
    return st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3),
        st.fixed_dictionaries({"x": inner}, optional={"y": inner, "child": inner, "boxes": inner}),
        st.fixed_dictionaries({"inside": inner}),
    )


SIMPLE = st.sampled_from([None, True, 0, 1, -1, 2**64 - 1, 1.5, "", "a", "x", "1", b"a", "2020-01-01", "P1D"])
VALUES = st.recursive(SIMPLE, _nested, max_leaves=8)
TYPES = st.recursive(
    st.sampled_from(
        [*SCALARS, *CHOICES, datetime, Decimal, UUID, Money, Point, Plain, Node, Half, Attrs, IntBox, Card]
    ),
    _composed,
    max_leaves=6,
)


@given(TYPES, st.lists(VALUES, min_size=1, max_size=8), st.sampled_from([None, earn]))
def test_any_value_is_any_type_or_none_alike(spec: Any, values: list[Any], dec_hook: DecHook | None) -> None:
    """Whatever types are made of; a value with several faults may be refused for either."""
    refusals = []
    for codec in (MSGSPEC, PURE):
        try:
            codec.decoder(spec, dec_hook)
        except TypeError as exc:
            refusals.append(exc)
    assert len(refusals) != 1, spec
    for value in () if refusals else values:
        body = MSGSPEC.encode(value)
        assert PURE.encode(value) == body
        expected, found = (outcome(codec, spec, body, dec_hook) for codec in (MSGSPEC, PURE))
        assert found[0] == expected[0], value
        assert found[0] == "refused" or found == expected or " at 0x" in found[1], value
        for codec, same in ((HOST, expected), (GUEST, found)):
            again = outcome(codec, spec, codec.encode(value), dec_hook)
            assert again == same or (again[0] == same[0] and " at 0x" in again[1]), value


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_what_the_runtime_sends_goes_both_ways(sample: Any) -> None:
    """From either library to the other, as bytes that are the same."""
    spec = type(sample)
    assert_same(spec, sample)
    assert PURE.decoder(spec)(MSGSPEC.encode(sample)) == MSGSPEC.decoder(spec)(PURE.encode(sample)) == sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_lie_about_what_the_runtime_sends_is_refused_alike(sample: Any) -> None:
    """Each field in turn is left out, or something else."""
    spec, values = type(sample), list(sample)
    assert_same(spec, None, {}, "x", [], [*values, 1, 1, 1, 1, 1, 1, 1, 1])
    for at in range(len(values)):
        assert_same(spec, values[:at], *([*values[:at], lie, *values[at + 1 :]] for lie in PLAIN))


UID = st.tuples(st.text(max_size=3), st.text(max_size=3))
BOXED = st.builds(
    Boxed,
    UID,
    st.text(),
    st.text(),
    st.lists(UID).map(tuple),
    st.text(),
    st.text(),
    st.none() | UID,
    st.none() | UID,
    st.none() | st.dictionaries(st.text(), st.integers(-5, 5) | st.binary()),
    st.lists(st.text(), max_size=2).map(tuple),
    st.just(()),
    st.just(()),
)


@given(
    st.recursive(
        BOXED, lambda inner: st.tuples(inner, inner).map(lambda pair: pair[0]._replace(members=pair))
    )
)
def test_any_error_goes_both_ways(boxed: Boxed) -> None:
    """With its parts."""
    assert PURE.decoder(Boxed)(MSGSPEC.encode(boxed)) == MSGSPEC.decoder(Boxed)(PURE.encode(boxed)) == boxed


@pytest.mark.parametrize(
    "spec",
    [
        Money,
        Money | None,
        list[Money],
        dict[str, Money | None],
        dict[Money, int],
        Money | str,
        Money | str | None,
        Colour | Money,
        Money | list[int],
        Any | Money,
        list[Money] | Money,
    ],
    ids=str,
)
def test_hooks_are_asked_alike(spec: Any) -> None:
    """For the same parts, and their refusals are told in the same words."""
    for value in PLAIN:
        body = MSGSPEC.encode(value)
        expected, found = outcome(MSGSPEC, spec, body, earn), outcome(PURE, spec, body, earn)
        assert (found[0], str(found[1]).partition(" object at")[0]) == (
            expected[0],
            str(expected[1]).partition(" object at")[0],
        )


@pytest.mark.parametrize(
    "refusal", [TypeError("not so"), ValueError("no"), KeyError("never"), ArithmeticError("")]
)
def test_whatever_a_hook_raises_is_a_refusal(refusal: Exception) -> None:
    """And keeps its reason, inside of containers and of unions."""

    def refuse(kind: Any, value: Any) -> Any:
        raise refusal

    for spec in (Money, Money | str, Colour | Money):
        body = MSGSPEC.encode(5)
        assert outcome(PURE, spec, body, refuse) == outcome(MSGSPEC, spec, body, refuse)


def test_a_hook_that_makes_something_else_is_refused() -> None:
    """It has the wrong type."""
    body = MSGSPEC.encode(5)
    for codec in (MSGSPEC, PURE):
        assert outcome(codec, Money, body, lambda kind, value: value) == (
            "refused",
            "Expected `Money`, got `int`",
        )
        assert outcome(codec, OrderedDict, body)[0] == "refused"


def test_the_runtime_itself_does_not_need_cattrs() -> None:
    """It is loaded with the first class that has fields, because every interpreter pays for it."""
    code = (
        "import sys; from tractor.msg._strict import checker; from tractor.msg._types import *\n"
        "for spec in (Hello, Bye, Start, Cancel, SpawnSpec, int | list[str] | None): checker(spec)\n"
        "assert 'cattrs' not in sys.modules\n"
        "from tractor._ids import Aid; checker(Aid); assert 'cattrs' in sys.modules\n"
    )
    root = Path(_strict.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=30)


def test_a_checker_takes_values_that_have_not_travelled() -> None:
    """It is the same that decoders use."""

    class Pair(NamedTuple):
        one: int
        two: str | None = None

    assert checker(list[Pair])([[1], [2, "b"]]) == [Pair(1), Pair(2, "b")]
    assert [checker(spec) is not None for spec in (Hello, Bye, Start, Cancel, SpawnSpec)] == [True] * 5

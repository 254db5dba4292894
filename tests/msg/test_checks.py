"""Single values and containers of them."""

import collections.abc as abc
from collections import namedtuple
from datetime import UTC, datetime
from enum import Enum, Flag, IntEnum, StrEnum
from typing import Any, Literal, NamedTuple

import pytest

from tests.msg.libraries import PURE, assert_refused, assert_same
from tractor.msg._checks import ValidationError, wrong

#: One of each kind, and what is easily taken for something else.
PLAIN: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2**64 - 1,
    -(2**63),
    1.0,
    1.5,
    float("nan"),
    "",
    "a",
    "1",
    b"",
    b"a",
    [],
    [1],
    ["a"],
    [[1]],
    [1, "a"],
    [1, "a", None],
    {},
    {"a": 1},
    {1: "a"},
    {(1, "a"): 1},
    {(1, (2,)): 1},
    {None: 1},
    {1.5: True},
    datetime(2020, 1, 1, tzinfo=UTC),
]


class Point(NamedTuple):
    """Travels as an array."""

    x: int
    y: "str" = "q"


Bare = namedtuple("Bare", "a b")  # noqa: PYI024 - without types is what it is for


class Pair[T](NamedTuple):
    """Of something."""

    one: T
    more: list[T]


class Number(IntEnum):
    """Known numbers."""

    ONE = 1


class Word(StrEnum):
    """Known words."""

    A = "a"


class Bits(Flag):
    """Known bits."""

    ONE = 1
    TWO = 2


class Lenient(Enum):
    """Finds a member for what is none."""

    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> "Lenient | None":
        return cls.A if value == "1" else None


class Mixed(Enum):
    """Of no one type."""

    ONE = 1
    A = "a"


class Empty(Enum):
    """Of no type at all."""


SCALARS: list[Any] = [None, bool, int, float, str, bytes, bytearray, memoryview, Any, object]
CONTAINERS: list[Any] = [
    list,
    list[int],
    list[Any],
    list[list[int]],
    abc.Sequence[int],
    abc.Collection[int],
    abc.Iterable[int],
    abc.Reversible[int],
    abc.Container[int],
    abc.MutableSequence,
    set,
    set[int],
    set[Any],
    frozenset[str],
    abc.Set[int],
    abc.MutableSet[int],
    tuple,
    tuple[int, ...],
    tuple[int, str],
    tuple[()],
    dict,
    dict[str, int],
    dict[int, Any],
    dict[float, Any],
    dict[tuple[int, str], int],
    dict[Any, int],
    dict[None, int],
    dict[Point, int],
    abc.Mapping[str, int],
    abc.MutableMapping,
    Point,
    Bare,
    Pair,
    Pair[int],
    Pair[Any],
    list[Point],
]
CHOICES: list[Any] = [
    Number,
    Word,
    Bits,
    Lenient,
    Literal[1, "a"] | None,
    Literal[True],
    Literal[1],
    Literal["a", "b"],
    list[Word],
    dict[Word, int],
]


@pytest.mark.parametrize("spec", SCALARS + CONTAINERS + CHOICES, ids=str)
def test_values_are_taken_or_refused_alike(spec: Any) -> None:
    """By both libraries, with the same text, which says where in the value it is."""
    assert_same(spec, *PLAIN)


@pytest.mark.parametrize("spec", [Mixed, Empty, Literal[b"a"], Literal[Number.ONE]], ids=str)
def test_choices_of_no_one_type_are_refused(spec: Any) -> None:
    """When the decoder is asked for."""
    assert_refused(spec)


def test_what_travelled_as_a_list_inside_a_set_is_a_tuple() -> None:
    """It could not be in there otherwise; where the spec says that it is a list, there is none."""
    assert_same(set[Any], [[1, [2]]], [{}])
    assert_same(set[list[int]], [])
    with pytest.raises(ValueError, match="unhashable"):
        PURE.decoder(set[list[int]])(PURE.encode([[1]]))


def test_a_named_tuple_need_not_have_its_last_values() -> None:
    """Which have defaults; never is it shorter or longer."""
    assert_same(Point, [], [1], [1, "b"], [1, "b", 2], [1, 2], ["a"])


def test_the_text_says_what_and_where() -> None:
    """Inside of keys the place is that of the key."""
    error = wrong("int", "a")
    assert str(error) == "Expected `int`, got `str`"
    assert str(error.inside("[1]").inside(".x")) == "Expected `int`, got `str` - at `$.x[1]`"
    assert str(error.inside("[1]").as_key()) == "Expected `int`, got `str` - at `key[1]` in `$`"
    assert isinstance(error, ValidationError)

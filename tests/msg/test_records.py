"""Dataclasses, attrs classes and typed dicts."""

from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar, NotRequired, Required, TypedDict

import attrs
import pytest

from tests.msg.libraries import MSGSPEC, PURE, assert_refused, assert_same, outcome


@dataclass
class Plain:
    """Fields with and without defaults, and what is none."""

    x: int
    y: "list[int]" = field(default_factory=list)
    z: str = "z"
    count: ClassVar[int] = 3


@dataclass(kw_only=True, frozen=True, slots=True)
class Node:
    """A part of itself."""

    x: int = 0
    child: "Node | None" = None


@dataclass
class Late:
    """A field that is set after the others."""

    x: int
    late: int = field(default=2, init=False)


@dataclass
class Later:
    """A field that is set after the others, and has to be."""

    x: int = 0
    late: int = field(init=False)


@dataclass
class Picky:
    """Refuses in all ways."""

    x: int

    def __post_init__(self) -> None:
        if self.x < 4:
            raise (ValueError("no"), TypeError("not"), KeyError("never"), RuntimeError("nowhere"))[self.x]


@dataclass
class Box[T]:
    """Of something."""

    inside: T


@dataclass
class IntBox(Box[int]):
    """Of a number, by inheritance."""

    more: Picky | None = None


@attrs.define
class Attrs:
    """Made by the other library."""

    x: int
    y: int = 0
    _z: int = 3


class Card(TypedDict):
    """One key need not be there."""

    x: int
    y: NotRequired[str]


class Half(TypedDict, total=False):
    """One key must be there."""

    x: Required[int]
    boxes: list[Box[int]]


class Generic[T](TypedDict):
    """Of something."""

    x: T


MAPS: list[Any] = [
    {},
    {"x": 1},
    {"x": "a"},
    {"x": None},
    {"x": 5, "y": [1]},
    {"x": 5, "y": ["a"]},
    {"x": 5, "y": "a", "z": 1},
    {"x": 5, "y": 2, "_z": 4},
    {"x": 5, "child": {"x": 6}},
    {"child": {"x": 6, "child": {"x": "a"}}},
    {"child": 5},
    {"x": 5, "unknown": [object.__name__]},
    {"x": 5, "count": 8},
    {"inside": 1, "more": {"x": 7}},
    {"inside": 1, "more": {"x": 0}},
    {"inside": 1, "more": {"x": 2}},
    {"inside": 1, "more": {}},
    {"inside": "a"},
    {"x": 5, "boxes": [{"inside": 1}, {"inside": "a"}]},
    {1: 2},
    {"x": 5, 1: 2},
    {b"x": 5},
    [1],
    "x",
    None,
    5,
]


@pytest.mark.parametrize(
    "spec",
    [
        Plain,
        Node,
        Picky,
        Box[int],
        Box[Any],
        Box[Box[int] | None],
        Box,
        IntBox,
        Attrs,
        Card,
        Half,
        Generic[int],
        Generic,
    ],
    ids=str,
)
def test_maps_become_records_or_are_refused_alike(spec: Any) -> None:
    """Defaults, missing and unknown keys, parts of a wrong type, and where they are."""
    assert_same(spec, *MAPS)
    assert_same(list[spec], MAPS)
    assert_same(spec | None, *MAPS)


@pytest.mark.parametrize("number", range(5))
def test_a_class_that_refuses_is_heard(number: int) -> None:
    """Whatever it raises."""
    assert_same(Picky, {"x": number})
    assert_same(Box[Picky], {"inside": {"x": number}})


@pytest.mark.parametrize("spec", [Late, Later])
def test_fields_that_are_set_late_are_checked(spec: Any) -> None:
    """Only their place is not in the text."""
    for value in (
        {"x": 1},
        {"x": 1, "late": 7},
        {"x": 1, "late": "a"},
        {"x": "a", "late": 1},
        {"late": 1},
        {},
    ):
        body = MSGSPEC.encode(value)
        expected, found = outcome(MSGSPEC, spec, body), outcome(PURE, spec, body)
        assert (found[0], found[1].partition(" - at ")[0]) == (
            expected[0],
            expected[1].partition(" - at ")[0],
        )


def test_what_a_record_writes_is_what_it_has() -> None:
    """Deleted fields, class attributes and strangers are left out."""
    plain = Plain(1)
    plain.stranger = 5  # type: ignore[attr-defined]
    for value in (plain, Node(x=1, child=Node()), Late(1), Attrs(1), Box(Box(1)), IntBox(1)):
        assert PURE.encode(value) == MSGSPEC.encode(value)
    del plain.x
    assert PURE.encode(plain) == MSGSPEC.encode(plain)


def test_a_class_that_cannot_be_checked_is_refused_at_once() -> None:
    """What it needs is not in its fields, or names a type that there is not."""

    @dataclass
    class Odd:
        x: InitVar[int]

    @dataclass
    class Lost:
        x: "Nowhere"  # type: ignore[name-defined]  # noqa: F821 - that is the point

    assert_refused(Odd)
    for codec in (MSGSPEC, PURE):
        with pytest.raises(NameError):
            codec.decoder(Lost)


type Loop = int | Loop  # type: ignore[misc]


def test_no_field_is_left_to_the_library() -> None:
    """Which converts: one without a type may hold anything, as it is, and one that has no end is refused."""
    old = attrs.make_class("old", {"x": attrs.field(), "y": attrs.field(type=int, default=0)})
    decode = PURE.decoder(old)
    assert decode(PURE.encode({"x": ["1", 2]})) == old(["1", 2])
    with pytest.raises(ValueError, match="Expected `int`, got `str`"):
        decode(PURE.encode({"x": 1, "y": "1"}))

    @dataclass
    class Endless:
        x: Loop

    for codec in (MSGSPEC, PURE):
        with pytest.raises((TypeError, RecursionError)):
            codec.decoder(Endless)

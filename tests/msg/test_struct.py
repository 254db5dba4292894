"""Records of typed fields."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tractor.msg import _struct
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._struct import DiffDump, Struct, iter_fields, iter_struct_ppfmt_lines


class Point(Struct):
    """Two fields, and one that is nobody's business."""

    x: int
    y: int | None = None
    _cache: Any = None


class Line(Struct):
    """Structs in a struct."""

    start: Point
    end: Point
    tags: list[str] = []  # noqa: RUF012 - each struct gets a list of its own


class Empty(Struct):
    """No fields at all."""


class Private(Struct):
    """No fields to show."""

    _x: int = 0


class Holder(Struct):
    """Structs without anything to show, and one that may hold itself."""

    empty: Empty
    private: Private
    again: Any = None


class Loose(Struct, dict=True):
    """Takes attributes that are no fields."""

    a: int


class Frozen(Struct, frozen=True):
    """Cannot be changed."""

    a: int


class Renamed(Struct, rename="camel", array_like=True, tag=True):
    """Travels in a form of its own."""

    first_name: str
    age: int = 0


def test_a_struct_travels_as_a_map_and_comes_back_by_its_spec() -> None:
    """It is a struct of the codec's library with a few methods more."""
    codec = get_codec()
    line = Line(Point(1, 2), Point(3), ["a"])
    assert isinstance(line, msgspec.Struct)
    assert codec.decoder()(codec.encode(Point(1))) == {"x": 1, "y": None, "_cache": None}
    assert codec.decoder(Line)(codec.encode(line)) == line
    with pytest.raises(DecodeError, match=r"\$\.start\.x"):
        codec.decoder(Line)(codec.encode({"start": {"x": "1"}, "end": {"x": 1}}))


def test_a_struct_as_a_dict() -> None:
    """Values as they are; what is no field is in it unless that is not wanted."""
    line = Line(Point(1), Point(2))
    assert line.to_dict() == {"start": Point(1), "end": Point(2), "tags": []}
    assert line.to_dict()["start"] is line.start
    loose = Loose(1)
    loose.b = 2  # type: ignore[attr-defined]
    assert loose.to_dict() == {"a": 1, "b": 2}
    assert loose.to_dict(include_non_members=False) == {"a": 1}


@pytest.mark.parametrize(
    "struct", [Point(1, 2), Line(Point(1), Point(2), ["a"]), Frozen(1), Renamed("a"), Empty()]
)
def test_a_copy_is_equal_and_another(struct: Struct) -> None:
    """Lists in it are new ones, so that changing the copy leaves the original alone."""
    copy = struct.copy()
    assert copy == struct
    assert copy is not struct
    assert type(copy) is type(struct)
    if isinstance(struct, Line):
        copy.tags.append("b")  # type: ignore[attr-defined]
        assert struct.tags == ["a"]


def test_a_copy_with_other_values() -> None:
    """Each is checked, and the original stays."""
    point = Point(1, 2)
    assert point.copy({"y": None}) == Point(1, None)
    assert point == Point(1, 2)
    assert Frozen(1).copy(update={"a": 2}) == Frozen(2)
    with pytest.raises(TypeError, match="Point has no field 'z'"):
        point.copy({"z": 1})
    with pytest.raises(TypeError, match=r"Point\.x: Expected `int`, got `str`"):
        point.copy({"x": "1"})


def test_values_become_what_the_fields_say() -> None:
    """In place; what cannot is refused with the name of the field."""
    point = Point("1", 2)  # type: ignore[arg-type]
    point.typecast()
    assert point == Point(1, 2)
    renamed = Renamed(5, "7")  # type: ignore[arg-type]
    renamed.typecast()
    assert (renamed.first_name, renamed.age) == ("5", 7)
    with pytest.raises(TypeError, match=r"Point\.x: cannot make int of 'one'"):
        Point("one").typecast()  # type: ignore[arg-type]


def test_the_difference_of_two() -> None:
    """Field, value here and value there; equal ones have none, others none that means anything."""
    old, new = Point(1, 2), Point(1, 3, "x")
    diff = old - new
    assert isinstance(diff, DiffDump)
    assert diff == old.fields_diff(new) == [("y", 2, 3), ("_cache", None, "x")]
    assert repr(diff) == "DiffDump([\n  y: 2 -> 3,\n  _cache: None -> 'x',\n])"
    assert not old - old.copy()
    assert repr(old - old) == "[]"
    with pytest.raises(TypeError, match="cannot compare Point with Frozen"):
        old.fields_diff(Frozen(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="unsupported operand"):
        old - Frozen(1)  # type: ignore[operator]


def test_a_struct_is_shown_field_by_field() -> None:
    """With types, structs inside indented, and private fields left out at every level."""
    line = Line(Point(1, 2, "secret"), Point(3))
    assert repr(line) == str(line) == line.pformat()
    assert repr(line).splitlines() == [
        "Line(",
        "  start: Point = Point(",
        "    x: int = 1,",
        "    y: int|NoneType = 2,",
        "  ),",
        "  end: Point = Point(",
        "    x: int = 3,",
        "    y: int|NoneType = None,",
        "  ),",
        "  tags: list[str] = [],",
        ")",
    ]
    assert Point(1).pformat(field_indent=4, indent=1).splitlines() == [
        " Point(",
        "     x: int = 1,",
        "     y: int|NoneType = None,",
        " )",
    ]


def test_a_struct_without_anything_to_show_has_no_lines() -> None:
    """Alone and inside of another; one that holds itself ends somewhere."""
    assert repr(Empty()) == "Empty()"
    assert repr(Private(5)) == "Private()"
    holder = Holder(Empty(), Private())
    holder.again = holder
    assert repr(holder).splitlines()[1:-1] == [
        "  empty: Empty = Empty(),",
        "  private: Private = Private(),",
        "  again: Any = Holder(...),",
    ]


def test_a_struct_whose_annotations_mean_nothing_is_shown_without_types() -> None:
    """A repr never fails for that."""

    class Here: ...

    class Late(Struct):
        a: Here

    assert repr(Late(1)) == "Late(\n  a = 1,\n)"  # type: ignore[arg-type]


def test_fields_and_lines_can_be_gone_through() -> None:
    """What is known of a field, its name and value; each line apart from what is in front of it."""
    fields = list(iter_fields(Point(1)))
    assert [(name, value) for _, name, value in fields] == [("x", 1), ("y", None), ("_cache", None)]
    assert fields[1][0].type == int | None
    lines = list(iter_struct_ppfmt_lines(Line(Point(1), Point(2)), field_indent=3))
    assert lines[:2] == [("   ", "start: Point = Point("), ("      ", "x: int = 1,")]
    assert set(_struct.__all__) >= {"iter_fields", "iter_struct_ppfmt_lines"}

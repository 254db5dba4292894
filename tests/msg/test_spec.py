"""Specs taken apart and written out."""

from collections.abc import Callable
from typing import Any, Literal, Optional, TypeVar, Union

import pytest

from tractor.msg._spec import fill_in, first_of, pformat_spec, union_members, unpack_spec_types


class Order:
    """A type of the program."""

    class Line:
        """One inside of another."""


type Alias = int | str
type Nested = Alias | None

CASES: list[tuple[Any, tuple[Any, ...], str]] = [
    (int, (int,), "int"),
    (Any, (Any,), "Any"),
    (None, (type(None),), "NoneType"),
    (int | None, (int, type(None)), "int|NoneType"),
    (Optional[Order], (Order, type(None)), "Order|NoneType"),  # noqa: UP045 - the old spelling
    (Union[str, int], (str, int), "str|int"),  # noqa: UP007 - the old spelling
    (Order.Line | int, (Order.Line, int), "Order.Line|int"),
    (list[int] | None, (list[int], type(None)), "list[int]|NoneType"),
    (dict[str, Any], (dict[str, Any],), "dict[str, Any]"),
    (list[Order | None], (list[Order | None],), "list[Order|NoneType]"),
    (tuple[Order, ...], (tuple[Order, ...],), "tuple[Order, ...]"),
    (Literal["a", 1], (Literal["a", 1],), "Literal['a', 1]"),
    (Alias, (int, str), "int|str"),
    (Nested, (int, str, type(None)), "int|str|NoneType"),
    (Alias | int, (int, str), "int|str"),
]


@pytest.mark.parametrize(("spec", "members", "text"), CASES)
def test_a_spec_is_the_union_of_its_members(spec: Any, members: tuple[Any, ...], text: str) -> None:
    """In the order in which they stand there, however it is spelled; None is a type like any other."""
    assert union_members(spec) == members
    assert unpack_spec_types(spec) == set(members)
    assert pformat_spec(spec) == text


def test_a_class_inside_a_function_is_shown_by_its_own_name() -> None:
    """Where it is defined tells a reader of an error nothing."""

    class Here: ...

    assert pformat_spec(Here | None) == "Here|NoneType"


def test_variables_are_filled_in() -> None:
    """Wherever they stand; those of which nothing is known stay."""
    one, other = TypeVar("one"), TypeVar("other")
    assert fill_in(one, {one: int}) is int
    assert fill_in(dict[str, list[one]], {one: int}) == dict[str, list[int]]  # type: ignore[valid-type]
    assert fill_in(dict[one, other], {one: int}) == dict[int, other]  # type: ignore[valid-type]
    assert fill_in(int, {one: str}) is int


def test_the_first_that_does_not_refuse_has_the_word() -> None:
    """Then the last; if all refuse, the text has all their reasons, and the names of errors that are no mismatch."""

    def refuse(error: Exception) -> Callable[[object], object]:
        def make(value: object) -> object:
            raise error

        return make

    tries: list[tuple[type, Callable[[object], object]]]
    mismatch, other = refuse(ValueError("no number")), refuse(LookupError("nowhere"))
    tries = [(int, mismatch), (str, str)]
    assert first_of(tries, None, ValueError)(5) == "5"
    assert first_of([(int, mismatch)], str, ValueError)(5) == "5"
    with pytest.raises(ValueError, match=r"^as int: no number; as str: LookupError: nowhere$"):
        first_of([(int, mismatch), (str, other)], None, ValueError)(5)
    with pytest.raises(ValueError, match=r"^nowhere; as int: no number$"):
        first_of([(int, mismatch)], other, ValueError)(5)

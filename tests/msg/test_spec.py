"""Specs taken apart and written out."""

from typing import Any, Literal, Optional, Union

import pytest

from tractor.msg._spec import pformat_spec, union_members, unpack_spec_types


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

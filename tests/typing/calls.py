"""Calls: `Portal.run` has the parameters and the result of the function it is given."""

from collections.abc import AsyncIterator
from typing import Any, assert_type

import tractor


async def area(width: int, height: int = 1) -> int:
    """Return a number made of two."""
    return width * height


async def greet(*, name: str) -> None:
    """Return nothing."""


async def rows(table: str) -> list[dict[str, float]]:
    """Return something nested."""
    return [{table: 1.0}]


def not_async(width: int) -> int:
    """Return at once."""
    return width


async def generator() -> AsyncIterator[int]:
    """Return nothing that could be sent."""
    yield 1


async def results(portal: tractor.Portal) -> None:
    """The result has the type that the function says."""
    assert_type(await portal.run(area, width=2), int)
    assert_type(await portal.run(area, width=2, height=3), int)
    assert_type(await portal.run(greet, name="x"), None)
    assert_type(await portal.run(rows, table="x"), list[dict[str, float]])
    assert_type(await portal.run_from_ns("shop", "price", item="tea"), Any)


async def arguments(portal: tractor.Portal) -> None:
    """An argument of the wrong type, one too many and one too few are errors, as in a plain call."""
    await portal.run(area, width="wide")  # type: ignore[arg-type]
    await portal.run(area, width=2, depth=3)  # type: ignore[call-arg]
    await portal.run(area)  # type: ignore[call-arg]
    await portal.run(greet, name=None)  # type: ignore[arg-type]


async def functions(portal: tractor.Portal) -> None:
    """What is no async function cannot be asked for, nor the deprecated two names."""
    await portal.run(not_async, width=2)  # type: ignore[arg-type]
    await portal.run(generator)  # type: ignore[arg-type]
    await portal.run(area(2))  # type: ignore[arg-type]
    await portal.run("shop", "price")  # type: ignore[arg-type]


async def wrong_use_of_a_result(portal: tractor.Portal) -> str:
    """The result cannot be taken for something else."""
    return await portal.run(area, width=2)  # type: ignore[arg-type]

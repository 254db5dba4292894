"""Helpers for trio programs keep the types of what they are given."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_type

import trio

from tractor.trionics import (
    gather_contexts,
    get_collapsed_eg,
    maybe_open_context,
    maybe_raise_from_masking_exc,
)


@asynccontextmanager
async def connect(host: str, port: int = 1) -> AsyncIterator[bytes]:
    """Yield something."""
    yield host.encode()


async def of_managers(tn: trio.Nursery) -> None:
    """Values have the types of the managers'."""
    async with gather_contexts([connect("a"), connect("b")], tn=tn) as values:
        assert_type(values, tuple[bytes, ...])
    async with maybe_open_context(connect, {"host": "a"}, key=lambda host: host) as (shared, value):
        assert_type(shared, bool)
        assert_type(value, bytes)
    async with maybe_open_context(connect, kwargs={"host": "a"}, key=("a", 1), tn=tn) as (_, value):
        assert_type(value, bytes)


async def of_errors(group: BaseExceptionGroup[Exception]) -> None:
    """An error, or none."""
    assert_type(get_collapsed_eg(group), BaseException | None)
    async with maybe_raise_from_masking_exc(unmask_from=(KeyError, trio.Cancelled)) as found:
        assert_type(found.value, BaseException | None)


async def mistakes(tn: trio.Nursery) -> None:
    """What is no manager, and what cannot be a key."""
    gather_contexts([1, 2])  # type: ignore[arg-type]
    maybe_open_context(len, {})  # type: ignore[arg-type]
    maybe_open_context(connect, ["a"])  # type: ignore[arg-type]
    maybe_raise_from_masking_exc(unmask_from=ValueError)  # type: ignore[arg-type]

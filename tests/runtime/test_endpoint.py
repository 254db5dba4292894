"""What makes a function an endpoint."""

from typing import Any

import pytest

import tractor
from tractor.runtime._context import Context
from tractor.runtime._endpoint import context, context_meta


class Aliased:
    """Something that is no context."""


async def test_the_annotated_parameter_takes_the_context() -> None:
    """Whatever its name and place."""

    @context
    async def first(link: Context, x: int) -> None: ...

    @context  # type: ignore[type-var]
    async def last(x: int, *, ctx: tractor.Context[int, str, None]) -> None: ...

    @context(pld_spec=int | None)
    async def optional(c: Context[Any, Any, Any] | None) -> None: ...

    @context
    async def text(c: "tractor.Context[int]") -> None: ...

    metas = [context_meta(func) for func in (first, last, optional, text)]
    assert [meta.ctx_var_name for meta in metas if meta] == ["link", "ctx", "c", "c"]
    assert [meta.pld_spec for meta in metas if meta] == [Any, Any, int | None, Any]


def test_the_function_itself_is_unchanged() -> None:
    """It can be called as before, and is marked under a well-known name."""

    async def endpoint(ctx: Context) -> None: ...

    assert context(endpoint) is endpoint
    assert context_meta(endpoint) is endpoint._tractor_context_meta  # type: ignore[attr-defined]


@pytest.mark.parametrize("annotation", [None, "int", "Aliased", "MyContextual", "NotContext"])
def test_an_endpoint_without_a_context_parameter_is_refused(annotation: str | None) -> None:
    """The error says what to write."""

    async def endpoint(ctx: Any) -> None: ...

    endpoint.__annotations__.clear()
    if annotation is not None:
        endpoint.__annotations__["ctx"] = annotation
    with pytest.raises(TypeError, match=r"endpoint cannot be .*annotate .* `ctx: tractor.Context`"):
        context(endpoint)


def test_only_async_functions_can_be_endpoints() -> None:
    """Neither plain functions nor generators."""

    def plain(ctx: Context) -> None: ...

    async def generator(ctx: Context) -> Any:
        yield

    for func in (plain, generator):
        with pytest.raises(TypeError, match="must be an `async def` function"):
            context(func)  # type: ignore[type-var]


def test_other_functions_have_no_mark() -> None:
    """Nor has anything else."""
    assert context_meta(len) is None
    assert context_meta(None) is None

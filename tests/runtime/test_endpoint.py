"""What makes a function an endpoint."""

import contextvars  # noqa: F401 - named in an annotation
import sys
from typing import Annotated, Any, Optional  # noqa: F401

import pytest

import tractor
from tractor.runtime._context import Context
from tractor.runtime._context import Context as Renamed  # noqa: F401
from tractor.runtime._endpoint import context, context_meta


class Aliased:
    """Something that is no context."""


type Link = Context[int, int, int]


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

    @context
    async def described(c: Annotated[Context, "the link"]) -> None: ...

    metas = [context_meta(func) for func in (first, last, optional, text, described)]
    assert [meta.ctx_var_name for meta in metas if meta] == ["link", "ctx", "c", "c", "c"]
    assert [meta.pld_spec for meta in metas if meta] == [Any, Any, int | None, Any, Any]


class Sub(Context[Any, Any, Any]):
    """A context of one's own."""


@pytest.mark.parametrize(
    "annotation",
    [
        "Renamed",
        "Renamed[int, str, None] | None",
        "Link",
        "Sub",
        "Optional[Renamed]",
        "typing_only.Context",
        "Context[OnlyForTypeCheckers]",
        Link,
    ],
)
def test_the_annotation_may_be_a_text_or_an_alias(annotation: Any) -> None:
    """By whatever name; a text that only type checkers understand is read by the letter."""

    async def endpoint(x: "OnlyForTypeCheckers", c: Any) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    endpoint.__annotations__["c"] = annotation
    context(endpoint)
    meta = context_meta(endpoint)
    assert meta is not None
    assert meta.ctx_var_name == "c"


def test_types_of_other_parameters_need_not_exist() -> None:
    """Where the interpreter evaluates annotations late, as from 3.14 on, or not at all."""
    names: dict[str, Any] = {}
    late = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    exec(
        f"{late}from tractor import Context\nasync def f(x: Missing, c: Context, y: list[Missing]): ...",
        names,
    )
    meta = context_meta(context(names["f"]))
    assert meta is not None
    assert meta.ctx_var_name == "c"


def test_what_is_said_of_payloads_is_noted() -> None:
    """Type and hooks, as they were given; without any, everything may travel that the codec knows."""

    def enc_hook(obj: Any) -> Any: ...
    def dec_hook(kind: Any, value: Any) -> Any: ...

    spec = Aliased | None

    @context(pld_spec=spec, enc_hook=enc_hook, dec_hook=dec_hook)
    async def typed(ctx: Context) -> None: ...

    @context(enc_hook=enc_hook)
    async def sends_only(ctx: Context) -> None: ...

    meta, other = context_meta(typed), context_meta(sends_only)
    assert meta is not None
    assert other is not None
    assert meta.pld_spec is spec
    assert (meta.enc_hook, meta.dec_hook) == (enc_hook, dec_hook)
    assert (other.pld_spec, other.enc_hook, other.dec_hook) == (Any, enc_hook, None)


def test_a_hook_for_no_types_is_refused() -> None:
    """Only what the spec names is made by it."""
    with pytest.raises(TypeError, match="name the types it makes in `pld_spec`"):

        @context(dec_hook=lambda kind, value: value)
        async def typed(ctx: Context) -> None: ...


def test_the_function_itself_is_unchanged() -> None:
    """It can be called as before, and is marked under a well-known name."""

    async def endpoint(ctx: Context) -> None: ...

    assert context(endpoint) is endpoint
    assert context_meta(endpoint) is endpoint._tractor_context_meta  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "annotation",
    [None, "int", "Aliased", "MyContextual", "NotContext", "contextvars.Context", "list[Context]"],
)
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

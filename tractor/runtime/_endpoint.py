"""`@tractor.context`: what makes a function an endpoint."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Concatenate, overload

from tractor.runtime._context import Context

_META = "_tractor_context_meta"


@dataclass(frozen=True)
class ContextMeta:
    """What is known of an endpoint without calling it."""

    #: The name of its parameter that takes the context.
    ctx_var_name: str
    #: The type of every payload of the context, in both directions.
    pld_spec: Any


type Endpoint = Callable[Concatenate[Context[Any, Any, Any], ...], Coroutine[Any, Any, Any]]


@overload
def context[F: Endpoint](func: F, /) -> F: ...
@overload
def context[F: Endpoint](func: None = None, /, *, pld_spec: Any = Any) -> Callable[[F], F]: ...
def context(func: Any = None, /, *, pld_spec: Any = Any) -> Any:
    """Mark an async function as an endpoint that a peer can open with `Portal.open_context`.

    One of its parameters must be annotated `tractor.Context`; it is filled in by the runtime.
    `pld_spec`: the type of every payload the two sides exchange; anything else is a `MsgTypeError`.
    Raises `TypeError` for a function that cannot be an endpoint.
    """
    if func is None:
        return lambda func: context(func, pld_spec=pld_spec)
    name = getattr(func, "__qualname__", repr(func))
    if not inspect.iscoroutinefunction(func):
        raise TypeError(f"{name} cannot be a context endpoint: it must be an `async def` function")
    setattr(func, _META, ContextMeta(_context_parameter(func, name), pld_spec))
    return func


def _context_parameter(func: Callable[..., Any], name: str) -> str:
    for parameter in inspect.signature(func).parameters.values():
        annotation = parameter.annotation
        text = annotation if isinstance(annotation, str) else _spell(annotation)
        if any(word.rpartition(".")[2] == "Context" for word in _words(text)):
            return parameter.name
    raise TypeError(
        f"{name} cannot be a context endpoint: annotate one of its parameters as `ctx: tractor.Context`"
    )


def _spell(annotation: object) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() or char in "._" else " " for char in text).split()


def context_meta(func: object) -> ContextMeta | None:
    """Return what `@context` has noted on a function, or None."""
    return getattr(func, _META, None)

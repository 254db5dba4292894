"""`@tractor.context`: what makes a function an endpoint."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import UnionType
from typing import (
    Annotated,
    Any,
    Concatenate,
    ForwardRef,
    TypeAliasType,
    Union,
    get_args,
    get_origin,
    overload,
)

from tractor.msg._codec import DecHook, EncHook
from tractor.msg._payloads import ANY, MsgDec
from tractor.runtime._context import Context

_META = "_tractor_context_meta"
#: Where `@stream` notes which parameter its function sends with.
STREAM_PARAMETER = "_tractor_stream_parameter"


@dataclass(frozen=True)
class ContextMeta:
    """What is known of an endpoint without calling it."""

    #: The name of its parameter that takes the context.
    ctx_var_name: str
    #: Decodes every payload of the context, in both directions.
    dec: MsgDec = ANY
    #: Turns objects that the codec does not know into ones that travel, in both directions.
    enc_hook: EncHook | None = None

    @property
    def pld_spec(self) -> Any:
        """The type of every payload of the context, in both directions."""
        return self.dec.spec

    @property
    def dec_hook(self) -> DecHook | None:
        """Makes the objects that the codec does not know."""
        return self.dec.dec_hook


type Endpoint = Callable[Concatenate[Context[Any, Any, Any], ...], Coroutine[Any, Any, Any]]


@overload
def context[F: Endpoint](func: F, /) -> F: ...
@overload
def context[F: Endpoint](
    func: None = None,
    /,
    *,
    pld_spec: Any = Any,
    dec_hook: DecHook | None = None,
    enc_hook: EncHook | None = None,
) -> Callable[[F], F]: ...
def context(
    func: Any = None,
    /,
    *,
    pld_spec: Any = Any,
    dec_hook: DecHook | None = None,
    enc_hook: EncHook | None = None,
) -> Any:
    """Mark an async function as an endpoint that a peer can open with `Portal.open_context`.

    One of its parameters must be annotated `tractor.Context`; it is filled in by the runtime.
    `pld_spec`: the type of every payload the two sides exchange; anything else is a `MsgTypeError`.
    `enc_hook(obj)`: returns what travels in place of an object of a type that the codec does not know.
    `dec_hook(type, value)`: makes an object of such a type, named in the `pld_spec`, of what has travelled.
    Raises `TypeError` for a function that cannot be an endpoint, and for a `dec_hook` without a `pld_spec`.
    """
    if func is None:
        return lambda func: context(func, pld_spec=pld_spec, dec_hook=dec_hook, enc_hook=enc_hook)
    name = getattr(func, "__qualname__", repr(func))
    if not inspect.iscoroutinefunction(func):
        raise TypeError(f"{name} cannot be a context endpoint: it must be an `async def` function")
    if dec_hook is not None and pld_spec is Any:
        raise TypeError(f"{name} has a `dec_hook` that nothing asks: name the types it makes in `pld_spec`")
    dec = MsgDec(pld_spec, dec_hook)
    setattr(func, _META, ContextMeta(_context_parameter(func, name), dec, enc_hook))
    return func


def _context_parameter(func: Callable[..., Any], name: str) -> str:
    for parameter in _signature(func).parameters.values():
        if _is_context(parameter.annotation, func):
            return parameter.name
    raise TypeError(
        f"{name} cannot be a context endpoint: annotate one of its parameters as `ctx: tractor.Context`"
    )


def _signature(func: Callable[..., Any]) -> inspect.Signature:
    if sys.version_info >= (3, 14):
        import annotationlib

        # Of the other parameters' types some may be known to type checkers only.
        return inspect.signature(func, annotation_format=annotationlib.Format.FORWARDREF)
    return inspect.signature(func)


def _is_context(annotation: Any, func: Callable[..., Any]) -> bool:
    """Whether a parameter of that annotation takes a context: the class itself, or a union, alias or text with it."""
    if isinstance(annotation, str | ForwardRef):
        text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
        try:
            # What `typing.get_type_hints` does, for one annotation that may be the only one that can be resolved.
            annotation = eval(text, getattr(func, "__globals__", {}))
        except Exception:  # noqa: BLE001 - any expression may stand there
            return any(word.rpartition(".")[2] == "Context" for word in _words(text))
    if isinstance(annotation, TypeAliasType):
        return _is_context(annotation.__value__, func)
    origin = get_origin(annotation)
    if origin is Context or origin is None:
        return origin is Context or (isinstance(annotation, type) and issubclass(annotation, Context))
    inner = get_args(annotation)[:1] if origin is Annotated else get_args(annotation)
    return origin in (Annotated, Union, UnionType) and any(_is_context(arg, func) for arg in inner)


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() or char in "._" else " " for char in text).split()


def context_meta(func: object) -> ContextMeta | None:
    """Return what `@context` has noted on a function, or None."""
    return getattr(func, _META, None)


def stream_parameter(func: object) -> str | None:
    """Return what `@stream` has noted on a function, or None."""
    return getattr(func, STREAM_PARAMETER, None)


def is_one_way(func: object) -> bool:
    """Whether a function only sends: an async generator, or one marked with `@stream`."""
    return inspect.isasyncgenfunction(func) or stream_parameter(func) is not None

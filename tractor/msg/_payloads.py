"""How one end of a context reads and writes payloads, and what a task may change about that for a while."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Buffer, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, Union, cast, overload

from tractor.msg._boxed import MsgTypeError
from tractor.msg._codec import Codec, DecHook, EncHook, applied, get_codec

__all__ = [
    "ANY",
    "MsgCodec",
    "MsgDec",
    "Owner",
    "PldRx",
    "apply_codec",
    "current_codec",
    "current_owner",
    "limit_plds",
    "maybe_limit_plds",
    "mk_codec",
    "mk_dec",
]


class MsgDec[T = Any]:
    """Decodes payloads of one type; made by `mk_dec()`."""

    __slots__ = ("dec_hook", "spec")

    def __init__(self, spec: Any, dec_hook: DecHook | None = None) -> None:
        #: The type, as it was given.
        self.spec = spec
        #: Makes objects of the types that the codec does not know.
        self.dec_hook = dec_hook

    def decode(self, data: Buffer) -> T:
        """Return the value in the bytes; `DecodeError` for what is no value of the type."""
        value: T = get_codec().decoder(self.spec, self.dec_hook)(data)
        return value

    def pformat(self) -> str:
        """One line: the type, and the hook if there is one."""
        from tractor.msg._spec import pformat_spec

        hook = f", dec_hook={_name(self.dec_hook)}" if self.dec_hook is not None else ""
        return f"MsgDec({pformat_spec(self.spec)}{hook})"

    def __repr__(self) -> str:
        return f"<{self.pformat()}>"


#: Takes everything that can travel.
ANY: MsgDec = MsgDec(Any)


class MsgCodec:
    """Encodes payloads, foreign types by a hook; made by `mk_codec()` and put to use by `apply_codec()`."""

    __slots__ = ("_dec", "enc_hook", "ext_types")

    def __init__(self, dec: MsgDec, enc_hook: EncHook | None = None, ext_types: Iterable[Any] = ()) -> None:
        self._dec = dec
        #: Turns objects of the `ext_types` into ones that travel.
        self.enc_hook = enc_hook
        #: The types that the hook knows.
        self.ext_types = tuple(ext_types)

    @property
    def pld_spec(self) -> Any:
        """The type of what `decode()` returns."""
        return self._dec.spec

    def encode(self, obj: Any) -> bytes:
        """Return the bytes of a value. Raises `TypeError`, `OverflowError` or `ValueError` for what cannot be sent."""
        token = applied.set(self)
        try:
            return get_codec().encode(obj)
        finally:
            applied.reset(token)

    def decode(self, data: Buffer) -> Any:
        """Return the value in the bytes; `DecodeError` for what is no value of `pld_spec`."""
        return self._dec.decode(data)

    def pformat(self) -> str:
        """One line: the type of payloads, and the hook if there is one."""
        hook = f", enc_hook={_name(self.enc_hook)}" if self.enc_hook is not None else ""
        return f"MsgCodec({self._dec.pformat()}{hook})"

    def __repr__(self) -> str:
        return f"<{self.pformat()}>"


@overload
def mk_dec[T](spec: type[T], dec_hook: None = None, ext_types: None = None) -> MsgDec[T]: ...
@overload
def mk_dec(spec: Any, dec_hook: DecHook | None = None, ext_types: Any = None) -> MsgDec[Any]: ...
def mk_dec(spec: Any, dec_hook: DecHook | None = None, ext_types: Any = None) -> MsgDec[Any]:
    """Return a decoder of payloads of type `spec`, or of one of the `ext_types`.

    `ext_types`: the types, in a list or as a union, that no codec knows.
    `dec_hook(type, value)` makes an object of such a type of the value that has travelled in its place, or raises
    where that is none. Of several types that a payload may have, it is asked for the ext types first, in order.
    Inside of containers an ext type stands alone or with None.

    Raises `TypeError` for a `dec_hook` without `ext_types`, and where neither spec nor ext types are given.
    """
    types = _each(ext_types)
    if dec_hook is not None and not types:
        raise TypeError("mk_dec(dec_hook=...) needs `ext_types`: the types that the hook makes")
    if spec is None and not types:
        raise TypeError(
            "mk_dec() needs a `spec`, the type of the payloads; for None alone it is `type(None)`"
        )
    return MsgDec(Union[(spec, *types)] if types else spec, dec_hook)


def mk_codec(
    ipc_pld_spec: Any = Any,
    libname: str = "msgspec",
    enc_hook: EncHook | None = None,
    ext_types: Any = None,
    ext_dec: MsgDec | None = None,
) -> MsgCodec:
    """Return a codec whose `enc_hook(obj)` turns objects of the `ext_types` into values that travel.

    `ipc_pld_spec`: the type of what its `decode()` returns, or `ext_dec` to decode by. What a *context* takes is
    said by the endpoint's `pld_spec` and by `limit_plds()`.
    `libname`: the library; there is `msgspec`.

    Raises `TypeError` for an `enc_hook` without `ext_types`, `ValueError` for a library there is not.
    """
    if libname != "msgspec":
        raise ValueError(f"no library named {libname!r}; there is: msgspec")
    types = _each(ext_types)
    if enc_hook is not None and not types:
        raise TypeError("mk_codec(enc_hook=...) needs `ext_types`: the types that the hook takes")
    return MsgCodec(ext_dec or MsgDec(ipc_pld_spec), enc_hook, types)


def _each(types: Any) -> tuple[Any, ...]:
    """Return the types of a collection or of a union."""
    if types is None:
        return ()
    if isinstance(types, list | tuple | set | frozenset):
        return tuple(types)
    from tractor.msg._spec import union_members

    return union_members(types)


class PldRx:
    """The payloads of one end of a context: how they are encoded, decoded and checked.

    `dec` and `enc_hook` hold from the beginning; what is applied later holds until it is taken back, the
    latest first. `codec`: that of the link; by default msgpack.
    """

    __slots__ = ("_codec", "_decs", "_hooks", "decode", "encode")

    def __init__(self, dec: MsgDec, enc_hook: EncHook | None = None, codec: Codec | None = None) -> None:
        self._codec = codec = codec or get_codec()
        self._decs = [dec]
        self._hooks: list[list[EncHook | None]] = [[enc_hook]]
        #: From bytes to a value; may raise any `Exception`. Every item that is received goes through it.
        self.decode = codec.raw_decoder(dec.spec, dec.dec_hook)
        #: From a value to bytes. Every item that is sent goes through it.
        self.encode = codec.encode if enc_hook is None else codec.encoder(enc_hook)

    @property
    def pld_dec(self) -> MsgDec:
        """What decodes the payloads that are taken now."""
        return self._decs[-1]

    @contextmanager
    def decoding(self, dec: MsgDec) -> Iterator[MsgDec]:
        """Have payloads decoded by `dec`, which nobody else uses; without a hook it gets the one so far."""
        dec.dec_hook = dec.dec_hook or self.pld_dec.dec_hook
        self._decs.append(dec)
        try:
            self._choose()
            yield dec
        finally:
            # Several tasks may do this at once, and leave in any order.
            self._decs.remove(dec)
            self._choose()

    @contextmanager
    def encoding(self, enc_hook: EncHook | None) -> Iterator[None]:
        """Have payloads encoded with `enc_hook` while the block is open."""
        # The same hook may be applied twice, so that each block has an entry of its own.
        entry = [enc_hook]
        self._hooks.append(entry)
        try:
            self._choose()
            yield
        finally:
            self._hooks[:] = [other for other in self._hooks if other is not entry]
            self._choose()

    def _choose(self) -> None:
        codec, dec = self._codec, self._decs[-1]
        self.decode = codec.raw_decoder(dec.spec, dec.dec_hook)
        self.encode = codec.encoder(self._hooks[-1][0])

    def check(self, value: Any, body: bytes, what: str, cid: str, *, strict: bool) -> None:
        """Raise `MsgTypeError` if the other side would refuse `value`, which encodes to `body`.

        `strict`: or if what arrives would not be equal to it. `what` names the message.
        """
        try:
            arrives = self.decode(body)
            if not strict or arrives == value:
                return
        except Exception as exc:  # noqa: BLE001 - of the library, a hook, or a comparison
            from tractor.msg._violation import refuse_to_send

            error = refuse_to_send(value, self.pld_dec.spec, what, cid, exc)
        else:
            from tractor.msg._violation import refuse_to_change

            error = refuse_to_change(value, arrives, what, cid)
        raise error

    def refuse(self, body: Any, what: str, cid: str, exc: Exception) -> MsgTypeError:
        """Return the error for a payload that has come and that `decode` has refused with `exc`."""
        from tractor.msg._violation import refuse_to_take

        return refuse_to_take(body, self.pld_dec.spec, what, cid, exc, self._codec)


class Owner(Protocol):
    """What has payloads: one end of a context."""

    pld_rx: PldRx


#: The context that the running task serves or has opened; set by the runtime.
current_owner: ContextVar[Owner | None] = ContextVar("tractor-context", default=None)

_DEFAULT = MsgCodec(ANY)


def current_codec() -> MsgCodec:
    """Return the codec that the running task has applied, else the default one, which has no hook."""
    return cast("MsgCodec | None", applied.get()) or _DEFAULT


@contextmanager
def apply_codec(codec: MsgCodec, ctx: Owner | None = None) -> Iterator[MsgCodec]:
    """Have the running task, and those it starts in the block, send foreign types by the codec's hook.

    That holds for arguments, items, first values and results that are sent in the block. An endpoint's own
    `enc_hook` is asked first. Blocks nest: the innermost codec holds, alone.
    `ctx`: have all that is sent on this context encoded in this way instead, by whatever task.
    """
    if ctx is not None:
        with ctx.pld_rx.encoding(codec.enc_hook):
            yield codec
        return
    token = applied.set(codec)
    try:
        yield codec
    finally:
        applied.reset(token)


@contextmanager
def limit_plds(spec: Any, dec_hook: DecHook | None = None, ext_types: Any = None) -> Iterator[MsgDec]:
    """Have payloads of the current context decoded as `spec` says while the block is open; yields the decoder.

    It holds for all payloads that are taken from the context meanwhile, at this side, and for what `started()`
    accepts. Parameters as for `mk_dec()`; without a `dec_hook` that of the endpoint goes on making its types.
    Raises `RuntimeError` in a task that belongs to no context.
    """
    owner = current_owner.get()
    if owner is None:
        raise RuntimeError(
            "limit_plds() outside of a context: call it in an endpoint or an `open_context()` block"
        )
    with owner.pld_rx.decoding(mk_dec(spec, dec_hook, ext_types)) as dec:
        yield dec


@asynccontextmanager
async def maybe_limit_plds(
    ctx: Owner,
    spec: Any = None,
    dec_hook: DecHook | None = None,
    ext_types: Any = None,
) -> AsyncGenerator[MsgDec | None]:
    """Do as `limit_plds()` for `ctx`; with neither a spec nor a hook do nothing and yield None."""
    if spec is None and dec_hook is None and not ext_types:
        yield None
        return
    with ctx.pld_rx.decoding(mk_dec(spec, dec_hook, ext_types)) as dec:
        yield dec


def _name(func: object) -> str:
    return getattr(func, "__qualname__", None) or repr(func)

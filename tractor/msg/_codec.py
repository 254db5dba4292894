"""Objects to bytes and back, and the only module that imports msgspec: on first use.

In an isolated interpreter msgspec refuses to load; `tractor.msg._pure` takes its place there.  What only msgspec can
do (structs, `to_type()`) raises its `ImportError` then.

Every codec carries the same values: what msgpack knows.  Tuples and sets arrive as lists unless the
receiver's spec says otherwise, integers go from -2**63 to 2**64 - 1, and anything else is refused with the
place and a way out, unless a hook turns it into something that travels.  A spec is a type as in annotations;
what does not match it is a `DecodeError`.
"""

from __future__ import annotations

from collections.abc import Buffer, Callable
from contextvars import ContextVar
from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Protocol, Union

if TYPE_CHECKING:
    from typing import dataclass_transform

    import msgspec
    from msgspec import Struct as StructBase

    # Told of a metaclass, type checkers allow frozen subclasses of a class that is not frozen itself.
    @dataclass_transform(field_specifiers=(msgspec.field,))
    class StructMeta(msgspec.StructMeta):
        """The metaclass of structs."""


__all__ = [
    "Codec",
    "DecHook",
    "DecodeError",
    "EncHook",
    "StructBase",
    "StructMeta",
    "applied",
    "get_codec",
    "has_msgspec",
    "struct_fields",
    "to_type",
]

type Decode = Callable[[Buffer], Any]
type Encode = Callable[[Any], bytes]
#: Turns an object of a foreign type into one that travels; refuses by `NotImplementedError` or `TypeError`.
type EncHook = Callable[[Any], Any]
#: Makes an object of the given type of what has arrived; refuses by any exception.
type DecHook = Callable[[Any, Any], Any]

#: Functions kept per codec.  Programs have a handful of specs; those that make up new ones must not leak.
_CACHE_LIMIT = 512


class DecodeError(ValueError):
    """The bytes are not valid for their codec, or the value does not match the spec."""


class Library(Protocol):
    """What a serialisation library must offer to become a `Codec`.

    Its functions may raise any `Exception`; words, hooks of the running task and caches are the codec's matter.
    """

    name: str

    def encoder(self, enc_hook: EncHook | None, /) -> Encode:
        """Return a function from values to bytes, which asks `enc_hook` for objects it does not know."""
        ...

    def decoder(self, spec: Any, dec_hook: DecHook | None, /) -> Decode:
        """Return a function from bytes to values of type `spec`, which has `dec_hook` make those it does not know.

        Raises `TypeError` for a spec the library cannot check.
        """
        ...


class _Msgspec:
    """msgpack by msgspec."""

    name = "msgpack"
    arrives_as_it_is = None

    def __init__(self) -> None:
        # Costly to import, and it refuses to load in isolated interpreters.
        from msgspec import msgpack

        self._msgpack = msgpack

    def encoder(self, enc_hook: EncHook | None, /) -> Encode:
        return self._msgpack.Encoder(enc_hook=enc_hook).encode

    def decoder(self, spec: Any, dec_hook: DecHook | None, /) -> Decode:
        if dec_hook is not None:
            ext, rest = self._take_apart(spec)
            if ext and (len(ext) > 1 or any(member is not NoneType for member in rest)):
                return self._split(ext, rest, dec_hook)
        return self._msgpack.Decoder(spec, dec_hook=dec_hook).decode

    def _take_apart(self, spec: Any) -> tuple[list[Any], list[Any]]:
        """Return the members of a union that only a hook can make, and the others."""
        from msgspec.inspect import CustomType, type_info

        from tractor.msg._spec import union_members

        ext: list[Any] = []
        rest: list[Any] = []
        for member in union_members(spec):
            (ext if isinstance(type_info(member), CustomType) else rest).append(member)
        return ext, rest

    def _split(self, ext: list[Any], rest: list[Any], dec_hook: DecHook) -> Decode:
        """Return a decoder for a union that msgspec refuses: of an ext type and others than None.

        The bytes do not say which type was meant, so the hook is asked for each ext type in turn.
        """
        from msgspec import ValidationError

        from tractor.msg._spec import first_of

        new = self._msgpack.Decoder
        optional = NoneType in rest
        tries = [(one, new(one | None if optional else one, dec_hook=dec_hook).decode) for one in ext]
        last = new(Union[tuple(rest)], dec_hook=dec_hook).decode if rest else None  # noqa: UP007 - of a list
        return first_of(tries, last, ValidationError)

    # For links on which other bytes are spoken; see `tractor.msg._marshal`. There and back is the quickest way to do
    # exactly as msgpack does.

    def plain(self, enc_hook: EncHook | None, /) -> Callable[[Any], Any]:
        """Return a function from objects to the plain values that would arrive in their place."""
        encode, decode = self.encoder(enc_hook), self._msgpack.Decoder().decode
        return lambda obj: obj if type(obj) is bytes else decode(encode(obj))

    def typed(self, spec: Any, dec_hook: DecHook | None, /) -> Callable[[Any], Any]:
        """Return a function from plain values to those of type `spec`."""
        encode, decode = self.encoder(None), self.decoder(spec, dec_hook)
        return lambda value: decode(encode(value))

    def extension(self, code: int, data: bytes, /) -> Any:
        """Return bytes of an extension as they arrive."""
        return self._msgpack.Ext(code, data)

    marker = extension


class Hooked(Protocol):
    """What a task may apply to what it sends."""

    @property
    def enc_hook(self) -> EncHook | None:
        """Asked for objects that the codec does not know."""
        ...


#: What the running task has applied, if anything.
applied: ContextVar[Hooked | None] = ContextVar("tractor-codec", default=None)


class Codec:
    """A way to write values as bytes, the same for every library."""

    def __init__(self, library: Library) -> None:
        self.name = library.name
        self._library = library
        self._encoders: dict[Any, Encode] = {}
        self._raw_decoders: dict[Any, Decode] = {}
        self._decoders: dict[Any, Decode] = {}
        #: `encoder()` without a hook.
        self.encode = self.encoder()

    def encoder(self, enc_hook: EncHook | None = None, /) -> Encode:
        """Return a function from values to bytes.

        What neither the codec knows nor `enc_hook` takes is left to the codec that the running task has applied.
        The function raises `TypeError` for a type that cannot be sent, `OverflowError` for an integer that does
        not fit and `ValueError` for text or nesting that cannot be written; each names the place and what to do.
        """
        return _kept(self._encoders, enc_hook, lambda: self._new_encoder(enc_hook))

    def _new_encoder(self, enc_hook: EncHook | None) -> Encode:
        raw = self._library.encoder(enc_hook)

        def encode(obj: Any, /) -> bytes:
            try:
                return raw(obj)
            except Exception as exc:  # noqa: BLE001 - raised again, in our words
                return self._second_try(obj, enc_hook, raw, exc)

        return encode

    def _second_try(self, obj: Any, enc_hook: EncHook | None, raw: Encode, exc: Exception) -> bytes:
        # Asked only now: native values cost nothing, and the bytes are the same in either order.
        codec = applied.get()
        hook = codec.enc_hook if codec is not None else None
        if hook is not None and hook != enc_hook:
            raw = self._library.encoder(hook if enc_hook is None else _either(enc_hook, hook))
            try:
                return raw(obj)
            except Exception as second:  # noqa: BLE001 - raised again, in our words
                exc = second
        from tractor.msg._refusal import explain

        raise explain(raw, obj, exc) from (exc if hook or enc_hook else None)

    def decoder(self, spec: Any = Any, dec_hook: DecHook | None = None, /) -> Decode:
        """Return a function from bytes to a value of type `spec`, which raises nothing but `DecodeError`.

        Cached per spec where the spec is hashable.  `TypeError` for a spec the codec cannot check.
        """
        key = spec if dec_hook is None else (spec, dec_hook)
        return _kept(self._decoders, key, lambda: _guarded(self.raw_decoder(spec, dec_hook)))

    def raw_decoder(self, spec: Any = Any, dec_hook: DecHook | None = None, /) -> Decode:
        """The same as `decoder()`, but the function may raise any `Exception`: it costs a call less."""
        key = spec if dec_hook is None else (spec, dec_hook)
        return _kept(self._raw_decoders, key, lambda: self._library.decoder(spec, dec_hook))


def _kept[T](cache: dict[Any, T], key: Any, make: Callable[[], T]) -> T:
    """Return what the cache has under the key, else a new one; a key that cannot be hashed is not kept."""
    try:
        return cache[key]
    except KeyError:
        found = make()
    except TypeError:
        return make()
    if len(cache) >= _CACHE_LIMIT:
        cache.clear()
    cache[key] = found
    return found


def _guarded(raw: Decode) -> Decode:
    """Wrap a decode function so that it raises only `DecodeError`."""

    def decode(data: Buffer) -> Any:
        # Besides its own error msgspec lets through what bad text (UnicodeDecodeError), deep nesting
        # (RecursionError), the `__post_init__` of a spec and hooks raise.
        try:
            return raw(data)
        except Exception as exc:
            raise DecodeError(str(exc) or type(exc).__name__) from exc

    return decode


def _either(first: EncHook, second: EncHook) -> EncHook:
    def hook(obj: Any) -> Any:
        try:
            return first(obj)
        except (NotImplementedError, TypeError):
            return second(obj)

    return hook


def _msgpack() -> Library:
    """Return msgspec's msgpack, or that in pure Python where this interpreter is one that msgspec does not load in."""
    try:
        return _Msgspec()
    except ImportError as exc:
        # In so many words, because nothing else tells it from a library that is missing or broken.
        if "does not support loading in subinterpreters" not in str(exc):
            raise
    from tractor.msg._pure import Pure

    return Pure()


def _marshal() -> Library:
    from tractor.msg._marshal import Marshal

    words: Any = get_codec()._library
    return Marshal(words)


_LIBRARIES: dict[str, Callable[[], Library]] = {"msgpack": _msgpack, "marshal": _marshal}


def has_msgspec() -> bool:
    """Whether msgspec loads in this interpreter."""
    return isinstance(get_codec()._library, _Msgspec)


def get_codec(name: str = "msgpack") -> Codec:
    """Return the codec of that name, always the same object; `ValueError` if there is none.

    `msgpack` is understood everywhere; `marshal` by peers of this very process, and only after both know that it is one.
    """
    if name not in _LIBRARIES:
        raise ValueError(f"no codec named {name!r}; there are: {', '.join(_LIBRARIES)}")
    return _the_codec(name)


@cache
def _the_codec(name: str) -> Codec:
    return Codec(_LIBRARIES[name]())


def struct_fields(struct: StructBase) -> tuple[Any, ...]:
    """Return what is known of the fields of a struct: `name`, `type` and more for each."""
    from msgspec import structs

    return structs.fields(struct)


def to_type(value: Any, spec: Any, *, lax: bool = False) -> Any:
    """Return `value` if it is of type `spec`, containers as new ones; `lax`: or what can be made of it.

    Raises `TypeError` if it is not, or if that cannot be.
    """
    import msgspec

    try:
        return msgspec.convert(value, spec)
    except msgspec.ValidationError as exc:
        if not lax:
            raise TypeError(str(exc)) from None
    except TypeError:
        # A type that nobody but a hook could check.
        return value
    try:
        return msgspec.convert(value, spec, strict=False)
    except msgspec.ValidationError as exc:
        if not isinstance(spec, type):
            raise TypeError(str(exc)) from None
    try:
        return spec(value)
    except Exception as exc:
        raise TypeError(f"cannot make {spec.__name__} of {value!r}: {exc}") from exc


def __getattr__(name: str) -> Any:
    """Load the base class of structs, or its metaclass, on first use."""
    if name in ("StructBase", "StructMeta"):
        import msgspec

        return msgspec.Struct if name == "StructBase" else type(msgspec.Struct)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

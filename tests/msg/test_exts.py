"""Types that no codec knows: hooks for them, and names for types."""

import sys
from pathlib import Path, PosixPath
from types import ModuleType
from typing import Any

import pytest

from tractor.msg import _exts
from tractor.msg._codec import get_codec
from tractor.msg._exts import (
    TypeCodec,
    dec_type_union,
    enc_type_union,
    mk_codec_hooks,
    mk_msgspec_table,
    pformat_msgspec,
)
from tractor.msg._messages import Started
from tractor.msg._payloads import MsgDec, mk_codec
from tractor.msg._ptr import NamespacePath

HERE = sys.modules[__name__]


class Order:
    """A type of the program."""

    class Line:
        """One inside of another."""


class PathCodec:
    """Paths travel as text."""

    src_type = Path
    wire_type = str

    def encode(self, obj: Any, /) -> str:
        """Return the text of a path."""
        return str(obj)

    def decode(self, obj: Any, /) -> Path:
        """Return the path of a text."""
        return Path(obj)


class NspCodec:
    """Pointers to functions travel as the text that they are."""

    src_type = NamespacePath
    wire_type = str

    def encode(self, obj: Any, /) -> str:
        """Return plain text."""
        return str(obj)

    def decode(self, obj: Any, /) -> NamespacePath:
        """Return the pointer, if it is one."""
        path = NamespacePath(obj)
        path.to_tuple()
        return path


CODECS: list[TypeCodec] = [PathCodec(), NspCodec()]
ENC, DEC = mk_codec_hooks(CODECS)


@pytest.mark.parametrize("value", [Path("a/b"), NamespacePath("os.path:join")])
def test_each_type_travels_as_its_codec_says(value: Any) -> None:
    """One pair of hooks for all of them; subclasses go as what they are a kind of."""
    codec = get_codec()
    spec = Path if isinstance(value, Path) else NamespacePath
    arrived = codec.decoder(spec, DEC)(codec.encoder(ENC)(value))
    assert arrived == value
    assert type(arrived) in (PosixPath, NamespacePath)
    assert codec.decoder(Path | NamespacePath | int, DEC)(codec.encode(3)) == 3


def test_what_no_codec_takes_is_refused() -> None:
    """Unknown types both ways, and what has not the wire type."""
    with pytest.raises(NotImplementedError, match="Order"):
        ENC(Order())
    with pytest.raises(NotImplementedError, match="Order"):
        DEC(Order, 1)
    with pytest.raises(TypeError, match="Path travels as str, not as int"):
        DEC(Path, 1)
    with pytest.raises(ValueError, match="not a path of the form"):
        DEC(NamespacePath, "x")


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (int, ["int"]),
        (Any, ["Any"]),
        (type(None), ["NoneType"]),
        (int | str | None, ["int", "str", "NoneType"]),
        (Order | None, ["Order", "NoneType"]),
        (Order.Line, ["Order.Line"]),
        (NamespacePath | Order | Any, ["NamespacePath", "Order", "Any"]),
    ],
)
def test_specs_travel_by_name(spec: Any, names: list[str]) -> None:
    """And mean the same where the same modules are given."""
    assert enc_type_union(spec) == names
    assert dec_type_union(names, [HERE]) == spec


def test_what_has_no_name_for_others_is_refused() -> None:
    """No class, or one that no import can find."""
    with pytest.raises(TypeError, match=r"not list\[int\]"):
        enc_type_union(list[int] | None)

    class Here: ...

    with pytest.raises(ValueError, match="top of a module"):
        enc_type_union(Here)


@pytest.mark.parametrize(
    "name", ["Nowhere", "Order.Nowhere", "pytest", "HERE", "__builtins__", "Order.__class__", ""]
)
def test_a_name_that_means_no_type_is_refused(name: str) -> None:
    """Modules, values, and what is behind double underscores are no types."""
    with pytest.raises(TypeError, match="no type named"):
        dec_type_union([name], [HERE])


def test_names_mean_what_is_in_the_given_modules_only() -> None:
    """Nothing is imported, and a module cannot redefine what everybody means by `int`."""
    with pytest.raises(TypeError, match="'Order'"):
        dec_type_union(["Order"])
    fake = ModuleType("fake")
    vars(fake).update(int=str, Order=int)
    assert dec_type_union(["int", "Order"], [fake, HERE]) is int
    with pytest.raises(ValueError, match="no name"):
        dec_type_union([])


def test_what_each_message_may_carry_can_be_shown() -> None:
    """For a decoder and for a codec, all messages or one."""
    dec: MsgDec[Any] = MsgDec(int | None)
    lines = ["Started.pld: int|NoneType", "Yield.pld: int|NoneType", "Return.pld: int|NoneType"]
    assert list(mk_msgspec_table(dec).values()) == lines
    assert mk_msgspec_table(dec, Started) == {"Started": lines[0]}
    assert pformat_msgspec(dec) == "\n".join(lines)
    assert pformat_msgspec(mk_codec(ipc_pld_spec=int | None), Started, join_char=", ") == lines[0]
    assert set(_exts.__all__) >= {"mk_msgspec_table", "pformat_msgspec"}

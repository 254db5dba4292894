"""Objects of foreign types, which travel by hooks, and what another library has to do for that."""

import marshal
from typing import Any

import pytest

from tests.msg.test_codec import Order
from tractor.msg._codec import Codec, DecHook, DecodeError, EncHook, applied, get_codec


class Money:
    """A type that no codec knows."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class Colour:
    """Another one."""


def pay(obj: Any) -> Any:
    """Let money travel as cents, and a negative amount not at all."""
    if not isinstance(obj, Money):
        raise NotImplementedError("not money")
    if obj.cents < 0:
        raise ArithmeticError("debts stay at home")
    return obj.cents


def paint(obj: Any) -> Any:
    """Let colours travel."""
    if isinstance(obj, Colour):
        return "blue"
    raise TypeError("not a colour")


def earn(kind: Any, value: Any) -> Any:
    """Make money of cents."""
    if kind is not Money or not isinstance(value, int):
        raise NotImplementedError(f"no {kind.__name__} of {value!r}")
    return Money(value)


class Hooked:
    """What a task has applied."""

    def __init__(self, enc_hook: EncHook | None) -> None:
        self.enc_hook = enc_hook


def under(enc_hook: EncHook | None, func: Any) -> Any:
    """Return `func()` as a task that has applied a codec with that hook."""
    token = applied.set(Hooked(enc_hook))
    try:
        return func()
    finally:
        applied.reset(token)


@pytest.mark.parametrize("where", [Money(5), [1, Money(5)], {"a": Money(5)}, Order("nut", [], Money(5))])
def test_an_object_of_a_foreign_type_travels_by_hooks(where: Any) -> None:
    """Wherever it stands, it is sent as what the hook makes of it."""
    codec = get_codec()
    with pytest.raises(TypeError, match="'Money'"):
        codec.encode(where)
    sent = codec.encoder(pay)(where)
    assert b"Money" not in sent
    assert codec.decoder()(codec.encoder(pay)(Money(5))) == 5


@pytest.mark.parametrize(
    ("spec", "sent", "arrived"),
    [
        (Money, 5, Money(5)),
        (Money | None, 5, Money(5)),
        (Money | None, None, None),
        (list[Money], [1, 2], [Money(1), Money(2)]),
        (dict[str, Money | None], {"a": None, "b": 1}, {"a": None, "b": Money(1)}),
        # Unions that the library itself does not take apart.
        (Money | str, 5, Money(5)),
        (Money | str, "5", "5"),
        (Money | str | None, None, None),
        (Colour | Money, 7, Money(7)),
        (Money | list[int], [7], [7]),
        (Any | Money, 7, Money(7)),
        (list[Money] | Money, [7], [Money(7)]),
        (Any | Money, {"a": 7}, {"a": 7}),
    ],
)
def test_the_spec_says_where_the_hook_makes_objects(spec: Any, sent: Any, arrived: Any) -> None:
    """An ext type alone, with None, in a container, or in a union whose other members are told from it by the hook."""
    codec = get_codec()
    assert codec.decoder(spec, earn)(codec.encode(sent)) == arrived


@pytest.mark.parametrize("spec", [Money | None, Money | str | None, Colour | Money | None])
def test_a_hook_is_not_asked_what_none_is(spec: Any) -> None:
    """Where None may come, it is None."""
    assert get_codec().decoder(spec, lambda kind, _: kind.__new__(kind))(get_codec().encode(None)) is None


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (Money, "no Money of 'x'"),
        (Money | int, "Expected `int`, got `str`.*; as Money: NotImplementedError: no Money of 'x'"),
        (Colour | Money, "as Colour: .*no Colour of 'x'; as Money: .*no Money of 'x'"),
    ],
)
def test_what_a_hook_refuses_is_a_decode_error(spec: Any, text: str) -> None:
    """With all its reasons, where it was asked more than once."""
    with pytest.raises(DecodeError, match=text):
        get_codec().decoder(spec, earn)(get_codec().encode("x"))


def test_a_union_inside_a_container_is_refused_when_the_decoder_is_made() -> None:
    """Nothing in the bytes tells its members apart, and the hook would be asked for every single one."""
    with pytest.raises(TypeError, match="custom type"):
        get_codec().decoder(list[Money | int], earn)


def test_the_applied_codec_is_asked_for_what_the_own_hook_does_not_take() -> None:
    """And for nothing else; one that nobody has applied changes nothing."""
    codec = get_codec()
    assert under(pay, lambda: codec.encode([Money(5)])) == codec.encode([5])
    assert under(paint, lambda: codec.encoder(pay)([Money(5), Colour()])) == codec.encode([5, "blue"])
    assert under(lambda _: "mine", lambda: codec.encoder(pay)([Money(5), Colour()])) == codec.encode(
        [5, "mine"]
    )
    for hook in (None, paint):
        with pytest.raises(TypeError, match=r"'Money' \(at \[0\]\)"):
            under(hook, lambda: codec.encode([Money(5)]))


def test_why_a_hook_has_failed_is_kept() -> None:
    """What it raised is the cause, and in the text where that is no plain refusal."""
    with pytest.raises(TypeError, match=r"'Money' \(at \[1\]\): debts stay at home") as caught:
        get_codec().encoder(pay)([1, Money(-1)])
    assert isinstance(caught.value.__cause__, ArithmeticError)
    with pytest.raises(TypeError, match="'Colour'; send msgpack types") as caught:
        under(pay, lambda: get_codec().encode(Colour()))
    assert isinstance(caught.value.__cause__, NotImplementedError)


def test_a_hook_that_gives_back_what_it_was_given_is_refused() -> None:
    """Instead of being asked for ever."""
    with pytest.raises(ValueError, match="contains itself or is nested too deeply"):
        get_codec().encoder(lambda obj: obj)(Money(1))


class Marshal:
    """Another library: it has only to turn values into bytes and to check types."""

    name = "marshal"

    def encoder(self, enc_hook: EncHook | None, /) -> Any:
        """Write what marshal knows; have the hook look at the rest, which here is at the top."""

        def encode(obj: Any) -> bytes:
            try:
                return marshal.dumps(obj)
            except ValueError:
                if enc_hook is None:
                    raise TypeError(f"{type(obj)} is unknown") from None
                return marshal.dumps(enc_hook(obj))

        return encode

    def decoder(self, spec: Any, dec_hook: DecHook | None, /) -> Any:
        """Check classes only."""

        def decode(data: Any) -> Any:
            value = marshal.loads(data)
            if spec is not Any and not isinstance(value, spec):
                if dec_hook is None:
                    raise LookupError(f"{value!r} is no {spec.__name__}")
                return dec_hook(spec, value)
            return value

        return decode


def test_a_second_library_gets_everything_else_for_nothing() -> None:
    """Hooks of the task, refusals with the place, guarded and cached decoders are not its business."""
    codec = Codec(Marshal())
    assert codec.name == "marshal"
    assert codec.decoder()(codec.encode({"a": [1, (2, 3)]})) == {"a": [1, (2, 3)]}
    assert under(pay, lambda: codec.encode(Money(5))) == marshal.dumps(5)
    assert codec.decoder(Money, earn)(codec.encode(5)) == Money(5)
    assert codec.decoder(int) is codec.decoder(int)
    with pytest.raises(DecodeError, match="'x' is no int"):
        codec.decoder(int)(codec.encode("x"))
    with pytest.raises(DecodeError, match="EOF"):
        codec.decoder()(b"")
    with pytest.raises(TypeError, match=r"'object' \(at \[1\]\)"):
        codec.encode([1, object()])

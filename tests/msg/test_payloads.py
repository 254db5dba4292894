"""How payloads are read and written, and what a task may change about that for a while."""

from contextlib import ExitStack
from typing import Any

import pytest
import trio

from tractor.msg._boxed import MsgTypeError
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._messages import Started
from tractor.msg._payloads import (
    ANY,
    MsgDec,
    PldRx,
    apply_codec,
    current_codec,
    current_owner,
    limit_plds,
    maybe_limit_plds,
    mk_codec,
    mk_dec,
)


class Money:
    """A type that no codec knows."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


def pay(obj: Any) -> Any:
    """Let money travel as cents."""
    if isinstance(obj, Money):
        return obj.cents
    raise NotImplementedError


def shout(obj: Any) -> Any:
    """Let money travel as text."""
    return f"{obj.cents}!"


def earn(kind: Any, value: Any) -> Any:
    """Make money of cents."""
    if kind is Money and isinstance(value, int):
        return Money(value)
    raise NotImplementedError


class Ctx:
    """One end of a context, as far as payloads go."""

    def __init__(self, dec: MsgDec = ANY, enc_hook: Any = None) -> None:
        self.pld_rx = PldRx(dec, enc_hook)


@pytest.fixture
def ctx() -> Any:
    """The context that the test belongs to."""
    owner = Ctx()
    token = current_owner.set(owner)
    yield owner
    current_owner.reset(token)


def pack(value: Any) -> bytes:
    """Return plain bytes."""
    return get_codec().encode(value)


PAY = mk_codec(enc_hook=pay, ext_types=[Money])


def test_a_decoder_needs_to_know_what_to_decode() -> None:
    """Neither a spec nor ext types, or a hook for no types, is a mistake."""
    with pytest.raises(TypeError, match=r"needs a `spec`"):
        mk_dec(None)
    for spec in (None, int, Money):
        with pytest.raises(TypeError, match="needs `ext_types`"):
            mk_dec(spec, dec_hook=earn)
        with pytest.raises(TypeError, match="needs `ext_types`"):
            mk_dec(spec, dec_hook=earn, ext_types=[])


@pytest.mark.parametrize(
    ("spec", "ext_types", "effective"),
    [
        (int, None, int),
        (int | None, (), int | None),
        (None, [Money], Money | None),
        (str, [Money], str | Money),
        (Any, {Money}, Any | Money),
        (str | None, Money, str | None | Money),
        (str, Money | bytes, str | Money | bytes),
    ],
)
def test_a_spec_is_widened_by_the_ext_types(spec: Any, ext_types: Any, effective: Any) -> None:
    """Given in a collection or as a union; without them it is the very object that was given."""
    dec = mk_dec(spec, earn if ext_types else None, ext_types)
    assert dec.spec == effective
    if not ext_types:
        assert dec.spec is spec
        assert dec.dec_hook is None


def test_a_decoder_returns_values_of_its_type() -> None:
    """And raises one kind of error for anything else."""
    dec = mk_dec(str | None, earn, [Money])
    assert [dec.decode(pack(value)) for value in (5, "x", None)] == [Money(5), "x", None]
    with pytest.raises(DecodeError, match="Expected `str"):
        dec.decode(pack(1.5))


def test_codecs_and_decoders_say_what_they_are() -> None:
    """In one line, without their inner parts."""
    assert repr(mk_dec(int | None)) == "<MsgDec(int|NoneType)>"
    assert mk_dec(int, earn, [Money]).pformat() == "MsgDec(int|Money, dec_hook=earn)"
    assert repr(PAY) == "<MsgCodec(MsgDec(Any), enc_hook=pay)>"
    assert mk_codec(ipc_pld_spec=int).pformat() == "MsgCodec(MsgDec(int))"
    assert "_dec" not in repr(PAY).replace("MsgDec", "")


def test_a_codec_needs_to_know_what_its_hook_is_for() -> None:
    """A hook for no types, or a library that there is not, is a mistake."""
    nothing: list[Any] = []
    for ext_types in (None, nothing):
        with pytest.raises(TypeError, match="needs `ext_types`"):
            mk_codec(enc_hook=pay, ext_types=ext_types)
    with pytest.raises(ValueError, match="'pickle'; there is: msgspec"):
        mk_codec(libname="pickle")


def test_a_codec_encodes_by_its_own_hook_only() -> None:
    """Whatever the task has applied; it decodes as it was told."""
    assert (PAY.pld_spec, PAY.enc_hook, PAY.ext_types) == (Any, pay, (Money,))
    assert PAY.encode([Money(5)]) == pack([5])
    assert PAY.decode(pack([5])) == [5]
    with apply_codec(PAY), pytest.raises(TypeError, match="'Money'"):
        mk_codec().encode(Money(5))
    assert mk_codec(ipc_pld_spec=int).decode(pack(5)) == 5
    with pytest.raises(DecodeError):
        mk_codec(ipc_pld_spec=int).decode(pack("5"))
    assert mk_codec(ext_dec=mk_dec(int, earn, [Money])).decode(pack(5)) == Money(5)


def test_the_applied_codec_is_the_innermost() -> None:
    """Blocks nest, the inner one alone holds, and what was before comes back, also after an error."""
    plain, other = mk_codec(), mk_codec(enc_hook=shout, ext_types=[Money])
    rx = PldRx(ANY)
    assert current_codec() is current_codec()
    assert current_codec().enc_hook is None
    with apply_codec(PAY) as codec:
        assert codec is current_codec() is PAY
        assert rx.encode(Money(5)) == pack(5)
        with pytest.raises(LookupError), apply_codec(other):
            assert rx.encode(Money(5)) == pack("5!")
            with apply_codec(plain):
                assert current_codec() is plain
                with pytest.raises(TypeError, match="'Money'"):
                    rx.encode(Money(5))
            assert current_codec() is other
            raise LookupError
        assert current_codec() is PAY
    with pytest.raises(TypeError, match="'Money'"):
        rx.encode(Money(5))


async def test_the_applied_codec_is_the_tasks_own() -> None:
    """Tasks started in the block have it too, even after the block; others have not."""
    rx, seen, opened = PldRx(ANY), {}, trio.Event()

    async def look(name: str) -> None:
        await opened.wait()
        try:
            seen[name] = rx.encode(Money(5))
        except TypeError:
            seen[name] = b""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look, "before")
        with apply_codec(PAY):
            nursery.start_soon(look, "inside")
        nursery.start_soon(look, "after")
        opened.set()
    assert seen == {"before": b"", "inside": pack(5), "after": b""}


def test_a_codec_applied_to_a_context_holds_for_all_its_tasks() -> None:
    """In place of the endpoint's own hook; blocks may end in any order."""
    ctx = Ctx(enc_hook=shout)
    plain = mk_codec()
    first, second, third = ExitStack(), ExitStack(), ExitStack()
    assert first.enter_context(apply_codec(PAY, ctx)) is PAY
    assert current_codec().enc_hook is None
    assert ctx.pld_rx.encode(Money(5)) == pack(5)
    second.enter_context(apply_codec(plain, ctx=ctx))
    third.enter_context(apply_codec(PAY, ctx=ctx))
    first.close()
    assert ctx.pld_rx.encode(Money(5)) == pack(5)
    third.close()
    with pytest.raises(TypeError):
        ctx.pld_rx.encode(Money(5))
    second.close()
    assert ctx.pld_rx.encode(Money(5)) == pack("5!")


def test_payloads_can_be_limited_in_a_context_only() -> None:
    """There is nothing to limit elsewhere."""
    with pytest.raises(RuntimeError, match="outside of a context"), limit_plds(int):
        pytest.fail("entered")


def test_a_limit_holds_for_its_block(ctx: Ctx) -> None:
    """The decoder that it yields is the one in use; the previous one comes back, also after an error."""
    rx, spec = ctx.pld_rx, int | None
    assert rx.pld_dec is ANY
    with limit_plds(spec) as dec:
        assert rx.pld_dec is dec
        assert dec.spec is spec
        assert rx.decode(pack(5)) == 5
        with pytest.raises(LookupError), limit_plds(str) as inner:
            assert rx.pld_dec is inner
            assert rx.decode(pack("x")) == "x"
            raise LookupError
        assert rx.pld_dec is dec
        with pytest.raises(Exception, match="Expected `int"):
            rx.decode(pack("x"))
    assert rx.pld_dec is ANY
    assert rx.decode(pack("x")) == "x"


def test_limits_may_end_in_any_order(ctx: Ctx) -> None:
    """Two tasks of one context do not know of each other; the latest that is open holds."""
    first, second = ExitStack(), ExitStack()
    first.enter_context(limit_plds(int))
    dec = second.enter_context(limit_plds(str))
    first.close()
    assert ctx.pld_rx.pld_dec is dec
    assert ctx.pld_rx.decode(pack("x")) == "x"
    second.close()
    assert ctx.pld_rx.pld_dec is ANY


def test_a_limit_may_bring_ext_types_along(ctx: Ctx) -> None:
    """With a hook; without one that of the context goes on."""
    with limit_plds(None, dec_hook=earn, ext_types=[Money]) as dec:
        assert dec.spec == Money | None
        assert ctx.pld_rx.decode(pack(5)) == Money(5)
        with limit_plds(list[Money]):
            assert ctx.pld_rx.decode(pack([5])) == [Money(5)]
    with pytest.raises(TypeError, match="needs `ext_types`"), limit_plds(int, dec_hook=earn):
        pytest.fail("entered")
    assert ctx.pld_rx.pld_dec is ANY


def test_a_limit_that_nobody_can_check_leaves_no_trace(ctx: Ctx) -> None:
    """It is refused where the block begins."""
    with pytest.raises(TypeError, match="not supported"), limit_plds(3):
        pytest.fail("entered")
    assert ctx.pld_rx.pld_dec is ANY
    assert ctx.pld_rx.decode(pack("x")) == "x"


async def test_a_limit_may_be_none() -> None:
    """Then nothing changes; the context is given, and need not be the current one."""
    ctx = Ctx()
    async with maybe_limit_plds(ctx) as dec:
        assert dec is None
        assert ctx.pld_rx.pld_dec is ANY
    async with maybe_limit_plds(ctx, int) as dec:
        assert ctx.pld_rx.pld_dec is dec
    async with maybe_limit_plds(ctx, spec=None, dec_hook=earn, ext_types=[Money]) as dec:
        assert dec is not None
        assert ctx.pld_rx.decode(pack(5)) == Money(5)
    assert ctx.pld_rx.pld_dec is ANY


@pytest.mark.parametrize("strict", [False, True])
def test_a_value_is_checked_as_the_receiver_will(strict: bool) -> None:
    """By the same decoder; strictly, it must arrive equal too."""
    rx = PldRx(MsgDec(list[int]))
    rx.check([1], pack([1]), "Started", "3", strict=strict)
    with pytest.raises(MsgTypeError, match="does not match type-spec") as caught:
        rx.check(["a"], pack(["a"]), "Started", "3", strict=strict)
    assert (caught.value.tb_str, caught.value.expected_msg_type) == ("", Started)
    if strict:
        with pytest.raises(MsgTypeError, match="arrives as \\[1\\]"):
            rx.check((1,), pack((1,)), "Started", "3", strict=True)
    else:
        rx.check((1,), pack((1,)), "Started", "3", strict=False)


def test_a_hook_that_fails_at_the_check_is_an_error_of_the_value() -> None:
    """The other side's would fail in the same way."""
    rx = PldRx(MsgDec(Money, earn))
    rx.check(Money(5), pack(5), "Started", "3", strict=True)
    with pytest.raises(MsgTypeError, match=r"Started\.pld: Money"):
        rx.check("x", pack("x"), "Started", "3", strict=False)

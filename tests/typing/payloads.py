"""Typed payloads: what an endpoint declares for its peers, and what is said of codecs, decoders and structs."""

from typing import Any, assert_type

import tractor
from tractor.msg import (
    DiffDump,
    MsgCodec,
    MsgDec,
    NamespacePath,
    Started,
    Struct,
    TypeCodec,
    apply_codec,
    current_codec,
    limit_plds,
    maybe_limit_plds,
    mk_codec,
    mk_codec_hooks,
    mk_dec,
)


class Order(Struct, frozen=True):
    """A record."""

    item: str
    count: int = 1


class Bill(Struct, tag=True, kw_only=True):
    """Another one."""

    total: float


def enc_hook(obj: Any) -> Any:
    """Let a foreign type travel."""
    return str(obj)


def dec_hook(kind: Any, value: Any) -> Any:
    """Make it again."""
    return kind(value)


@tractor.context(pld_spec=Order | Bill | None)
async def shop(ctx: tractor.Context[None, Order, Bill], limit: int) -> Bill:
    """Take orders, return the bill."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        async for order in stream:
            assert_type(order, Order)
            assert_type(order.count, int)
        await stream.send(Bill(total=1.0))  # type: ignore[arg-type]
        await stream.send(Order("nut"))
    return Bill(total=float(limit))


@tractor.context(pld_spec=NamespacePath | int, enc_hook=enc_hook, dec_hook=dec_hook)
async def pointers(ctx: tractor.Context[NamespacePath, NamespacePath, int]) -> int:
    """Exchange pointers to functions."""
    await ctx.started(NamespacePath("os.path:join"), strict_pld_parity=True)
    await ctx.started(5)  # type: ignore[arg-type]
    await ctx.started("os.path:join", validate_pld_spec=False)  # type: ignore[arg-type]
    return 1


async def at_the_opener(portal: tractor.Portal) -> None:
    """Items and results are of the types that the endpoint names."""
    async with portal.open_context(shop, limit=3) as (ctx, first):
        assert_type(first, None)
        async with ctx.open_stream() as stream:
            await stream.send(Order("nut", 3))
            await stream.send("nut")  # type: ignore[arg-type]
            await stream.send(None)  # type: ignore[arg-type]
            assert_type(await stream.receive(), Order)
        bill = await ctx.wait_for_result()
        assert_type(bill, Bill)
        total: str = bill.total  # type: ignore[assignment]
        assert_type(ctx.pld_rx.pld_dec, MsgDec[Any])
    async with portal.open_context(pointers) as (_, pointer):
        assert_type(pointer, NamespacePath)
    portal.open_context(shop, limit="3")  # type: ignore[arg-type]
    assert total


def endpoints_with_mistakes() -> None:
    """Hooks are functions of one and two arguments; the endpoint keeps its type."""

    @tractor.context(pld_spec=int, enc_hook=dec_hook)  # type: ignore[arg-type]
    async def wrong_hook(ctx: tractor.Context) -> None: ...

    @tractor.context(pld_specs=int)  # type: ignore[call-overload, untyped-decorator]
    async def wrong_name(ctx: tractor.Context) -> None: ...


def decoders(data: bytes) -> None:
    """A class gives a decoder of its objects; what is no class, such as a union, one of anything."""
    assert_type(mk_dec(int), MsgDec[int])
    assert_type(mk_dec(Order).decode(data), Order)
    assert_type(mk_dec(list[Order]).decode(data), list[Order])
    assert_type(mk_dec(Order | None), MsgDec[Any])
    assert_type(mk_dec(str, dec_hook, [NamespacePath]).decode(data), Any)
    mk_dec()  # type: ignore[call-overload]
    mk_dec(int, enc_hook)  # type: ignore[arg-type]
    wrong: str = mk_dec(int).decode(data)  # type: ignore[assignment]
    assert wrong


async def scopes(ctx: tractor.Context[Any, Any, Any]) -> None:
    """Blocks give what they apply."""
    with apply_codec(mk_codec(enc_hook=enc_hook, ext_types=[NamespacePath])) as codec:
        assert_type(codec, MsgCodec)
        assert_type(current_codec(), MsgCodec)
    with apply_codec(codec, ctx), limit_plds(int | None) as dec:
        assert_type(dec, MsgDec[Any])
    async with maybe_limit_plds(ctx, int) as maybe:
        assert_type(maybe, MsgDec[Any] | None)
    with apply_codec(dec):  # type: ignore[arg-type]
        pass


class PathCodec:
    """How one type travels."""

    src_type = NamespacePath
    wire_type = str

    def encode(self, obj: Any, /) -> str:
        """Return text."""
        return str(obj)

    def decode(self, obj: Any, /) -> NamespacePath:
        """Return the pointer."""
        return NamespacePath(obj)


def hooks() -> tuple[TypeCodec, Any]:
    """A class of the right shape will do; one that is not is found."""
    enc, dec = mk_codec_hooks([PathCodec()])
    assert_type(enc(1), Any)
    assert_type(dec(NamespacePath, "a:b"), Any)
    mk_codec_hooks([Order("nut")])  # type: ignore[list-item]
    return PathCodec(), enc


def structs(order: Order) -> None:
    """Fields are typed, methods give back the same class, and what is frozen stays so."""
    assert_type(order.copy({"count": 2}), Order)
    assert_type(order - order, DiffDump)
    assert_type(order.to_dict(), dict[str, Any])
    order.count = 2  # type: ignore[misc]
    Order(1)  # type: ignore[arg-type]
    Bill(1.0)  # type: ignore[call-arg]


def what_was_bad(error: tractor.MsgTypeError) -> bool:
    """The message is known by its type."""
    assert_type(Started("1", 5), Started[int])
    return error.expected_msg_type is Started

"""Endpoints with typed payloads, and foreign types with hooks, for tests that run them in other actors.

Payloads are named in arguments, which travel untyped: see `VALUES`.
"""

from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import trio

import tractor
from tractor import Context, MsgTypeError
from tractor.msg import (
    NamespacePath,
    Started,
    Struct,
    apply_codec,
    dec_type_union,
    limit_plds,
    mk_codec,
    mk_codec_hooks,
)

HERE = __name__


class PldMsg(Struct):
    """What may travel."""

    field: str


class OtherMsg(Struct):
    """What may not."""

    number: int


#: Kept, so that it can be seen that it is this very object that an endpoint checks by.
SPEC = PldMsg | None
VALUES: dict[str, Any] = {
    "good": PldMsg("x"),
    "none": None,
    "number": 10,
    "other": OtherMsg(5),
    "half": {"field": 5},
    "unsendable": object(),
}


def check_local(error: MsgTypeError, ctx: Context, value: Any) -> None:
    """Assert that an error is one of this side: facts and message, and nothing that looks remote."""
    assert (error.tb_str, error.src_uid, error.ipc_msg) == ("", None, None)
    for text in (repr(error), str(error), error._message):
        assert "------ - ------" not in text
    for line in error.message.splitlines():
        assert line in repr(error)
    assert (error.expected_msg_type, error.cid, error.bad_msg) == (Started, ctx.cid, value)
    assert error.bad_msg_as_dict == {"msg_type": "Started", "cid": ctx.cid, "pld": value}


@tractor.context(pld_spec=SPEC)
async def say(
    ctx: Context,
    first: str = "none",
    items: list[str] = [],  # noqa: B006 - never changed
    result: str = "none",
    hear: int = 0,
    check: bool = True,
) -> Any:
    """Start with one value, send some, take `hear` items, return another; all of them by name."""
    assert ctx.pld_rx.pld_dec.spec is SPEC
    try:
        await ctx.started(VALUES[first], validate_pld_spec=check)
    except MsgTypeError as error:
        check_local(error, ctx, VALUES[first])
        raise
    async with ctx.open_stream() as stream:
        for item in items:
            await stream.send(VALUES[item])
        for _ in range(hear):
            assert isinstance(await stream.receive(), PldMsg | None)
    return VALUES[result]


@tractor.context(pld_spec=SPEC)
async def forgives(ctx: Context) -> Any:
    """Take an item that is wrong, then one that is right, and give that back."""
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            await stream.receive()
        except MsgTypeError as error:
            found = error
        assert found.cid == ctx.cid
        item = await stream.receive()
        await stream.send(item)
        return item


@tractor.context
async def strict(ctx: Context, in_a_tuple: bool) -> None:
    """Start with a value that must arrive as it is."""
    await ctx.started((1, 2) if in_a_tuple else [1, 2], strict_pld_parity=True)


@tractor.context(pld_spec=tuple[int, int])
async def strict_and_typed(ctx: Context) -> tuple[int, int]:
    """The same where the spec brings the tuple back."""
    await ctx.started((1, 2), strict_pld_parity=True)
    return (1, 2)


@tractor.context
async def limited(ctx: Context) -> str:
    """Start within a limit, first with what is outside of it."""
    with limit_plds(int):
        try:
            await ctx.started("x")
        except MsgTypeError as error:
            found = error
        check_local(found, ctx, "x")
        await ctx.started(5)
    return "free again"


@tractor.context
async def sleeper(ctx: Context) -> None:
    """Wait until cancelled."""
    await ctx.started()
    await trio.sleep_forever()


@asynccontextmanager
async def open_neighbour(ctx: Context, name: str | None) -> AsyncGenerator[Any]:
    """Yield a portal: to a new actor of that name, or back to the opener."""
    if name is None:
        yield tractor.Portal(ctx._router)
        return
    async with tractor.open_nursery() as nursery:
        yield await nursery.start_actor(name, enable_modules=[HERE])
        await nursery.cancel()


@tractor.context
async def fails_to_start(ctx: Context, neighbour: str | None = None) -> None:
    """Start with what cannot be sent, having two contexts elsewhere that are cancelled on the way out."""
    async with open_neighbour(ctx, neighbour) as portal:
        async with portal.open_context(sleeper) as (one, _), portal.open_context(sleeper) as (two, _):
            try:
                await ctx.started(object())
            finally:
                await one.cancel()
                await two.cancel()


class Nsp:
    """Pointers to functions travel as the text that they are."""

    src_type = NamespacePath
    wire_type = str

    def encode(self, obj: Any, /) -> str:
        """Return plain text."""
        return str(obj)

    def decode(self, obj: Any, /) -> NamespacePath:
        """Return the pointer; raise if the text is none."""
        path = NamespacePath(obj)
        path.to_tuple()
        return path


ENC, DEC = mk_codec_hooks([Nsp()])
HOOKED = mk_codec(enc_hook=ENC, ext_types=[NamespacePath])
POINTER = NamespacePath.from_ref(open_neighbour)


@tractor.context(pld_spec=NamespacePath | int | None, enc_hook=ENC, dec_hook=DEC)
async def declared(ctx: Context) -> Any:
    """Exchange pointers by the hooks of the endpoint."""
    await ctx.started(POINTER)
    async with ctx.open_stream() as stream:
        async for item in stream:
            assert type(item) in (NamespacePath, int, type(None))
            await stream.send(item)
    return POINTER


@tractor.context
async def scoped(ctx: Context, names: list[str], how: str) -> Any:
    """Exchange pointers by a spec that came by name, with hooks applied to the task, to the context, or to neither."""
    with ExitStack() as stack:
        if how != "neither":
            stack.enter_context(apply_codec(HOOKED, ctx if how == "context" else None))
        spec = dec_type_union(names, [tractor.msg])
        dec_hook = DEC if how != "neither" else None
        stack.enter_context(limit_plds(spec, dec_hook, [NamespacePath] if dec_hook else None))
        await ctx.started(POINTER)
        async with ctx.open_stream() as stream:
            item = await stream.receive()
            assert type(item) is NamespacePath
            await stream.send([item, item])
        return None


async def type_name(value: Any) -> list[str]:
    """Return the argument and the name of its type."""
    return [value, type(value).__name__]


async def give_pointer() -> Any:
    """Return what cannot be sent."""
    return POINTER

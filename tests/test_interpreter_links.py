"""What is spoken with actors that are interpreters: marshal inside a process, where msgspec does not load for one end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

import tractor
from tests.programs import lodgers
from tests.programs.lodgers import Parcel

HERE = [lodgers.__name__]
ARRIVED = [[1, [2]], {"a": b"x", "t": datetime(2020, 1, 1, tzinfo=UTC)}]


@pytest.mark.parametrize(("gil", "codec"), [("own", "marshal"), ("shared", "msgpack")])
async def test_a_child_and_its_parent_speak(gil: str, codec: str) -> None:
    """Marshal where it is needed only: msgspec is quicker."""
    async with tractor.open_nursery(start_method="subint") as an:
        portal = await an.start_actor("lodger", enable_modules=HERE, proc_kwargs={"gil": gil})
        assert portal.chan.codec.name == codec
        assert set((await portal.run(lodgers.name_codecs)).values()) == {codec}
        assert await portal.run(lodgers.give_back, value=[(1, {2}), {"a": b"x"}]) == [[1, [2]], {"a": b"x"}]
        await an.cancel()


async def test_a_child_that_is_a_process_speaks_msgpack() -> None:
    """Also where its parent made both ends of the connection, which is all the kernel knows of it."""
    async with tractor.open_nursery(start_method="trio") as an:
        portal = await an.start_actor("tenant", enable_modules=HERE)
        assert portal.chan.codec.name == "msgpack"
        assert not portal.chan.transport.same_process
        assert set((await portal.run(lodgers.name_codecs)).values()) == {"msgpack"}
        await an.cancel()


@pytest.mark.parametrize(("way", "codec"), [("uds", "marshal"), ("tcp", "msgpack")])
async def test_siblings_speak_marshal_where_the_kernel_knows_them(way: str, codec: str) -> None:
    """By a Unix-domain socket; from afar anybody could say that it is here."""
    async with tractor.open_nursery(start_method="subint", enable_transports=[way]) as an:
        portals = [await an.start_actor(name, enable_modules=HERE) for name in ("left", "right")]
        ours, theirs, answer = await portals[0].run(lodgers.ask_sibling, name="right")
        assert (ours, theirs) == (codec, codec)
        assert answer == ARRIVED
        await an.cancel()


@asynccontextmanager
async def lodger_and_other(method: str) -> AsyncGenerator[tuple[tractor.Portal, tractor.Portal]]:
    """Run an interpreter with a lock of its own, and beside it an actor of another kind."""
    async with (
        tractor.open_nursery(start_method="subint") as lodgings,
        tractor.open_nursery(start_method=method) as others,
    ):
        lodger = await lodgings.start_actor("lodger", enable_modules=HERE)
        yield lodger, await others.start_actor("other", enable_modules=HERE)
        await others.cancel()
        await lodgings.cancel()


async def test_a_process_is_spoken_to_in_msgpack() -> None:
    """By an interpreter of another one, whatever its own links are like."""
    async with lodger_and_other("trio") as (lodger, _):
        ours, theirs, answer = await lodger.run(lodgers.ask_sibling, name="other")
        assert (ours, theirs, answer) == ("msgpack", "msgpack", ARRIVED)


@pytest.mark.parametrize("method", ["subint", "trio"])
async def test_an_error_is_relayed_from_link_to_link(method: str) -> None:
    """Whatever each of them is spoken in: its origin is kept, and its text."""
    async with lodger_and_other(method) as (lodger, other):
        with pytest.raises(tractor.RemoteActorError, match="as told") as info:
            await lodger.run(lodgers.relay_failure, name="other")
        error = info.value
        assert (error.boxed_type, error.src_type) == (tractor.RemoteActorError, ValueError)
        assert error.src_uid == other.aid.uid
        assert error.relay_uid == lodger.aid.uid
        assert "raise ValueError" in error.tb_str


async def test_specs_hold_as_between_processes() -> None:
    """What matches arrives as what it says; what does not is the same error, at either end."""
    errors = []
    async with lodger_and_other("trio") as portals:
        assert [portal.chan.codec.name for portal in portals] == ["marshal", "msgpack"]
        for portal in portals:
            async with (
                portal.open_context(lodgers.forward) as (ctx, first),
                ctx.open_stream() as stream,
            ):
                assert first is None
                await stream.send(Parcel("a", b"x", [1]))
                assert await stream.receive() == Parcel("a", b"x", [1])
            assert await ctx.wait_for_result() == Parcel("a", b"x", [1])
            for bad in ([1], {"name": "a", "content": b"", "numbers": ["x"]}):
                with pytest.raises(tractor.MsgTypeError) as info:
                    async with portal.open_context(lodgers.forward) as (ctx, _), ctx.open_stream() as stream:
                        await stream.send(bad)
                        await stream.receive()
                errors.append(info.value.message)
    assert errors[:2] == errors[2:]
    assert "Expected `int`, got `str` - at `$.numbers[0]`" in errors[1]

"""Big buffers between interpreters of one process: nothing is copied on the way, nothing is lost, nothing is left."""

import gc
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import lenders
from tractor.ipc._lending import MOST_LENT, count_lent

HERE = [lenders.__name__]
ROOT = Path(__file__).parents[1]
MIB = 1024 * 1024
SEVENS = b"\7" * MIB
#: Seconds for what is given back to be gone.
PATIENCE = 10


@asynccontextmanager
async def open_lender(method: str = "subint") -> AsyncGenerator[tractor.Portal]:
    """Run an actor around the block."""
    async with tractor.open_nursery(start_method=method) as an:
        yield await an.start_actor("lender", enable_modules=HERE)
        await an.cancel()


async def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when it is; other interpreters, which tell nobody, have to get there."""
    with trio.fail_after(PATIENCE):
        while not is_so():
            gc.collect()
            await trio.sleep(0.005)


def memory() -> int:
    """Return how much of this process is in memory, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // MIB


def interpreters() -> int:
    """Return how many there are."""
    import _interpreters

    return len(_interpreters.list_all())


@pytest.mark.parametrize("method", ["subint", "trio"])
async def test_by_default_bytes_arrive(method: str) -> None:
    """The same from everywhere, whatever was sent."""
    async with open_lender(method) as portal:
        for data in (SEVENS, bytearray(SEVENS), memoryview(SEVENS)):
            assert list(await portal.run(lenders.describe, data=data)) == ["bytes", MIB, 7 * 1000 + 7]
        for what in ("bytes", "bytearray", "memoryview"):
            found = await portal.run(lenders.make, size=MIB, what=what)
            assert type(found) is bytes
            assert found == bytes(range(256)) * (MIB // 256)
        assert await portal.run(lenders.how_many_lent) == 0
        await wait_until(lambda: count_lent() == 0)


@pytest.mark.parametrize("method", ["subint", "trio"])
async def test_a_spec_of_a_view_gets_one(method: str) -> None:
    """Of the sender's own memory, inside a process."""
    async with open_lender(method) as portal, portal.open_context(lenders.swap, size=MIB) as (ctx, _):
        async with ctx.open_stream(backpressure=True) as stream:
            for _ in range(3):
                await stream.send(memoryview(SEVENS))
                view = await stream.receive()
                assert type(view) is memoryview
                assert (len(view), view[0]) == (MIB, ord("z"))
            assert await portal.run(lenders.how_many_lent) == (1 if method == "subint" else 0)
            del view
            gc.collect()
            assert await portal.run(lenders.how_many_lent) == 0
        assert await ctx.wait_for_result() == 5


async def test_a_view_outlives_the_actor_that_has_sent_it() -> None:
    """Its interpreter is taken apart when nobody looks at its memory any more; the nursery does not wait for that."""
    before = interpreters()
    for _ in range(5):
        views: list[Any] = []
        async with open_lender() as portal:
            for _ in range(3):
                async with portal.open_context(lenders.get_view, size=MIB) as (ctx, _):
                    views.append(await ctx.wait_for_result())
        assert interpreters() > before
        assert [bytes(view[-3:]) for view in views] == [b"vvv"] * 3
        views.pop()
        gc.collect()
        assert bytes(views[0]) == b"v" * MIB
        # A context can be asked for its result again.
        del views, ctx
        await wait_until(lambda: interpreters() == before)


async def test_an_actor_that_ends_gives_back_what_it_kept() -> None:
    """In order or by force, also what it has not even read."""
    for kill in (False, True):
        async with tractor.open_nursery(start_method="subint", grace=0.1) as an:
            portal = await an.start_actor("lender", enable_modules=HERE)
            async with (
                portal.open_context(lenders.keep) as (ctx, _),
                ctx.open_stream(backpressure=True) as stream,
            ):
                for _ in range(5):
                    await stream.send(memoryview(SEVENS))
                    assert await stream.receive() == b"kept"
            assert count_lent() == 5
            await an.cancel(hard_kill=kill)
        await wait_until(lambda: count_lent() == 0)


async def test_a_link_that_is_lost_gives_back_what_was_under_way() -> None:
    """It was posted, and nobody was there to take it."""
    async with tractor.open_nursery(start_method="subint", grace=0.1) as an:
        portal = await an.start_actor("lender", enable_modules=HERE)
        with pytest.raises((tractor.RemoteActorError, tractor.TransportClosed)):
            async with portal.open_context(lenders.receive_nothing) as (ctx, _), ctx.open_stream() as stream:
                for _ in range(5):
                    await stream.send(SEVENS)
                assert count_lent() == 5
                await an.cancel(hard_kill=True)
    await wait_until(lambda: count_lent() == 0)


async def test_one_that_keeps_too_many_gets_copies() -> None:
    """Python would lose track of more."""
    async with open_lender() as portal:
        async with (
            portal.open_context(lenders.keep) as (ctx, _),
            ctx.open_stream(backpressure=True) as stream,
        ):
            for _ in range(MOST_LENT + 5):
                await stream.send(memoryview(SEVENS))
                assert await stream.receive() == b"kept"
            assert count_lent() == MOST_LENT
    await wait_until(lambda: count_lent() == 0)


async def test_a_thousand_leave_no_memory_behind() -> None:
    """Both ways, each of them a new one."""
    async with open_lender() as portal, portal.open_context(lenders.swap, size=MIB // 4) as (ctx, _):
        async with ctx.open_stream(backpressure=True) as stream:
            start = 0
            for number in range(1000):
                await stream.send(memoryview(SEVENS[number:]))
                view = await stream.receive()
                assert isinstance(view, memoryview)
                del view
                if number == 100:
                    start = memory()
            assert memory() - start < 100
            await wait_until(lambda: count_lent() == 0)


@pytest.mark.parametrize("method", ["subint", "trio"])
async def test_the_limit_of_a_message_counts_them(method: str) -> None:
    """A message is as big as what it says, wherever that is."""
    async with tractor.open_root_actor(start_method=method, max_msg_size=MIB), open_lender(method) as portal:
        with pytest.raises(
            ValueError, match=r"message of 1\d{6} bytes is over the channel's limit of 1048576 bytes"
        ):
            await portal.run(lenders.describe, data=SEVENS)
        assert list(await portal.run(lenders.describe, data=SEVENS[: MIB // 2])) == [
            "bytes",
            MIB // 2,
            7 * 1000 + 7,
        ]
    assert count_lent() == 0


async def test_siblings_hand_over_as_well() -> None:
    """Where they know that they are in one process."""
    async with tractor.open_nursery(start_method="subint", enable_transports=["uds"]) as an:
        one = await an.start_actor("one", enable_modules=HERE)
        other = await an.start_actor("other", enable_modules=HERE)
        found = await one.run(lenders.pass_on, name="other", size=MIB)
        assert list(found)[:3] == ["marshal", "bytes", MIB]
        with trio.fail_after(PATIENCE):
            # The one that was asked may still be about to forget what it was asked.
            while await one.run(lenders.how_many_lent):
                await trio.sleep(0.005)
        assert await other.run(lenders.how_many_lent) == 0
        await an.cancel()


def test_a_program_may_end_while_it_looks_at_one() -> None:
    """Up to its last line, and nothing is said about an interpreter that is left."""
    code = "from tests.programs.lenders import hold_to_the_end as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'vvv'\n", "")

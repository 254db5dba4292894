"""Children that are interpreters of their parent's process."""

import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import lodgers, refusing
from tractor.spawn import _subint
from tractor.spawn._backend import ChildSpec

HERE = [lodgers.__name__]


@pytest.fixture(params=["own", "shared"])
def gil(request: pytest.FixtureRequest) -> str:
    """Which lock the child runs under."""
    key: str = request.param
    return key


@asynccontextmanager
async def open_child(
    gil: str, modules: list[str] = HERE, name: str = "lodger", **nursery: Any
) -> AsyncGenerator[tuple[tractor.ActorNursery, tractor.Portal]]:
    """Run one around the block."""
    async with tractor.open_nursery(start_method="subint", **nursery) as an:
        portal = await an.start_actor(name, enable_modules=modules, proc_kwargs={"gil": gil})
        yield an, portal
        await an.cancel()


async def test_a_child_lives_in_the_process_of_its_parent(gil: str) -> None:
    """On a thread of its own, as an actor of its own."""
    async with open_child(gil) as (_, portal):
        name, pid, thread, root, main = await portal.run(lodgers.describe)
        assert (name, pid, root, main) == ("lodger", os.getpid(), False, False)
        assert thread != threading.get_ident()
        assert portal.aid.pid == os.getpid()


async def test_everything_travels_as_to_a_process(gil: str, transport: str) -> None:
    """Calls, errors, streams."""
    async with open_child(gil, enable_transports=[transport]) as (_, portal):
        with pytest.raises(tractor.RemoteActorError, match="as told") as info:
            await portal.run(lodgers.fail)
        assert info.value.boxed_type is ValueError
        assert "raise ValueError" in info.value.tb_str
        async with portal.open_context(lodgers.echo) as (ctx, _):
            async with ctx.open_stream(backpressure=True) as stream:
                for item in (1, "two", [3.0, None], {"four": b"five"}, 2**64 - 1):
                    await stream.send(item)
                    assert await stream.receive() == item
            assert await ctx.wait_for_result() == 5


async def test_actors_of_one_name_do_not_get_into_each_others_way(transport: str) -> None:
    """They share a pid, which is part of a socket's name."""
    async with tractor.open_nursery(start_method="subint", enable_transports=[transport]) as nursery:
        portals = [await nursery.start_actor("twin", enable_modules=HERE) for _ in range(3)]
        addrs = [portal.chan.peer_addrs for portal in portals]
        assert len({addr for one in addrs for addr in one}) == 3
        async with tractor.find_actor("twin") as portal:
            assert portal is not None
            assert (await portal.run(lodgers.describe))[0] == "twin"
        await nursery.cancel()


async def test_threads_processes_and_names_work_inside(gil: str) -> None:
    """They need daemon threads, which the stock configuration forbids."""
    async with open_child(gil) as (_, portal):
        assert await portal.run(lodgers.use_threads_and_processes) == [42, 80, "hello"]


@pytest.mark.parametrize("inner", ["trio", "subint"])
async def test_it_may_have_children_of_any_kind(gil: str, inner: str) -> None:
    """An interpreter in an interpreter is one beside it."""
    async with open_child(gil) as (_, portal):
        name, pid, *_ = await portal.run(lodgers.describe_in_child, start_method=inner)
        assert name == "inner"
        assert (pid == os.getpid()) is (inner == "subint")


async def test_one_that_was_ready_is_used_and_is_like_the_process_of_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its environment and its module search path are not those of the moment at which it was made."""
    monkeypatch.setenv("TRACTOR_SUBINT_POOL", "1")
    async with tractor.open_root_actor(start_method="subint") as root:
        pool = root.backend._pool
        async with tractor.open_nursery() as nursery:
            await nursery.start_actor("first", enable_modules=HERE)
            with trio.fail_after(10):
                while not pool._ready:
                    await trio.sleep(0.005)
            ready = pool._ready[0].thread.ident
            monkeypatch.setenv("TRACTOR_TEST_LODGER", "yes")
            monkeypatch.syspath_prepend(tmp_path)
            (tmp_path / "written_later.py").write_text("async def answer() -> int:\n    return 42\n")
            portal = await nursery.start_actor("second", enable_modules=[*HERE, "written_later"])
            assert (await portal.run(lodgers.describe))[2] == ready
            assert await portal.run(lodgers.get_env, name="TRACTOR_TEST_LODGER") == "yes"
            assert await portal.run_from_ns("written_later", "answer") == 42
            await nursery.cancel()
    assert not pool._ready


async def test_a_module_that_refuses_costs_the_lock_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    """The actor comes up all the same, and it is said why not as asked."""
    with caplog.at_level(logging.WARNING, "tractor"):
        async with open_child("auto", [refusing.__name__]) as (_, portal):
            assert await portal.run(refusing.get_name) == "lodger"
    records = [record for record in caplog.records if "shares the lock" in record.message]
    assert len(records) == 1
    assert "msgspec" in records[0].why  # type: ignore[attr-defined]


async def test_a_module_that_refuses_is_an_error_where_a_lock_of_ones_own_was_asked_for() -> None:
    """It names the module."""
    with pytest.raises(tractor.ActorFailure, match="failed to boot") as info:
        async with open_child("own", [refusing.__name__]):
            pytest.fail("it is up")
    assert "msgspec" in str(info.value.__cause__)


async def test_a_failed_boot_is_told_with_what_was_written(gil: str) -> None:
    """As that of a process is."""
    with pytest.raises(tractor.ActorFailure, match="this module cannot be imported") as info:
        async with open_child(gil, ["tests.programs.failing_import"]):
            pytest.fail("it is up")
    assert "about to fail" in info.value.stderr_tail


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"gil": "none"}, ValueError, "gil is one of auto, own, shared, not 'none'"),
        ({"env": {}, "cwd": "/"}, TypeError, "does not know cwd, env; proc_kwargs may have: gil"),
    ],
)
async def test_options_that_make_no_sense_are_refused(
    options: Any, error: type[Exception], text: str
) -> None:
    """At once, with those that do."""
    with pytest.raises(tractor.ActorFailure, match=text) as info:
        async with tractor.open_nursery(start_method="subint") as nursery:
            await nursery.start_actor("lodger", proc_kwargs=options)
    assert type(info.value.__cause__) is error


async def test_the_environment_chooses_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """For programs that say nothing."""
    monkeypatch.setenv("TRACTOR_SUBINT_GIL", "own")
    with pytest.raises(tractor.ActorFailure, match="failed to boot"):
        async with tractor.open_nursery(start_method="subint") as nursery:
            await nursery.start_actor("lodger", enable_modules=[refusing.__name__])


async def test_a_nursery_chooses_the_lock_of_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the environment does; a child that is told otherwise has its own."""
    monkeypatch.setenv("TRACTOR_SUBINT_GIL", "own")
    async with tractor.open_nursery(start_method="subint", proc_kwargs={"gil": "shared"}) as nursery:
        portal = await nursery.start_actor("lodger", enable_modules=[refusing.__name__])
        assert await portal.run(refusing.get_name) == "lodger"
        with pytest.raises(tractor.ActorFailure, match="failed to boot"):
            await nursery.start_actor(
                "strict", enable_modules=[refusing.__name__], proc_kwargs={"gil": "own"}
            )
        await nursery.cancel()


async def test_a_nursery_inside_an_actor_has_a_start_method_of_its_own() -> None:
    """Its other nurseries keep theirs."""
    async with tractor.open_root_actor(start_method="trio"):
        async with tractor.open_nursery(start_method="subint") as lodging, tractor.open_nursery() as nursery:
            lodger = await lodging.start_actor("lodger", enable_modules=HERE)
            other = await nursery.start_actor("other", enable_modules=HERE)
            assert (await lodger.run(lodgers.describe))[1] == os.getpid()
            assert (await other.run(lodgers.describe))[1] != os.getpid()
            await lodging.cancel()
            await nursery.cancel()


async def test_an_older_python_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setattr(_subint, "_SINCE", (sys.version_info.major, sys.version_info.minor + 1))
    with pytest.raises(RuntimeError, match=r"'subint' needs CPython 3\.\d+ or later; this is 3\."):
        await _subint.Interpreters()(ChildSpec("x", "y", [], b""))


async def test_a_start_that_is_cancelled_leaves_nothing(gil: str) -> None:
    """At whatever moment."""
    for number in range(12):
        with trio.move_on_after(number * 0.02):
            async with open_child(gil):
                await trio.sleep_forever()


async def test_many_that_are_not_wanted_any_more_before_they_are_made(
    gil: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Only those whose turn it is have to be waited for, and none is abandoned."""
    async with tractor.open_root_actor(start_method="subint"):
        with trio.move_on_after(0.2) as scope:
            async with (
                tractor.open_nursery(proc_kwargs={"gil": gil}) as nursery,
                trio.open_nursery() as starts,
            ):
                for number in range(24):
                    starts.start_soon(nursery.start_actor, f"lodger{number}")
    assert scope.cancelled_caught
    assert [record for record in caplog.records if "abandoned" in record.message] == []

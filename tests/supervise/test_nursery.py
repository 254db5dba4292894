"""What a nursery promises about its children, with real ones."""

from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors
from tests.programs.bodies import SOON, find_body
from tests.programs.watch import is_alive
from tests.supervise.kids import start
from tractor.supervise._nursery import ActorNursery


async def test_an_actor_is_started_used_and_ended(each_link: str, transport: str) -> None:
    """Behind the block nothing is left of it, and the nursery says so."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await start(nursery, "somebody")
        assert await portal.run(actors.add, a=1, b=2) == 3
        facts = await portal.run(actors.describe)
        assert facts["name"] == "somebody"
        assert facts["pid"] == portal.aid.pid
        assert facts["body"] != find_body()
        assert not facts["root"]
        assert list(nursery._children) == [portal.aid.uid]
        await nursery.cancel()
        assert not is_alive(facts["body"])
        assert nursery._children == {}
        assert not portal.chan.connected()
    assert nursery.exited.is_set()
    assert nursery.cancel_called
    assert nursery.cancelled_caught


async def test_a_function_is_run_in_an_actor_of_its_own(each_link: str) -> None:
    """Its result can be asked for in the block and behind it; the actor is gone with the function."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(actors.add, a=1, b=2)
        assert portal.aid.name == "add"
        assert await portal.wait_for_result() == 3
    assert await portal.wait_for_result() == 3
    assert not portal.chan.connected()
    assert not nursery.cancel_called


async def test_the_result_may_be_none() -> None:
    """It is cached like any other."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(actors.write_fd, name="writer", fd=1, text="")
    assert await portal.wait_for_result() is None
    assert await portal.wait_for_result() is None


async def test_an_actor_without_a_function_has_no_result() -> None:
    """The answer is a class, not a wait."""
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery)
        assert await portal.wait_for_result() is tractor.NoResult
        await nursery.cancel()


async def test_a_nursery_waits_for_an_actor_that_nobody_ends() -> None:
    """A daemon outlives the body; whoever has a portal may end it, and that is no error."""
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)

            async def end_it() -> None:
                await trio.sleep(0.3)
                assert not nursery.exited.is_set()
                assert await portal.cancel_actor()

            tasks.start_soon(end_it)
        assert not nursery.cancel_called


async def test_an_actor_may_end_itself() -> None:
    """By asking its own runtime, as any peer could."""
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery)
        with pytest.raises(tractor.ContextCancelled):
            await portal.run(actors.cancel_self)
    assert nursery._children == {}


async def test_names_need_not_be_unique() -> None:
    """Each child is known by its id."""
    async with tractor.open_nursery() as nursery:
        portals = [await start(nursery, "same") for _ in range(3)]
        assert len({await portal.run(actors.get_body) for portal in portals}) == 3
        assert len(nursery._children) == 3
        await nursery.cancel()


async def test_twenty_at_once() -> None:
    """Started together by twenty tasks, each is up and answers, and all are gone together."""
    bodies: list[int] = []

    async def start_one(nursery: ActorNursery, number: int) -> None:
        portal = await start(nursery, f"kid{number}")
        bodies.append(await portal.run(actors.get_body))

    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:
            for number in range(20):
                tasks.start_soon(start_one, nursery, number)
        assert len(set(bodies)) == 20
        began = trio.current_time()
        await nursery.cancel()
        assert trio.current_time() - began < SOON
    assert not any(map(is_alive, bodies))


async def test_actors_have_nurseries_of_their_own(each_link: str) -> None:
    """A child starts, uses and ends children in the same way."""
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery)
        bodies = await portal.run(actors.spawn_and_leave)
        assert len(set(bodies)) == 2
        assert not any(map(is_alive, bodies))
        await nursery.cancel()


async def test_an_actor_started_by_another_task_belongs_to_the_block() -> None:
    """Tasks may share a nursery."""
    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(start, nursery, "one")
            tasks.start_soon(start, nursery, "two")
        assert sorted(name for name, _ in nursery._children) == ["one", "two"]
        await nursery.cancel()


async def test_a_nursery_describes_itself() -> None:
    """By its actor and its children."""
    async with tractor.open_nursery() as nursery:
        assert repr(nursery) == "<ActorNursery of 'root': no children>"
        await start(nursery, "kid")
        assert repr(nursery) == "<ActorNursery of 'root': kid>"
        await nursery.cancel()


# What is refused.


@pytest.mark.parametrize("what", [print, len, lambda: None, actors.__name__])
async def test_only_an_async_function_can_be_run_in_an_actor(what: Any) -> None:
    """Said before anything is started."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(TypeError, match="must be an async function"):
            await nursery.run_in_actor(what)
        assert nursery._children == {}


async def test_arguments_that_cannot_be_sent_are_refused_before_anything_is_started() -> None:
    """The error names the type."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(TypeError, match="object"):
            await nursery.run_in_actor(actors.add, a=object(), b=1)
        assert nursery._children == {}


async def test_a_module_that_does_not_exist_is_an_error_here(tmp_path: Path) -> None:
    """Where it was asked for, and not in some child."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(ModuleNotFoundError, match="enable_modules"):
            await nursery.start_actor("kid", enable_modules=["no_such_module_anywhere"])
        with pytest.raises(ModuleNotFoundError):
            await nursery.start_actor("kid", enable_modules=["tests.no_such_module"])
        assert nursery._children == {}


async def test_a_module_with_a_syntax_error_is_an_error_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With file and line."""
    (tmp_path / "broken_module.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with tractor.open_nursery() as nursery:
        with pytest.raises(SyntaxError) as caught:
            await nursery.start_actor("kid", enable_modules=["broken_module"])
        assert caught.value.filename == str(tmp_path / "broken_module.py")


async def test_an_unknown_transport_is_an_error_here() -> None:
    """With those we have."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(ValueError, match="carrier pigeon"):
            await nursery.start_actor("kid", enable_transports=["carrier pigeon"])
        assert nursery._children == {}


async def test_a_cancelled_nursery_starts_nothing_more() -> None:
    """Nor does one whose block was left."""
    async with tractor.open_nursery() as nursery:
        await nursery.cancel()
        with pytest.raises(RuntimeError, match=r"'late'.*was cancelled"):
            await start(nursery, "late")
        with pytest.raises(RuntimeError, match="was cancelled"):
            await nursery.run_in_actor(actors.add, a=1, b=2)
    async with tractor.open_nursery() as nursery:
        pass
    with pytest.raises(RuntimeError, match=r"'late'.*is closed"):
        await start(nursery, "late")

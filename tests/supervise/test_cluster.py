"""A number of like actors at once."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, bodies
from tests.programs.bodies import BY_FORCE, LOST, find_body, is_there, slay
from tests.programs.watch import is_alive

MODULES = [actors.__name__, bodies.__name__]
#: Seconds that nobody waits for who ends actors by force.
SOON = 5.0


async def test_as_many_as_were_asked_for(transport: str) -> None:
    """Each has a body of its own, known by the name of its parent and its own; behind the block all are gone."""
    async with tractor.open_actor_cluster(
        MODULES, count=3, name="boss", enable_transports=[transport]
    ) as portals:
        assert list(portals) == ["boss.worker_0", "boss.worker_1", "boss.worker_2"]
        assert [portal.aid.name for portal in portals.values()] == ["worker_0", "worker_1", "worker_2"]
        pids = [await portal.run(actors.get_body) for portal in portals.values()]
        assert len({*pids, find_body()}) == 4
    assert not any(map(is_alive, pids))
    assert not any(portal.chan.connected() for portal in portals.values())


async def test_names_may_be_given() -> None:
    """In their order, with or without their number."""
    for count in (None, 2):
        async with tractor.open_actor_cluster(MODULES, count=count, names=iter(["b", "a"])) as portals:
            assert list(portals) == ["root.b", "root.a"]


async def test_as_many_as_there_are_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that this process may use."""
    monkeypatch.setattr(os, "process_cpu_count", lambda: 2)
    async with tractor.open_actor_cluster(MODULES) as portals:
        assert list(portals) == ["root.worker_0", "root.worker_1"]


async def test_none_at_all() -> None:
    """Is a number too."""
    async with tractor.open_actor_cluster(MODULES, count=0) as portals:
        assert portals == {}


async def test_in_an_actor_that_runs_already() -> None:
    """Its name is in the keys, and what a root would be told is not looked at."""
    async with tractor.open_nursery(name="here"):
        async with tractor.open_actor_cluster(MODULES, count=1, name="there") as portals:
            assert list(portals) == ["here.worker_0"]


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"count": 2, "names": ["only"]}, ValueError, "2 actors need as many names, not 1"),
        ({"count": 1, "names": ["a", "b"]}, ValueError, "1 actors need as many names, not 2"),
        ({"names": ["same", "same"]}, ValueError, "must differ"),
        ({"names": ["fine", ""]}, ValueError, "name must not be empty"),
        ({"count": -1}, ValueError, "negative"),
        ({"count": "2"}, TypeError, "int"),
        ({"count": True}, TypeError, "int"),
        (
            {"modules": ["no_such_module_anywhere"], "count": 3},
            ModuleNotFoundError,
            "no_such_module_anywhere",
        ),
        ({"grace": -1.0}, ValueError, "grace"),
    ],
)
async def test_what_is_refused(given: dict[str, Any], kind: type[Exception], said: str) -> None:
    """With one error, whatever the number of actors; the block is not entered."""
    with pytest.raises(kind, match=said):
        async with tractor.open_actor_cluster(**{"modules": MODULES, **given}):
            pytest.fail("entered")


async def test_an_actor_that_cannot_be_started_is_the_error_of_all(tmp_path: Path, monkeypatch: Any) -> None:
    """Those that are up are ended, and nobody waits for the others."""
    (tmp_path / "fails_in_a_child.py").write_text(
        f"import threading\nif threading.get_native_id() != {find_body()}:\n    raise OSError('not here')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((tractor.ActorFailure, ExceptionGroup)) as caught:
        async with tractor.open_actor_cluster(["fails_in_a_child"], count=3):
            pytest.fail("entered")
    error = caught.value
    failures = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    assert all(isinstance(failure, tractor.ActorFailure) for failure in failures)
    assert "not here" in str(failures[0])


async def test_an_error_of_the_body_leaves_bare_and_does_not_hang() -> None:
    """Such as that of gathering nothing."""
    with pytest.raises(ValueError, match="nothing to enter"):
        async with tractor.open_actor_cluster(MODULES, count=2) as portals:
            async with tractor.trionics.gather_contexts([]):
                pytest.fail("entered")
    assert not any(is_there(portal) for portal in portals.values())


async def test_a_cancelled_body_does_not_hang() -> None:
    """Its scope takes the cancellation."""
    with trio.CancelScope() as scope:
        async with tractor.open_actor_cluster(MODULES, count=2) as portals:
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not any(is_there(portal) for portal in portals.values())


async def test_a_cancelled_start_leaves_nothing() -> None:
    """Half of them may be up by then."""
    with trio.move_on_after(0.1) as scope:
        async with tractor.open_actor_cluster(MODULES, count=4):
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_the_death_of_one_is_an_error() -> None:
    """As in any nursery."""
    with pytest.raises(tractor.ActorFailure, match="worker_1"):
        async with tractor.open_actor_cluster(MODULES, count=2) as portals:
            await slay(portals["root.worker_1"])
            await trio.sleep_forever()


async def test_they_can_be_ended_by_force(tmp_path: Path) -> None:
    """No grace, no clean-up."""
    done = tmp_path / "done"
    async with trio.open_nursery() as tasks:
        async with tractor.open_actor_cluster(MODULES, count=2, hard_kill=True, grace=60.0) as portals:
            for portal in portals.values():
                tasks.start_soon(clean_up_in, portal, str(done))
            await trio.sleep(0.3)
            began = trio.current_time()
    assert trio.current_time() - began < SOON
    assert not done.exists()


async def clean_up_in(portal: tractor.Portal, path: str) -> None:
    """Run what has a long clean-up."""
    with pytest.raises(LOST, match=BY_FORCE):
        await portal.run(actors.clean_up_slowly, path=path, seconds=30.0)

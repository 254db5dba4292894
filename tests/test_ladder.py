"""Children that do not want to end: each is gone within its grace and half a second, however many there are."""

import os
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import actors
from tests.programs.bodies import FORCE, SHARED, is_there
from tests.programs.watch import is_alive

# What is tested is how long it takes.
pytestmark = pytest.mark.alone

#: Seconds that a child has to end in order; what force may take beyond that is `FORCE`.
GRACE = 0.5
#: Children that are ended at once. To take an interpreter apart is work, 60 ms of a processor; those of twenty would fill
#: what it has before it is called abandoned.
MANY = 10 if SHARED else 20

STUBBORN = [
    actors.block,
    actors.spin,
    actors.shielded,
    actors.deaf,
    actors.swallow,
    actors.hold_exit,
]


async def start_stubborn(
    nursery: tractor.ActorNursery, tasks: trio.Nursery, act: Any, name: str = "stubborn", **kwargs: Any
) -> tuple[int, list[str]]:
    """Start a child and have it do `act`; return its body, and a list that gets what its caller is told."""
    portal = await nursery.start_actor(name, enable_modules=[actors.__name__])
    body = await portal.run(actors.get_body)
    told: list[str] = []

    async def call() -> None:
        try:
            await portal.run(act, **kwargs)
        except (tractor.TransportClosed, tractor.RemoteActorError) as exc:
            told.append(str(exc))

    tasks.start_soon(call)
    return body, told


@pytest.mark.parametrize("act", STUBBORN, ids=lambda act: act.__name__)
async def test_a_stubborn_child_is_gone_in_time(act: Any) -> None:
    """Nothing it does keeps the nursery, and its caller is not left waiting either."""
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(grace=GRACE) as nursery:
            body, told = await start_stubborn(nursery, tasks, act)
            await trio.sleep(0.3)
            began = trio.current_time()
            await nursery.cancel()
            assert trio.current_time() - began < GRACE + FORCE
            assert not is_alive(body)
    assert len(told) == (0 if act is actors.hold_exit else 1)


@pytest.mark.parametrize("act", [actors.block, actors.shielded, actors.swallow], ids=lambda act: act.__name__)
async def test_a_stubborn_child_does_not_keep_an_error(act: Any) -> None:
    """An error of the body comes through in the same time, bare."""
    began = 0.0
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_nursery(grace=GRACE) as nursery:
            portal = await nursery.run_in_actor(act)
            await trio.sleep(0.3)
            began = trio.current_time()
            raise ValueError("mine")
    assert trio.current_time() - began < GRACE + FORCE
    assert not is_there(portal)


@pytest.mark.parametrize("act", [actors.spin, actors.deaf], ids=lambda act: act.__name__)
async def test_a_timeout_around_a_stubborn_child(act: Any) -> None:
    """Nor does it keep a cancellation."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery(grace=GRACE) as nursery:
            portal = await nursery.run_in_actor(act)
            scope.deadline = trio.current_time() + 0.3
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - scope.deadline < GRACE + FORCE
    assert not is_there(portal)


async def test_many_stubborn_children_take_no_longer_than_one() -> None:
    """All are asked at once, and all graces run at once."""

    async def measure(count: int) -> float:
        async with trio.open_nursery() as tasks:
            async with tractor.open_nursery(grace=GRACE) as nursery:
                bodies: list[int] = []

                async def start_one(number: int) -> None:
                    act = STUBBORN[number % len(STUBBORN)]
                    bodies.append((await start_stubborn(nursery, tasks, act, f"stubborn{number}"))[0])

                async with trio.open_nursery() as starts:
                    for number in range(count):
                        starts.start_soon(start_one, number)
                await trio.sleep(0.3)
                began = trio.current_time()
                await nursery.cancel()
                took = trio.current_time() - began
                assert len(set(bodies)) == count
                assert not any(map(is_alive, bodies))
        return took

    one = await measure(1)
    many = await measure(MANY)
    assert one < GRACE + FORCE
    # In a row they would take their graces at the very least, five seconds or ten.
    assert many < GRACE + FORCE + 1.0


@pytest.mark.parametrize("target", ["block", "spin", "deaf", "shielded"])
async def test_a_stubborn_child_two_levels_down(target: str, tmp_path: Path) -> None:
    """Each level leaves the one above it time enough: the whole branch is gone within the one grace."""
    path = tmp_path / "bodies"
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(grace=1.0) as nursery:
            await start_stubborn(nursery, tasks, actors.nest, depth=2, target=target, path=str(path))
            with trio.fail_after(20):
                while not path.exists() or len(path.read_text().split()) < 3:
                    await trio.sleep(0.02)
            bodies = [int(line) for line in path.read_text().split()]
            assert all(map(is_alive, bodies))
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel()
            assert trio.current_time() - began < 1.0 + FORCE
            with trio.fail_after(max(0.0, began + 1.0 + FORCE - trio.current_time())):
                while any(map(is_alive, bodies)):
                    await trio.sleep(0.01)


async def test_a_lifted_shield_still_lets_a_child_clean_up(tmp_path: Path) -> None:
    """It is unwound like any cancelled task, through its own `finally` blocks, and its process ends in order."""
    done = tmp_path / "done"
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(grace=GRACE) as nursery:
            await start_stubborn(nursery, tasks, actors.clean_up_shielded, path=str(done))
            await trio.sleep(0.3)
            await nursery.cancel()
    assert done.read_text() == "clean\n"


async def test_a_child_that_uses_its_grace_is_not_hurried(tmp_path: Path) -> None:
    """One that ends in order within it is ended by nobody."""
    done = tmp_path / "done"
    async with tractor.open_nursery(grace=6.0) as nursery:
        await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=4.0)
        await trio.sleep(0.3)
        began = trio.current_time()
        await nursery.cancel()
        assert 3.9 < trio.current_time() - began < 6.0
    assert done.read_text() == "clean\n"


async def test_no_grace_at_all() -> None:
    """`grace=0` is force at once."""
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(grace=0) as nursery:
            body, _ = await start_stubborn(nursery, tasks, actors.block)
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel()
            assert trio.current_time() - began < FORCE
            assert not is_alive(body)


@OF_A_PROCESS
async def test_a_child_that_is_stopped_is_ended_all_the_same() -> None:
    """A process that gets no processor time at all, as under a debugger, can still be killed."""
    async with tractor.open_nursery(grace=GRACE) as nursery:
        portal = await nursery.start_actor("stopped")
        os.kill(portal.aid.pid or 0, 19)
        began = trio.current_time()
        await nursery.cancel()
        assert trio.current_time() - began < GRACE + FORCE

"""How one child is ended: step by step, and no harder than it takes."""

import os
import signal

import pytest
import trio

from tests.supervise.pretend import (
    ALL,
    GRACE,
    World,
    come_up,
    in_no_time,
    open_world,
    run,
)
from tractor._errors import Exit
from tractor._hooks import on_kill
from tractor.ipc._transport import Buffer
from tractor.msg._codec import get_codec
from tractor.msg._errbox import pack_error
from tractor.supervise._lifecycle import Phase
from tractor.wire._kinds import Kind


@in_no_time
async def test_the_ladder_is_climbed_step_by_step() -> None:
    """A child that obeys nothing gets every step at its moment; whoever waits on it is told at the second one."""
    async with open_world(come_up, obeys=("kill",)) as world:
        await world.child.up.wait()
        began = trio.current_time()
        world.child.end_soon("enough")
        error = await world.wait_loss()
        assert "did not end within its grace" in str(error)
        # They are told how it ended, which is known a moment later.
        assert GRACE <= trio.current_time() - began <= GRACE + 0.36
        assert error.exit == Exit("killed", -9)
        await world.child.gone.wait()
        assert world.steps_since(began) == [("hang up", 2.0), ("interrupt", 2.2), ("kill", 2.35)]
        assert world.child.exit == Exit("killed", -9)
        assert world.child.failure is None


@pytest.mark.parametrize("obeys", ALL)
@in_no_time
async def test_the_ladder_ends_at_the_step_that_works(obeys: str) -> None:
    """No harder one follows."""
    async with open_world(come_up, obeys=(obeys, "kill")) as world:
        await world.child.up.wait()
        world.child.end_soon("enough")
        await world.child.gone.wait()
        await trio.sleep(10)
        assert [step for step, _ in world.body.steps] == list(ALL[: ALL.index(obeys) + 1])


@in_no_time
async def test_a_child_can_be_killed_without_a_question() -> None:
    """At once, and announced to whoever listens for kills."""
    heard: list[tuple[str, str]] = []
    async with open_world(come_up) as world:
        await world.child.up.wait()
        with on_kill(lambda child, why: heard.append((child, why))):
            world.child.end_soon("no time", kill=True)
            await world.child.gone.wait()
        assert [step for step, _ in world.body.steps] == ["kill"]
    assert heard == [(f"kid@{os.getpid()}", "no time")]


@in_no_time
async def test_a_child_that_is_torn_while_it_answers_is_ended_all_the_same() -> None:
    """What interrupts its code may hit the runtime's, and comes back as the answer: no news to whoever wants its end."""

    async def fail(world: World) -> None:
        await world.come_up()

        def answer(kind: int, flags: int, did: int, body: Buffer) -> None:
            if kind == Kind.START:
                error = pack_error(KeyboardInterrupt(), ("kid", world.uuid))
                world.there.post(Kind.ERROR, 0, did, get_codec().encode(error))

        await world.there.run(answer)

    async with open_world(fail, obeys=("kill",)) as world:
        await world.child.up.wait()
        world.child.end_soon("enough")
        await world.child.gone.wait()
        assert [step for step, _ in world.body.steps] == list(ALL)
        assert world.child.failure is None


@in_no_time
async def test_a_kill_overtakes_the_ladder() -> None:
    """Whoever lost patience does not wait for the grace that was given before."""
    async with open_world(come_up, obeys=("kill",)) as world:
        await world.child.up.wait()
        world.child.end_soon("enough")
        await trio.sleep(0.5)
        began = trio.current_time()
        world.child.end_soon("at once", kill=True)
        await world.child.gone.wait()
        assert [step for step, _ in world.body.steps] == ["kill"]
        assert trio.current_time() - began < 0.3


@in_no_time
async def test_a_parent_in_a_hurry_shortens_the_ladder_of_its_child() -> None:
    """Also while that is under way: the parent's own deadline came later than the request."""
    async with open_world(come_up, obeys=("kill",)) as world:
        await world.child.up.wait()
        began = trio.current_time()
        world.child.end_soon("enough")
        await trio.sleep(0.5)
        world.actor._hasten(trio.current_time() + 1.0)
        await world.child.gone.wait()
        # Of the second and a half from the request to the deadline, most are the child's.
        assert [at for _, at in world.steps_since(began)] == [1.05, 1.25, 1.4]
        # A later deadline does not give it any time back.
        world.actor._hasten(trio.current_time() + 1000.0)


@in_no_time
async def test_a_deadline_that_is_over_ends_the_grace_at_once() -> None:
    """There is nothing left to share."""
    async with open_world(come_up, obeys=("kill",)) as world:
        await world.child.up.wait()
        world.child.end_soon("enough")
        await trio.sleep(0.5)
        began = trio.current_time()
        world.actor._hasten(began)
        await world.child.gone.wait()
        # The steps keep their distances all the same.
        assert [at for _, at in world.steps_since(began)] == [0.0, 0.2, 0.35]


@pytest.mark.parametrize("step", ALL)
def test_ctrl_c_in_the_middle_of_supervision_reaches_the_main_task(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the code that ends the child, which would leave its nursery waiting for ever."""
    seen: list[World] = []

    async def main() -> None:
        async with open_world(come_up, obeys=("kill",)) as world:
            seen.append(world)
            await world.child.up.wait()
            original = world.body._take

            def take(taken: str) -> None:
                if taken == step:
                    os.kill(os.getpid(), signal.SIGINT)
                original(taken)

            monkeypatch.setattr(world.body, "_take", take)
            world.child.end_soon("enough")
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await world.child.gone.wait()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    (world,) = seen
    assert [taken for taken, _ in world.body.steps] == list(ALL)
    assert world.child.phase is Phase.GONE

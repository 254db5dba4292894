"""What a nursery promises about its children, with real ones."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors
from tests.programs.watch import is_alive
from tractor.supervise._nursery import ActorNursery

MODULES = [actors.__name__]
#: Seconds in which something is done at once, on a busy machine.
SOON = 2.0


async def start(nursery: ActorNursery, name: str = "kid", **kwargs: Any) -> tractor.Portal:
    """Start an actor that can run what `tests.programs.actors` has."""
    return await nursery.start_actor(name, enable_modules=MODULES, **kwargs)


def boxes(exc: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether this is another actor's error of that type."""
    return isinstance(exc, tractor.RemoteActorError) and exc.boxed_type is kind


# Starting, using, ending.


async def test_an_actor_is_started_used_and_ended(each_link: str, transport: str) -> None:
    """Behind the block nothing is left of it, and the nursery says so."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await start(nursery, "somebody")
        assert await portal.run(actors.add, a=1, b=2) == 3
        facts = await portal.run(actors.describe)
        assert facts["name"] == "somebody"
        assert facts["pid"] == portal.aid.pid != os.getpid()
        assert not facts["root"]
        assert list(nursery._children) == [portal.aid.uid]
        await nursery.cancel()
        assert not is_alive(facts["pid"])
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
        assert len({await portal.run(actors.get_pid) for portal in portals}) == 3
        assert len(nursery._children) == 3
        await nursery.cancel()


async def test_twenty_at_once() -> None:
    """Started together by twenty tasks, each is up and answers, and all are gone together."""
    pids: list[int] = []

    async def start_one(nursery: ActorNursery, number: int) -> None:
        portal = await start(nursery, f"kid{number}")
        pids.append(await portal.run(actors.get_pid))

    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:
            for number in range(20):
                tasks.start_soon(start_one, nursery, number)
        assert len(set(pids)) == 20
        began = trio.current_time()
        await nursery.cancel()
        assert trio.current_time() - began < SOON
    assert not any(map(is_alive, pids))


async def test_actors_have_nurseries_of_their_own(each_link: str) -> None:
    """A child starts, uses and ends children in the same way."""
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery)
        pids = await portal.run(actors.spawn_and_leave)
        assert len(set(pids)) == 2
        assert not any(map(is_alive, pids))
        await nursery.cancel()


async def test_an_actor_started_by_another_task_belongs_to_the_block() -> None:
    """Tasks may share a nursery."""
    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(start, nursery, "one")
            tasks.start_soon(start, nursery, "two")
        assert sorted(name for name, _ in nursery._children) == ["one", "two"]
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


# Errors of functions.


async def test_the_error_of_one_function_is_raised_bare() -> None:
    """With its type and traceback, when the body has ended."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.fail, message="told you")
    assert caught.value.boxed_type is AssertionError
    assert caught.value.src_uid == portal.aid.uid
    assert "told you" in caught.value.tb_str
    with pytest.raises(tractor.RemoteActorError):
        await portal.wait_for_result()


async def test_the_error_of_a_function_leaves_the_body_alone() -> None:
    """It is raised when the body has ended, as documented."""
    reached = False
    with pytest.raises(tractor.RemoteActorError):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.fail)
            await trio.sleep(0.5)
            reached = True
    assert reached


async def test_an_error_that_the_body_passes_on_counts_once() -> None:
    """It waited for the result and let the error go."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.fail)
            await portal.wait_for_result()
    assert caught.value.boxed_type is AssertionError


async def test_arguments_that_do_not_fit() -> None:
    """The function's own `TypeError`, bare."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.add, a=1, nonsense=2)
    assert caught.value.boxed_type is TypeError


@pytest.mark.parametrize("count", [2, 3])
async def test_several_errors_are_a_group_of_exactly_as_many(count: int) -> None:
    """Every one is there, and nothing else."""
    with pytest.raises(ExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            for number in range(count):
                await nursery.run_in_actor(actors.fail, name=f"failer{number}", delay=0.1 * number)
    assert len(caught.value.exceptions) == count
    assert all(boxes(exc, AssertionError) for exc in caught.value.exceptions)


@pytest.mark.parametrize("delay", [0.0, 0.5])
async def test_twenty_five_errors_are_a_group_of_twenty_five(delay: float) -> None:
    """However close together: none is replaced by the cancellation that the first one caused."""
    with pytest.raises(ExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            async with trio.open_nursery() as tasks:

                async def start_one(number: int) -> None:
                    await nursery.run_in_actor(actors.fail, name=f"failer{number}", delay=delay)

                for number in range(25):
                    tasks.start_soon(start_one, number)
    assert type(caught.value) is ExceptionGroup
    assert len(caught.value.exceptions) == 25
    assert all(boxes(exc, AssertionError) for exc in caught.value.exceptions)


async def test_the_error_of_a_function_ends_its_siblings() -> None:
    """One that would never end, and one that nobody told to."""
    began = trio.current_time()
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            forever = await nursery.run_in_actor(actors.sleep_forever)
            daemon = await start(nursery)
            began = trio.current_time()
            await nursery.run_in_actor(actors.fail)
    assert caught.value.boxed_type is AssertionError
    assert trio.current_time() - began < 2 * SOON
    assert nursery.cancel_called
    for portal in (forever, daemon):
        assert not is_alive(portal.aid.pid or 0)


async def test_a_sibling_that_ends_well_meanwhile_keeps_its_result() -> None:
    """The error of one does not undo the work of another."""
    with pytest.raises(tractor.RemoteActorError):
        async with tractor.open_nursery() as nursery:
            adder = await nursery.run_in_actor(actors.add, a=1, b=2)
            await nursery.run_in_actor(actors.fail, delay=0.2)
    assert await adder.wait_for_result() == 3


# Errors of the body.


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_of_the_body_ends_the_children_and_leaves_bare(kind: type[BaseException]) -> None:
    """Whatever it is."""
    pids: list[int] = []

    async def main() -> None:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)
            await nursery.run_in_actor(actors.sleep_forever)
            pids.append(await portal.run(actors.get_pid))
            raise kind("mine")

    with pytest.raises(kind, match="mine"):
        trio.run(main)
    assert not is_alive(pids[0])


async def test_an_error_of_the_body_and_one_of_a_function_are_a_group() -> None:
    """None hides the other."""
    with pytest.RaisesGroup(ValueError, tractor.RemoteActorError):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.fail)
            await trio.sleep(0.5)
            raise ValueError("mine")


async def test_children_have_their_grace_when_the_body_fails(tmp_path: Path) -> None:
    """Their clean-up is done when the error leaves the block."""
    done = tmp_path / "done"
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=0.4)
            await trio.sleep(0.2)
            raise ValueError("mine")
    assert done.read_text() == "clean\n"


async def test_the_error_of_a_call_that_leaves_the_body_is_bare() -> None:
    """All children are ended for it."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portals = [await start(nursery, f"kid{number}") for number in range(3)]
            await portals[1].run(actors.fail)
    assert caught.value.boxed_type is AssertionError
    assert nursery.cancel_called
    assert not nursery.cancelled_caught
    assert nursery._children == {}


# Deaths.


@pytest.mark.parametrize(
    ("act", "kwargs", "said"),
    [
        (actors.exit_hard, {"code": 0}, "exited cleanly"),
        (actors.exit_hard, {"code": 3}, "exit status 3"),
        (actors.send_signal, {"number": signal.SIGKILL}, "killed by SIGKILL"),
        (actors.send_signal, {"number": signal.SIGSEGV}, "killed by SIGSEGV"),
    ],
)
async def test_an_actor_that_dies_in_a_call(
    act: Any, kwargs: dict[str, Any], said: str, each_link: str
) -> None:
    """The caller hears at once who and how; the nursery raises the death, with the caller's error as its cause."""
    with pytest.raises(tractor.ActorFailure) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery, "mortal")
            with pytest.raises(tractor.TransportClosed) as lost:
                await portal.run(act, **kwargs)
            assert "mortal" in str(lost.value)
            assert said in str(lost.value)
            assert lost.value.exit is not None
            raise lost.value
    assert "mortal" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.name == "mortal"
    assert isinstance(caught.value.__cause__, tractor.TransportClosed)


async def test_an_actor_that_lives_without_its_channel(each_link: str, transport: str) -> None:
    """Whoever waits on it is told at once, for there is no news of its death to wait for; then it is interrupted."""
    with pytest.raises(tractor.ActorFailure, match="its channel broke: exited cleanly") as caught:
        async with tractor.open_nursery(grace=0.2, enable_transports=[transport]) as nursery:
            portal = await start(nursery)
            assert await portal.run(actors.add, a=1, b=2) == 3
            began = trio.current_time()
            with pytest.raises(tractor.TransportClosed) as told:
                await portal.run(actors.break_channel)
            assert trio.current_time() - began < SOON / 4
            assert told.value.exit is None
            assert is_alive(portal.aid.pid or 0)
            raise told.value
    assert caught.value.__cause__ is told.value


async def test_an_idle_actor_that_dies_ends_the_block(each_link: str) -> None:
    """Nobody was waiting on it: the body is cancelled, siblings are ended, the failure is raised bare."""
    with trio.fail_after(SOON + 5):
        with pytest.raises(tractor.ActorFailure) as caught:
            async with tractor.open_nursery() as nursery:
                sibling = await start(nursery, "sibling")
                mortal = await start(nursery, "mortal")
                os.kill(mortal.aid.pid or 0, signal.SIGKILL)
                with trio.fail_after(SOON):
                    await trio.sleep_forever()
    assert caught.value.name == "mortal"
    assert caught.value.exit is not None
    assert str(caught.value.exit) == "killed by SIGKILL"
    assert not is_alive(sibling.aid.pid or 0)


async def test_an_actor_that_dies_in_its_function() -> None:
    """The nursery says so; whoever asks for the result gets the loss."""
    with pytest.raises(tractor.ActorFailure, match="exit status 7"):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(actors.exit_hard, code=7)
    with pytest.raises(tractor.TransportClosed, match="exit status 7"):
        await portal.wait_for_result()


async def test_deaths_in_the_same_moment() -> None:
    """The first one ends the block; the other one may be taken for what the end of the block has done."""
    with pytest.raises((ExceptionGroup, tractor.ActorFailure)) as caught:
        async with tractor.open_nursery() as nursery:
            portals = [await start(nursery, f"mortal{number}") for number in range(2)]
            for portal in portals:
                os.kill(portal.aid.pid or 0, signal.SIGKILL)
            await trio.sleep_forever()
    failures = caught.value.exceptions if isinstance(caught.value, ExceptionGroup) else (caught.value,)
    assert all(isinstance(failure, tractor.ActorFailure) for failure in failures)
    assert all("killed by SIGKILL" in str(failure) for failure in failures)


async def test_a_body_that_handles_the_loss_still_learns_of_the_death() -> None:
    """Catching `TransportClosed` does not make the death unhappen: a nursery per actor is the way to survive one."""
    with pytest.raises(tractor.ActorFailure):
        async with tractor.open_nursery() as outer:
            portal = await start(outer, "mortal")
            with pytest.raises(tractor.TransportClosed):
                await portal.run(actors.exit_hard, code=1)
    async with tractor.open_nursery() as outer:
        survivor = await start(outer, "survivor")
        with pytest.raises(tractor.ActorFailure):
            async with tractor.open_nursery() as inner:
                portal = await start(inner, "mortal")
                await portal.run(actors.exit_hard, code=1)
        assert await survivor.run(actors.add, a=1, b=2) == 3
        await outer.cancel()


async def test_a_death_far_below_comes_up_level_by_level() -> None:
    """The root sees the failure that the actor in the middle saw, with its name and exit status."""
    with pytest.raises(tractor.RemoteActorError) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)
            await portal.run(actors.nest, depth=2, target="kill_self", path=os.devnull)
    assert caught.value.src_type is tractor.ActorFailure
    assert "killed by SIGKILL" in caught.value.tb_str
    assert "level1" in caught.value.tb_str


# Cancellation.


async def test_cancelling_does_not_end_the_body() -> None:
    """It goes on without children, also when told twice."""
    async with tractor.open_nursery() as nursery:
        await start(nursery)
        await nursery.cancel()
        await nursery.cancel()
        await trio.sleep(0)
    assert nursery.cancelled_caught


async def test_a_child_is_cancelled_in_order(tmp_path: Path) -> None:
    """Its clean-up is done when `cancel()` returns."""
    done = tmp_path / "done"
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=0.3)
        await trio.sleep(0.2)
        await nursery.cancel()
        assert done.read_text() == "clean\n"
        with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
            await portal.wait_for_result()


async def test_a_hard_kill_takes_no_time(tmp_path: Path) -> None:
    """No clean-up, no grace."""
    done = tmp_path / "done"
    async with tractor.open_nursery(grace=30) as nursery:
        await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=10)
        blocked = await start(nursery)
        async with trio.open_nursery() as tasks:

            async def block() -> None:
                with pytest.raises(tractor.TransportClosed, match="killed by SIGKILL"):
                    await blocked.run(actors.block)

            tasks.start_soon(block)
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel(hard_kill=True)
            assert trio.current_time() - began < 0.5
    assert not done.exists()


async def test_a_hard_kill_overtakes_a_gentle_end(tmp_path: Path) -> None:
    """Whoever asked for order and lost patience."""
    async with tractor.open_nursery(grace=30) as nursery:
        await nursery.run_in_actor(actors.clean_up_slowly, path=str(tmp_path / "done"), seconds=10)
        await trio.sleep(0.2)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(nursery.cancel)
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel(hard_kill=True)
            assert trio.current_time() - began < 0.5


async def test_a_timeout_around_the_block_ends_the_children() -> None:
    """They are ended in order; the scope catches its own cancellation, and no error is made of it."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            portal = await start(nursery)
            await nursery.run_in_actor(actors.sleep_forever)
            scope.deadline = trio.current_time() + 0.2
            await portal.run(actors.sleep_forever)
    assert scope.cancelled_caught
    assert nursery.cancel_called
    assert nursery._children == {}
    assert not is_alive(portal.aid.pid or 0)


async def test_a_timeout_while_the_block_waits_for_its_children() -> None:
    """The body has ended long ago."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            await start(nursery)
            await nursery.run_in_actor(actors.sleep_forever)
            scope.deadline = trio.current_time() + 0.3
    assert scope.cancelled_caught
    assert nursery.cancel_called
    assert nursery._children == {}


async def test_a_sibling_task_that_fails_ends_the_children() -> None:
    """As trio's own rules have it."""
    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as tasks:

            async def fail() -> None:
                await trio.sleep(0.5)
                raise ValueError("mine")

            tasks.start_soon(fail)
            async with tractor.open_nursery() as nursery:
                await start(nursery)
                await trio.sleep_forever()
    assert nursery._children == {}


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.08, 0.2])
async def test_a_start_that_is_cancelled_half_way_leaves_nothing(delay: float, each_link: str) -> None:
    """At whatever moment; the nursery can be used on."""
    async with tractor.open_nursery() as nursery:
        began = trio.current_time()
        with trio.move_on_after(delay):
            await start(nursery, "half")
            await nursery.cancel()
            return
        assert trio.current_time() - began < delay + SOON
        assert nursery._children == {}
        portal = await start(nursery, "whole")
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


@pytest.mark.parametrize("hard", [False, True])
async def test_a_start_that_runs_into_the_nurserys_end(hard: bool, each_link: str) -> None:
    """Another task cancelled it: whoever was starting an actor is told."""
    async with tractor.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:

            async def start_late() -> None:
                with pytest.raises(tractor.ActorFailure, match=r"'late'.*cancelled"):
                    await start(nursery, "late")

            tasks.start_soon(start_late)
            await trio.sleep(0.05)
            await nursery.cancel(hard_kill=hard)
    assert nursery._children == {}


async def test_a_failing_sibling_cancels_a_start() -> None:
    """The body was in the middle of it."""
    with pytest.raises(tractor.ActorFailure, match="mortal"):
        async with tractor.open_nursery() as nursery:
            mortal = await start(nursery, "mortal")
            os.kill(mortal.aid.pid or 0, signal.SIGKILL)
            while True:
                await start(nursery)
    assert nursery._children == {}


def test_ctrl_c_ends_the_children_in_order(tmp_path: Path) -> None:
    """Of a program whose children do not share its terminal: they are asked, and the interrupt leaves bare."""
    done = tmp_path / "done"

    async def main() -> None:
        async with tractor.open_nursery() as nursery:
            await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=0.3)
            await trio.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert done.read_text() == "clean\n"


@pytest.mark.parametrize("where", ["body", "join", "cancel"])
def test_a_second_ctrl_c_kills_at_once(where: str, tmp_path: Path) -> None:
    """Whoever presses it again does not want to wait for a grace, wherever the block was."""
    second = 0.0
    done = tmp_path / "done"

    async def insist(times: list[float]) -> None:
        nonlocal second
        for delay in times:
            await trio.sleep(delay)
            second = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            async with tractor.open_nursery(grace=30) as nursery:
                await nursery.run_in_actor(actors.clean_up_slowly, path=str(done), seconds=20)
                await trio.sleep(0.3)
                trio.lowlevel.spawn_system_task(insist, [0.1, 0.3] if where != "cancel" else [0.3])
                if where == "body":
                    await trio.sleep_forever()
                elif where == "cancel":
                    await nursery.cancel()
            tasks.cancel_scope.cancel()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group of trio's or bare
        trio.run(main)
    assert time.monotonic() - second < 1.0
    assert caught.group_contains(KeyboardInterrupt) or isinstance(caught.value, KeyboardInterrupt)
    assert not done.exists()


# How an actor is made.


async def test_environment_and_folder_of_a_child(tmp_path: Path) -> None:
    """`proc_kwargs` reaches the process; modules are found all the same."""
    env = {**os.environ, "GREETING": "hello"}
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery, proc_kwargs={"env": env, "cwd": tmp_path})
        assert await portal.run(actors.get_env, name="GREETING") == "hello"
        assert (await portal.run(actors.describe))["cwd"] == str(tmp_path)
        await nursery.cancel()


async def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removed the working directory; children start in the same nowhere."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery)
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


async def test_a_child_with_an_empty_environment() -> None:
    """It needs nothing from there."""
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery, proc_kwargs={"env": {}})
        assert await portal.run(actors.get_env, name="PATH") is None
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


async def test_descriptors_are_passed_on() -> None:
    """Those that were named, by number."""
    reader, writer = os.pipe()
    try:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(
                actors.write_fd, fd=writer, text="hello", proc_kwargs={"pass_fds": (writer,)}
            )
            await portal.wait_for_result()
        assert os.read(reader, 100) == b"hello"
    finally:
        os.close(reader)
        os.close(writer)


async def test_options_that_no_process_has() -> None:
    """The failure names the child and has the error of whoever refused."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorFailure, match=r"'kid'.*could not be started") as caught:
            await start(nursery, proc_kwargs={"nonsense": True})
        assert isinstance(caught.value.__cause__, TypeError)
        with pytest.raises(tractor.ActorFailure, match="could not be started") as caught:
            await start(nursery, proc_kwargs={"cwd": "/nowhere/at/all"})
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        assert nursery._children == {}


async def test_the_log_level_is_inherited_or_given() -> None:
    """A child has its own, or else its parent's."""
    async with tractor.open_nursery(loglevel="critical") as nursery:
        heir, other = await start(nursery), await start(nursery, loglevel="error")
        assert (await heir.run(actors.describe))["loglevel"] == "critical"
        assert (await other.run(actors.describe))["loglevel"] == "error"
        await nursery.cancel()


@pytest.mark.parametrize(
    "name",
    [
        "with blanks",
        "a/b\\c",
        "../../etc",
        ".",
        "x" * 300,
        "žluťoučký 🐴",
        'it\'s "quoted"',
        "nul\0byte",
        "new\nline",
        "--uid",
        "%s{0}",
    ],
    ids=lambda name: repr(name)[:20],
)
async def test_any_text_is_a_name(name: str, transport: str) -> None:
    """On every transport; it is what the child calls itself, and it can be found by it."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await start(nursery, name)
        assert (await portal.run(actors.describe))["name"] == name
        async with tractor.find_actor(name) as found:
            assert found is not None
            assert found.aid.uuid == portal.aid.uuid
        await nursery.cancel()


@pytest.mark.parametrize(
    ("name", "kind"), [("", ValueError), ("\udc80", ValueError), (b"bytes", TypeError), (None, TypeError)]
)
async def test_what_is_no_name(name: Any, kind: type[Exception]) -> None:
    """Said before anything is started."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(kind, match=r"name|surrogate"):
            await start(nursery, name)
        assert nursery._children == {}


async def test_an_address_of_ones_own(transport: str, tmp_path: Path) -> None:
    """`bind_addrs` is where the child listens, and its socket file goes with it."""
    addr: Any = ("127.0.0.1", 0) if transport == "tcp" else (str(tmp_path), "own.sock")
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await start(nursery, bind_addrs=[addr])
        (found,) = (await portal.run(actors.describe))["addrs"]
        assert found[0] == addr[0]
        if transport == "uds":
            assert (tmp_path / "own.sock").is_socket()
            os.kill(portal.aid.pid or 0, signal.SIGSTOP)
        await nursery.cancel()
    assert not (tmp_path / "own.sock").exists()


async def test_an_address_in_use_is_a_clear_failure(transport: str, tmp_path: Path) -> None:
    """It is the child that cannot listen; the parent gets its error, and the other's socket stays."""
    addr: Any = ("127.0.0.1", 0) if transport == "tcp" else (str(tmp_path), "own.sock")
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        first = await start(nursery, bind_addrs=[addr])
        (taken,) = (await first.run(actors.describe))["addrs"]
        with pytest.raises(tractor.ActorFailure, match=r"(?s)'second'.*cannot listen"):
            await start(nursery, "second", bind_addrs=[tuple(taken)])
        async with tractor.find_actor("kid") as found:
            assert found is not None
        assert await first.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


async def test_a_nursery_describes_itself() -> None:
    """By its actor and its children."""
    async with tractor.open_nursery() as nursery:
        assert repr(nursery) == "<ActorNursery of 'root': no children>"
        await start(nursery, "kid")
        assert repr(nursery) == "<ActorNursery of 'root': kid>"
        await nursery.cancel()

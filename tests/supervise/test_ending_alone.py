"""A child that ends alone: by a signal, or by an exit of its own."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import actors
from tests.programs.watch import is_alive

MODULES = [actors.__name__]
#: Seconds in which something happens at once, on a busy machine.
SOON = 3.0


@OF_A_PROCESS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_one_child_is_a_request_to_end_in_order(
    number: signal.Signals, each_link: str, tmp_path: Path
) -> None:
    """Its requests are cancelled and clean up; the parent learns which signal it was."""
    done = tmp_path / "done"
    with trio.fail_after(SOON + 5), pytest.raises(tractor.ActorFailure) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)

            async def use() -> None:
                with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
                    await portal.run(actors.clean_up_slowly, path=str(done), seconds=0.2)

            async with trio.open_nursery() as tasks:
                tasks.start_soon(use)
                await trio.sleep(0.2)
                os.kill(portal.aid.pid or 0, number)
                await trio.sleep_forever()
    assert caught.value.name == "kid"
    assert caught.value.exit is not None
    assert f"interrupted: {number.name}" in str(caught.value)
    assert done.read_text() == "clean\n"


@OF_A_PROCESS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_one_idle_child(number: signal.Signals) -> None:
    """Nobody was waiting on it; the nursery tells."""
    with pytest.raises(tractor.ActorFailure, match=f"interrupted: {number.name}"):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid")
            os.kill(portal.aid.pid or 0, number)
            with trio.fail_after(SOON):
                await trio.sleep_forever()


@OF_A_PROCESS
async def test_a_signal_to_a_parent_in_the_middle_ends_its_children_too(tmp_path: Path) -> None:
    """The whole subtree, in order."""
    pids = tmp_path / "pids"
    with pytest.raises(tractor.ActorFailure, match="interrupted: SIGTERM"):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("middle", enable_modules=MODULES)
            async with trio.open_nursery() as tasks:

                async def use() -> None:
                    with pytest.raises((tractor.RemoteActorError, tractor.TransportClosed)):
                        await portal.run(actors.nest, depth=2, target="sleep_forever", path=str(pids))

                tasks.start_soon(use)
                with trio.fail_after(SOON + 5):
                    while not pids.exists() or len(pids.read_text().split()) < 3:
                        await trio.sleep(0.02)
                    os.kill(portal.aid.pid or 0, signal.SIGTERM)
                    await trio.sleep_forever()
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize(
    ("act", "kwargs", "kind", "said"),
    [
        (actors.exit_softly, {"code": 3}, SystemExit, "exited: SystemExit(3)"),
        (actors.interrupt_self, {}, KeyboardInterrupt, "interrupted: KeyboardInterrupt()"),
    ],
)
async def test_an_exit_inside_a_request_ends_the_actor(
    act: Any, kwargs: dict[str, Any], kind: type[BaseException], said: str, each_link: str
) -> None:
    """The caller gets it as that actor's error; the nursery learns why the actor ended."""
    with trio.fail_after(SOON + 5), pytest.raises(BaseExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            with pytest.raises(tractor.RemoteActorError) as told:
                await portal.run(act, **kwargs)
            assert told.value.boxed_type is kind
            with trio.CancelScope(shield=True), trio.move_on_after(SOON):
                while portal.chan.connected():
                    await trio.sleep(0.01)
            raise told.value
    error, failure = caught.value.exceptions
    assert isinstance(error, tractor.RemoteActorError)
    assert isinstance(failure, tractor.ActorFailure)
    assert said in str(failure)

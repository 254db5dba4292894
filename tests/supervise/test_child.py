"""One child under supervision: how it comes up, or does not, and that its end is the last that is heard of it."""

import os

import pytest
import trio

from tests.supervise.pretend import (
    ALL,
    BOOT_TIMEOUT,
    GRACE,
    World,
    come_up,
    in_no_time,
    never_speak,
    open_world,
)
from tractor._errors import ActorFailure, Exit
from tractor._ids import Aid, new_uuid
from tractor.msg._boxed import RemoteActorError
from tractor.runtime._handshake import say_hello
from tractor.spawn._backend import Child, ChildSpec
from tractor.supervise._child import SupervisedChild
from tractor.supervise._lifecycle import Phase
from tractor.supervise._root import open_root_actor


@in_no_time
async def test_a_child_that_never_says_hello_is_given_up_after_its_boot_timeout() -> None:
    """It gets no grace, for there is nobody to use it; the report has what it wrote."""
    async with open_world(never_speak, obeys=("kill",)) as world:
        await world.child.gone.wait()
        assert [step for step, _ in world.body.steps] == ["hang up", "interrupt", "kill"]
        began = world.body.steps[0][1]
        assert began == pytest.approx(BOOT_TIMEOUT, abs=0.1)
        assert [round(at - began, 3) for _, at in world.body.steps] == [0.0, 0.2, 0.35]
        failure = world.child.failure
        assert failure is not None
        assert failure.message == "it did not say hello within 30.0 s"
        assert (failure.name, failure.where) == ("kid", "nowhere")
        assert failure.exit == Exit("killed", -9)
        assert "no luck" in failure.stderr_tail
        assert world.child.portal is None


@in_no_time
async def test_a_child_that_comes_up_is_handed_out() -> None:
    """It is not asked for anything until its end is wanted."""
    async with open_world(come_up) as world:
        await world.child.up.wait()
        assert world.child.phase is Phase.UP
        assert world.child.portal is not None
        assert world.child.portal.aid.uuid == world.uuid
        await trio.sleep(1000)
        assert world.body.steps == []
        world.child.end_soon("enough")


@in_no_time
async def test_a_child_that_ends_before_its_hello_has_failed() -> None:
    """The report says how it ended and what it wrote."""

    async def die(world: World) -> None:
        world.body.end(Exit("died", 3))
        await trio.sleep_forever()

    async with open_world(die) as world:
        await world.child.up.wait()
        assert world.child.portal is None
        failure = world.child.failure
        assert failure is not None
        assert failure.message == "it ended before it was up"
        assert failure.exit == Exit("died", 3)
        assert "no luck" in failure.stderr_tail
    assert trio.current_time() < BOOT_TIMEOUT


@in_no_time
async def test_a_child_that_says_why_it_cannot_boot() -> None:
    """Its goodbye holds the error, which becomes the cause of the failure."""

    async def refuse(world: World) -> None:
        await world.leave("failed to boot", Exit("died", 1), ZeroDivisionError("oh no"))

    async with open_world(refuse) as world:
        await world.child.gone.wait()
        failure = world.child.failure
        assert failure is not None
        assert failure.message == "it failed to boot: for a reason"
        assert isinstance(failure.__cause__, RemoteActorError)
        assert failure.__cause__.boxed_type is ZeroDivisionError
        assert failure.__cause__.src_uid == ("kid", world.uuid)


@in_no_time
async def test_a_stranger_on_the_inherited_channel_is_not_let_in() -> None:
    """A hello with another id ends the boot."""

    async def lie(world: World) -> None:
        say_hello(world.there, Aid("impostor", new_uuid(), os.getpid()), [])
        await trio.sleep_forever()

    async with open_world(lie) as world:
        await world.child.gone.wait()
        assert world.child.portal is None
        assert world.child.failure is not None
        assert "'impostor'" in world.child.failure.message
        assert world.body.steps[0] == ("hang up", 0.0)


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64])
@in_no_time
async def test_junk_instead_of_a_hello_ends_the_boot(junk: bytes) -> None:
    """Such as a child that runs another version of this package."""

    async def babble(world: World) -> None:
        world.body.there.send(junk)
        await trio.sleep_forever()

    async with open_world(babble) as world:
        await world.child.gone.wait()
        assert isinstance(world.child.failure, ActorFailure)
    assert trio.current_time() < BOOT_TIMEOUT


@in_no_time
async def test_a_backend_that_cannot_start_a_child() -> None:
    """The failure names the reason and has the error as its cause."""

    async def refuse(spec: ChildSpec, *, task_status: trio.TaskStatus[Child]) -> Exit:
        raise FileNotFoundError("no interpreter")

    async with open_root_actor() as actor:
        child = SupervisedChild(
            actor,
            refuse,
            ChildSpec("kid", new_uuid(), [], b""),
            bind_addrs=[],
            token=b"",
            grace=GRACE,
            boot_timeout=BOOT_TIMEOUT,
            on_change=lambda child: None,
        )
        await child.run()
        assert child.gone.is_set()
        assert child.failure is not None
        assert child.failure.message == "it could not be started: no interpreter"
        assert isinstance(child.failure.__cause__, FileNotFoundError)
        assert child.where == "not started"


@in_no_time
async def test_a_cancelled_supervision_takes_the_child_along() -> None:
    """As when the whole actor is torn down: the backend kills, and the record is closed."""
    async with open_root_actor() as actor:
        world = World(actor, ALL, come_up)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.child.run)
            await world.child.up.wait()
            nursery.cancel_scope.cancel()
        assert world.child.gone.is_set()
        assert world.child.phase is Phase.GONE
        assert world.body.exit == Exit("killed", -9)
        assert not actor.peers


@in_no_time
async def test_every_change_is_announced_and_the_last_one_is_the_end() -> None:
    """Up, ending, gone: the nursery needs no other source."""
    async with open_world(come_up) as world:
        await world.child.up.wait()
        world.child.end_soon("enough")
        await world.child.gone.wait()
        assert list(dict.fromkeys(world.changes)) == [Phase.UP, Phase.ENDING, Phase.GONE]
        assert world.changes.count(Phase.GONE) == 1
        world.child.end_soon("again")
        assert world.child.phase is Phase.GONE

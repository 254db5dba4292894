"""A cancellation that comes from outside a nursery ends its children when it comes, not after the body."""

import signal
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, branches
from tests.programs.bodies import FORCE, is_there
from tractor._ids import Aid
from tractor.msg._errbox import pack_error, unpack_error
from tractor.supervise._errors import without_ended

MODULES = [actors.__name__, branches.__name__]
#: Seconds that a child has to end in order.
GRACE = 0.5
#: Seconds for what is done at once, on a busy machine.
SOON = 5.0

US = ("root", "uuid")
KID = Aid("kid", "its-uuid", 4711)


async def wait_gone(portal: tractor.Portal) -> None:
    """Wait until the actor's process is gone, although everything around is cancelled."""
    with trio.CancelScope(shield=True), trio.fail_after(SOON):
        while is_there(portal):
            await trio.sleep(0.01)


async def test_children_end_while_the_body_is_still_at_its_clean_up(each_link: str, transport: str) -> None:
    """It could wait for their end, and does here."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery(enable_transports=[transport]) as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            try:
                scope.cancel()
                await trio.sleep_forever()
            finally:
                await wait_gone(portal)
                assert nursery.cancel_called
                assert not nursery.exited.is_set()
    assert scope.cancelled_caught
    assert nursery.exited.is_set()
    assert nursery._children == {}


@pytest.mark.parametrize(
    "stuck", [actors.block_ctx, branches.stay_behind_shield], ids=lambda act: act.__name__
)
async def test_a_body_that_waits_for_a_stuck_child_does_not_delay_its_end(stuck: Any, transport: str) -> None:
    """The endpoint does not end, so the body waits for it: that wait is over when the child is."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery(grace=GRACE, enable_transports=[transport]) as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            async with portal.open_context(stuck):
                await trio.sleep(0.3)
                scope.cancel()
                began = trio.current_time()
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - began < GRACE + FORCE
    assert not is_there(portal)


async def test_actors_in_the_middle_do_the_same(tmp_path: Path, transport: str) -> None:
    """One that is asked to end passes it on at once, whatever its own task is doing."""
    path = tmp_path / "notes"
    async with tractor.open_nursery(grace=30.0, enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor("middle", enable_modules=MODULES)
        async with trio.open_nursery() as tasks:

            async def hold(*, task_status: trio.TaskStatus[None]) -> None:
                with pytest.raises(tractor.ContextCancelled):
                    async with portal.open_context(
                        branches.hold_behind_shield, path=str(path), seconds=1.0
                    ) as (ctx, _):
                        task_status.started()
                        await ctx.wait_for_result()

            await tasks.start(hold)
            await nursery.cancel()
    assert path.read_text() == "child\nbody\n"


@pytest.mark.parametrize("gone", [False, True])
async def test_a_body_behind_a_shield_is_refused_by_children_that_end(gone: bool) -> None:
    """It finds them ending or gone. That is no error of its own: the block ends as cancelled."""
    told = False
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            with trio.CancelScope(shield=True), trio.fail_after(SOON):
                scope.cancel()
                if gone:
                    await wait_gone(portal)
                try:
                    while True:
                        await portal.run(actors.add, a=1, b=2)
                except (tractor.ContextCancelled, tractor.TransportClosed):
                    told = True
                    raise
    assert told
    assert scope.cancelled_caught
    assert not nursery.cancelled_caught
    assert nursery.exited.is_set()


async def test_a_body_behind_a_shield_that_ends_well_has_been_cancelled_all_the_same() -> None:
    """Its children were."""
    after = False
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            with trio.CancelScope(shield=True):
                scope.cancel()
                await wait_gone(portal)
        after = True
    assert scope.cancelled_caught
    assert not after


async def test_an_error_of_the_clean_up_is_raised() -> None:
    """That is no consequence."""
    with pytest.raises(ValueError, match="mine"):
        with trio.CancelScope() as scope:
            async with tractor.open_nursery() as nursery:
                portal = await nursery.start_actor("kid", enable_modules=MODULES)
                try:
                    scope.cancel()
                    await trio.sleep_forever()
                finally:
                    await wait_gone(portal)
                    raise ValueError("mine")


async def test_a_nursery_that_is_shielded_keeps_its_children() -> None:
    """The shield around it holds for them too."""
    with trio.CancelScope() as scope:
        with trio.CancelScope(shield=True):
            async with tractor.open_nursery() as nursery:
                portal = await nursery.start_actor("kid", enable_modules=MODULES)
                scope.cancel()
                await trio.sleep(0.1)
                assert await portal.run(actors.add, a=1, b=2) == 3
                assert not nursery.cancel_called
                await nursery.cancel()


async def test_a_scope_inside_the_block_is_no_affair_of_the_children() -> None:
    """Only the block around them is theirs."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        with trio.move_on_after(0.1) as scope:
            await portal.run(actors.sleep_forever)
        assert scope.cancelled_caught
        assert await portal.run(actors.add, a=1, b=2) == 3
        assert not nursery.cancel_called
        await nursery.cancel()


async def test_a_start_that_is_under_way_is_given_up_even_behind_a_shield() -> None:
    """The child is not up yet, so it is hung up on at once; whoever waits for it is told why."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery() as nursery:
            with trio.CancelScope(shield=True), trio.fail_after(SOON):
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(cancel_later, scope, 0.03)
                    with pytest.raises(
                        tractor.ActorFailure, match="a scope around its nursery was cancelled"
                    ):
                        await nursery.start_actor("late")
                assert nursery._children == {}
                with pytest.raises(RuntimeError, match="was cancelled"):
                    await nursery.start_actor("later")


async def cancel_later(scope: trio.CancelScope, seconds: float) -> None:
    """Cancel a scope after so many seconds."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    scope.cancel()


async def test_nothing_is_started_in_a_task_that_is_cancelled() -> None:
    """Not even to be ended again."""
    async with tractor.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await nursery.start_actor("never")
            finally:
                assert nursery._children == {}
        assert scope.cancelled_caught
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


async def test_two_reasons_to_end_are_one_ladder(caplog: pytest.LogCaptureFixture) -> None:
    """A child is asked once, and for the first of them."""
    with trio.CancelScope() as scope, caplog.at_level("INFO", logger="tractor"):
        async with trio.open_nursery() as tasks:
            async with tractor.open_nursery() as nursery:
                await nursery.run_in_actor(actors.sleep_forever)
                tasks.start_soon(nursery.cancel)
                await trio.sleep(0)
                scope.cancel()
                await trio.sleep_forever()
    asked = [record for record in caplog.records if record.getMessage() == "asking a child to end"]
    assert [record.__dict__["why"] for record in asked] == ["its nursery was cancelled"]


@trio.lowlevel.enable_ki_protection
def interrupt() -> None:
    """Do as Ctrl-C does to a program whose main task waits."""
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_another_task_does_not_wait_for_the_body() -> None:
    """The main task takes it and cancels the others, as trio does; the nursery is in one of those."""
    gone = False

    async def hold() -> None:
        nonlocal gone
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            try:
                interrupt()
                await trio.sleep_forever()
            finally:
                await wait_gone(portal)
                gone = True

    async def main() -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(hold)

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main)
    assert gone


# What a body was told by children that were ended.


def cancelled(canceller: tuple[str, str], src: tuple[str, str]) -> tractor.ContextCancelled:
    """Return a confirmed cancellation."""
    made = tractor.ContextCancelled("x", boxed_type=trio.Cancelled, canceller=canceller)
    found = unpack_error(pack_error(made, src, canceller=canceller), sender=src)
    assert isinstance(found, tractor.ContextCancelled)
    return found


TOLD = [cancelled(US, KID.uid), tractor.TransportClosed("lost", peer=str(KID))]
OWN = [
    ValueError("mine"),
    tractor.RemoteActorError("a function's"),
    cancelled(("somebody", "else"), KID.uid),
    cancelled(US, ("another", "child")),
    tractor.TransportClosed("lost", peer="another@4712"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("exc", TOLD, ids=repr)
def test_what_the_end_of_a_child_does_to_the_body_is_not_the_bodys(exc: Exception) -> None:
    """Bare or in a group."""
    assert without_ended(exc, US, {KID}) is None
    assert without_ended(ExceptionGroup("g", [exc, ExceptionGroup("h", [exc])]), US, {KID}) is None


@pytest.mark.parametrize("exc", OWN, ids=repr)
def test_what_has_another_cause_is_kept(exc: BaseException) -> None:
    """The very error, where nothing has to be taken out of its group."""
    assert without_ended(exc, US, {KID}) is exc
    rest = without_ended(BaseExceptionGroup("g", [exc, *TOLD]), US, {KID})
    assert isinstance(rest, BaseExceptionGroup)
    assert rest.exceptions == (exc,)


def test_a_body_without_an_error_has_none() -> None:
    """Nothing comes of nothing."""
    assert without_ended(None, US, {KID}) is None

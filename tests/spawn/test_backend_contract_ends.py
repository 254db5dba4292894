"""How a child ends, whatever it is made of: what its parent is told, and that nothing is left (the plugin looks)."""

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, torn
from tests.programs.watch import Tree
from tractor._errors import Exit
from tractor.spawn._backend import SHARING
from tractor.supervise._child import SupervisedChild

HERE = [actors.__name__, torn.__name__]
#: Seconds of grace of those that do not use it up, and of those that do.
LONG, SHORT = 30.0, 0.2
#: Seconds in which something is done at once, on a busy machine.
SOON = 10.0
#: What keeps its actor from ending in order.
STUBBORN = [torn.nap, torn.spin, torn.wait_for_event, torn.shielded, torn.in_thread]


async def start(nursery: tractor.ActorNursery, name: str = "kid") -> tuple[tractor.Portal, SupervisedChild]:
    """Start a child; return its portal and what supervision knows of it."""
    portal = await nursery.start_actor(name, enable_modules=HERE)
    return portal, nursery._children[portal.aid.uid]


async def call(portal: tractor.Portal, act: Any, told: list[BaseException | None], **kwargs: Any) -> None:
    """Run something, and note what comes of it."""
    try:
        await portal.run(act, **kwargs)
        told.append(None)
    except (tractor.TransportClosed, tractor.RemoteActorError) as exc:
        told.append(exc)


async def stream(portal: tractor.Portal, told: list[BaseException | None], flows: trio.Event) -> None:
    """Take all that comes."""
    try:
        async with portal.open_context(torn.pour) as (ctx, _), ctx.open_stream(backpressure=True) as items:
            async for _ in items:
                flows.set()
    except (tractor.TransportClosed, tractor.RemoteActorError) as exc:
        told.append(exc)


def is_force(backend: str, exit_: Exit | None) -> bool:
    """Tell whether this is how one ends that was killed."""
    assert exit_ is not None
    return (exit_.how, exit_.code) == ("killed", None if backend in SHARING else -signal.SIGKILL)


# By itself.


async def test_a_function_that_returns(backend: str) -> None:
    """Its actor ends with it, in order."""
    async with tractor.open_nursery(start_method=backend) as nursery:
        portal = await nursery.run_in_actor(torn.answer, number=42)
        kid = nursery._children[portal.aid.uid]
        assert await portal.wait_for_result() == 42
    assert kid.exit == Exit("returned", 0)
    assert kid._verdict() == Exit("returned", 0, "cancelled")
    assert kid.failure is None


async def test_a_function_that_raises(backend: str) -> None:
    """The actor has not failed, its function has."""
    with pytest.raises(tractor.RemoteActorError, match="number 7") as info:
        async with tractor.open_nursery(start_method=backend) as nursery:
            portal = await nursery.run_in_actor(torn.fail, number=7)
            kid = nursery._children[portal.aid.uid]
    assert info.value.boxed_type is ValueError
    assert kid.exit == Exit("returned", 0)


@pytest.mark.parametrize(
    ("act", "kwargs", "code", "said"),
    [
        (actors.exit_hard, {"code": 0}, 0, "exited cleanly"),
        (actors.exit_hard, {"code": 3}, 3, "exit status 3"),
        (actors.kill_self, {}, -signal.SIGKILL, "killed by SIGKILL"),
        (actors.send_signal, {"number": int(signal.SIGSEGV)}, -signal.SIGSEGV, "killed by SIGSEGV"),
    ],
)
async def test_a_process_that_is_gone_at_once(
    act: Any, kwargs: dict[str, Any], code: int, said: str, backend: str
) -> None:
    """Its caller and its nursery are told how; an interpreter would take its whole process along."""
    if backend in SHARING:
        return
    with pytest.raises(tractor.ActorFailure, match=said) as info:
        async with tractor.open_nursery(start_method=backend) as nursery:
            portal, kid = await start(nursery)
            with trio.fail_after(SOON), pytest.raises(tractor.TransportClosed, match=said):
                await portal.run(act, **kwargs)
    assert kid.exit == info.value.exit == Exit("returned" if code == 0 else "died", code)


@pytest.mark.parametrize(
    ("act", "kwargs", "detail"),
    [
        (actors.exit_softly, {"code": 3}, "exited: SystemExit(3)"),
        (actors.interrupt_self, {}, "interrupted: KeyboardInterrupt()"),
    ],
)
async def test_an_actor_that_its_own_function_ends(
    act: Any, kwargs: dict[str, Any], detail: str, backend: str
) -> None:
    """In order, though nobody asked it to: it says why."""
    with pytest.raises(tractor.ActorFailure) as info:
        async with tractor.open_nursery(start_method=backend) as nursery:
            portal, kid = await start(nursery)
            with trio.fail_after(SOON), pytest.raises(tractor.RemoteActorError):
                await portal.run(act, **kwargs)
            await trio.sleep_forever()
    assert kid.exit == Exit("returned", 0)
    assert info.value.exit == Exit("returned", 0, detail)


async def test_an_actor_that_crashes_on_its_way_out(backend: str) -> None:
    """It was asked to end, but not in this way."""
    with pytest.raises(tractor.ActorFailure, match="it crashed while it was ending") as info:
        async with tractor.open_nursery(start_method=backend, grace=LONG) as nursery:
            portal, kid = await start(nursery)
            await portal.run(actors.spoil_the_end, how="raise")
            await nursery.cancel()
    assert info.value.exit == kid._verdict() == Exit("returned", 0, "crashed: ValueError: not clean")


async def test_an_actor_that_has_lost_its_channel(backend: str) -> None:
    """Whoever waits is told at once; it is hung up on, and interrupted."""
    with pytest.raises(tractor.ActorFailure, match="its channel broke") as info:
        async with tractor.open_nursery(start_method=backend, grace=SHORT) as nursery:
            portal, kid = await start(nursery)
            with trio.fail_after(SOON), pytest.raises(tractor.TransportClosed):
                await portal.run(torn.break_channel)
            await trio.sleep_forever()
    assert info.value.exit is not None
    assert kid.exit == Exit("returned", 0) or is_force(backend, kid.exit)


# Because its parent wants it.


@pytest.mark.parametrize("leave", ["nursery", "scope", "error", "portal"])
@pytest.mark.parametrize("what", ["idle", "call", "stream"])
async def test_a_child_that_ends_as_it_is_asked(what: str, leave: str, backend: str) -> None:
    """In order, and at once: it does not use up its grace."""
    told: list[BaseException | None] = []
    kid: SupervisedChild | None = None
    flows = trio.Event()
    raised = ""
    async with trio.open_nursery() as tasks:
        with trio.fail_after(LONG), trio.CancelScope() as scope:
            try:
                async with tractor.open_nursery(start_method=backend, grace=LONG) as nursery:
                    portal, kid = await start(nursery)
                    if what == "stream":
                        tasks.start_soon(stream, portal, told, flows)
                        await flows.wait()
                    elif what == "call":
                        tasks.start_soon(call, portal, actors.sleep_forever, told)
                        await trio.sleep(0.05)
                    if leave == "scope":
                        scope.cancel()
                        await trio.sleep_forever()
                    elif leave == "error":
                        raise LookupError("mine")
                    elif leave == "portal":
                        assert await portal.cancel_actor(SOON)
                    else:
                        await nursery.cancel()
            except LookupError as exc:
                raised = str(exc)
        with trio.fail_after(SOON):
            while len(told) < (what != "idle"):
                await trio.sleep(0.005)
    assert kid is not None
    assert kid.exit == Exit("returned", 0)
    assert kid._verdict() == Exit("returned", 0, "cancelled")
    assert scope.cancelled_caught == (leave == "scope")
    assert raised == ("mine" if leave == "error" else "")
    assert [type(exc) for exc in told] in ([], [tractor.ContextCancelled])


@pytest.mark.parametrize("act", STUBBORN, ids=lambda act: act.__name__)
async def test_a_child_that_does_not_end_in_order(act: Any, backend: str) -> None:
    """It is gone all the same, by whatever step of the ladder, and nobody who waits for it is forgotten."""
    told: list[BaseException | None] = []
    async with trio.open_nursery() as tasks:
        with trio.CancelScope() as scope:
            async with tractor.open_nursery(start_method=backend, grace=SHORT) as nursery:
                portal, kid = await start(nursery)
                tasks.start_soon(call, portal, act, told)
                await trio.sleep(0.1)
                scope.cancel()
        with trio.fail_after(SOON):
            while not told:
                await trio.sleep(0.005)
    assert scope.cancelled_caught
    assert kid.gone.is_set()
    # How fast the machine is decides whether the interrupt was enough.
    assert kid.exit == Exit("returned", 0) or is_force(backend, kid.exit)
    assert kid.failure is None


async def test_a_process_that_ignores_every_interrupt(backend: str) -> None:
    """It is killed, and that is what is reported; no signal reaches an interpreter."""
    if backend in SHARING:
        return
    told: list[BaseException | None] = []
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(start_method=backend, grace=SHORT) as nursery:
            portal, kid = await start(nursery)
            tasks.start_soon(call, portal, actors.deaf, told)
            await trio.sleep(0.2)
            await nursery.cancel()
    assert kid.exit == Exit("killed", -signal.SIGKILL)
    assert "killed by SIGKILL" in str(told[0])


@pytest.mark.parametrize("act", [None, torn.spin, torn.shielded], ids=["idle", "spin", "shielded"])
async def test_a_child_that_is_ended_by_force(act: Any, backend: str) -> None:
    """Without any of the gentler steps."""
    told: list[BaseException | None] = []
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(start_method=backend, grace=LONG) as nursery:
            portal, kid = await start(nursery)
            if act is not None:
                tasks.start_soon(call, portal, act, told)
                await trio.sleep(0.1)
            with trio.fail_after(SOON):
                await nursery.cancel(hard_kill=True)
    assert is_force(backend, kid.exit)
    assert len(told) == (act is not None)


# Many, and those of others.


@pytest.mark.alone
@pytest.mark.fence(240)
async def test_fifty_children_at_once(backend: str) -> None:
    """Each is itself, and all are gone together."""
    kids: list[SupervisedChild] = []
    answers: list[int] = []

    async def run_one(nursery: tractor.ActorNursery, number: int) -> None:
        portal, kid = await start(nursery, f"kid{number}")
        kids.append(kid)
        answers.append(await portal.run(torn.answer, number=number))

    async with tractor.open_nursery(start_method=backend, grace=LONG, boot_timeout=200) as nursery:
        async with trio.open_nursery() as tasks:
            for number in range(50):
                tasks.start_soon(run_one, nursery, number)
        await nursery.cancel()
    assert sorted(answers) == list(range(50))
    assert {kid.exit for kid in kids} == {Exit("returned", 0)}


@pytest.mark.parametrize("other", ["forkserver", "mp_forkserver", "trio"])
async def test_a_child_in_a_program_whose_children_are_of_another_kind(backend: str, other: str) -> None:
    """And a child of it, which is of its own kind; or of that of the program, where nothing is said."""
    async with tractor.open_root_actor(start_method=other, registry_addrs=[]):
        async with tractor.open_nursery(start_method=backend) as nursery:
            portal, _ = await start(nursery)
            assert await portal.run(torn.answer_below, number=1, key=backend) == 1
            assert await portal.run(torn.answer_below, number=2, key=None) == 2
            await nursery.cancel()


@pytest.mark.parametrize("what", ["sleep", "stream"])
def test_nothing_outlives_a_program_that_was_killed(what: str, backend: str, tmp_path: Path) -> None:
    """A chain of three actors; nor do those that help to make them, who go when the last actor is gone."""
    # The names of socket files below this directory would be too long.
    tree = Tree(tmp_path, "nest.py", "tcp", what, TRACTOR_SPAWN_METHOD=backend)
    with tree.running():
        tree.wait_for(event="ready")
        tree.wait_gone(tree.kill("root"))


def test_every_kind_is_there() -> None:
    """The suite says what it has not run: interpreters, on a Python that has none."""
    from tests.spawn.conftest import KINDS
    from tractor.spawn._backend import BACKENDS

    missing = set(BACKENDS) - {kind.partition(" ")[0] for kind in KINDS}
    assert missing == (set() if sys.version_info >= (3, 14) else {"subint"})

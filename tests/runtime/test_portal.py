"""A handle on a peer: what it refuses by itself, and how it cancels a whole actor."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import bodies
from tests.programs.bodies import BY_FORCE, LOST, SLAIN, slay
from tests.resident import open_pair, open_resident, run_fast
from tractor import ActorFailure, ActorTooSlowError, Context, ModuleNotExposed, NoResult, RemoteActorError
from tractor.ipc._mem import memory_transport_pair
from tractor.ipc._outbox import HIGH_WATER
from tractor.runtime._portal import Portal
from tractor.wire._kinds import Kind

HERE = __name__


async def add(a: int, b: int = 0) -> int:
    """Return the sum."""
    return a + b


def plain(a: int) -> int:
    """Be no coroutine function."""
    return a


async def generate() -> Any:
    """Be a generator."""
    yield 1


async def getpid() -> int:
    """Return the process this runs in."""
    return os.getpid()


async def sleep(seconds: float) -> None:
    """Sleep."""
    await trio.sleep(seconds)


async def busy(seconds: float) -> None:
    """Keep the whole actor busy."""
    bodies.block(seconds)


async def shielded(seconds: float) -> None:
    """Ignore cancellation for a while."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


@tractor.context
async def endpoint(ctx: Context, a: int = 0) -> None:
    """Start and end."""
    await ctx.started(a)


async def test_functions_run_over_there() -> None:
    """By reference or by name."""
    async with open_pair(HERE) as pair:
        assert await pair.portal.run(add, a=1, b=2) == 3
        assert await pair.portal.run_from_ns(HERE, "add", a=1) == 1
        with pytest.warns(DeprecationWarning, match="use Portal.run_from_ns"):
            assert await pair.portal.run(HERE, "add", a=4) == 4  # type: ignore[arg-type]
        assert repr(pair.portal) == f"<Portal to {pair.bob.actor.aid}>"
        assert pair.portal.aid == pair.bob.actor.aid
        assert pair.portal.chan is pair.portal.channel


@pytest.mark.parametrize(
    ("func", "text"),
    [
        (plain, "plain must be a non-streaming async function!"),
        (generate, "generate must be a non-streaming async function!"),
        (
            endpoint,
            r"endpoint must be a non-streaming async function! Open it with `Portal.open_context\(\)`",
        ),
        (len, "len must be a non-streaming async function!"),
        (5, "5 must be a non-streaming async function!"),
    ],
)
async def test_what_is_no_async_function_is_refused_here(func: Any, text: str) -> None:
    """With what it is and what to do; nothing is sent."""
    async with open_pair(HERE) as pair:
        for _ in range(2):
            with pytest.raises(TypeError, match=text):
                await pair.portal.run(func)


async def test_a_coroutine_in_place_of_its_function_is_refused_here() -> None:
    """It was called too early, and is closed rather than forgotten."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TypeError, match="Pass add itself"):
            await pair.portal.run(add(1))  # type: ignore[arg-type]


async def test_arguments_go_by_name() -> None:
    """Positions are refused here, for calls and for contexts."""
    async with open_pair(HERE) as pair:
        with pytest.raises(TypeError, match=r"arguments of add must be given by keyword"):
            await pair.portal.run(add, 1)
        with pytest.raises(TypeError, match=r"arguments of endpoint must be given by keyword"):
            pair.portal.open_context(endpoint, 1)


@pytest.mark.parametrize("func", [add, plain, generate])
async def test_a_context_needs_an_endpoint(func: Any) -> None:
    """The error says how to make one."""
    async with open_pair(HERE) as pair:
        with pytest.raises(
            TypeError, match=r"is not a context endpoint: decorate it with `@tractor\.context`"
        ):
            pair.portal.open_context(func)


async def test_a_module_that_is_not_exposed_is_refused_over_there() -> None:
    """The error tells what to add, and where."""
    async with open_pair() as pair:
        with pytest.raises(RemoteActorError, match="add it to `enable_modules`") as info:
            await pair.portal.run(add, a=1)
        assert info.value.boxed_type is ModuleNotExposed
        with pytest.raises(RemoteActorError, match="is not exposed"):
            async with pair.portal.open_context(endpoint):
                pytest.fail("entered")


async def test_an_actor_can_call_itself_but_not_open_a_context_in_itself(transport: str) -> None:
    """Both ends would be the same task's."""
    address = tractor.ipc._addr.get_address_cls(transport).get_random("me")
    async with open_resident("me", HERE, binds=[address]) as me:
        portal = Portal(await me.actor.connect(me.actor.server.addrs[0]))
        assert await portal.run(add, a=1) == 1
        with pytest.raises(RuntimeError, match="Invalid Operation"):
            portal.open_context(endpoint)
        await portal.aclose()


async def test_an_actor_without_a_main_function_has_no_result(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is a class, not an error; the old name says that it is old."""
    async with open_pair(HERE) as pair:
        assert await pair.portal.wait_for_result() is NoResult
        assert "has no result" in caplog.text
        with pytest.warns(DeprecationWarning, match=r"use Portal\.wait_for_result"):
            assert await pair.portal.result() is NoResult


@pytest.mark.parametrize(
    ("how", "told"),
    [("we close", False), ("it leaves", False), ("it breaks", True), ("it talks nonsense", True)],
)
async def test_a_result_is_not_awaited_from_a_channel_that_broke(how: str, told: bool) -> None:
    """An orderly end is none of its business."""
    async with open_pair(HERE) as pair:
        if how == "we close":
            await pair.portal.aclose()
        elif how == "it leaves":
            pair.bob.actor.cancel_soon()
        elif how == "it breaks":
            pair.back.chan.abort()
        else:
            pair.back.chan.transport.send_nowait([b"this is no frame at all, is it?"])
        while pair.portal.chan.connected():
            await trio.lowlevel.checkpoint()
        if told:
            with pytest.raises(tractor.TransportClosed, match="bob@"):
                await pair.portal.wait_for_result()
        else:
            assert await pair.portal.wait_for_result() is NoResult


async def test_what_a_portal_knows_of_its_peer() -> None:
    """Portals are told apart, as keys of a dict; what they lead to is compared by actor."""
    async with open_pair(HERE) as pair:
        again = Portal(pair.portal.chan)
        found = {pair.portal: "first", again: "second", pair.back: "third"}
        assert [found[portal] for portal in (pair.portal, again, pair.back)] == ["first", "second", "third"]
        peer = pair.portal.actor
        assert peer == again.actor
        assert {peer: 1}[again.actor] == 1
        assert peer != pair.back.actor
        aid = pair.bob.actor.aid
        assert (peer.aid, peer.name, peer.uid, peer.pid, str(peer)) == (
            aid,
            "bob",
            aid.uid,
            aid.pid,
            str(aid),
        )


async def test_an_actor_may_cancel_itself_by_a_portal(transport: str) -> None:
    """It is answered, and ends."""
    address = tractor.ipc._addr.get_address_cls(transport).get_random("me")
    async with open_resident("me", HERE, binds=[address]) as me:
        portal = Portal(await me.actor.connect(me.actor.server.addrs[0]))
        with trio.fail_after(2):
            assert await portal.cancel_actor() is True
            assert me.actor.cancel_caller == me.actor.uid
            await me.gone.wait()
            assert await portal.cancel_actor() is False


async def test_closing_ends_what_is_under_way() -> None:
    """Both sides see the end."""
    async with open_pair(HERE) as pair:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(tractor.TransportClosed, match="closed locally"):
                    await pair.portal.run(sleep, seconds=1e9)

            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            await pair.portal.aclose()
        await pair.portal.aclose()
        await wait_all_tasks_blocked()
        assert not pair.back.chan.connected()
        assert pair.bob.actor.peers == {}


async def test_cancelling_an_actor_ends_it() -> None:
    """The answer is yes, as soon as its requests have ended; asking again is harmless and quick."""
    async with open_pair(HERE) as pair:
        assert await pair.portal.cancel_actor() is True
        assert pair.portal.chan.cancel_called
        with trio.fail_after(0.2):
            await pair.portal.cancel_actor()
            await pair.bob.gone.wait()
            while pair.portal.chan.connected():
                await trio.lowlevel.checkpoint()
            assert await pair.portal.cancel_actor() is False
        assert pair.bob.actor.cancel_caller == pair.alice.actor.uid
        bye: Any = pair.portal.chan.bye
        assert (bye.how, bye.canceller) == ("cancelled", pair.alice.actor.uid)


def test_an_actor_that_is_ending_answers_at_once() -> None:
    """Whoever asks second need not wait for the first one's clean-up to begin again."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            answers: list[tuple[bool, float]] = []
            begin = trio.current_time()

            async def cancel() -> None:
                answers.append((await pair.portal.cancel_actor(timeout=10), trio.current_time() - begin))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hold, pair.portal)
                await wait_all_tasks_blocked()
                nursery.start_soon(cancel)
                nursery.start_soon(cancel)
            assert [yes for yes, _ in answers] == [True, True]
            assert all(when == pytest.approx(1, abs=0.05) for _, when in answers)

    async def hold(portal: Portal) -> None:
        await portal.run(shielded, seconds=1)

    run_fast(main)


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("timeout", [None, 0.1, 3.0])
def test_an_actor_that_does_not_answer_in_time(timeout: float | None, raises: bool) -> None:
    """`cancel_actor` says no, or raises, exactly then."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ignore, pair.portal)
                await wait_all_tasks_blocked()
                begin = trio.current_time()
                if raises:
                    with pytest.raises(ActorTooSlowError, match=r"bob@.* did not acknowledge"):
                        await pair.portal.cancel_actor(timeout, raise_on_timeout=True)
                else:
                    assert await pair.portal.cancel_actor(timeout) is False
                seconds = Portal.cancel_timeout if timeout is None else timeout
                assert trio.current_time() - begin == pytest.approx(seconds, abs=0.02)
                pair.portal.chan.abort()

    async def ignore(portal: Portal) -> None:
        with pytest.raises(tractor.TransportClosed):
            await portal.run(shielded, seconds=20)

    run_fast(main)


def test_the_default_timeout_can_be_set() -> None:
    """On the class or on one portal."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ignore, pair.portal)
                await wait_all_tasks_blocked()
                pair.portal.cancel_timeout = 2
                begin = trio.current_time()
                assert await pair.portal.cancel_actor() is False
                assert trio.current_time() - begin == pytest.approx(2, abs=0.02)
                pair.portal.chan.abort()

    async def ignore(portal: Portal) -> None:
        with pytest.raises(tractor.TransportClosed):
            await portal.run(shielded, seconds=20)

    run_fast(main)


def test_a_peer_that_does_not_read_cannot_hold_us_up() -> None:
    """Its connection is full: asking it to end takes its timeout, not for ever."""

    async def main() -> None:
        async with open_resident("alice", HERE) as alice:
            ours, _theirs = memory_transport_pair(1000)
            channel = tractor.Channel(ours, dialer=True)
            channel.aid = tractor.Actor("stuck", variables=alice.actor.vars, modules={}).aid
            portal = Portal(alice.actor.add_router(channel))
            alice.spawn(alice.actor.serve_channel, channel)
            channel.post(Kind.ITEM, 0, 1, b"x" * 2 * HIGH_WATER)
            begin = trio.current_time()
            assert await portal.cancel_actor(timeout=0.3) is False
            assert trio.current_time() - begin == pytest.approx(0.3, abs=0.02)

    run_fast(main)


async def test_a_child_that_was_killed_is_known_to_be_gone(transport: str) -> None:
    """Whoever waits on it is told at once, and asking it to end takes no time."""
    with pytest.raises(ActorFailure, match=rf"'child' .*{SLAIN}"):
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            portal = await an.start_actor("child", enable_modules=[HERE, bodies.__name__])
            with trio.fail_after(2), trio.CancelScope(shield=True):
                await slay(portal)
                with pytest.raises(tractor.TransportClosed, match=rf"child@.*{SLAIN}"):
                    await portal.run(sleep, seconds=30)
                begin = time.monotonic()
                assert await portal.cancel_actor() is False
                assert time.monotonic() - begin < 0.1


@pytest.mark.parametrize("state", [pytest.param("stopped", marks=OF_A_PROCESS), "busy"])
async def test_a_child_that_cannot_answer_costs_the_timeout(transport: str, state: str) -> None:
    """Not a moment more, whether its process or only its loop stands still."""
    async with tractor.open_nursery(enable_transports=[transport], grace=0.1) as an:
        portal = await an.start_actor("child", enable_modules=[HERE])
        pid = await portal.run(getpid)
        async with trio.open_nursery() as nursery:
            if state == "stopped":
                os.kill(pid, signal.SIGSTOP)
            else:
                nursery.start_soon(ignore_end, portal)
                await trio.sleep(0.1)
            begin = time.monotonic()
            assert await portal.cancel_actor(timeout=0.2) is False
            assert time.monotonic() - begin < 0.4
            await an.cancel(hard_kill=True)


async def ignore_end(portal: Portal) -> None:
    """Call what never answers; the end of the child ends it."""
    with pytest.raises(LOST, match=f"child@|{BY_FORCE}"):
        await portal.run(busy, seconds=30)

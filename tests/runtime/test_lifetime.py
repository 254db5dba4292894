"""From the first service of an actor to its last: boot and orderly end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.kinds import OF_A_PROCESS
from tests.resident import join, open_pair, open_resident, run_fast
from tractor import ContextCancelled, InternalError, RemoteActorError, TransportClosed
from tractor.ipc._addr import TCPAddress, get_address_cls
from tractor.ipc._dial import connect
from tractor.runtime import _lifetime
from tractor.runtime._actor import Actor
from tractor.runtime._lifetime import run_actor
from tractor.runtime._state import current_actor
from tractor.runtime._vars import RuntimeVars

HERE = __name__


def make_actor(log: list[str]) -> Actor:
    """Return an actor that notes the end of its lifetime."""
    actor = Actor("mortal", variables=RuntimeVars(), modules={})
    actor.lifetime_stack.callback(log.append, "lifetime over")
    return actor


async def sleep() -> None:
    """Sleep until cancelled."""
    await trio.sleep_forever()


async def shielded(seconds: float) -> str:
    """Ignore cancellation for a while."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)
    return "ignored it"


async def leave_a_file_at_the_end(path: str) -> int:
    """Register a callback for this actor's end."""
    actor = tractor.current_actor()
    actor.lifetime_stack.callback(Path(path).write_text, actor.name)
    return os.getpid()


async def raise_exit() -> None:
    """End this actor from inside."""
    raise SystemExit(3)


class Boom(BaseException):
    """Something that is no `Exception`."""


@pytest.mark.parametrize(
    "error",
    [None, ValueError("own"), KeyboardInterrupt(), SystemExit(1), Boom(), ExceptionGroup("g", [OSError()])],
)
async def test_the_lifetime_stack_is_closed_however_the_block_ends(error: BaseException | None) -> None:
    """And the error leaves bare; nobody is the current actor any more."""
    log: list[str] = []
    caught: BaseException | None = None
    try:
        async with run_actor(make_actor(log), []):
            assert current_actor().name == "mortal"
            assert log == []
            if error is not None:
                raise error
    except BaseException as exc:  # noqa: BLE001
        caught = exc
    assert caught is error or getattr(caught, "exceptions", 1) == getattr(error, "exceptions", 2)
    assert log == ["lifetime over"]
    assert current_actor(err_on_no_runtime=False) is None


@pytest.mark.parametrize(
    "how", ["from outside", "by the actor", "by a crash of the runtime", "by an address in use"]
)
async def test_the_lifetime_stack_is_closed_however_the_block_is_ended(how: str) -> None:
    """By a cancellation, or because it never got so far."""
    log: list[str] = []
    actor = make_actor(log)
    async with open_resident("other", binds=[TCPAddress("127.0.0.1", 0)]) as other:
        binds = other.actor.server.addrs if how == "by an address in use" else []

        async def crash() -> None:
            raise ValueError("a bug")

        with trio.CancelScope() as scope:
            try:
                async with run_actor(actor, binds):
                    if how == "from outside":
                        scope.cancel()
                    elif how == "by the actor":
                        actor.cancel_soon()
                    else:
                        actor.services.start_soon(crash)
                    await trio.sleep_forever()
            except InternalError:
                assert how == "by a crash of the runtime"
            except ConnectionError:
                assert how == "by an address in use"
    assert log == ["lifetime over"]
    assert scope.cancelled_caught is (how == "from outside")


async def test_one_callback_that_fails_does_not_keep_others_from_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The failure is logged, and told in the goodbye."""
    log: list[str] = []
    actor = make_actor(log)

    def fail() -> None:
        raise ValueError("in a callback")

    actor.lifetime_stack.callback(fail)
    async with run_actor(actor, []):
        pass
    assert log == ["lifetime over"]
    assert "lifetime_stack failed" in caplog.text
    assert actor.bye.detail == "ValueError: in a callback"


SIGNALS = [pytest.param(f"gets {name}", marks=OF_A_PROCESS) for name in ("SIGINT", "SIGTERM")]


@pytest.mark.parametrize("how", ["returns", "is cancelled", "exits", *SIGNALS])
async def test_the_lifetime_stack_of_a_real_child_is_closed(transport: str, how: str, tmp_path: Path) -> None:
    """On every path that leaves Python a chance."""
    path = tmp_path / "left"
    try:
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            if how == "returns":
                portal = await an.run_in_actor(leave_a_file_at_the_end, name="child", path=os.fspath(path))
                await portal.wait_for_result()
            else:
                portal = await an.start_actor("child", enable_modules=[HERE])
                pid = await portal.run(leave_a_file_at_the_end, path=os.fspath(path))
                assert not path.exists()
                if how == "is cancelled":
                    await portal.cancel_actor()
                elif how == "exits":
                    with pytest.raises(RemoteActorError):
                        await portal.run(raise_exit)
                else:
                    os.kill(pid, signal.SIGINT if how == "gets SIGINT" else signal.SIGTERM)
                    await trio.sleep(5)
    except tractor.ActorFailure:
        assert how in ("exits", "gets SIGINT", "gets SIGTERM")
    assert path.read_text() == "child"


async def test_the_end_is_told_to_every_peer(transport: str) -> None:
    """Then the connections and the listener are closed."""
    address = get_address_cls(transport).get_random("bob")
    async with open_resident("alice") as alice:
        async with open_resident("bob", binds=[address]) as bob:
            real = bob.actor.server.addrs[0]
            router = await alice.actor.connect(real)
        await wait_all_tasks_blocked(0.01)
        bye: Any = router.channel.bye
        assert bye.how == "cancelled"
        assert not router.channel.connected()
        with pytest.raises(OSError, match=r"refused|no such socket"):
            await connect(real)


async def test_requests_end_before_the_lifetime_does() -> None:
    """They are cancelled, by the actor itself where nobody else has asked."""
    order: list[str] = []
    async with open_pair(HERE) as pair:
        pair.bob.actor.lifetime_stack.callback(
            lambda: order.append(f"lifetime over, {len(pair.bob.actor.served)} left")
        )

        async def ask() -> None:
            with pytest.raises(ContextCancelled) as info:
                await pair.portal.run(sleep)
            assert info.value.canceller == pair.bob.actor.uid

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            pair.bob.actor.cancel_soon()
            await pair.bob.gone.wait()
    assert order == ["lifetime over, 0 left"]


@pytest.mark.parametrize("seconds", [1, 1000])
def test_a_request_that_ignores_its_cancellation_does_not_hold_up_the_end(seconds: float) -> None:
    """After a while its shields are taken away."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    with (
                        pytest.raises((ContextCancelled, TransportClosed))
                        if seconds > 10
                        else trio.CancelScope()
                    ):
                        assert await pair.portal.run(shielded, seconds=seconds) == "ignored it"

                nursery.start_soon(ask)
                await wait_all_tasks_blocked()
                begin = trio.current_time()
                pair.bob.actor.cancel_soon()
                await pair.bob.gone.wait()
                elapsed = trio.current_time() - begin
                assert elapsed == pytest.approx(min(seconds, _lifetime.REQUESTS_TIMEOUT), abs=0.05)

    run_fast(main)


def test_farewells_are_bounded() -> None:
    """Each; what fails in one does not keep the others from their turn."""

    async def main() -> None:
        log: list[str] = []
        actor = make_actor(log)

        async def endless() -> None:
            await trio.sleep_forever()

        async def broken() -> None:
            raise OSError("nobody there")

        async def last() -> None:
            log.append("last")

        actor.farewells += [endless, broken, endless, last]
        begin = trio.current_time()
        async with run_actor(actor, []):
            pass
        assert trio.current_time() - begin == pytest.approx(2 * _lifetime.FAREWELL_TIMEOUT, abs=0.01)
        assert log == ["lifetime over", "last"]

    run_fast(main)


def test_peers_that_do_not_read_do_not_hold_up_the_end() -> None:
    """The goodbye is sent for a moment, to all of them at once."""

    async def main() -> None:
        async with (
            open_resident("alice") as alice,
            open_resident("bob") as bob,
            open_resident("carol") as carol,
        ):
            for peer in (bob, carol):
                portal, _ = await join(alice, peer)
                transport: Any = portal.chan.transport
                transport._out.capacity = 0
            begin = trio.current_time()
            alice.actor.cancel_soon()
            await alice.gone.wait()
            assert 0.1 < trio.current_time() - begin < 0.25

    run_fast(main)

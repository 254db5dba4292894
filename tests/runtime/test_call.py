"""The requester's end of a plain call: one request, one reply, however it ends."""

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.resident import Pair, open_pair, run_fast
from tractor._errors import ModuleNotExposed, TransportClosed
from tractor.ipc._channel import Channel
from tractor.msg._boxed import ContextCancelled, MsgTypeError, RemoteActorError
from tractor.msg._messages import Return
from tractor.runtime._call import call
from tractor.runtime._unwind import UNWIND_TIMEOUT

HERE = __name__
#: What the functions below did, in order.
LOG: list[str] = []


async def add(a: int, b: int = 0) -> int:
    """Return the sum."""
    return a + b


async def double(text: Any) -> Any:
    """Return the value twice."""
    return [text, text]


async def sized(size: int) -> bytes:
    """Return that many bytes."""
    return b"x" * size


async def fail(kind: str) -> None:
    """Raise."""
    raise {
        "value": ValueError("bad value"),
        "key": KeyError("k"),
        "group": ExceptionGroup("g", [OSError("o")]),
    }[kind]


async def unsendable() -> object:
    """Return what cannot travel."""
    return object()


async def hang(cleanup: float = 0) -> None:
    """Sleep until cancelled, then for a while longer."""
    LOG.append("started")
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        LOG.append("cancelled")
        raise
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(cleanup)
        LOG.append("ended")


async def swallow() -> str:
    """Ignore a cancellation and return."""
    with trio.CancelScope(shield=True):
        await trio.sleep(0.1)
    return "done"


async def test_a_call_returns_what_the_function_returns() -> None:
    """Any msgpack value; tuples arrive as lists."""
    async with open_pair(HERE) as pair:
        assert await call(pair.portal._router, f"{HERE}:add", {"a": 1, "b": 2}) == 3
        assert (
            await pair.back.run(double, text={"k": (1, None, b"b", 1.5)}) == [{"k": [1, None, b"b", 1.5]}] * 2
        )


async def test_many_calls_share_a_channel() -> None:
    """Each gets its own reply, in whatever order they come."""
    async with open_pair(HERE) as pair:
        got: dict[int, int] = {}

        async def one(n: int) -> None:
            got[n] = await pair.portal.run(add, a=n, b=n)

        async with trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(one, n)
        assert got == {n: 2 * n for n in range(300)}
        assert pair.portal._router.dialogs == {}


async def still_works(pair: Pair) -> None:
    """Check that both ends serve, on the same channel, and that nothing was left behind."""
    assert await pair.portal.run(add, a=1, b=1) == 2
    assert await pair.back.run(add, a=2, b=2) == 4
    assert pair.portal._router.dialogs == {}
    assert pair.back._router.dialogs == {}
    assert pair.alice.actor.served == {}
    assert pair.bob.actor.served == {}


@pytest.mark.parametrize(
    ("target", "kwargs", "error", "text"),
    [
        (f"{HERE}:fail", {"kind": "value"}, ValueError, "bad value"),
        (f"{HERE}:fail", {"kind": "key"}, KeyError, "'k'"),
        (f"{HERE}:fail", {"kind": "group"}, ExceptionGroup, "OSError: o"),
        (f"{HERE}:add", {"c": 3}, TypeError, "unexpected keyword argument 'c'"),
        (f"{HERE}:add", {}, TypeError, "missing 1 required positional argument: 'a'"),
        (f"{HERE}:missing", {}, AttributeError, "missing"),
        (f"{HERE}:LOG", {}, TypeError, "must be an async function!"),
        (
            f"{HERE}:test_cancelling_the_caller_cancels_the_function",
            {},
            TypeError,
            "must be an async function!",
        ),
        ("os:system", {}, ModuleNotExposed, "'os' is not exposed by this actor; add it to `enable_modules`"),
        ("no target at all", {}, ModuleNotExposed, "is not exposed"),
        (f"{HERE}:unsendable", {}, TypeError, "cannot send an object of type 'object'"),
        (
            f"{HERE}:sized",
            {"size": 200_000},
            ValueError,
            "message of 200005 bytes is over the channel's limit",
        ),
        ("self:no_such_method", {}, AttributeError, "the runtime exposes no method 'no_such_method'"),
        ("self:cancel_soon", {}, AttributeError, "the runtime exposes no method"),
    ],
)
async def test_what_goes_wrong_over_there_is_told_here(
    target: str, kwargs: dict[str, Any], error: type[BaseException], text: str
) -> None:
    """With its type, its origin and its traceback; the callee goes on serving."""
    async with open_pair(HERE, limit=100_000) as pair:
        with pytest.raises(RemoteActorError) as info:
            await call(pair.portal._router, target, kwargs)
        exc = info.value
        assert (exc.boxed_type, exc.src_uid) == (error, pair.bob.actor.uid)
        assert text in str(exc)
        await still_works(pair)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (object(), TypeError, "cannot send an object of type 'object'"),
        ({"deep": [add]}, TypeError, r"cannot send an object of type 'function' \(at .*deep"),
        (2**64, OverflowError, "cannot send an integer of 65 bits"),
        (b"x" * 200_000, ValueError, "over the channel's limit of 100000 bytes"),
    ],
)
async def test_an_argument_that_cannot_be_sent_is_refused_here(
    value: object, error: type[Exception], text: str
) -> None:
    """Nothing is sent."""
    async with open_pair(HERE, limit=100_000) as pair:
        with pytest.raises(error, match=text):
            await pair.portal.run(double, text=value)
        await still_works(pair)


@pytest.mark.parametrize("limit", [400, 3000, 100_000])
async def test_an_error_report_never_exceeds_the_limit(limit: int) -> None:
    """It is cut, rather than lost: the caller must learn that its call failed."""
    async with open_pair(HERE, limit=limit) as pair:
        with pytest.raises(RemoteActorError) as info:
            await call(pair.portal._router, f"{HERE}:sized", {"size": 2 * limit})
        assert info.value.boxed_type is ValueError
        await still_works(pair)


def test_cancelling_the_caller_cancels_the_function() -> None:
    """The caller waits until it has ended, so that nothing runs on unowned."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            with trio.move_on_after(1) as scope:
                await pair.portal.run(hang, cleanup=0.2)
            assert scope.cancelled_caught
            assert trio.current_time() - begin == pytest.approx(1.2, abs=0.01)
            assert LOG == ["started", "cancelled", "ended"]
            await still_works(pair)

    run_fast(main)


def test_a_function_that_does_not_end_holds_its_cancelled_caller_for_a_while_only() -> None:
    """Then the caller goes on alone; the late end is ignored."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            with trio.move_on_after(1) as scope:
                await pair.portal.run(hang, cleanup=30)
            assert scope.cancelled_caught
            assert trio.current_time() - begin == pytest.approx(1 + UNWIND_TIMEOUT, abs=0.01)
            await trio.sleep(60)
            assert LOG == ["started", "cancelled", "ended"]
            await still_works(pair)

    run_fast(main)


def test_a_function_that_ignores_its_cancellation_may_still_answer() -> None:
    """The caller was cancelled all the same."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            with trio.move_on_after(0.05) as scope:
                await pair.portal.run(swallow)
            assert scope.cancelled_caught
            await still_works(pair)

    run_fast(main)


async def test_a_cancelled_caller_sends_nothing() -> None:
    """It checks before it begins."""
    async with open_pair(HERE) as pair:
        with trio.CancelScope() as scope:
            scope.cancel()
            await pair.portal.run(hang)
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        assert LOG == []


async def test_a_cancellation_while_the_reply_is_on_its_way() -> None:
    """Whoever wins: the caller is cancelled or has its answer, and the next call works."""
    async with open_pair(HERE) as pair:
        outcomes: list[object] = []
        for ticks in range(12):
            with trio.CancelScope() as scope:

                async def later(scope: trio.CancelScope = scope, ticks: int = ticks) -> None:
                    for _ in range(ticks):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(later)
                    outcomes.append(await pair.portal.run(add, a=1))
            await still_works(pair)
        assert set(outcomes) <= {1}


@pytest.mark.parametrize("loser", ["alice", "bob"])
async def test_a_loss_fails_every_call_that_waits(loser: str) -> None:
    """At both ends at once, each with an error that names the peer; the functions are cancelled."""
    async with open_pair(HERE) as pair:
        errors: list[TransportClosed] = []

        async def wait(portal: Any, peer: str) -> None:
            with pytest.raises(TransportClosed) as info:
                await portal.run(hang)
            assert info.value.peer.startswith(peer)
            errors.append(info.value)

        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait, pair.portal, "bob")
                    nursery.start_soon(wait, pair.back, "alice")
                await wait_all_tasks_blocked()
                assert LOG == ["started"] * 6
                channel: Channel = pair.portal.chan if loser == "alice" else pair.back.chan
                channel.abort()
        assert len({id(exc) for exc in errors}) == 6
        await wait_all_tasks_blocked()
        assert LOG.count("ended") == 6
        assert pair.alice.actor.served == pair.bob.actor.served == {}
        with pytest.raises(TransportClosed, match="bob"):
            await pair.portal.run(add, a=1)


def test_a_loss_ends_the_wait_of_a_cancelled_caller() -> None:
    """It waits for the function's end, which nobody will report any more."""

    async def main() -> None:
        async with open_pair(HERE) as pair:
            begin = trio.current_time()
            async with trio.open_nursery() as nursery:

                async def breaker() -> None:
                    await trio.sleep(1.1)
                    pair.back.chan.abort()

                nursery.start_soon(breaker)
                with trio.move_on_after(1):
                    await pair.portal.run(hang, cleanup=30)
            assert trio.current_time() - begin == pytest.approx(1.1, abs=0.01)

    run_fast(main)


async def test_a_call_that_is_cancelled_by_its_callees_end_says_so() -> None:
    """It was cancelled there, by the actor that was asked to end."""
    async with open_pair(HERE) as pair:

        async def caller() -> None:
            with pytest.raises(ContextCancelled) as info:
                await pair.portal.run(hang)
            assert info.value.canceller == pair.bob.actor.uid

        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await wait_all_tasks_blocked()
            pair.bob.actor.cancel_soon()


async def test_a_reply_that_is_no_value_is_an_error_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer's fault; it costs this call only."""
    async with open_pair(HERE) as pair:
        real_post = Channel.post

        def garble(self: Channel, kind: int, flags: int, did: int, body: Any = b"") -> None:
            real_post(self, kind, flags, did, b"\xc1" if self is pair.back.chan else body)

        monkeypatch.setattr(Channel, "post", garble)
        with pytest.raises(MsgTypeError, match="invalid `Return` msg payload") as info:
            await pair.portal.run(add, a=1)
        assert (info.value.bad_msg, info.value.expected_msg_type) == (b"\xc1", Return)
        monkeypatch.undo()
        await still_works(pair)

"""Every pair of failures at the same time: what comes out is what `docs/precedence.md` says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.precedence import TABLE, HeldBack, find_pairs, find_winner, name_of, press_ctrl_c
from tests.resident import Pair, join, open_pair, open_resident, run_fast
from tractor import Context, ContextCancelled, RemoteActorError, StreamOverrun, TransportClosed

HERE = __name__
#: What the endpoint is to do next.
ORDERS: list[str] = []
ORDERED: list[trio.Event] = []

LAST_WORDS = {name for name, failure in TABLE.items() if failure.mark == "†"}
#: In memory there are no processes to die; for who waits, it is the loss of the peer.
ELSEWHERE = {"child death"}
CANCELLATIONS = {
    "outer trio cancellation",
    "third-party cancel",
    "peer's self-cancel",
    "own confirmed cancel",
}
UNWINDING = {"error while unwinding", "masked error"}


async def obey() -> Any:
    """Do what was ordered."""
    await ORDERED[-1].wait()
    if ORDERS[-1] == "raise":
        raise ValueError("remote")
    return {"return what is no text": 5, "return what cannot be sent": object()}[ORDERS[-1]]


@tractor.context(pld_spec=str | None)
async def puppet(ctx: Context, backpressure: bool) -> Any:
    """Read nothing, and do what was ordered."""
    await ctx.started()
    async with ctx.open_stream(msg_buffer_size=1, backpressure=backpressure) as stream:
        await ORDERED[-1].wait()
        if ORDERS[-1] == "send what is no text":
            await stream.send(5)
            await trio.sleep_forever()
        if ORDERS[-1] == "cancel itself":
            await ctx.cancel()
            await trio.sleep_forever()
        return await obey()


class Stage:
    """Two failures that happen to one opener, and what comes of it."""

    def __init__(self, place: str, pair: Pair, to_bob: tractor.Portal, first: str, second: str) -> None:
        self.place = place
        self.pair = pair
        self.to_bob = to_bob
        self.both = (first, second)
        self.ctx: Context[Any, Any, Any] | None = None
        self.outer = trio.CancelScope()
        self.go = trio.Event()
        #: What the waiting call raised, or returned.
        self.seen: Any = None
        #: What left the block.
        self.left: BaseException | None = None
        #: What whoever asks the context afterwards is told.
        self.later: Any = None
        ORDERS.clear()
        ORDERED[:] = [trio.Event()]

    def order(self, what: str) -> None:
        """Tell the endpoint what to do."""
        if not ORDERS:
            ORDERS.append(what)
            ORDERED[-1].set()

    async def prepare(self, failure: str, nursery: trio.Nursery) -> None:
        """Let the other side say its last word; nobody here has heard it yet."""
        bad = {
            "run": "return what cannot be sent",
            "receive": "send what is no text",
        }.get(self.place, "return what is no text")
        orders = {"remote error": "raise", "peer's self-cancel": "cancel itself", "bad payload": bad}
        if failure in orders:
            self.order(orders[failure])
        elif failure == "overrun":
            nursery.start_soon(self.flood)
        elif failure == "peer loss":
            self.pair.back.chan.abort()
        elif failure == "third-party cancel":
            await self.to_bob.cancel_actor()
        elif failure == "own confirmed cancel":
            assert self.ctx is not None
            self.ctx.cancel_soon("the test")
        await wait_all_tasks_blocked()

    async def flood(self) -> None:
        """Send more than is taken."""
        assert self.ctx is not None
        assert self.ctx._stream is not None
        with suppress(RemoteActorError, TransportClosed):
            for _ in range(3):
                await self.ctx._stream.send("item")

    async def direct(self, *, at_once: bool) -> None:
        """Let both happen: at the same moment, or the second while the first has its consequences."""
        await wait_all_tasks_blocked()
        router = self.pair.portal._router
        held = HeldBack(router, max(router.dialogs))
        async with trio.open_nursery() as nursery:
            for failure in self.both:
                await self.prepare(failure, nursery)
            for failure in self.both:
                if failure in LAST_WORDS:
                    held.release()
                elif failure == "outer trio cancellation":
                    self.outer.cancel()
                elif failure == "Ctrl-C":
                    press_ctrl_c()
                elif failure != "error while unwinding":
                    self.go.set()
                if not at_once:
                    await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            held.release()
            nursery.cancel_scope.cancel()

    async def body(self, stream: tractor.MsgStream[Any]) -> None:
        """Wait in that place; raise as planned."""
        assert self.ctx is not None
        if self.place != "block":
            calls: dict[str, Callable[[], Awaitable[Any]]] = {
                "wait_for_result": self.ctx.wait_for_result,
                "receive": stream.receive,
                "send": lambda: send_all(stream),
            }
            await self.look(calls[self.place])
            return
        own = {"body error", "error while unwinding", "masked error"} & set(self.both)
        try:
            try:
                await self.go.wait()
            finally:
                if own:
                    raise OSError("own")
        finally:
            if own == {"masked error"}:
                await trio.sleep_forever()

    async def look(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Note what comes of a call."""
        try:
            self.seen = await call()
        except BaseException as exc:
            self.seen = exc
            raise

    async def play(self) -> None:
        """Be the opener, or the caller."""
        with self.outer:
            try:
                if self.place == "run":
                    await self.look(lambda: self.pair.portal.run(obey))
                else:
                    open_context = self.pair.portal.open_context
                    async with open_context(puppet, backpressure=self.place == "send") as (self.ctx, _):
                        async with self.ctx.open_stream() as stream:
                            await self.body(stream)
                # A cancellation that was swallowed comes again.
                await trio.lowlevel.checkpoint()
            except BaseException as exc:  # noqa: BLE001 - that is what is asked
                self.left = exc


async def send_all(stream: tractor.MsgStream[Any]) -> None:
    """Send until that has to wait, and on."""
    while True:
        await stream.send("x" * 100_000)


def find_modes(first: str, second: str) -> list[bool]:
    """Return how two failures can meet: at once (True), or the second while the first is unwinding the task (False)."""
    if first in LAST_WORDS:
        if second == "Ctrl-C" or (first == "bad payload" and second in UNWINDING):
            # Trio raises the one when it comes to the task, which is elsewhere by then; nobody has looked at the other.
            return []
        return [True]
    if first == "error while unwinding" or (first == "masked error" and second == "bad payload"):
        # The one needs something before it; the other cancels nobody.
        return []
    if first in ("masked error", "Ctrl-C") or second == "Ctrl-C":
        return [False]
    return [True] if second in UNWINDING else [True, False]


def make_cases(column: str, *, without: set[str] = ELSEWHERE) -> list[Any]:
    """Return every pair of a column, in every way in which it can meet."""
    return [
        pytest.param(first, second, at_once, id=f"{first}, {second}{'' if at_once else ' later'}")
        for first, second in find_pairs(column)
        if not without & {first, second}
        for at_once in find_modes(first, second)
    ]


def run_stage(place: str, first: str, second: str, *, at_once: bool) -> Stage:
    """Run two failures in a place; return what has come of it."""
    stages: list[Stage] = []

    async def main() -> None:
        async with open_pair(HERE) as pair, open_resident("carol") as carol:
            to_bob, _ = await join(carol, pair.bob)
            stage = Stage(place, pair, to_bob, first, second)
            stages.append(stage)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: stage.direct(at_once=at_once))
                with trio.fail_after(60):
                    await stage.play()
            if stage.ctx is not None:
                stage.later = await ask_later(stage.ctx)

    run_fast(main)
    return stages[0]


async def ask_later(ctx: Context[Any, Any, Any]) -> Any:
    """Return what whoever asks after the block is told."""
    try:
        return await ctx.wait_for_result()
    except Exception as exc:  # noqa: BLE001 - whatever it is
        return exc


def check(stage: Stage, left: Any, column: str, failure: str) -> None:
    """Check that `left` is what the page says of a failure in a column, and that it is this one."""
    assert name_of(left) == TABLE[failure].cells[column].what
    carol_or_bob = {
        "third-party cancel": "carol",
        "peer's self-cancel": "bob",
        "own confirmed cancel": "alice",
    }
    if isinstance(left, ContextCancelled):
        assert left.canceller is not None
        assert left.canceller[0] == carol_or_bob[failure]
    elif isinstance(left, RemoteActorError) and failure in ("remote error", "overrun"):
        assert left.src_type is {"remote error": ValueError, "overrun": StreamOverrun}[failure]


@pytest.mark.parametrize(("first", "second", "at_once"), make_cases("block"))
def test_block(first: str, second: str, at_once: bool) -> None:
    """The loser stays visible: what the other side has said is what the context says afterwards."""
    stage = run_stage("block", first, second, at_once=at_once)
    winner = find_winner("block", first, second, at_once=at_once)
    check(stage, stage.left, "block", winner)
    loser = second if winner == first else first
    if loser in LAST_WORDS and winner not in LAST_WORDS:
        assert stage.ctx is not None
        expected = "ContextCancelled" if loser == "own confirmed cancel" else TABLE[loser].cells["block"].what
        assert name_of(stage.later) == expected
        assert stage.ctx._remote_error is stage.later


#: What of each place can be waited for.
_NOT_IN_SEND = ELSEWHERE | {"overrun", "bad payload"}


@pytest.mark.parametrize(
    ("place", "first", "second", "at_once"),
    [
        pytest.param(place, *case.values, id=f"{place}, {case.id}")
        for place, column, without in (
            ("wait_for_result", "wait_for_result", ELSEWHERE),
            ("receive", "receive, send", ELSEWHERE),
            ("send", "receive, send", _NOT_IN_SEND),
        )
        for case in make_cases(column, without=without)
    ],
)
def test_waiting_calls(place: str, first: str, second: str, at_once: bool) -> None:
    """They raise what has woken them; what leaves the block is what its own column says."""
    column = "wait_for_result" if place == "wait_for_result" else "receive, send"
    stage = run_stage(place, first, second, at_once=at_once)
    seen = find_winner(column, first, second, at_once=at_once)
    if TABLE[seen].cells[column].what == "returned":
        assert isinstance(stage.seen, ContextCancelled)
    else:
        check(stage, stage.seen, column, seen)
    winner = find_winner("block", first, second, at_once=at_once)
    if place == "receive" and "bad payload" in (first, second):
        # An item is no last word: that it is bad is an error of the body's own, if the body sees it.
        assert stage.left is stage.seen or seen != "bad payload"
    elif not {first, second} <= CANCELLATIONS:
        # Which of two cancellations it was makes no difference to the program.
        check(stage, stage.left, "block", winner)


@pytest.mark.parametrize(("first", "second", "at_once"), make_cases("Portal.run"))
def test_portal_run(first: str, second: str, at_once: bool) -> None:
    """An error that a Ctrl-C has overtaken is its context."""
    stage = run_stage("run", first, second, at_once=at_once)
    winner = find_winner("Portal.run", first, second, at_once=at_once)
    assert stage.left is stage.seen
    check(stage, stage.left, "Portal.run", winner)
    if winner == "Ctrl-C" and second in LAST_WORDS - CANCELLATIONS:
        assert stage.left is not None
        assert name_of(stage.left.__context__) == TABLE[second].cells["Portal.run"].what


def test_the_page_is_complete() -> None:
    """Every cell is read, and those of which no test above speaks say the same as those of which one does."""
    for failure in TABLE.values():
        assert failure.mark in ("", "*", "†")
    for column in ("block", "wait_for_result", "receive, send", "Portal.run"):
        assert TABLE["child death"].cells[column] == TABLE["peer loss"].cells[column]

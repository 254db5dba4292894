"""What must hold while and after any program ran. Each fault is a sentence in the record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from tests.stateful.records import EPSILON, End, Pair, Record, StreamRecord, behind, is_only_cancelled, leaves
from tests.stateful.stage import Stage
from tractor import ContextCancelled, RemoteActorError, StreamOverrun, TransportClosed
from tractor.runtime._actor import Actor
from tractor.runtime._context import Unresolved
from tractor.runtime._link import Link
from tractor.runtime._outflow import Credit
from tractor.runtime._router import Router
from tractor.runtime._unwind import INTERRUPT_TIMEOUT
from tractor.wire._dialog import Dialog, Half, Role

# While nothing moves: no frame is under way, every task waits.


def judge_still(stage: Stage) -> None:
    """Both ends keep the same books, and nobody waits for what is there."""
    record, routers = stage.record, [portal._router for portal in stage.portals.values()]
    for here, there in (routers, routers[::-1]):
        for did, dialog_end in here.dialogs.items():
            _judge_dialog(record, did, dialog_end, there)
    for link in record.links:
        _judge_waiters(record, link)
    for pair in record.pairs:
        for end in pair.ends:
            if end.ctx is not None and pair.peer_of(end).ctx is not None:
                _judge_credit(record, pair, end.ctx, pair.peer_of(end).ctx)
        _judge_told(record, pair)
    entered = [pair.opener.ctx for pair in record.pairs if pair.opener.began]
    for link in record.links:
        if link._parked and link._started_body is not None and link not in entered:
            record.blame(f"{link} has started, and its opener waits for that")


def judge_losses(stage: Stage) -> None:
    """Nobody waits for what can only come over a connection that is lost."""
    lost = [portal._router for portal in stage.portals.values() if portal._router.lost is not None]
    for link in stage.record.links:
        if link._router in lost and link._role is Role.PARENT and not link._settled.is_set():
            stage.record.blame(f"{link} has not heard that its connection is lost")
    for pair in stage.record.pairs:
        end = pair.endpoint
        if end.began and not end.gone and end.ctx._router in lost and not end.ctx._scope.cancel_called:
            stage.record.blame(f"{end.ctx} goes on without a connection")
        _judge_told(stage.record, pair)


def _judge_told(record: Record, pair: Pair) -> None:
    """An error of the peer's was raised where its opener waits for the peer; elsewhere that is cancelled."""
    end, ctx = pair.opener, pair.opener.ctx
    if not end.began or end.gone or ctx._remote_error is None:
        return
    if not end.told and not ctx._scope.cancel_called:
        record.blame(f"{ctx} has failed, and its opener was not told")


def _dialog_of(end: Any) -> Dialog:
    dialog: Dialog = end._dialog if isinstance(end, Link) else end.dialog
    return dialog


def _judge_dialog(record: Record, did: int, end: Any, there: Router) -> None:
    dialog, other = _dialog_of(end), there.dialogs.get(did)
    if other is not None:
        if _dialog_of(other).half != dialog.half:
            record.blame(f"the ends of dialog {did} disagree: {dialog} and {_dialog_of(other)}")
    elif dialog.role is Role.PARENT:
        if not dialog.over:
            record.blame(f"{dialog} waits for an end that has gone")
    elif dialog.peer is not Half.CANCELLING and not (isinstance(end, Link) and end._scope.cancel_called):
        record.blame(f"{dialog} goes on without an opener")


def _waits(credit: Credit | None) -> bool:
    return credit is not None and bool(credit._waiting)


def _judge_waiters(record: Record, link: Link) -> None:
    inbox, outflow = link._inbox, link._outflow
    over = inbox.items or inbox.ended or inbox.error or link._settled.is_set()
    if inbox.waiters and over:
        record.blame(f"{link} waits for an item that is there, or never will be")
    for credit in (outflow.credit, outflow.limit):
        if credit is None or not _waits(credit):
            continue
        over = credit is not outflow.limit or credit.closed or link._settled.is_set()
        if over or (credit.items > 0 and credit.bytes > 0):
            record.blame(f"{link} waits for credit that it has, or never will get")


def _judge_credit(record: Record, pair: Pair, sender: Any, receiver: Any) -> None:
    if {*sender._dialog.half} & {Half.CANCELLING, Half.FAILED, Half.DONE}:
        return
    outflow, inbox = sender._outflow, receiver._inbox
    given = (inbox.allowed_items, inbox.allowed_bytes)
    if (outflow.credit.items, outflow.credit.bytes) != given:
        record.blame(
            f"context {pair.number}: credit for {outflow.credit.items} items, {outflow.credit.bytes} bytes, "
            f"of which the giver knows {given}"
        )
    if _waits(outflow.limit) and (
        inbox.discarding or (outflow.credited and inbox.window and not inbox.items and not inbox._later)
    ):
        record.blame(f"context {pair.number}: nobody will ever give credit to {sender}")


# When all openers have left, and what they have left behind has had its time.


def judge_rest(stage: Stage, actors: Iterable[Actor]) -> None:
    """Nothing is left."""
    record = stage.record
    for actor in actors:
        if actor.served:
            record.blame(f"{actor} still serves {list(actor.served)}")
        if not actor.cancel_called and actor._requests is not None and actor._requests.child_tasks:
            record.blame(f"{actor} has tasks left: {actor._requests.child_tasks}")
    for portal in stage.portals.values():
        router = portal._router
        if router.dialogs:
            record.blame(f"{router.local} has dialogs left: {router.dialogs}")
        if not router.channel.connected() and not record.link_harmed:
            record.blame(f"the connection of {router.local} is gone: {router.channel.loss()!r}")
    if record.calls:
        record.blame(f"{record.calls} called functions go on")


def judge_end(record: Record) -> None:
    """Every context has ended in one way, both ends tell of the same, and no item has lost its place."""
    for link in record.links:
        if link._inbox.waiters or _waits(link._outflow.credit) or _waits(link._outflow.limit) or link._parked:
            record.blame(f"a task is parked in {link}")
    for pair in record.pairs:
        _Case(record, pair).judge()


def summary(error: BaseException) -> str:
    """Return what of an error's text is found again wherever it is reported."""
    text = error.message if isinstance(error, RemoteActorError) else str(error)
    return text.partition("\n")[0]


class _Case:
    """One context that is over."""

    def __init__(self, record: Record, pair: Pair) -> None:
        self.record = record
        self.pair = pair
        self.opener, self.endpoint = pair.opener, pair.endpoint
        self.ctx = pair.opener.ctx
        self.error = self.ctx._remote_error if self.ctx is not None else None

    def blame(self, text: str) -> None:
        self.record.blame(f"context {self.pair.number}: {text}")

    def judge(self) -> None:
        if not self.opener.gone:
            self.blame("its block was never left")
            return
        if self.endpoint.began and not self.endpoint.gone:
            self.blame("its endpoint has never ended")
        for end in self.pair.ends:
            for number, stream in enumerate(end.streams):
                theirs = self.pair.peer_of(end).streams[number : number + 1]
                self.judge_items(end, stream, theirs[0].sent if theirs else {})
        if self.ctx is None:
            if not isinstance(self.opener.left, (TransportClosed, trio.Cancelled)):
                self.blame(f"it was never opened, because of {self.opener.left!r}")
            return
        self.judge_block()
        self.judge_stability()
        self.judge_cancellation()
        self.judge_haste()
        if self.opener.settled and not isinstance(self.error, TransportClosed):
            self.judge_report()
        if isinstance(self.error, TransportClosed) and not (self.record.link_harmed or self.record.stalled):
            self.blame(f"its connection was lost: {self.error!r}")

    # How the block was left.

    def judge_block(self) -> None:
        """What left the block is what the rules say, given what left the body and what the peer has said."""
        left = self.opener.left
        if left is None:
            self.judge_silence()
        elif left is self.error:
            self.judge_peers_error(left)
        elif is_only_cancelled(left):
            self.judge_outer_cancellation()
        elif not self.opener.began and isinstance(left, TransportClosed):
            if not self.record.link_harmed:
                self.blame(f"its opener was told that the connection is lost: {left!r}")
        elif not {*map(id, leaves(left))} <= {*map(id, self.opener.known + self.opener.on_the_way)}:
            self.blame(
                f"the block has raised {left!r}, but its body {self.opener.body_left!r} and the peer {self.error!r}"
            )

    def judge_haste(self) -> None:
        """A block that was left without the peer's last word has waited for it."""
        opener, record = self.opener, self.record
        if not opener.began or opener.settled or opener.peer_gone or record.link_harmed or record.stalled:
            return
        if (opener.left_at or 0) < opener.body_left_at + INTERRUPT_TIMEOUT - EPSILON:
            self.blame("its block has not waited for the endpoint")

    def judge_silence(self) -> None:
        """The block has raised nothing."""
        body, own = self.opener.body_left, self.ctx.is_own_cancel(self.error)
        if body is not None and not is_only_cancelled(body) and not (own and self.is_all_cancelled(body)):
            self.blame(f"the block has swallowed {body!r}")
        if not own and (self.error is not None or self.ctx._result_body is None):
            self.blame(f"the block was left in silence, with {self.opener.outcome!r}")

    def judge_peers_error(self, left: Any) -> None:
        """The block has raised what the peer has said."""
        body = self.opener.body_left
        if self.ctx.is_own_cancel(left):
            self.blame("the block has raised the confirmation of its own cancel()")
        if body is not None and not self.may_replace(body):
            self.blame(f"{left!r} has replaced the body's own {body!r}")

    def judge_outer_cancellation(self) -> None:
        """The block was left because of a scope around it."""
        body = self.opener.body_left
        if not self.opener.outer_cancelled:
            self.blame("the block was left with a cancellation that came from nowhere")
        lost = self.raised(self.opener, body) if body is not None else []
        # That the opener's deadline has passed, it finds out itself.
        if lost := [exc for exc in lost if not (isinstance(exc, ContextCancelled) and exc.by_deadline)]:
            self.blame(f"the body's {lost} were lost behind a cancellation")
        if self.is_real(self.error) and self.opener.settled:
            self.blame(f"the peer's {self.error!r} was lost behind a cancellation")

    def is_all_cancelled(self, body: BaseException) -> bool:
        """Whether what left the body is nothing but the confirmation of our own cancel(), and cancelled tasks."""
        return all(leaf is self.error or isinstance(leaf, trio.Cancelled) for leaf in leaves(body))

    def may_replace(self, body: BaseException) -> bool:
        """Whether the peer's error may stand in for what left the body: that is only its consequence, or a cancellation."""
        kinds = (trio.Cancelled, ContextCancelled) if self.is_real(self.error) else trio.Cancelled
        return body is self.error or all(isinstance(leaf, kinds) for leaf in leaves(body))

    @staticmethod
    def is_real(error: BaseException | None) -> bool:
        """Whether somebody's code has raised it, and it has not been a cancellation or a loss."""
        return isinstance(error, RemoteActorError) and not all(
            isinstance(leaf, ContextCancelled) for leaf in error.leaves()
        )

    def judge_stability(self) -> None:
        """What was known when the block was left is known for ever."""
        opener, ctx = self.opener, self.ctx
        if ctx.outcome is not opener.outcome or ctx.maybe_error is not opener.maybe_error:
            self.blame(f"its outcome was {opener.outcome!r}, and later {ctx.outcome!r}")
        kinds = [
            self.error is not None and not ctx.is_own_cancel(self.error),
            ctx.is_own_cancel(self.error),
            ctx._result_body is not None,
        ]
        if sum(kinds) > 1:
            self.blame("it has ended in several ways")
        if opener.settled and ctx.outcome is Unresolved:
            self.blame("it is over, and has no outcome")

    def judge_cancellation(self) -> None:
        """Who is said to have cancelled has done so."""
        for end in self.pair.ends:
            if end.cancelled and end.ctx is not None and not end.ctx.cancel_called:
                self.blame("cancel_called was taken back")
        error = self.error
        if isinstance(error, ContextCancelled):
            if error.canceller not in self.cancellers():
                self.blame(
                    f"it was cancelled by {error.canceller}, but should have been by {self.cancellers()}"
                )
            ours = error.canceller == self.opener.uid
            if self.ctx.canceller != (self.opener.uid if ours else self.endpoint.uid):
                self.blame(f"the canceller is {self.ctx.canceller}")
            if self.ctx.cancel_acked and not (ours and self.ctx.cancel_called):
                self.blame(f"cancel_acked is {self.ctx.cancel_acked}")

    def cancellers(self) -> set[tuple[str, str] | None]:
        """Who may have ended the endpoint."""
        found: set[tuple[str, str] | None] = {*self.record.ended_by[self.endpoint.actor]}
        error = self.error
        late = self.opener.had_deadline and isinstance(error, ContextCancelled) and error.by_deadline
        if self.ctx.cancel_called or self.ctx._released or late:
            found.add(self.opener.uid)
        if self.endpoint.cancelled:
            found.add(self.endpoint.uid)
        if self.endpoint.left is not None:
            found |= {
                exc.canceller for exc in behind(self.endpoint.left) if isinstance(exc, ContextCancelled)
            }
        return found

    # What the opener was told.

    def judge_report(self) -> None:
        """The opener was told how the endpoint has ended."""
        left, error = self.endpoint.left, self.error
        if self.endpoint.began and not self.endpoint.gone:
            self.blame("the opener was told of an end that has not come")
        if left is None:
            self.judge_return()
            return
        told = str(error.tb_str) + str(error) if isinstance(error, RemoteActorError) else ""
        raised = self.raised(self.endpoint, left)
        if self.ctx._released:
            return
        if lost := [leaf for leaf in raised if summary(leaf) not in told]:
            self.blame(f"the opener was told of {error!r}, but the endpoint has raised {lost}")
        if is_only_cancelled(left):
            if (
                all(map(is_only_cancelled, behind(left)))
                and not isinstance(error, ContextCancelled)
                and not self.overran()
            ):
                self.blame(f"a cancelled endpoint is said to have raised {error!r}")
        elif isinstance(error, ContextCancelled) and not isinstance(left, ContextCancelled):
            self.blame(f"the endpoint's {left!r} was replaced by a cancellation")
        elif error is None:
            self.blame(f"the endpoint's {left!r} was lost")

    def raised(self, end: End, left: BaseException) -> list[BaseException]:
        """Return the errors in what left a script, also one of its own task's that a cancellation in a clean-up hides."""
        found: list[BaseException] = []
        for leaf in leaves(left):
            hidden: BaseException | None = leaf
            while isinstance(hidden, trio.Cancelled):
                hidden = hidden.__context__
            if hidden is None:
                continue
            ours = leaf is left and self.record.raised.get(hidden) is end.ctx._task
            ours = ours and not any(hidden is error for error in end.on_the_way)
            if hidden is leaf or ours:
                found.append(hidden)
        return found

    def overran(self) -> bool:
        """Whether one side was too fast for the other, and was allowed to be."""
        told = [end.ctx._remote_error for end in self.pair.ends if end.ctx is not None]
        found = any(
            isinstance(error, RemoteActorError)
            and (isinstance(error, StreamOverrun) or "StreamOverrun" in error.tb_str)
            for error in told
        )
        if found and not any(
            not stream.options.get("backpressure") and stream.sent
            for end in self.pair.ends
            for stream in end.streams
        ):
            self.blame("an overrun in spite of backpressure")
        return found

    def judge_return(self) -> None:
        """The endpoint has returned, or was never begun."""
        error, endpoint = self.error, self.endpoint
        if error is None:
            if endpoint.was_cancelled and not self.ctx._released:
                self.blame("its endpoint has swallowed its cancellation, and the opener was not told of that")
            has_result = self.ctx._result_body is not None and self.opener.maybe_error is None
            if has_result and self.ctx.outcome != endpoint.returned:
                self.blame(f"its outcome is {self.ctx.outcome!r} instead of {endpoint.returned!r}")
        elif isinstance(error, ContextCancelled) or self.overran():
            return
        elif not (endpoint.returned and not endpoint.started and "without calling" in str(error)):
            self.blame(f"its endpoint has returned, but the opener was told of {error!r}")

    # Items.

    def judge_items(self, end: End, seen: StreamRecord, sent: dict[int, list[int]]) -> None:
        """Items arrive in order, once, and all of them before the end; some may be lost only where that was allowed."""
        sequences = list(sent.values())
        for sender in {sender for sender, _ in seen.got}:
            got = [number for whose, number in seen.got if whose == sender]
            if len(seen.receivers) > 1:
                got.sort()
            whole = sequences[sender] if sender < len(sequences) else []
            if seen.options.get("allow_overruns") or end.discarded:
                if got != sorted(set(got)) or not set(got) <= set(whole):
                    self.blame(f"of the items {whole} came {got}")
            elif got != whole[: len(got)]:
                self.blame(f"instead of the items {whole} came {got}")
        lossy = (
            seen.options.get("allow_overruns") or end.discarded or end.cancelled or len(seen.receivers) > 1
        )
        if seen.ended and not lossy and len(seen.got) < sum(map(len, sequences)):
            self.blame(f"the end of a stream came after {seen.got}, but {sequences} were sent")

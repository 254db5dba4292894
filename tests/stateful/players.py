"""Plays scripts at the ends of contexts, and notes what is seen there. Runs inside the actors of `tests.stateful.world`."""

from __future__ import annotations

import sys
from typing import Any

import trio

import tractor
from tests.stateful.programs import Plan, Script
from tests.stateful.records import EPSILON, Pair, StreamRecord, behind
from tests.stateful.stage import STAGE, Stage
from tests.stateful.streams import StreamPlayer
from tractor import Context, ContextCancelled, RemoteActorError, TransportClosed
from tractor.runtime._context import CANCEL_TIMEOUT


@tractor.context
async def act(ctx: Context[Any, Any, Any], number: int) -> str:
    """Play the endpoint's script of a plan."""
    stage = STAGE.get()
    pair = stage.record.pairs[number]
    end = pair.endpoint
    end.ctx, end.began = ctx, True
    player = Player(stage, pair, end)
    try:
        await player.run(pair.plan[1])
        end.returned = stage.record.tag("result")
        end.was_cancelled = ctx._scope.cancel_called
    except BaseException as exc:
        if any(isinstance(part, (KeyboardInterrupt, SystemExit)) for part in behind(exc)):
            # The end of the whole actor, which it has decided by itself.
            stage.record.ended_by[end.actor].add(end.uid)
            stage.record.link_harmed = True
        end.leave(exc)
        raise
    finally:
        player.tell("endpoint leaves")
        for stream in end.streams:
            stream.closing = True
    end.leave(None)
    return end.returned


async def nap(seconds: float, tag: str, how: str) -> str:
    """Sleep, then return the tag or fail with it; or fail with it when it is cancelled."""
    record = STAGE.get().record
    record.calls += 1
    try:
        await trio.sleep(seconds)
    except trio.Cancelled:
        if how == "fails late":
            record.late_errors.append(tag)
            raise OSError(tag) from None
        raise
    finally:
        record.calls -= 1
    if how == "fails":
        raise ValueError(tag)
    return tag


async def open_plan(stage: Stage, actor: str, plan: Plan) -> bool:
    """Open a context and play the opener's script in its block; return whether that wants its caller to return."""
    pair = stage.cast(actor, plan)
    end = pair.opener
    if (in_flight := sys.exception()) is not None:
        end.on_the_way = behind(in_flight)
    end.had_deadline = trio.current_effective_deadline() < float("inf")
    player = Player(stage, pair, end)
    known = len(stage.record.links)
    returning = False
    try:
        async with stage.portals[actor].open_context(act, number=pair.number) as (ctx, first):
            end.ctx, end.began = ctx, True
            if first != f"started {pair.number}":
                stage.record.blame(f"context {pair.number} started with {first!r}")
            try:
                returning = await player.run(plan[0])
            except BaseException as exc:
                end.body_left = exc
                # Before Python takes the chain apart, lest it become a circle.
                end.known = behind(exc)
                raise
            finally:
                end.body_left_at = trio.current_time()
                player.tell("body ends")
    except BaseException as exc:
        _note_leaving(stage, pair, known, exc)
        raise
    else:
        _note_leaving(stage, pair, known, None)
    finally:
        player.tell(f"block ends: {end.left!r}")
    return returning


def _note_leaving(stage: Stage, pair: Pair, known: int, exc: BaseException | None) -> None:
    """Note what is known at the moment that a block is left."""
    end = pair.opener
    if end.ctx is None:
        # It was never entered: the context is the one that this task has made since.
        task = trio.lowlevel.current_task()
        made = [link for link in stage.record.links[known:] if link._task is task]
        end.ctx = made[0] if made else None
    end.leave(exc)
    end.peer_gone = pair.endpoint.gone or not pair.endpoint.began
    end.outer_cancelled = trio.current_effective_deadline() == -float("inf")
    if (ctx := end.ctx) is not None:
        end.told = True
        end.settled = ctx.has_outcome
        lost = isinstance(ctx._remote_error, TransportClosed)
        if end.settled and not lost and not end.peer_gone:
            stage.record.blame(f"context {pair.number}: its block was left before its endpoint has ended")
        end.outcome, end.maybe_error = ctx.outcome, ctx.maybe_error


class Player(StreamPlayer):
    """Plays scripts in one task at one end of a context."""

    async def run(self, script: Script) -> bool:
        """Play a script; return whether it came to a `return`."""
        for op in script:
            self._watch()
            if op[0] == "return":
                return True
            if self.stream is None and op[0] in {"send", "recv", "drain", "poll", "close"}:
                continue
            self.tell(op[:2] if op[0] in {"send", "recv", "cancel", "sleep", "within", "raise"} else op[0])
            if await getattr(self, f"_{op[0]}")(*op[1:]):
                return True
        self._watch()
        return False

    def _watch(self) -> None:
        """What was once said is not taken back."""
        end, ctx = self.end, self.end.ctx
        if end.saw_cancel_called and not ctx.cancel_called:
            self.blame("cancel_called was taken back")
        if end.saw_remote_error is not None and ctx._remote_error is not end.saw_remote_error:
            self.blame("the remote error is another one than before")
        end.saw_cancel_called, end.saw_remote_error = ctx.cancel_called, ctx._remote_error

    # Operations that concern nobody else.

    async def _pause(self, count: int) -> None:
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    async def _sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def _raise(self, kind: str) -> None:
        error = ValueError(self.record.tag("error"))
        self.record.raised[error] = trio.lowlevel.current_task()
        match kind:
            case "error":
                raise error
            case "group":
                raise ExceptionGroup("several", [error, OSError(self.record.tag("error"))])
            case "interrupt":
                raise KeyboardInterrupt(self.record.tag("interrupt"))
            case "exit":
                raise SystemExit(self.record.tag("exit"))

    async def _try(self, script: Script, how: str, cleanup: Script) -> bool:
        try:
            return await self.run(script)
        except trio.Cancelled:
            if how != "swallow":
                raise
        except Exception as exc:
            if how == "replace":
                raise OSError(self.record.tag("replaced")) from exc
            if how != "catch":
                raise
        finally:
            if how in {"finally", "catch"}:
                await self.run(cleanup)
        return False

    async def _shield(self, seconds: float, script: Script) -> bool:
        with trio.move_on_after(seconds, shield=True):
            return await self.run(script)
        return False

    async def _within(self, seconds: float, script: Script) -> bool:
        with trio.move_on_after(seconds):
            return await self.run(script)
        return False

    async def _beside(self, script: Script, others: list[Script]) -> bool:
        async with trio.open_nursery() as nursery:
            for other in others:
                player = Player(self.stage, self.pair, self.end, self.stream, self.seen)
                nursery.start_soon(player.run, other)
            return await self.run(script)

    # Operations on the context.

    async def _started(self) -> None:
        if self.side == "opener":
            return
        try:
            await self.end.ctx.started(f"started {self.pair.number}")
        except RuntimeError:
            if not self.end.started:
                self.blame("started() was refused the first time")
            raise
        except TransportClosed:
            self._lost("started")
            raise
        self.end.started = True

    async def _cancel(self, timeout: float | None) -> None:
        ctx, bound = self.end.ctx, CANCEL_TIMEOUT if timeout is None else timeout
        begin, early = trio.current_time(), not ctx._settled.is_set()
        self.end.cancelled = True
        await ctx.cancel(bound)
        waited = trio.current_time() - begin
        if not ctx.cancel_called:
            self.blame("cancel() is not noted")
        if self.side == "endpoint":
            return
        if waited >= bound and not ctx._settled.is_set():
            self._check_unsettled("cancel()")
        error = ctx._remote_error
        ours = isinstance(error, ContextCancelled) and error.canceller == self.end.uid
        if early and ctx._settled.is_set() and ours != ctx.cancel_acked:
            self.blame("the confirmation of cancel() was not noted")

    def _check_unsettled(self, what: str) -> None:
        """The other side's last word is not here in time: then it must have been too slow to say it."""
        ended = self.peer.left_at
        # Over a slow connection it may just have said so.
        before = ended is not None and ended < trio.current_time() - EPSILON
        if before and not self.stage.latency and not self.record.link_harmed:
            self.blame(f"{what} waited for an endpoint that had ended")

    async def _result(self) -> None:
        ctx = self.end.ctx
        if self.side == "endpoint":
            return
        self.end.discarded = self.end.discarded or self.stream is None
        try:
            value = await ctx.wait_for_result()
        except trio.Cancelled:
            raise
        except BaseException as exc:
            self.end.told = True
            if exc is not ctx._remote_error or ctx.is_own_cancel(exc):
                self.blame(f"wait_for_result() raised {exc!r}")
            raise
        self.end.told = True
        own = value is ctx._remote_error and ctx.is_own_cancel(value)
        if not own and (ctx._remote_error is not None or value != self.peer.returned):
            self.blame(f"wait_for_result() returned {value!r} instead of {self.peer.returned!r}")

    async def _stream(self, options: dict[str, Any], script: Script) -> bool:
        ctx, seen = self.end.ctx, StreamRecord(options)
        opened = done = False
        try:
            async with ctx.open_stream(**options) as stream:
                opened = True
                self.end.streams.append(seen)
                try:
                    player = Player(self.stage, self.pair, self.end, stream, seen)
                    returning = await player.run(script)
                finally:
                    seen.closing = True
                done = True
        except BaseException as exc:
            seen.closed = True
            if not opened:
                self._check_not_opened(exc)
            elif done:
                self.blame(f"closing a stream raised {exc!r}")
            raise
        seen.closed = True
        return done and returning

    def _check_not_opened(self, exc: BaseException) -> None:
        ctx = self.end.ctx
        if exc is ctx._remote_error:
            self.end.told = True
        elif isinstance(exc, TransportClosed):
            self._lost("open_stream()")
        elif isinstance(exc, RuntimeError):
            busy = any(not seen.closed for seen in self.end.streams)
            early = self.side == "endpoint" and not self.end.started
            if not (ctx.cancel_called or busy or early):
                self.blame(f"open_stream() raised {exc!r}")
        else:
            self.blame(f"open_stream() raised {exc!r}")

    # Operations on the peer.

    async def _open(self, plan: Plan) -> bool:
        return await open_plan(self.stage, self.end.actor, plan)

    async def _call(self, seconds: float, how: str) -> None:
        tag = self.record.tag("call")
        try:
            value = await self.stage.portals[self.end.actor].run(nap, seconds=seconds, tag=tag, how=how)
        except trio.Cancelled:
            if tag in self.record.late_errors and not (self.record.link_harmed or self.record.stalled):
                self.blame("an error of a cancelled function was lost")
            raise
        except TransportClosed:
            self._lost("a call")
            raise
        except ContextCancelled as exc:
            if exc.canceller not in self.record.ended_by[self.peer.actor]:
                self.blame(f"a call was cancelled by {exc.canceller}")
            raise
        except RemoteActorError as exc:
            late = exc.boxed_type is trio.TooSlowError and trio.current_effective_deadline() < float("inf")
            if not (late or (how != "well" and tag in str(exc))):
                self.blame(f"a call raised {exc!r}")
            raise
        if how == "fails" or value != tag:
            self.blame(f"a call returned {value!r}")

    async def _cancel_actor(self) -> None:
        self.record.ended_by[self.peer.actor].add(self.end.uid)
        self.record.link_harmed = True
        await self.stage.portals[self.end.actor].cancel_actor()

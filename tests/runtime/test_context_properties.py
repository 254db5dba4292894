"""What holds of a context whatever its two tasks do, and whoever else cancels them: random programs on both sides."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import tractor
from tests.resident import Pair, open_pair, run_fast
from tractor import Context, ContextCancelled, RemoteActorError
from tractor.runtime._context import Unresolved

HERE = __name__

#: Seconds, of a clock that jumps, after which something hangs. The longest step takes 1.
HANGS = 60.0

STEPS = ["checkpoint", "sleep", "sleep longer", "send", "receive", "burst"]
ENDINGS = [
    "return",
    "raise",
    "sleep forever",
    "cancel",
    "cancel and go on",
    "slow clean-up",
    "raise in clean-up",
]
BODY_ENDINGS = [*ENDINGS[:5], "result", "raise a cancellation", "receive forever"]
OTHERS = ["nobody", "other task cancels", "outer scope", "cancel_actor", "endpoint's actor", "channel"]

#: What the endpoint does, for the example that runs.
SCRIPT: list[Program] = []


@dataclass
class Program:
    """What one side does: steps with its stream, unless it opens none, and an ending."""

    steps: list[str]
    ending: str
    opens: bool


@dataclass
class Seen:
    """What came of an example."""

    ctx: Any = None
    raised: BaseException | None = None
    own: BaseException | None = None
    facts: list[Any] = field(default_factory=list)


def programs(endings: list[str]) -> st.SearchStrategy[Program]:
    """Any program of one side."""
    return st.builds(
        Program, st.lists(st.sampled_from(STEPS), max_size=4), st.sampled_from(endings), st.booleans()
    )


async def take_steps(ctx: Any, program: Program) -> None:
    """Do what the program says, up to its ending."""
    async with contextlib.AsyncExitStack() as stack:
        stream = await stack.enter_async_context(ctx.open_stream()) if program.opens else None
        for step in program.steps:
            if step == "checkpoint":
                await trio.lowlevel.checkpoint()
            elif step.startswith("sleep"):
                await trio.sleep(1 if "longer" in step else 0.01)
            elif stream is not None and step == "receive":
                with trio.move_on_after(1), contextlib.suppress(trio.EndOfChannel):
                    await stream.receive()
            elif stream is not None:
                with contextlib.suppress(trio.EndOfChannel):
                    for number in range(70 if step == "burst" else 1):
                        await stream.send(number)


@tractor.context
async def endpoint(ctx: Context) -> str:
    """Do what the script says."""
    program = SCRIPT[-1]
    await ctx.started("first")
    try:
        await take_steps(ctx, program)
        if program.ending == "raise":
            raise ValueError("remote")
        if program.ending.startswith("cancel"):
            await ctx.cancel()
        if program.ending not in ("return", "cancel and go on"):
            await trio.sleep_forever()
        return "result"
    finally:
        if program.ending == "slow clean-up":
            with trio.CancelScope(shield=True):
                await trio.sleep(0.7)
        elif program.ending == "raise in clean-up":
            raise OSError("clean-up")


async def run_body(ctx: Any, program: Program, seen: Seen) -> None:
    """Do what the opener's program says."""
    await take_steps(ctx, program)
    if program.ending.startswith("cancel"):
        await ctx.cancel()
    if program.ending in ("cancel", "sleep forever"):
        await trio.sleep_forever()
    if program.ending == "result":
        await ctx.wait_for_result()
    if program.ending == "receive forever":
        async with ctx.open_stream() as stream:
            async for _ in stream:
                pass
    if program.ending.startswith("raise"):
        seen.own = ContextCancelled("foreign") if "cancellation" in program.ending else KeyError("own")
        raise seen.own


async def disturb(pair: Pair, who: str, scope: trio.CancelScope, seen: Seen, delay: float) -> None:
    """Cancel from somewhere else, after a delay; in the end always, so that nothing sleeps for ever."""
    await trio.sleep(delay)
    if who == "other task cancels" and seen.ctx is not None:
        await seen.ctx.cancel()
    elif who == "outer scope":
        scope.cancel()
    elif who == "cancel_actor":
        await pair.portal.cancel_actor()
    elif who == "endpoint's actor":
        pair.bob.actor.cancel_soon()
    elif who == "channel":
        pair.back.chan.abort()
    await trio.sleep(20)
    scope.cancel()


async def run_example(body: Program, there: Program, who: str, delay: float) -> None:
    """Run both programs and check what must hold."""
    SCRIPT.append(there)
    seen = Seen()
    async with open_pair(HERE) as pair:
        us, them = pair.alice.actor.uid, pair.bob.actor.uid
        with trio.fail_after(HANGS):
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(disturb, pair, who, scope, seen, delay)
                with scope:
                    try:
                        async with pair.portal.open_context(endpoint) as (seen.ctx, first):
                            assert first == "first"
                            await run_body(seen.ctx, body, seen)
                    except Exception as exc:  # noqa: BLE001 - looked at below
                        seen.raised = exc
                nursery.cancel_scope.cancel()
            assert all(not isinstance(end, Context) for end in pair.portal._router.dialogs.values())
        if seen.ctx is None:
            assert scope.cancelled_caught or isinstance(
                seen.raised, RemoteActorError | tractor.TransportClosed
            )
            return
        check_end(seen, us, them)
        check_raised(seen, cancelled=scope.cancelled_caught)
        before = seen.ctx.outcome
        await check_later(seen.ctx)
        await trio.sleep(10)
        assert seen.ctx.outcome is before
        assert not any(served.peer.uid == us for served in pair.bob.actor.served)


def check_end(seen: Seen, us: Any, them: Any) -> None:
    """Check what the context says."""
    ctx = seen.ctx
    error = ctx._remote_error
    assert ctx._settled.is_set()
    assert ctx.canceller in (None, us, them)
    assert ctx.outcome is not Unresolved
    assert error is None or ctx._result_body is None
    assert ctx.maybe_error is (ctx._local_error if error is None else error)
    if ctx.cancel_acked:
        assert ctx.cancel_called
        assert isinstance(error, ContextCancelled)
        assert error.canceller == ctx.canceller == us
        assert not ctx.cancelled_caught
        assert ctx.repr_state == "self-cancelled"
        if seen.raised is None:
            assert not ctx._scope.cancelled_caught
            assert ctx._local_error is error or isinstance(ctx._local_error, trio.Cancelled)
    elif isinstance(error, ContextCancelled):
        assert ctx.repr_state in ("peer-cancelled", "actor-cancelled")
    assert ctx.repr_state in repr(ctx)
    assert ctx.repr_outcome() in ctx.pformat()


def check_raised(seen: Seen, *, cancelled: bool) -> None:
    """Check what has left the block: the body's own error, else the remote one, else nothing; errors before cancellations."""
    ctx, raised = seen.ctx, seen.raised
    if isinstance(seen.own, ContextCancelled) and is_real(ctx._remote_error):
        assert raised is ctx._remote_error is ctx._local_error
    elif seen.own is not None:
        assert raised is seen.own is ctx._local_error
        assert ctx.cancel_called or isinstance(seen.own, ContextCancelled)
    elif isinstance(raised, RuntimeError):
        # The script asks for what cannot be had any more.
        assert "a stream cannot be opened" in str(raised)
        assert raised is ctx._local_error
    elif raised is not None:
        assert raised is ctx._local_error
        # A sender may notice before the reader does that the channel is gone.
        assert raised is ctx._remote_error or isinstance(raised, tractor.TransportClosed)
        assert not ctx.cancel_acked
    elif not cancelled:
        assert ctx.cancel_acked or ctx.outcome == "result"
    else:
        assert not is_real(ctx._remote_error)


def is_real(error: BaseException | None) -> bool:
    """Whether somebody's code over there has raised."""
    return isinstance(error, RemoteActorError) and not isinstance(error, ContextCancelled)


async def check_later(ctx: Any) -> None:
    """Check that whoever asks afterwards is told the same."""
    try:
        result = await ctx.wait_for_result()
    except BaseException as exc:  # noqa: BLE001 - compared
        assert exc is ctx._remote_error or (isinstance(exc, RuntimeError) and not ctx.has_outcome)  # noqa: PT017
    else:
        assert result == "result" or (result is ctx._remote_error and ctx.cancel_acked)
    await ctx.cancel()


@settings(deadline=None, max_examples=200)
@given(
    body=programs(BODY_ENDINGS),
    there=programs(ENDINGS),
    who=st.sampled_from(OTHERS),
    delay=st.sampled_from([0.0, 0.005, 0.01, 0.3, 1.0]),
)
def test_whatever_both_sides_do(body: Program, there: Program, who: str, delay: float) -> None:
    """No hang, one outcome that stays, one error that is the same wherever it is seen, and nobody else's name."""
    SCRIPT.clear()
    run_fast(lambda: run_example(body, there, who, delay))

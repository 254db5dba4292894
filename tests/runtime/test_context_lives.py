"""Whole lives of contexts: every combination of what a body does with what is being asked for."""

from __future__ import annotations

import contextlib

import pytest
import trio

from tests.resident import open_pair, run_fast
from tests.runtime.test_open import LOG, echo, sleeper
from tractor import ContextCancelled


@pytest.mark.parametrize("greet", [True, False])
@pytest.mark.parametrize("take", [True, False])
@pytest.mark.parametrize("when", ["before the stream", "in the stream", "after the stream", "never asked"])
def test_parent_cancels_a_streaming_endpoint(when: str, take: bool, greet: bool) -> None:
    """Whatever was said before, a cancellation by the opener is silent."""

    async def main() -> None:
        async with open_pair(sleeper.__module__) as pair:
            with trio.fail_after(3):
                async with pair.portal.open_context(echo, greet=greet) as (ctx, _):
                    if when == "before the stream":
                        await ctx.cancel()
                    async with ctx.open_stream() as stream:
                        await stream.send("ping")
                        if take:
                            assert await stream.receive() == ("greeting" if greet else "ping")
                        if when == "in the stream":
                            with pytest.raises(trio.TooSlowError), trio.fail_after(0.5):
                                await ctx.wait_for_result()
                            await ctx.cancel()
                    if when == "after the stream":
                        assert await ctx.wait_for_result() == "echoed"
                        await ctx.cancel()
            if when in ("before the stream", "in the stream"):
                assert ctx.cancel_acked
                assert ctx._remote_error is ctx.maybe_error is ctx.outcome
                assert not ctx.cancelled_caught
                with pytest.raises(ContextCancelled):
                    async with ctx.open_stream():
                        pytest.fail("opened")
            else:
                assert ctx.outcome == "echoed"
            assert pair.portal.chan.connected()
            assert pair.bob.actor.served == {}

    run_fast(main)


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("error", [None, ValueError("own"), KeyboardInterrupt()])
def test_simple_context(error: BaseException | None, stream: bool, blocks: bool) -> None:
    """An error of the opener leaves bare; without one, cancelling is silent; the endpoint has unwound by then."""

    async def main() -> None:
        async with open_pair(sleeper.__module__) as pair:
            expected = (
                contextlib.nullcontext() if error is None else pytest.raises(type(error), check=error.__eq__)
            )
            with trio.fail_after(1.5), expected:
                async with pair.portal.open_context(sleeper, seconds=1e9 if blocks else 0.1) as (ctx, _):
                    if stream:
                        async with ctx.open_stream():
                            if error:
                                raise error
                            if blocks:
                                await ctx.cancel()
                    elif error:
                        raise error
                    elif blocks:
                        await ctx.cancel()
            assert LOG == ["sleeper ended"]

    run_fast(main)

"""Cancellation among actors that are no parent and child: who learns of it, and whom they are told it was."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import tractor
from tests.programs import peers
from tests.shared import named
from tractor import ContextCancelled, RemoteActorError

#: Seconds that a scenario may take once its actors are up.
SOON = 10.0


class Trio:
    """Sleeper, caller and canceller, and the root's contexts in them."""

    def __init__(self, an: tractor.ActorNursery) -> None:
        self.an = an
        self.portals: dict[str, tractor.Portal] = {}
        self.sleeper: Any = None
        self.caller: Any = None
        self.canceller: Any = None
        #: The error that the result of the sleeper has raised.
        self.ctxc: ContextCancelled | None = None

    async def start(self) -> None:
        """Start the actors."""
        for name in ("sleeper", "caller", "canceller"):
            self.portals[name] = await self.an.start_actor(name, enable_modules=[peers.__name__])

    def uid(self, name: str) -> tuple[str, str]:
        """Return the uid of one of them."""
        return self.portals[name].aid.uid

    async def run(self, hold: bool, own_error: BaseException | None) -> None:
        """Have the sleeper cancelled; pass on what comes of it, or raise `own_error` instead."""
        open_ = {name: portal.open_context for name, portal in self.portals.items()}
        async with (
            open_["sleeper"](peers.sleep_on) as (self.sleeper, _),
            open_["caller"](peers.stream_from_peer, peer="sleeper", hold=hold) as (self.caller, _),
            open_["canceller"](peers.cancel_peer, peer="sleeper") as (self.canceller, _),
            self.canceller.open_stream() as stream,
        ):
            await stream.send("now")
            try:
                await self.sleeper.wait_for_result()
            except ContextCancelled as exc:
                self.ctxc = exc
                self.check_sleeper(exc)
                if hold:
                    await self.check_caller()
                if own_error is not None:
                    raise own_error from None
                raise
            pytest.fail("there is a result")

    def check_sleeper(self, exc: ContextCancelled) -> None:
        """The error names who asked; the context names who has told us; we had nothing to do with it."""
        ctx = self.sleeper
        assert exc.canceller == self.uid("canceller")
        assert ctx.canceller == self.uid("sleeper")
        assert ctx._remote_error is ctx.maybe_error is ctx.outcome is exc
        assert exc.boxed_type is ContextCancelled
        assert (ctx.cancel_called, ctx.cancel_acked) == (False, False)
        assert ctx.repr_state == "actor-cancelled"

    async def check_caller(self) -> None:
        """What the caller has seen: the same of its own context in the sleeper, and nothing about itself."""
        seen = await self.portals["caller"].run(peers.wait_seen)
        assert seen == {
            "same": True,
            "error's canceller": list(self.uid("canceller")),
            "context's canceller": list(self.uid("sleeper")),
            "boxed_type": "ContextCancelled",
            "cancel_called": False,
            "own canceller": None,
            "own cancel_called": False,
        }


@named("error_during_ctxerr_handling", False, True)
@named("caller_holds_error", True, False)
async def test_peer_canceller(
    transport: str, caller_holds_error: bool, error_during_ctxerr_handling: bool
) -> None:
    """A third actor cancels the sleeper; two others have contexts in it."""
    own = RuntimeError("while handling it") if error_during_ctxerr_handling else None
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        trio_ = Trio(an)
        await trio_.start()
        left: BaseException | None = None
        with trio.fail_after(SOON):
            try:
                await trio_.run(caller_holds_error, own)
            except (ContextCancelled, RuntimeError) as exc:
                left = exc
            if caller_holds_error:
                # Else the caller's may have come first.
                assert trio_.ctxc is not None
                assert left is (own or trio_.ctxc)
                check_contexts(trio_, left)
        assert isinstance(left, RuntimeError if own and trio_.ctxc else ContextCancelled)
        if isinstance(left, ContextCancelled):
            assert left.canceller == trio_.uid("canceller")
            assert left.boxed_type is ContextCancelled
        await an.cancel()


def check_contexts(trio_: Trio, left: BaseException) -> None:
    """Check what the root's contexts know after their blocks."""
    contexts = (trio_.sleeper, trio_.caller, trio_.canceller)
    assert [ctx._local_error for ctx in contexts] == [left] * 3
    assert all(ctx.outcome is ctx.maybe_error for ctx in contexts)
    assert trio_.sleeper._remote_error is trio_.ctxc
    assert not any(ctx._scope.cancelled_caught for ctx in contexts)
    if isinstance(left, ContextCancelled):
        assert [ctx.cancel_called for ctx in contexts] == [False] * 3
        assert (trio_.caller._remote_error, trio_.canceller._remote_error) == (None, None)
        assert all(ctx.outcome is left for ctx in contexts)
        return
    assert [ctx.cancel_called for ctx in contexts] == [True] * 3
    assert trio_.canceller._remote_error.canceller == tractor.current_actor().uid
    assert trio_.caller._remote_error.canceller == trio_.uid("canceller")
    assert [ctx.cancel_acked for ctx in contexts] == [False, False, True]


@named("raise_in_brother", False, True)
async def test_peer_spawns_and_cancels_service_subactor(transport: str, raise_in_brother: bool) -> None:
    """A client has a server start an actor and talks to that: an error goes home through the client, its end is the server's."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        server = await an.start_actor("server", enable_modules=[peers.__name__])
        client = await an.start_actor("client", enable_modules=[peers.__name__])
        fail_after = 5 if raise_in_brother else 0
        ask = client.open_context(
            peers.ask_for_brother, server="server", name="little_bro", fail_after=fail_after
        )
        with trio.fail_after(SOON):
            async with server.open_context(peers.serve_subactors) as (spawn_ctx, _):
                if raise_in_brother:
                    await check_error_of_brother(ask, client)
                else:
                    await check_talk_with_brother(ask)
                await spawn_ctx.cancel()
            assert spawn_ctx.cancel_acked
            async with tractor.find_actor("little_bro") as portal:
                assert portal is None
        await an.cancel()


async def check_talk_with_brother(ask: Any) -> None:
    """Cancel the client amid its talk; its brother lives on."""
    async with ask as (ctx, uid):
        async with ctx.open_stream(allow_overruns=True) as stream:
            assert [await stream.receive() for _ in range(10)] == list(range(10))
            async with tractor.find_actor("little_bro") as portal:
                assert portal is not None
                assert list(portal.aid.uid) == uid
            await ctx.cancel()
        result = await ctx.wait_for_result()
        assert isinstance(result, ContextCancelled)
        assert result is ctx.maybe_error is ctx.outcome
        assert result.canceller == ctx.canceller == tractor.current_actor().uid
        assert ctx.cancel_acked
    async with tractor.find_actor("little_bro") as portal:
        assert portal is not None


async def check_error_of_brother(ask: Any, client: tractor.Portal) -> None:
    """The error keeps its origin; the client is who has told us."""
    with pytest.raises(RemoteActorError) as info:
        async with ask as (ctx, uid):
            async with ctx.open_stream(allow_overruns=True) as stream:
                async for _ in stream:
                    pass
                # The client has closed its stream on its way out.
                await trio.sleep_forever()
    rae = info.value
    assert (rae.boxed_type, rae.src_type) == (RemoteActorError, RuntimeError)
    assert rae.relay_uid == client.aid.uid
    assert rae.src_uid == tuple(uid)
    assert "after 5 items" in rae.tb_str
    assert ctx.maybe_error is ctx.outcome is rae
    assert not ctx.cancel_acked

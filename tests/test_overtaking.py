"""What ends or begins something does not wait behind what is only data."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import tractor
from tests.programs import floods
from tests.resident import open_held_pair
from tractor.wire._kinds import URGENT, Kind

MODULE = floods.__name__
#: Items of one context that one side holds for the other, which has opened no stream.
ITEMS, SIZE = 50, 1_000_000


class Recorder:
    """Stands for a dialog; notes what comes."""

    def __init__(self, kinds: list[int]) -> None:
        self.kinds = kinds

    def on_frame(self, kind: int, flags: int, body: Any) -> None:
        """Note the kind."""
        self.kinds.append(kind)

    def on_loss(self, error: tractor.TransportClosed) -> None:
        """Nothing to be told."""


@pytest.mark.parametrize(("count", "size"), [(50, 1_000_000), (50_000, 1000)])
async def test_urgent_frames_overtake_fifty_megabytes(count: int, size: int) -> None:
    """All but what has begun to leave: at most one write of it."""
    urgent = sorted(URGENT - {Kind.HELLO, Kind.PING, Kind.PONG, Kind.START})
    kinds: list[int] = []
    async with open_held_pair(MODULE) as (pair, near, _):
        end = Recorder(kinds)
        did = pair.portal._router.open(end)
        near.held = trio.Event()
        chan = pair.back.chan
        body = bytes(size)
        for _ in range(count):
            chan.post(Kind.ITEM, 0, did, body)
        assert chan.unread > 49_000_000
        await wait_all_tasks_blocked()
        for kind in urgent:
            chan.post(kind, 0, did, b"x")
        near.held.set()
        with trio.fail_after(10):
            while len(kinds) < count + len(urgent):
                await wait_all_tasks_blocked()
        pair.portal._router.close(did)
    begun = kinds.index(urgent[0])
    assert kinds[begun : begun + len(urgent)] == urgent
    # What the transport had taken, and one batch.
    assert begun * size <= 256 * 1024 + max(size, 64 * 1024)


async def test_a_call_is_not_behind_the_stream() -> None:
    """The request overtakes; the peer may answer while its own data wait."""
    async with open_held_pair(MODULE) as (pair, _, far):
        did = pair.back._router.open(Recorder([]))
        far.held = trio.Event()
        body = bytes(SIZE)
        for _ in range(ITEMS):
            pair.portal.chan.post(Kind.ITEM, 0, did, body)
        served: list[int] = []
        real = pair.back._router._on_request
        items: list[int] = []
        pair.back._router.dialogs[did] = Recorder(items)

        def note(*args: Any) -> None:
            served.append(len(items))
            real(*args)

        pair.back._router._on_request = note
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.portal.run, floods.ping)
            await wait_all_tasks_blocked()
            far.held.set()
        assert served[0] <= 2
        with trio.fail_after(5):
            while len(items) < ITEMS:
                await wait_all_tasks_blocked()
        pair.back._router.close(did)


async def deafen(seconds: float) -> None:
    """Read nothing for some time: what is sent to this process stays where it is."""
    time.sleep(seconds)


@pytest.mark.parametrize("end", ["cancel", "error", "call"])
async def test_fifty_megabytes_of_items_are_not_waited_for(end: str, transport: str) -> None:
    """The end of a context, from either side, and the answer to a call, while many tasks there wait to send to us."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[MODULE])
        func = floods.fail_when_told if end == "error" else floods.pour_at_once
        await portal.run(floods.ping)
        seconds = -1.0
        try:
            async with portal.open_context(func, tasks=ITEMS, size=SIZE) as (ctx, _):
                await deafen(0.2)
                began = time.perf_counter()
                if end == "cancel":
                    await ctx.cancel()
                    assert ctx.cancel_acked
                elif end == "call":
                    await portal.run(floods.ping)
                else:
                    async with ctx.open_stream() as stream:
                        await stream.send("now")
                        await trio.sleep_forever()
        except tractor.RemoteActorError as exc:
            assert end == "error"
            assert exc.boxed_type is ValueError or "enough" in exc.tb_str  # noqa: PT017 - it may be in a group
        finally:
            seconds = time.perf_counter() - began
        print(f"{end}: {seconds * 1e3:.1f} ms")  # noqa: T201 - shown by `pytest -rP`
        assert seconds < 1
        await an.cancel()

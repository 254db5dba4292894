"""Senders that are too fast, on streams without backpressure: told so, or some of their items are dropped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import tractor
from tests.programs import dialogues
from tests.resident import open_pair, run_fast
from tractor import ContextCancelled, Portal, RemoteActorError, StreamOverrun
from tractor.runtime._flow import BUFFER_ITEMS, OVERFLOW_ITEMS

type Rule = Callable[[Portal], Awaitable[None]]

RULES: dict[str, Rule] = {}


def rule(func: Rule) -> Rule:
    """Note a rule under the words of its name."""
    RULES[func.__name__.replace("_", " ")] = func
    return func


def check_overrun(error: RemoteActorError, portal: Portal, *, relayed: bool, opened: bool) -> None:
    """It says who could not take what of whom; `relayed`: it was told to the endpoint first, which passed it on."""
    us = tractor.current_actor().uid
    assert error.boxed_type is (RemoteActorError if relayed else StreamOverrun)
    assert error.src_type is StreamOverrun
    assert error.src_uid == (us if relayed else portal.aid.uid)
    assert "StreamOverrun" in str(error)
    assert "StreamOverrun" in error.tb_str or not relayed
    assert ("*** No stream open on" in str(error)) is not opened
    if not relayed:
        assert error.sender == us


@rule
async def an_endpoint_that_never_opens_a_stream(portal: Portal) -> None:
    """The opener hears of the 65th item within a second, whatever it does meanwhile."""
    with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
        async with portal.open_context(dialogues.sleeper) as (ctx, _):
            async with ctx.open_stream() as stream:
                for n in range(BUFFER_ITEMS + 1):
                    await stream.send(n)
                await trio.sleep_forever()
    check_overrun(info.value, portal, relayed=False, opened=False)


@rule
async def an_opener_that_never_opens_a_stream(portal: Portal) -> None:
    """The endpoint fails with what it is told, and the opener hears it from there."""
    with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
        async with portal.open_context(dialogues.flood, count=BUFFER_ITEMS + 1, opens=False):
            await trio.sleep_forever()
    check_overrun(info.value, portal, relayed=True, opened=False)


@rule
async def a_full_buffer_is_no_overrun(portal: Portal) -> None:
    """Neither here nor there."""
    async with portal.open_context(dialogues.sleeper) as (ctx, _):
        async with ctx.open_stream() as stream:
            for n in range(BUFFER_ITEMS):
                await stream.send(n)
            await trio.sleep(0.3)
        await ctx.cancel()
    async with portal.open_context(dialogues.flood, count=BUFFER_ITEMS, opens=False) as (ctx, _):
        await trio.sleep(0.3)
        await ctx.cancel()


@rule
async def a_slow_endpoint(portal: Portal) -> None:
    """Its buffer overflows while it receives: the opener is told."""
    with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
        async with portal.open_context(dialogues.listen_slowly, allow=False) as (ctx, _):
            await trio.sleep(0.02)
            async with ctx.open_stream() as stream:
                for n in range(1000):
                    await stream.send(n)
                await trio.sleep_forever()
    check_overrun(info.value, portal, relayed=False, opened=True)


@rule
async def a_slow_opener(portal: Portal) -> None:
    """As the other way round."""
    with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
        async with portal.open_context(dialogues.chatter, allow=False) as (ctx, _):
            async with ctx.open_stream() as stream:
                await stream.send("go")
                await trio.sleep_forever()
    check_overrun(info.value, portal, relayed=True, opened=True)


async def listen(stream: Any) -> None:
    """Receive slowly all that the endpoint sends."""
    for n in range(200):
        assert await stream.receive() == n
        await trio.sleep(0.001)


async def run_slow(portal: Portal, slow: str, allowed: str, cancel: bool) -> Any:
    """Have one side receive slowly what the other sends fast; return the outcome."""
    func = dialogues.listen_slowly if slow == "child" else dialogues.chatter
    async with portal.open_context(func, allow=allowed in ("child", "both")) as (ctx, _):
        await trio.sleep(0.02)
        async with ctx.open_stream(allow_overruns=allowed in ("parent", "both")) as stream:
            if slow == "child":
                for n in range(200):
                    await stream.send(n)
            else:
                await stream.send("go")
                if not cancel:
                    await listen(stream)
        if cancel:
            await ctx.cancel()
        return await ctx.wait_for_result()


for _slow in ("parent", "child"):
    for _allowed in (_slow, "both"):
        for _cancel in (False, True):

            async def _allowed_overruns(
                portal: Portal, slow: str = _slow, allowed: str = _allowed, cancel: bool = _cancel
            ) -> None:
                with trio.fail_after(4):
                    result = await run_slow(portal, slow, allowed, cancel)
                if cancel and isinstance(result, ContextCancelled):
                    assert result.canceller == tractor.current_actor().uid
                else:
                    assert result == "yo"

            RULES[f"slow {_slow}, allowed to {_allowed}{', cancelled' * _cancel}"] = _allowed_overruns


@rule
async def an_endpoint_that_has_ended_meanwhile(portal: Portal) -> None:
    """It has not heard of the overrun; the opener is told all the same that items are lost."""
    with trio.fail_after(1), pytest.raises(RemoteActorError) as info:
        async with portal.open_context(dialogues.flood, count=500) as (ctx, _):
            async with ctx.open_stream() as stream:
                await stream.send("go")
                await stream.send("thanks")
                await trio.sleep_forever()
    assert info.value.src_type is StreamOverrun
    assert info.value.src_uid == tractor.current_actor().uid


@rule
async def overruns_that_are_allowed_to_the_wrong_side(portal: Portal) -> None:
    """Do not help."""
    for slow, allowed in (("child", "parent"), ("parent", "child")):
        with trio.fail_after(2), pytest.raises(RemoteActorError) as info:
            func = dialogues.listen_slowly if slow == "child" else dialogues.chatter
            async with portal.open_context(func, allow=allowed == "child") as (ctx, _):
                await trio.sleep(0.02)
                async with ctx.open_stream(allow_overruns=allowed == "parent") as stream:
                    for n in range(200 if slow == "child" else 1):
                        await stream.send(n)
                    await trio.sleep_forever()
        assert info.value.src_type is StreamOverrun


@rule
async def a_burst_to_an_idle_receiver(portal: Portal) -> None:
    """The oldest and the newest are kept, in order; the sender is told nothing, and its result is what it is."""
    count = 3000
    async with portal.open_context(dialogues.flood, count=count) as (ctx, _):
        async with ctx.open_stream(allow_overruns=True) as stream:
            await stream.send("go")
            got: list[int] = []
            with trio.fail_after(2):
                last = ctx.chan.codec.encode(count - 1)
                while not ctx._inbox._overflow or ctx._inbox._overflow[-1][0] != last:
                    await trio.sleep(0.005)
            while len(got) < BUFFER_ITEMS + OVERFLOW_ITEMS:
                got.append(await stream.receive())
            await stream.send("enough")
        assert await ctx.wait_for_result() == count
    assert got == [*range(BUFFER_ITEMS), *range(count - OVERFLOW_ITEMS, count)]


@rule
async def a_bigger_buffer(portal: Portal) -> None:
    """As many as it was asked to hold."""
    async with portal.open_context(dialogues.flood, count=1000) as (ctx, _):
        async with ctx.open_stream(msg_buffer_size=1000) as stream:
            await stream.send("go")
            await trio.sleep(0.05)
            assert [await stream.receive() for _ in range(1000)] == list(range(1000))
            await stream.send("enough")
        assert await ctx.wait_for_result() == 1000


@pytest.mark.parametrize("name", RULES)
def test_a_rule_in_one_process(name: str) -> None:
    """Between two actors of one process, in no time."""

    async def main() -> None:
        async with open_pair(dialogues.__name__) as pair:
            seen = trio.Event()

            async def check() -> None:
                await RULES[name](pair.portal)
                seen.set()

            pair.alice.spawn(check)
            with trio.fail_after(60):
                await seen.wait()

    run_fast(main)


async def test_every_rule_between_processes(transport: str) -> None:
    """With one child, one after the other: an overrun costs one context, and nothing else."""
    async with tractor.open_nursery(enable_transports=[transport]) as an:
        portal = await an.start_actor("child", enable_modules=[dialogues.__name__])
        for name, check in RULES.items():
            try:
                await check(portal)
                assert portal._router.dialogs == {}
                with trio.fail_after(2):
                    while await portal.run(dialogues.count_served) > 1:
                        await trio.sleep(0.001)
            except BaseException as exc:
                exc.add_note(f"in the rule: {name}")
                raise
        await an.cancel()

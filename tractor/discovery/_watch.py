"""Who arrives and who leaves, as it happens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import trio

from tractor._ids import Aid
from tractor.discovery._answers import NoRegistrar, Row, is_name, read_rows
from tractor.discovery._api import own_registry
from tractor.discovery._client import FAILURES, RETRY_FIRST, RETRY_MOST, registries_of
from tractor.discovery._registrar import Registrar, local_registrar
from tractor.log import get_logger
from tractor.runtime._actor import Actor
from tractor.runtime._context import Context
from tractor.runtime._endpoint import context
from tractor.runtime._portal import Portal
from tractor.runtime._state import current_actor
from tractor.trionics._managers import protected_manager

log = get_logger(__name__)


class Presence(NamedTuple):
    """That an actor can be found from now on, or cannot any more."""

    #: True for an arrival, False for a departure.
    present: bool
    aid: Aid
    #: Where it listens, or listened: multiaddr strings.
    addrs: list[str]


class _Roll:
    """Who was there when somebody looked last; what has changed is found by looking again, so nothing piles up."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def update(self, rows: list[Row]) -> list[Presence]:
        """Note who is there; return who has left, then who has arrived, since the last time."""
        # A look-up lists the newest first.
        now = {row[1]: (row[0], row[1], list(row[2])) for row in reversed(rows)}
        left = [row for uuid, row in self._rows.items() if now.get(uuid) != row]
        came = [row for uuid, row in now.items() if self._rows.get(uuid) != row]
        self._rows = now
        return [Presence(False, Aid(name, uuid), addrs) for name, uuid, addrs in left] + [
            Presence(True, Aid(name, uuid), addrs) for name, uuid, addrs in came
        ]


@context
async def tell_changes(ctx: Context[None, list[Row], None], name: str) -> None:
    """Send everybody of that name, and again whenever that has changed. Runs in a registrar."""
    registrar = local_registrar(current_actor())
    if registrar is None:
        raise RuntimeError("this actor is no registrar")
    await ctx.started()
    async with ctx.open_stream(backpressure=True) as stream:
        last: list[Row] | None = None
        while True:
            rows = registrar.look_up(name)
            if rows != last:
                last = rows
                await stream.send(rows)
            else:
                await registrar.wait_change()


class Watch:
    """An endless iterator of `Presence`: first those who are there, then every arrival and departure."""

    def __init__(self, receive: trio.MemoryReceiveChannel[Presence]) -> None:
        self._receive = receive

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Presence:
        return await self.receive()

    async def receive(self) -> Presence:
        """Wait for the next one."""
        return await self._receive.receive()


@protected_manager
async def watch(name: str = "") -> AsyncGenerator[Watch]:
    """Watch who of that name (or uuid) can be found; everybody without a name.

    The iterator that is yielded begins with an arrival for each actor that is there already. It goes on while a registrar
    is lost and until there is another; who is not found there then has left.
    Raises `OSError` where there is no registrar to begin with, or later on something else answers in its place; `NoRuntime`
    outside of an actor; and what the block raises, bare.
    """
    is_name(name)
    actor = current_actor()
    await own_registry(actor)
    send, receive = trio.open_memory_channel[Presence](0)
    left: BaseException | None = None
    failure: NoRegistrar | None = None

    async def follow() -> None:
        nonlocal failure
        try:
            await _follow(actor, name, send)
        except NoRegistrar as exc:
            failure = exc
            nursery.cancel_scope.cancel(reason="what is watched is no registrar")

    async def end() -> None:
        # In a task of its own: where it is left with an error, a cancellation made there would have that for its context.
        await ended.wait()
        nursery.cancel_scope.cancel()

    ended = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        nursery.start_soon(end)
        try:
            yield Watch(receive)
        except BaseException as exc:  # noqa: BLE001 - raised again outside the nursery, which would wrap it in a group
            left = exc
        ended.set()
    if failure is not None and (left is None or isinstance(left, trio.Cancelled)):
        raise failure
    if left is not None:
        raise left


async def _follow(actor: Actor, name: str, send: trio.MemorySendChannel[Presence]) -> None:
    """Ask one registrar after the other, as each is lost."""
    roll = _Roll()
    delay = RETRY_FIRST
    while True:
        registrar = local_registrar(actor)
        try:
            if registrar is not None:
                await _follow_local(registrar, name, roll, send)
            else:
                async with Portal(await registries_of(actor).router()).open_context(
                    tell_changes, name=name
                ) as (ctx, _):
                    delay = RETRY_FIRST
                    async with ctx.open_stream(backpressure=True) as stream:
                        async for rows in stream:
                            await _pass_on(roll.update(read_rows(rows, name)), send)
        except NoRegistrar:
            raise
        except FAILURES as exc:
            log.info("a watched registrar was lost", extra={"cause": str(exc)})
        await trio.sleep(delay)
        delay = min(delay * 2, RETRY_MOST)


async def _follow_local(
    registrar: Registrar, name: str, roll: _Roll, send: trio.MemorySendChannel[Presence]
) -> None:
    while True:
        changes = roll.update(registrar.look_up(name))
        if changes:
            await _pass_on(changes, send)
        else:
            await registrar.wait_change()


async def _pass_on(changes: list[Presence], send: trio.MemorySendChannel[Any]) -> None:
    for change in changes:
        await send.send(change)

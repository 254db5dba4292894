"""Several actors in one process, joined by in-memory channels: the real runtime without processes or sockets."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import trio
from trio.testing import MockClock

from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._channel import Channel
from tractor.ipc._mem import MemoryTransport, memory_transport_pair
from tractor.runtime._actor import Actor
from tractor.runtime._expose import find_modules
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._lifetime import run_actor
from tractor.runtime._portal import Portal
from tractor.runtime._router import Router
from tractor.runtime._vars import RuntimeVars
from tractor.wire._kinds import MAX_BODY

type Address = TCPAddress | UDSAddress


def run_fast(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` on a clock that jumps whenever all tasks wait: a test of deadlines takes no time."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


@dataclass
class Resident:
    """An actor that lives in a task of its own, and the context variables of that task."""

    actor: Actor
    context: contextvars.Context
    gone: trio.Event

    def spawn(self, func: Callable[..., Awaitable[Any]], *args: object) -> None:
        """Run `func` as this actor: its services own the task, and `current_actor()` finds the actor there."""
        self.context.run(self.actor.services.start_soon, func, *args)


@asynccontextmanager
async def open_resident(
    name: str,
    *modules: str,
    binds: list[Address] | None = None,
    limit: int = MAX_BODY,
    is_registrar: bool = False,
) -> AsyncGenerator[Resident]:
    """Run an actor that exposes `modules` for the length of the block; it ends in order.

    An error of the block leaves it bare.
    """
    variables = RuntimeVars(_max_msg_size=limit)
    actor = Actor(name, variables=variables, modules=find_modules(list(modules)), is_registrar=is_registrar)
    left: BaseException | None = None
    async with trio.open_nursery() as nursery:
        resident: Resident = await nursery.start(_live, actor, binds or [])
        try:
            yield resident
        except BaseException as exc:  # noqa: BLE001 - raised again outside the nursery, which would wrap it
            left = exc
        actor.cancel_soon()
        with trio.CancelScope(shield=True):
            await resident.gone.wait()
    if left is not None:
        raise left


async def _live(actor: Actor, binds: list[Address], *, task_status: trio.TaskStatus[Resident]) -> None:
    gone = trio.Event()
    try:
        async with run_actor(actor, binds):
            task_status.started(Resident(actor, contextvars.copy_context(), gone))
            await actor.cancel_complete.wait()
    finally:
        gone.set()


async def join(left: Resident, right: Resident, *, capacity: int = 256 * 1024) -> tuple[Portal, Portal]:
    """Connect two residents; return `left`'s portal to `right` and the other way round. `left` counts as the dialer."""
    return await join_by(left, right, *memory_transport_pair(capacity))


async def join_by(
    left: Resident, right: Resident, left_end: MemoryTransport, right_end: MemoryTransport
) -> tuple[Portal, Portal]:
    """Connect two residents by transports that the test has made, and may watch or break."""
    accepted = Channel(right_end, dialer=False, limit=right.actor.vars._max_msg_size)
    right.spawn(right.actor._serve_connection, accepted)
    dialed = Channel(left_end, dialer=True, limit=left.actor.vars._max_msg_size)
    say_hello(dialed, left.actor.aid, [])
    await hear_hello(dialed)
    router = left.actor.add_router(dialed)
    left.spawn(left.actor.serve_channel, dialed)
    while not (back := find_router(right.actor, left.actor.aid)):
        await trio.lowlevel.checkpoint()
    return Portal(router), Portal(back)


def find_router(actor: Actor, peer: Aid) -> Router | None:
    """Return the actor's newest channel to `peer`, or None."""
    routers = actor.peers.get(peer.uuid)
    return routers[-1] if routers else None


@dataclass
class Pair:
    """Two residents, joined; `portal` is alice's handle on bob, `back` bob's on alice."""

    alice: Resident
    bob: Resident
    portal: Portal
    back: Portal


@asynccontextmanager
async def open_pair(*modules: str, capacity: int = 256 * 1024, limit: int = MAX_BODY) -> AsyncGenerator[Pair]:
    """Run two joined actors, alice and bob, that expose `modules`."""
    async with open_resident("alice", *modules, limit=limit) as alice:
        async with open_resident("bob", *modules, limit=limit) as bob:
            yield Pair(alice, bob, *await join(alice, bob, capacity=capacity))


class HeldTransport(MemoryTransport):
    """Reads nothing while it is held: what the peer says is late."""

    held: trio.Event | None = None

    async def wait_readable(self) -> None:
        """Wait for the release, too."""
        await super().wait_readable()
        if self.held is not None:
            await self.held.wait()

    def recv_nowait(self, into: memoryview) -> int:
        """Read, unless held."""
        if self.held is not None and not self.held.is_set():
            raise BlockingIOError
        return super().recv_nowait(into)


@asynccontextmanager
async def open_held_pair(
    *modules: str, limit: int = MAX_BODY
) -> AsyncGenerator[tuple[Pair, HeldTransport, HeldTransport]]:
    """Run two joined actors whose ends of the connection can be held: alice's and bob's."""
    left, right = memory_transport_pair()
    left.__class__ = right.__class__ = HeldTransport
    assert isinstance(left, HeldTransport)
    assert isinstance(right, HeldTransport)
    async with open_resident("alice", *modules, limit=limit) as alice:
        async with open_resident("bob", *modules, limit=limit) as bob:
            yield Pair(alice, bob, *await join_by(alice, bob, left, right)), left, right

"""From the first service of an actor to its last: boot and orderly end, the same for roots and children."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio

from tractor._errors import TransportClosed
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.log import get_logger
from tractor.msg._codec import get_codec
from tractor.runtime._actor import Actor
from tractor.runtime._state import entered
from tractor.runtime._unwind import INTERRUPT_TIMEOUT
from tractor.trionics._interrupts import is_interrupt
from tractor.trionics._service import open_service_nursery
from tractor.wire._kinds import Kind

log = get_logger(__name__)

#: Seconds that requests have to end when the actor does, before their shields are taken away; for an actor that was
#: asked to end with a grace, that is what they have.
REQUESTS_TIMEOUT = 3.0
#: Seconds an actor spends on each clean-up that needs a peer, such as leaving the registry.
FAREWELL_TIMEOUT = 0.5


@asynccontextmanager
@trio.lowlevel.enable_ki_protection
async def run_actor(actor: Actor, bind_addrs: list[TCPAddress | UDSAddress]) -> AsyncGenerator[None]:
    """Run an actor's services around the block; `bind_addrs` is where it listens.

    Raises `ConnectionError` for an address that is in use. The block is cancelled when the actor is.
    """
    with entered(actor):
        async with open_service_nursery() as services:
            requests: trio.Nursery = await services.start(_run_requests)
            actor.run_in(services, requests)
            timeout = REQUESTS_TIMEOUT
            try:
                for addr in bind_addrs:
                    actor.server.bind(addr)
                services.start_soon(actor.server.serve)
                with actor.body_scope:
                    yield
            except BaseException as exc:
                if is_interrupt(exc):
                    timeout = INTERRUPT_TIMEOUT
                raise
            finally:
                await _end(actor, timeout)


@trio.lowlevel.enable_ki_protection
async def _run_requests(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()


@trio.lowlevel.enable_ki_protection
async def _end(actor: Actor, timeout: float) -> None:
    """End the requests, run the clean-ups, say goodbye and close everything; every wait in here is bounded."""
    actor.cancel_called = True
    with trio.CancelScope(shield=True):
        await _end_requests(actor, timeout)
        await actor.acknowledge()
        try:
            actor.lifetime_stack.close()
        except Exception as exc:
            log.exception("an actor's lifetime_stack failed")
            actor.crashed(exc)
        for farewell in actor.farewells:
            with trio.move_on_after(FAREWELL_TIMEOUT), suppress(TransportClosed, OSError):
                await farewell()
        await _leave(actor)


async def _end_requests(actor: Actor, timeout: float) -> None:
    """Give the requests their time: `timeout` seconds, or until whoever asked for the end means to use force."""
    with trio.move_on_after(timeout) as patience:

        def look_again() -> None:
            if actor.cancel_deadline is not None:
                patience.deadline = actor.cancel_deadline

        look_again()
        actor.on_hastened.append(look_again)
        try:
            await actor.end_requests()
        finally:
            actor.on_hastened.remove(look_again)
    if patience.cancelled_caught:
        log.warning("requests do not end; lifting their shields", extra={"count": len(actor.served)})
        actor.lift_shields()


async def _leave(actor: Actor) -> None:
    """Tell every peer that, and how, this actor ends; then close."""
    actor.server.close()
    body = get_codec().encode(actor.bye)
    async with trio.open_nursery() as nursery:
        for routers in list(actor.peers.values()):
            for router in routers:
                with suppress(TransportClosed):
                    router.channel.post(Kind.BYE, 0, 0, body)
                nursery.start_soon(router.channel.aclose)

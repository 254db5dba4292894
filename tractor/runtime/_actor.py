"""An actor: its identity, its peers, the requests it serves, and how it comes to its end."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import trio

from tractor._errors import TransportClosed
from tractor._ids import Aid, new_uuid
from tractor.ipc._addr import TCPAddress, UDSAddress, wrap_address
from tractor.ipc._channel import Channel
from tractor.ipc._dial import connect
from tractor.ipc._server import Server
from tractor.log import get_logger
from tractor.msg._types import Bye, Cancel, Hello
from tractor.runtime._expose import Exposed
from tractor.runtime._handshake import DETAIL, Refused, greet, hear_hello, make_bye, say_hello
from tractor.runtime._portal import Portal
from tractor.runtime._reasons import describe
from tractor.runtime._router import Router, take_channel_frame
from tractor.runtime._serve import SelfMethod, Served, serve_request
from tractor.runtime._vars import RuntimeVars
from tractor.trionics._shields import lift_shields

log = get_logger(__name__)


#: Seconds a connection has to say who it is.
HANDSHAKE_TIMEOUT = 10.0


class Actor:
    """One actor of this process. Made by `open_root_actor()` or for a child, never by hand.

    `name` need not be unique; `uuid` is. `modules` maps exposed modules to their files.
    """

    def __init__(
        self,
        name: str,
        *,
        variables: RuntimeVars,
        modules: dict[str, str],
        uuid: str | None = None,
        is_registrar: bool = False,
        loglevel: str | None = None,
    ) -> None:
        self.aid = Aid(name, uuid or new_uuid(), os.getpid(), is_registrar)
        self.vars = variables
        self.loglevel = loglevel
        self.exposed = Exposed(modules)
        #: Closed when the actor ends, on every path; for what should live as long as it does.
        self.lifetime_stack = ExitStack()
        #: The live channels to each peer, by uuid.
        self.peers: dict[str, list[Router]] = {}
        #: The channel to the parent, for a child.
        self.parent: Router | None = None
        self.self_methods: dict[str, SelfMethod] = {
            "cancel": self._serve_cancel,
            "is_listening": self._serve_is_listening,
        }
        #: The table of names, in an actor that keeps one, and its connections to others; discovery's own.
        self.registrar: object = None
        self.registries: object = None
        self.served: dict[Served, None] = {}
        self.max_requests = variables._max_requests
        self.server = Server(self._serve_connection, limit=variables._max_msg_size)
        #: Tokens of children that are expected to connect back, and what to do with their channels.
        self.expected: dict[bytes, Callable[[Channel, Hello | Bye], Awaitable[None]]] = {}
        #: Called with a channel's router once it is lost.
        self.on_peer_lost: list[Callable[[Router], None]] = []
        #: Awaited before the channels are closed, each for a bounded time.
        self.farewells: list[Callable[[], Awaitable[None]]] = []
        #: The spawn backend for its children.
        self.start_method = variables._start_method
        #: The backend itself, in an actor that was told to have one; supervision's own.
        self.backend: Any = None
        #: Its key. In an actor that is not the root that need not be `start_method`: a nursery may have chosen another for it.
        self.backend_key = variables._start_method if variables._is_root else ""
        self.cancel_called = False
        #: Who asked this actor to end.
        self.cancel_caller: tuple[str, str] | None = None
        #: Why, as far as it was said.
        self.cancel_reason = ""
        #: When the asker means to use force, in trio's clock.
        self.cancel_deadline: float | None = None
        #: The `KeyboardInterrupt` or `SystemExit` that left one of its tasks, if one did.
        self.exit_cause: BaseException | None = None
        #: Called when that has become sooner.
        self.on_hastened: list[Callable[[], None]] = []
        #: How this actor ends, as it will tell its peers.
        self.bye = Bye("returned", None, "", None)
        #: Set when this actor's requests have ended after a cancellation.
        self.cancel_complete = trio.Event()
        #: Cancelled when the actor is: the block of the root actor, or the main task of a child.
        self.body_scope = trio.CancelScope()
        self._idle = trio.Event()
        #: How many peers wait to hear that the requests have ended.
        self._askers = 0
        self._services: trio.Nursery | None = None
        self._requests: trio.Nursery | None = None

    def __repr__(self) -> str:
        return f"<Actor {self.aid}>"

    @property
    def name(self) -> str:
        """The actor's name."""
        return self.aid.name

    @property
    def uid(self) -> tuple[str, str]:
        """`(name, uuid)`."""
        return self.aid.uid

    @property
    def pid(self) -> int | None:
        """The process it lives in."""
        return self.aid.pid

    @property
    def is_root(self) -> bool:
        """Whether it is the first actor of its tree."""
        return self.vars._is_root

    @property
    def is_registrar(self) -> bool:
        """Whether it keeps the names of the tree's actors."""
        return self.aid.is_registrar

    @property
    def enable_modules(self) -> dict[str, str]:
        """The exposed modules and their files."""
        return self.exposed.modules

    @property
    def accept_addrs(self) -> list[tuple[Any, ...]]:
        """Where it listens, as plain tuples."""
        return [addr.unwrap() for addr in self.server.addrs]

    @property
    def ipc_server(self) -> Server:
        """What listens on `accept_addrs`; without it the actor lives on, and nobody new can reach it."""
        return self.server

    @property
    def reg_addrs(self) -> list[tuple[Any, ...]]:
        """Where its names are kept, as plain tuples."""
        return [addr.unwrap() for addr in self.registry_addrs]

    @property
    def registry_addrs(self) -> list[TCPAddress | UDSAddress]:
        """Where its names are kept."""
        return [wrap_address(addr) for addr in self.vars._registry_addrs]

    @property
    def accept_addr(self) -> tuple[Any, ...]:
        """The first of `accept_addrs`."""
        return self.accept_addrs[0]

    def run_in(self, services: trio.Nursery, requests: trio.Nursery) -> None:
        """Start living: the runtime's tasks go to `services`, those of peers' requests to `requests`."""
        self._services = services
        self._requests = requests
        self._context = contextvars.copy_context()
        if self.cancel_called:
            # Asked before there was anything to end.
            services.start_soon(self._cancel_requests)

    @property
    def services(self) -> trio.Nursery:
        """Where the runtime's own tasks run; shielded from the cancellation of user code."""
        assert self._services is not None, f"{self!r} is not running"
        return self._services

    def get_parent(self) -> Portal:
        """Return a portal to the parent; `RuntimeError` in a root actor."""
        if self.parent is None:
            raise RuntimeError("a root actor has no parent")
        return Portal(self.parent)

    # Peers.

    @trio.lowlevel.enable_ki_protection
    async def serve_channel(
        self, channel: Channel, *, before_loss: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Route the frames of a channel whose handshake is done, until it is lost.

        `before_loss` is awaited, bounded by its owner, before the tasks that wait on the channel are told: it is the
        chance to learn how the peer ended.
        """
        router = self.add_router(channel)
        try:
            await channel.run(router.on_frame)
            if before_loss is not None:
                await before_loss()
        finally:
            channel.abort(channel.exit)
            self._forget(router)

    def add_router(self, channel: Channel) -> Router:
        """Make the router of a channel whose peer is known, and list it among the peers."""
        assert channel.aid is not None, "the handshake is done"
        existing = [r for r in self.peers.get(channel.aid.uuid, []) if r.channel is channel]
        if existing:
            return existing[0]
        router = Router(
            channel,
            self.aid,
            on_request=lambda router, did, flags, body: serve_request(self, router, did, flags, body),
            on_channel_frame=take_channel_frame,
            start_soon=self._start_service,
        )
        self.peers.setdefault(router.peer.uuid, []).append(router)
        return router

    def _forget(self, router: Router) -> None:
        routers = self.peers.get(router.peer.uuid, [])
        if router in routers:
            routers.remove(router)
        if not routers:
            self.peers.pop(router.peer.uuid, None)
        router.lose(router.channel.loss())
        for listener in self.on_peer_lost:
            listener(router)

    @trio.lowlevel.enable_ki_protection
    async def _serve_connection(self, channel: Channel) -> None:
        """Serve a connection that somebody has made to our server; a bad one is dropped quietly."""
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                say_hello(channel, self.aid, self.server.addrs)
                hello: Hello | Bye = await hear_hello(channel)
        except Refused as exc:
            hello = exc.bye
        except (TransportClosed, trio.TooSlowError) as exc:
            log.info("connection dropped", extra={"cause": str(exc) or "no handshake in time"})
            channel.abort()
            return
        except BaseException:
            channel.abort()
            raise
        if hello.token:
            welcome = self.expected.pop(hello.token, None)
            if welcome is None:
                log.warning("connection with a wrong token dropped", extra={"peer": channel.peer_name})
                channel.abort()
                return
            try:
                await welcome(channel, hello)
            finally:
                # Also where it was not welcome.
                channel.abort(channel.exit)
        elif isinstance(hello, Bye):
            log.info("connection dropped", extra={"cause": hello.detail or "it is leaving"})
            channel.abort()
        elif hello.is_probe:
            await channel.aclose()
        else:
            channel.visiting = True
            await self.serve_channel(channel)

    async def connect(self, addr: TCPAddress | UDSAddress, *, token: bytes = b"") -> Router:
        """Connect to an actor and serve the channel until it is lost; `OSError` when nobody is there, or only listens."""
        with trio.move_on_after(HANDSHAKE_TIMEOUT) as patience:
            channel = Channel(await connect(addr), dialer=True, limit=self.vars._max_msg_size)
            await greet(channel, self.aid, self.server.addrs, token=token)
        if patience.cancelled_caught:
            raise TimeoutError(f"{addr} did not say hello within {HANDSHAKE_TIMEOUT} s")
        router = self.add_router(channel)
        self.services.start_soon(self.serve_channel, channel)
        return router

    def _start_service(self, func: Callable[..., Awaitable[None]], *args: object) -> None:
        # Not with the variables of the task that caused it.
        self._context.run(self.services.start_soon, func, *args)

    # Requests.

    def start_request(self, func: Callable[..., Awaitable[None]], *args: object) -> None:
        """Run a request's task."""
        assert self._requests is not None, f"{self!r} is not running"
        # Not with the variables of the task that once made the connection it came by.
        self._context.run(self._requests.start_soon, func, *args)

    def request_done(self, served: Served) -> None:
        """Forget a request that has ended."""
        self.served.pop(served, None)
        if not self.served:
            self._idle.set()

    def lift_shields(self) -> int:
        """Take the shields from every request's task; return how many there were."""
        return lift_shields(self._requests) if self._requests is not None else 0

    # The end.

    def exit_soon(self, cause: BaseException) -> None:
        """End this actor because `KeyboardInterrupt` or `SystemExit` left one of its tasks."""
        self.exit_cause = self.exit_cause or cause
        how = "interrupted" if isinstance(cause, KeyboardInterrupt) else "exited"
        self.cancel_soon(how=how, detail=repr(cause)[:DETAIL])

    def interrupt_soon(self, detail: str, *, patience: float = 0.0) -> None:
        """End this actor because of a signal, unless somebody else has asked it to within `patience` seconds."""
        if self._services is None or not patience:
            self.cancel_soon(how="interrupted", detail=detail)
        else:
            self._services.start_soon(self._interrupt, detail, patience)

    async def _interrupt(self, detail: str, patience: float) -> None:
        with trio.move_on_after(patience):
            await self.cancel_complete.wait()
        self.cancel_soon(how="interrupted", detail=detail)

    def cancel_soon(
        self,
        *,
        canceller: tuple[str, str] | None = None,
        how: str = "cancelled",
        detail: str = "",
        reason: str = "",
        grace: float | None = None,
    ) -> None:
        """Ask this actor to end; returns at once. Only the first call counts, but each may hasten the end."""
        if grace is not None:
            self._hasten(trio.current_time() + grace)
        if self.cancel_called:
            return
        self.cancel_called = True
        self.cancel_caller = canceller
        self.cancel_reason = reason or detail
        self.bye = Bye(how, canceller, detail, None)
        if self._services is not None:
            self._services.start_soon(self._cancel_requests)

    def _hasten(self, deadline: float) -> None:
        if self.cancel_deadline is None or deadline < self.cancel_deadline:
            self.cancel_deadline = deadline
            for listener in tuple(self.on_hastened):
                listener()

    def crashed(self, exc: BaseException, how: str = "crashed", *, limit: int | None = None) -> None:
        """Note the error that ends this actor, for the farewell; in about `limit` bytes (default: half a message)."""
        self.bye = make_bye(exc, self.aid, how, limit or self.vars._max_msg_size // 2)

    def cancel_request(self) -> Cancel:
        """Who has asked for the end of this actor, and why, for the tasks that end with it."""
        why = f": {self.cancel_reason}" if self.cancel_reason else ""
        return Cancel(self.cancel_caller or self.aid.uid, f"its actor {self.name!r} was cancelled{why}")

    async def _serve_is_listening(self, served: Served) -> bool:  # noqa: ARG002 - every method gets its request
        """The request `self:is_listening`: whether this actor can still be found by others."""
        return bool(self.server.addrs)

    async def _serve_cancel(self, served: Served, grace: float | None = None, reason: str = "") -> bool:
        """The request `self:cancel`: acknowledged when every other request has ended."""
        self.cancel_soon(
            canceller=served.peer.uid,
            reason=str(reason)[:DETAIL],
            # NaN becomes 0 as well.
            grace=None if grace is None else max(0.0, float(grace)),
        )
        self._askers += 1
        try:
            await self.cancel_complete.wait()
        finally:
            self._askers -= 1
        return True

    async def acknowledge(self) -> None:
        """The requests have ended: let whoever has asked for that be answered."""
        self.cancel_complete.set()
        while self._askers:
            await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def _cancel_requests(self) -> None:
        self.body_scope.cancel(reason=describe(self.cancel_request()))
        await self.end_requests()
        self.cancel_complete.set()

    async def end_requests(self) -> None:
        """Cancel every request and wait until all have ended; the runtime's own (`self:…`) are not among them."""
        while self.served:
            for served in list(self.served):
                served.cancel_task(self.cancel_request())
            self._idle = trio.Event()
            await self._idle.wait()

"""One child under supervision: from its creation, through its handshake, to its certain end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import trio

from tractor._errors import ActorFailure, Exit, TransportClosed
from tractor._hooks import announce_kill
from tractor._ids import Aid
from tractor.discovery._client import register, unregister
from tractor.ipc import _uds
from tractor.ipc._addr import TCPAddress, UDSAddress, get_sockname
from tractor.ipc._channel import Channel
from tractor.ipc._rtdir import get_rt_dir
from tractor.ipc._transport import SocketTransport
from tractor.log import get_logger
from tractor.msg._boxed import RemoteActorError
from tractor.msg._errbox import unpack_error
from tractor.msg._types import Bye, Hello
from tractor.runtime._actor import Actor
from tractor.runtime._handshake import Refused, hear_hello, say_hello
from tractor.runtime._portal import Portal
from tractor.spawn._backend import Backend, Child, ChildSpec, FirstHand
from tractor.supervise._lifecycle import Phase, Rung, Sign, ladder, shrunk_grace, step
from tractor.supervise._verdict import find_verdict, has_crashed, is_dying, left_as_asked, was_interrupted

log = get_logger(__name__)

#: Seconds after the loss of a dying child's channel in which those who wait on it are not told yet: with the news of its
#: exit, which is on its way, they can be told how it ended.
_EXIT_NEWS = 1.0
#: Seconds in which what a child sent before its exit must have been read.
_DRAIN = 0.2


class SupervisedChild:
    """One child of a nursery.

    `bind_addrs`: where it was told to listen, if it was. `token`: what it proves itself with when it connects back;
    empty for one that inherits its channel. `grace`: seconds it has to end in order. `boot_timeout`: seconds from its
    creation to its hello. `on_change` is called when it is up, when its end begins, and when it is gone.
    """

    def __init__(
        self,
        actor: Actor,
        backend: Backend,
        spec: ChildSpec,
        *,
        bind_addrs: list[TCPAddress | UDSAddress],
        token: bytes,
        grace: float,
        boot_timeout: float,
        on_change: Callable[[SupervisedChild], None],
    ) -> None:
        self.aid = Aid(spec.name, spec.uuid)
        self.phase = Phase.BOOTING
        self.portal: Portal | None = None
        self.exit: Exit | None = None
        #: Why it ended unasked, or never came up.
        self.failure: ActorFailure | None = None
        self.up = trio.Event()
        self.exited = trio.Event()
        self.gone = trio.Event()
        self._actor = actor
        self._backend = backend
        self._spec = spec
        self._bind_addrs = bind_addrs
        self._token = token
        self._grace = grace
        self._boot_timeout = boot_timeout
        self._on_change = on_change
        self._child: Child | None = None
        #: Around the making of it, which may take long where a server has to be started first.
        self._starting = trio.CancelScope()
        self._channel: Channel | None = None
        self._end_wanted = trio.Event()
        #: Why its end was asked for.
        self.end_reason = ""
        self._start_at = Rung.ASK
        self._kill_wanted = False
        #: Whether it was more than asked to end: whatever becomes of it then is our doing.
        self._forced = False
        #: Set when the ladder has to look again at when its next rung is reached.
        self._nudged = trio.Event()
        self._channel_ended = trio.Event()

    @property
    def where(self) -> str:
        """What people call its body."""
        return self._child.where if self._child is not None else "not started"

    @property
    def pid(self) -> int | None:
        """Its process, once it has one."""
        return self._child.pid if self._child is not None else None

    def _sign(self, sign: Sign) -> None:
        self.phase = step(self.phase, sign)

    def end_soon(self, reason: str, *, kill: bool = False) -> None:
        """Begin to end the child; returns at once. `kill` skips every gentler step, also while those are under way."""
        if self.exited.is_set() or (self.portal is not None and not self.portal.chan.connected()):
            # Too late to have been asked: whoever reacts to its death may come before the news of it does.
            self._note_departure("it ended unasked")
        self._sign(Sign.END)
        if not self._end_wanted.is_set():
            self.end_reason = reason
            self._start_at = Rung.KILL if kill else Rung.ASK if self.portal is not None else Rung.HANG_UP
            self._end_wanted.set()
            # There is nobody yet to hang up on.
            self._starting.cancel(reason=reason)
            self._on_change(self)
        if kill:
            self._kill_wanted = True
            self._nudge()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Live through the child's whole life; returns when it is gone. Never raises for what the child does."""
        try:
            async with trio.open_nursery() as nursery:
                try:
                    with self._starting:
                        self._child = await nursery.start(self._run_backend)
                except Exception as exc:  # noqa: BLE001 - whatever keeps a child from being made is its failure
                    self._fail_boot(f"it could not be started: {exc}")
                    if self.failure is not None:
                        self.failure.__cause__ = exc
                    self.exited.set()
                if (child := self._child) is not None and not self._starting.cancelled_caught:
                    transport = SocketTransport(child.channel, same_process=child.pid == self._actor.pid)
                    self._channel = Channel(transport, dialer=True, limit=self._actor.vars._max_msg_size)
                    nursery.start_soon(self._climb)
                    nursery.start_soon(self._accept if self._token else self._serve)
                    await self.exited.wait()
                    await self._drain()
                nursery.cancel_scope.cancel()
        finally:
            if self._channel is not None:
                self._channel.abort(self.exit)
            elif self._child is not None:
                self._child.channel.close()
            self._conclude()

    @trio.lowlevel.enable_ki_protection
    async def _run_backend(self, *, task_status: trio.TaskStatus[Child]) -> None:
        first = FirstHand(task_status)
        try:
            self.exit = await self._backend(self._spec, task_status=first)
        finally:
            if first.child is not None:
                self._child, self.exit = first.child, first.child.exit
            self.exited.set()

    # Up.

    @trio.lowlevel.enable_ki_protection
    async def _accept(self) -> None:
        """Wait for a child that connects back; the inherited channel is not used."""
        self._actor.expected[self._token] = self._hear_first
        try:
            with trio.move_on_after(self._boot_timeout):
                await self.up.wait()
        finally:
            self._actor.expected.pop(self._token, None)
        if not self.up.is_set():
            self._fail_boot(f"it did not connect back within {self._boot_timeout} s")

    @trio.lowlevel.enable_ki_protection
    async def _serve(self) -> None:
        """Shake hands on the inherited channel, then route its frames until it is lost."""
        assert self._channel is not None
        try:
            with trio.fail_after(self._boot_timeout):
                say_hello(self._channel, self._actor.aid, self._actor.server.addrs)
                hello = await hear_hello(self._channel)
        except trio.TooSlowError:
            self._fail_boot(f"it did not say hello within {self._boot_timeout} s")
        except Refused as exc:
            await self._note_failed_boot(exc.bye)
        except TransportClosed:
            await self._wait_exit()
            self._fail_boot("it ended before it was up")
        else:
            await self._welcome(self._channel, hello)
        finally:
            self._channel_ended.set()

    async def _hear_first(self, channel: Channel, first: Hello | Bye) -> None:
        """Take what a child that connects back begins with: that it is up, or why it cannot be."""
        if isinstance(first, Hello):
            await self._welcome(channel, first)
        else:
            await self._note_failed_boot(first)
            self._channel_ended.set()

    async def _welcome(self, channel: Channel, hello: Hello) -> None:
        """The child is up: hand it out and serve its channel until that is lost."""
        if hello.uuid != self.aid.uuid:
            self._fail_boot(f"somebody else answered in its place: {hello.name!r}")
            return
        if self._channel is not None and self._channel is not channel:
            self._channel.abort()
        self._channel = channel
        self.aid = replace(self.aid, pid=hello.pid)
        if self.phase is Phase.BOOTING:
            await register(self._actor, self.aid, hello.addrs)
        if self.phase is not Phase.BOOTING:
            # It was hung up on meanwhile.
            channel.abort()
            return
        self.portal = Portal(self._actor.add_router(channel))
        self._sign(Sign.HELLO)
        self.up.set()
        self._on_change(self)
        try:
            await self._actor.serve_channel(channel, before_loss=self._wait_exit)
        finally:
            self._channel_ended.set()
        if not self.exited.is_set():
            if channel.bye is None:
                self._note_departure("its channel broke")
            self.end_soon("its channel is lost")

    async def _wait_exit(self) -> None:
        """Give the news of the exit a moment to arrive, so that waiters learn how the child ended.

        There is none to wait for where only the channel has broken: they are told at once.
        """
        assert self._channel is not None
        assert self._child is not None
        if self._bye is not None or await is_dying(self._child, self.exited):
            await self._hear_exit()
        self._channel.exit = self._verdict()

    async def _hear_exit(self) -> None:
        with trio.move_on_after(_EXIT_NEWS, shield=True):
            await self.exited.wait()

    async def _note_failed_boot(self, bye: Bye) -> None:
        await self._hear_exit()
        self._fail_boot(f"it failed to boot: {bye.detail}" if bye.detail else "it failed to boot")
        if bye.error is not None and self.failure is not None:
            self.failure.__cause__ = unpack_error(bye.error, sender=self.aid.uid)

    def _fail_boot(self, message: str) -> None:
        if self.failure is None and self.phase is Phase.BOOTING:
            self.failure = self._new_failure(message)
            self.end_soon(message)

    def _new_failure(self, message: str) -> ActorFailure:
        output = self._child.boot_output() if self._child is not None and self.portal is None else ""
        failure = ActorFailure(
            message, name=self.aid.name, where=self.where, exit=self._verdict(), stderr_tail=output
        )
        if self._bye is not None and self._bye.error is not None:
            failure.__cause__ = unpack_error(self._bye.error, sender=self.aid.uid)
        return failure

    def _verdict(self) -> Exit | None:
        """How it ended, with what it said itself when it left."""
        return find_verdict(self.exit, self._bye)

    @property
    def _bye(self) -> Bye | None:
        bye = self._channel.bye if self._channel is not None else None
        return bye if isinstance(bye, Bye) else None

    # End.

    @trio.lowlevel.enable_ki_protection
    async def _climb(self) -> None:
        """The ladder: one deadline per rung, each rung logged once, until the child is gone."""
        await self._end_wanted.wait()
        began = trio.current_time()
        self._grace = self._find_grace(began)
        self._actor.on_hastened.append(self._nudge)
        try:
            async with trio.open_nursery() as nursery:
                for stage in ladder(self._grace, start=self._start_at):
                    began = await self._wait_for(stage.rung, began, nursery)
                    if stage.rung is Rung.KILL or not self._kill_wanted:
                        self._take(stage.rung, nursery)
                await trio.sleep_forever()
        finally:
            self._actor.on_hastened.remove(self._nudge)

    async def _wait_for(self, rung: Rung, began: float, nursery: trio.Nursery) -> float:
        """Return when a rung is reached; until the grace is over, that may become sooner.

        Returns when the ladder was begun, shifted by as much as this rung was late: none is skipped on the way.
        """
        while not self._kill_wanted:
            moments = {stage.rung: began + stage.at for stage in ladder(self._grace, start=self._start_at)}
            with trio.move_on_at(moments[rung]):
                await self._nudged.wait()
                self._nudged = trio.Event()
                if rung is Rung.HANG_UP and (shorter := self._find_grace(began)) < self._grace:
                    self._grace = shorter
                    # It has children to hasten in its turn.
                    nursery.start_soon(self._ask, began + shorter - trio.current_time())
                continue
            return began + max(0.0, trio.current_time() - moments[rung])
        return began

    def _find_grace(self, began: float) -> float:
        left = self._actor.cancel_deadline
        return shrunk_grace(self._grace, None if left is None else left - began)

    def _nudge(self) -> None:
        self._nudged.set()

    def _take(self, rung: Rung, nursery: trio.Nursery) -> None:
        assert self._child is not None
        facts = {"child": str(self.aid), "where": self.where, "why": self.end_reason, "grace_s": self._grace}
        self._forced |= rung is not Rung.ASK
        if rung is Rung.ASK:
            log.info("asking a child to end", extra=facts)
            nursery.start_soon(self._ask, self._grace)
        elif rung is Rung.HANG_UP:
            log.warning("hanging up on a child", extra=facts)
            self._child.hang_up()
            if self._channel is not None:
                # Whoever waits on it must not wait for a peer that will not answer any more.
                self._channel.abort(cause=TimeoutError("it did not end within its grace"))
        elif rung is Rung.INTERRUPT:
            log.warning("interrupting a child", extra=facts)
            self._child.interrupt()
        else:
            log.warning("killing a child", extra=facts)
            announce_kill(str(self.aid), self.end_reason)
            self._child.kill()

    @trio.lowlevel.enable_ki_protection
    async def _ask(self, grace: float) -> None:
        if self.portal is not None and grace > 0:
            with suppress(RemoteActorError):  # Of one that is interrupted while it answers; it ends.
                await self.portal.cancel_actor(grace, grace=grace, reason=self.end_reason)

    async def _drain(self) -> None:
        """The body is gone; take in what it sent before, which ends with the end of the stream."""
        assert self._channel is not None
        with trio.move_on_after(_DRAIN):
            await self._channel_ended.wait()
        self._channel.abort(self._verdict())

    def _conclude(self) -> None:
        """Remove what it left behind and tell the nursery."""
        try:
            when = "unasked" if self.portal is not None else "before it was up"
            self._note_departure(f"it ended {when}")
            self._note_crash()
            self._sign(Sign.EXIT)
            if self.failure is not None:
                self.failure.exit = self.failure.exit or self._verdict()
            with suppress(OSError, ValueError):
                for addr in self._find_addrs():
                    if isinstance(addr, UDSAddress):
                        _uds.unlink_stale(addr)
            unregister(self._actor, self.aid)
        finally:
            # Whatever goes wrong above: nobody may be left waiting for a child that is gone.
            self.up.set()
            self.gone.set()
            self._on_change(self)

    def _find_addrs(self) -> list[TCPAddress | UDSAddress]:
        """Where it listened; one that was never up has not said so, but we know what it was told."""
        if self._channel is not None and self._channel.peer_addrs:
            return self._channel.peer_addrs
        if self._bind_addrs or self.pid is None:
            return self._bind_addrs
        return [UDSAddress.from_path(get_sockname(self.aid.name, self.pid, get_rt_dir()))]

    def _note_departure(self, message: str) -> None:
        """A child that leaves although nobody asked it to has failed; the nursery learns of it at once."""
        if (
            self.phase in (Phase.BOOTING, Phase.UP)
            and self.failure is None
            and not left_as_asked(self.exit, self._bye)
        ):
            self.failure = self._new_failure(message)
            self._on_change(self)

    def _note_crash(self) -> None:
        """One that was asked to end, and has crashed on the way, has failed all the same: its error is not ours."""
        asked = self.phase is Phase.ENDING and self.portal is not None and not self._forced
        if asked and has_crashed(self.exit, self._bye):
            self.failure = self.failure or self._new_failure("it crashed while it was ending")
        log.info("a child is gone", extra={"child": str(self.aid), "exit": str(self.exit)})

    @property
    def was_interrupted(self) -> bool:
        """Whether a signal to its own process ended it."""
        return was_interrupted(self.exit, self._bye)

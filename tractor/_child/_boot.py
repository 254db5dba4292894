"""A child's whole life: boot, serve, end."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn, Protocol

import trio

from tractor._child._mainmod import replay_main
from tractor._child._warden import Warden
from tractor._errors import TransportClosed
from tractor.ipc._addr import UDSAddress, get_address_cls, parse_maddr
from tractor.ipc._channel import HANDSHAKE_LIMIT, Channel
from tractor.ipc._dial import connect
from tractor.ipc._transport import SocketTransport
from tractor.log import get_console_log, get_logger
from tractor.msg._codec import get_codec
from tractor.msg._types import SpawnSpec
from tractor.runtime._actor import Actor
from tractor.runtime._handshake import hear_hello, say_hello
from tractor.runtime._lifetime import run_actor
from tractor.runtime._router import Router
from tractor.runtime._vars import RuntimeVars
from tractor.wire._kinds import Kind

log = get_logger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds an actor waits after SIGINT before it ends by itself. Ctrl-C in a terminal reaches every process of the tree:
#: what ends the tree is the root's interrupt, and a child that is quicker would look as if it had died.
CTRL_C_PATIENCE = 0.5
#: Seconds a child that connects back has to reach its parent.
_CONNECT_TIMEOUT = 10.0


def run_child(
    boot: bytes, channel: socket.socket, lifeline: socket.socket, stderr: int | None, **backend: Any
) -> int:
    """Be the actor that `boot` describes; return the exit status of its process.

    `backend`: arguments of `open_backend`, for the one that has made it: its own children may be made with that.
    """
    spec: SpawnSpec = get_codec().decoder(SpawnSpec)(boot)
    _set_title(spec.name)
    if spec.loglevel:
        get_console_log(spec.loglevel)
    warden = Warden(lifeline, spec.parent[2])
    warden.parent_addrs = [a for a in map(parse_maddr, spec.parent_addrs) if isinstance(a, UDSAddress)]
    warden.start()
    try:
        return trio.run(be_actor, spec, channel, warden, ProcessBody(stderr), backend)
    except BaseException:
        if not warden.hung_up:
            raise
        # An interrupt that lands in trio's own code tears its loop: nobody is left to whom that would be news.
        return 128 + signal.SIGINT
    finally:
        warden.finished()


def run_to_exit(live: Callable[[], int]) -> NoReturn:
    """Run what returns the exit status of this process, which ends with it; how it may end otherwise is as in a program."""
    status = 1
    try:
        status = live()
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - what leaves the main function of a process is printed
        traceback.print_exc()
    exit_process(status)


def exit_process(status: int) -> NoReturn:
    """End the process in the interpreter's own order: threads, `atexit`, open streams.

    What is left out is taking every object apart, which costs more than the rest of a child's end (10 to 20 ms) and is
    undone by the end of the process anyway.
    """
    # The steps that `multiprocessing` takes for its own children.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)


def _set_title(name: str) -> None:
    import setproctitle

    # A title ends at its first NUL.
    setproctitle.setproctitle(f"_subactor[{name.replace('\0', '?')}@{os.getpid()}]")


class Body(Protocol):
    """What an actor lives in."""

    def take_signals(self, actor: Actor, warden: Warden) -> None:
        """Begin to react to signals, where they come here."""

    def begins_anew(self, exc: BaseException) -> bool:
        """Whether the actor cannot live here and is to be booted elsewhere: nobody is told of `exc` then."""

    def came_up(self, *, ok: bool) -> None:
        """The boot is over."""


class ProcessBody:
    """A process of its own. `stderr`: the one it would have had, where another took what it wrote until now."""

    def __init__(self, stderr: int | None) -> None:
        self._stderr = stderr

    def take_signals(self, actor: Actor, warden: Warden) -> None:
        """End in order."""
        _handle_signals(actor, warden)

    def begins_anew(self, exc: BaseException) -> bool:  # noqa: ARG002 - there is no better place
        """Never."""
        return False

    def came_up(self, *, ok: bool) -> None:
        """Write to stderr from now on."""
        restore_stderr(self._stderr, keep=not ok)


async def be_actor(
    spec: SpawnSpec, sock: socket.socket, warden: Warden, body: Body, backend: dict[str, Any]
) -> int:
    """Boot the actor that `spec` describes, serve until its end, and return the exit status of its body.

    `backend`: see `run_child`.

    Where it is to begin anew elsewhere, `sock` is left as it was found, and what the boot raised is raised.
    """
    actor = Actor(
        spec.name,
        uuid=spec.uuid,
        variables=RuntimeVars(**spec.runtime_vars),
        modules=spec.enable_modules,
        loglevel=spec.loglevel or None,
    )
    warden.guard(actor)
    body.take_signals(actor, warden)
    link = _ParentLink(spec, sock, limit=actor.vars._max_msg_size)
    bind_addrs = [parse_maddr(text) for text in spec.bind_addrs] or [
        get_address_cls(key).get_random(spec.name) for key in actor.vars._enable_tpts
    ]
    actor.backend_key = backend.get("key", "")
    booted = anew = False
    try:
        async with _open_backend(backend) as actor.backend, run_actor(actor, bind_addrs):
            try:
                replay_main(spec.main)
                actor.exposed.load()
                channel = await link.open()
                booted = True
            except (Exception, SystemExit) as exc:
                if anew := body.begins_anew(exc):
                    link.leave()
                else:
                    await _report_failed_boot(actor, link, exc)
                raise
            finally:
                body.came_up(ok=booted)
            await _join_parent(actor, channel, spec.token)
            await actor.cancel_complete.wait()
    except (Exception, SystemExit) as exc:
        if anew:
            raise
        if booted:
            log.exception("a child has failed")
        elif actor.bye.error is None:
            # It could not even listen.
            await _report_failed_boot(actor, link, exc)
        return 1
    finally:
        warden.parent_lost = actor.bye.how == "orphaned"
        with trio.CancelScope(shield=True):
            await link.aclose()
    return 0


def _open_backend(options: dict[str, Any]) -> AbstractAsyncContextManager[Any]:
    if not options:
        # Not even loaded: most actors never have children.
        return nullcontext()
    from tractor.spawn._backend import open_backend

    return open_backend(**options)


def _handle_signals(actor: Actor, warden: Warden) -> None:
    """A signal to one child is a request to end in order; once the parent has hung up it interrupts what runs."""
    token = trio.lowlevel.current_trio_token()

    def on_signal(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is the stdlib's
        if warden.is_finished:
            return
        if warden.hung_up and not trio.lowlevel.currently_ki_protected():
            # Not in trio's own code, nor in the runtime's: those would be torn, and they let the loop turn anyway.
            raise KeyboardInterrupt
        patience = CTRL_C_PATIENCE if signum == signal.SIGINT else 0.0
        end = partial(actor.interrupt_soon, signal.Signals(signum).name, patience=patience)
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(end)

    for signum in _SIGNALS:
        signal.signal(signum, on_signal)
    # The entry point blocked it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _ParentLink:
    """The channel to the parent: the inherited one, or a connection, made once there is something to say.

    Not earlier: a parent drops connections that do not say soon who they are, and a boot may take its time.
    """

    def __init__(self, spec: SpawnSpec, inherited: socket.socket, *, limit: int) -> None:
        self.token = spec.token
        self._addr = parse_maddr(spec.connect_to[0]) if spec.connect_to else None
        self._inherited = inherited
        self._limit = limit
        self._channel: Channel | None = None
        if self._addr is None:
            self._channel = Channel(
                SocketTransport(inherited, same_process=spec.parent[2] == os.getpid()),
                dialer=False,
                limit=limit,
            )

    async def open(self) -> Channel:
        """Return the channel; `OSError` or `trio.TooSlowError` when the parent cannot be reached."""
        if self._channel is None:
            assert self._addr is not None
            self._inherited.close()
            with trio.fail_after(_CONNECT_TIMEOUT):
                self._channel = Channel(await connect(self._addr), dialer=True, limit=self._limit)
        return self._channel

    async def aclose(self) -> None:
        """Close the channel, if there is one, once what was said has been sent."""
        if self._channel is not None:
            await self._channel.aclose()
        self._inherited.close()

    def leave(self) -> None:
        """Forget the inherited channel, on which nothing was said, without closing it."""
        self._inherited.detach()


async def _join_parent(actor: Actor, channel: Channel, token: bytes) -> None:
    """Tell the parent that we are up, and serve its channel; the actor ends when that is lost."""
    say_hello(channel, actor.aid, actor.server.addrs, token=token)
    try:
        await hear_hello(channel)
    except trio.Cancelled:
        # What an actor says at its end goes to the peers it knows, and the parent is not among them yet.
        with suppress(TransportClosed):
            channel.post(Kind.BYE, 0, 0, get_codec().encode(actor.bye))
        raise
    actor.parent = actor.add_router(channel)

    def on_lost(router: Router) -> None:
        if router is actor.parent:
            actor.cancel_soon(how="orphaned", detail="the channel to its parent is lost")

    actor.on_peer_lost.append(on_lost)
    actor.services.start_soon(actor.serve_channel, channel)


async def _report_failed_boot(actor: Actor, link: _ParentLink, exc: BaseException) -> None:
    # The parent does not know yet whose words these are, and takes no more of them. A farewell has more than the error.
    actor.crashed(exc, how="failed to boot", limit=HANDSHAKE_LIMIT * 3 // 4)
    try:
        channel = await link.open()
        channel.post(Kind.BYE, 0, 0, get_codec().encode(actor.bye._replace(token=link.token)))
    except (OSError, trio.TooSlowError, TransportClosed):
        # Where the parent lives, it finds in our stderr what it could not be told.
        traceback.print_exception(exc)


def restore_stderr(stderr: int | None, *, keep: bool) -> None:
    """Give the child the stderr it would have had; unless `keep`, what was written meanwhile goes there first."""
    if stderr is None:
        return
    sys.stderr.flush()
    if not keep and (size := os.fstat(2).st_size):
        os.write(stderr, os.pread(2, size, 0))
    os.dup2(stderr, 2, inheritable=True)
    os.close(stderr)

"""The backend `subint`: a child is an interpreter of this process, on a thread of its own (PEP 684, PEP 734)."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Self

import trio

from tractor._errors import Exit
from tractor.log import get_logger
from tractor.spawn._backend import Child, ChildSpec, encode_paths, has_let_go
from tractor.spawn._interpreters import (
    ANEW,
    IMPORT,
    LEFT,
    LENT,
    Pool,
    create,
    destroy,
    destroy_later,
    execute,
    hosted,
    making,
    pool_size,
)
from tractor.spawn._output import BootOutput
from tractor.trionics._forks import close_in_forks

log = get_logger(__name__)

#: The first CPython whose interpreters are fit for it.
_SINCE = (3, 14)
#: Which lock the code of an interpreter runs under.
GILS = ("auto", "own", "shared")
#: Seconds that an interpreter has which is to end by force, before it is called abandoned. One that waits in C for a second
#: at a time is ended within that.
_ABANDON = 2.0
#: Seconds for those that were kept ready to be gone; one that is just being made takes longest.
_DRAIN = 2.0
#: Seconds between two looks at whether one is wanted still that waits for its turn.
_LOOK_AGAIN = 0.02
_NOT_MADE = "it was not wanted any more before it had begun"
_ENTRY = """
import os, sys
# One that was ready has those of some time ago.
os.reload_environ()
sys.path[:] = PATHS.decode(errors="surrogateescape").split("\\0")
from tractor._child._interpreter import live
live(BOOT, CHANNEL, LIFELINE, STDERR, GIL)
"""


class InterpreterChild:
    """A child in an interpreter of this process. `gil`: "own" or "shared", once it is up."""

    def __init__(self, spec: ChildSpec, gil: str, stack: ExitStack) -> None:
        self.pid = os.getpid()
        self.exit: Exit | None = None
        self.gil = gil
        self.made = trio.Event()
        self.ended = trio.Event()
        #: Why there is none.
        self.refused: Exception | None = None
        #: Ends the wait for one that nothing ends.
        self.scope = trio.CancelScope()
        self._killed = False
        self._hung_up = False
        self._spec = spec
        #: By which Python knows it, once there is one.
        self.number: int | None = None
        self._verdict = Exit("died", None, "its thread has ended without a word")
        self._thread = threading.current_thread()
        self._token = trio.lowlevel.current_trio_token()
        self.channel, self._their_channel = socket.socketpair()
        self._lifeline, self._their_lifeline = socket.socketpair()
        stack.enter_context(self._lifeline)
        self._lifeline.setblocking(False)
        self._output = BootOutput(stack)
        for sock in (self.channel, self._their_channel, self._lifeline, self._their_lifeline):
            close_in_forks(sock)

    @property
    def where(self) -> str:
        """Such as `interpreter 3 of pid 4711, own GIL`."""
        return (
            f"interpreter {self.number} of pid {self.pid}, {'shared' if self.gil == 'shared' else 'own'} GIL"
        )

    def start(self, pool: Pool) -> None:
        """Begin to run on a thread that nobody else uses: one that lives on would keep the interpreter."""
        warm = pool.take() if self.gil != "shared" else None
        if warm is not None:
            self._thread = warm.thread
            hosted[self._thread] = self.hang_up
            warm.give(self._drive)
        else:
            self._thread = threading.Thread(target=self._drive, name="tractor-interpreter", daemon=True)
            hosted[self._thread] = self.hang_up
            self._thread.start()
        if self.gil != "shared":
            pool.fill()

    async def wait_end(self) -> None:
        """Return when its thread has ended, which has taken the interpreter apart."""
        await self.ended.wait()
        # What it said was its last word.
        await _wait_threads([self._thread])

    def hang_up(self) -> None:
        """Say nothing any more on the lifeline; what the warden says there can still be read."""
        if not self._hung_up:
            self._hung_up = True
            with suppress(OSError):
                self._lifeline.shutdown(socket.SHUT_WR)

    def has_let_go(self) -> bool:
        """Whether nobody is left at the other end of the lifeline."""
        return self._hung_up or has_let_go(self._lifeline)

    def interrupt(self) -> None:
        """Hang up: its warden interrupts it, as nobody outside of the interpreter can."""
        self.hang_up()

    def kill(self) -> None:
        """Have its warden interrupt it, again and again, from now on; after a while it is given up."""
        self._killed = True
        if not self._hung_up:
            with suppress(OSError):
                self._lifeline.send(b"k")
            self.hang_up()
        wait = min(_ABANDON, self._spec.kill_grace)
        self.scope.deadline = min(self.scope.deadline, trio.current_time() + wait)

    def boot_output(self) -> str:
        """Return the end of what it wrote to stderr before it was up."""
        return self._output.read()

    def conclude(self) -> Exit:
        """Note how it ended."""
        self._output.conclude()
        if not self.ended.is_set():
            stack = self._read_stack()
            line = next((part for part in reversed(stack.splitlines()) if "File" in part), "no Python code")
            detail = f"{self.where} could not be ended; its thread was last seen in {line.strip()}"
            log.error(
                "a child is abandoned", extra={"child": self._spec.name, "where": self.where, "stack": stack}
            )
            self.exit = Exit("abandoned", None, detail)
        elif self._killed:
            self.exit = Exit("killed")
        else:
            self.exit = self._verdict
        return self.exit

    def _read_stack(self) -> str:
        text = b""
        with suppress(OSError):
            while data := self._lifeline.recv(65536):
                text = data
        return text.decode(errors="replace")

    # The thread.

    def _drive(self, number: int | None = None) -> None:
        """Be the child, from the beginning of its interpreter, or from when that was ready, to its end."""
        try:
            self._verdict = self._live(number)
        except Exception as exc:  # noqa: BLE001 - a thread has nobody to raise it to
            self.refused = exc
        finally:
            del hosted[self._thread]
            self._tell(self.made)
            self._tell(self.ended)

    def _tell(self, event: trio.Event) -> None:
        # A loop that was torn is over as well, but does not know it.
        with suppress(trio.RunFinishedError, OSError):
            self._token.run_sync_soon(event.set)

    def _live(self, number: int | None) -> Exit:
        said = self._run(number, self._their_channel.detach(), self._their_lifeline.detach())
        if said.startswith(ANEW):
            _, channel, lifeline, why = said.split(" ", 3)
            log.warning(
                "a child shares the lock of its parent, because a module refuses to load otherwise",
                extra={"child": self._spec.name, "why": why},
            )
            self.gil = "shared"
            said = self._run(None, int(channel), int(lifeline))
        if said == "0":
            return Exit("returned", 0)
        if said.isdecimal():
            return Exit("died", int(said))
        if said.startswith(LEFT):
            return Exit("died", None, said)
        self._output.add(said)
        return Exit("died", None, said.splitlines()[-1])

    def _run(self, number: int | None, channel: int, lifeline: int) -> str:
        """Run the actor in an interpreter, a new one for None, and take that apart; return what was said at the end."""
        facts = {"PATHS": encode_paths(self._spec.sys_path)}
        said = "0"
        if number is None:
            while not making.acquire(timeout=_LOOK_AGAIN):
                if self._hung_up:
                    os.close(channel)
                    os.close(lifeline)
                    return _NOT_MADE
            try:
                number = self._note(create(own_gil=self.gil != "shared"))
                said = execute(number, IMPORT, facts)
            finally:
                making.release()
        else:
            self._note(number)
        try:
            stderr = self._output.dup()
        except OSError:
            # The backend has let go already.
            stderr, said = -1, _NOT_MADE
        if said == "0":
            more = {"BOOT": self._spec.boot, "CHANNEL": channel, "LIFELINE": lifeline, "STDERR": stderr}
            said = execute(number, _ENTRY, {**facts, **more, "GIL": self.gil})
        else:
            for fd in (channel, lifeline, stderr):
                if fd != -1:
                    os.close(fd)
        if said.startswith(LEFT):
            log.error("threads outlive their actor", extra={"child": self._spec.name, "threads": said})
            destroy_later(number)
        elif said.startswith(LENT):
            log.info("others still look at buffers of an actor", extra={"child": self._spec.name})
            destroy_later(number)
            said = said.removeprefix(LENT)
        else:
            destroy(number)
        return said

    def _note(self, number: int) -> int:
        """It is there."""
        self.number = number
        self._tell(self.made)
        return number


class Interpreters:
    """The backend of one actor: the interpreters that it keeps ready; see `Backend`.

    `preload`: modules that these import in advance. None: none is kept ready, as by actors that are children themselves.
    """

    def __init__(self, *, preload: Iterable[str] | None = None) -> None:
        self._pool = Pool(pool_size() if preload is not None else 0, preload or ())

    async def __aenter__(self) -> Self:
        """None is made before one is needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of those that are ready, and wait until they are gone."""
        threads = self._pool.drain()
        with trio.CancelScope(shield=True), trio.move_on_after(_DRAIN):
            await _wait_threads(threads)

    async def __call__(
        self, spec: ChildSpec, *, task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED
    ) -> Exit:
        """Run one child."""
        return await subint_proc(spec, self._pool, task_status=task_status)


@trio.lowlevel.enable_ki_protection
async def subint_proc(
    spec: ChildSpec, pool: Pool, *, task_status: trio.TaskStatus[Child] = trio.TASK_STATUS_IGNORED
) -> Exit:
    """Run one child as an interpreter; see `Backend`.

    `spec.options`: `gil`, one of `GILS` (default: `TRACTOR_SUBINT_GIL`, else "auto").
    """
    gil = _check(spec)
    with ExitStack() as stack, ExitStack() as untaken:
        child = InterpreterChild(spec, gil, stack)
        # Closed here only on failure: whoever takes it does it otherwise.
        untaken.enter_context(child.channel)
        child.start(pool)
        try:
            await child.made.wait()
            if child.number is None:
                raise RuntimeError(f"no interpreter could be made: {child.refused}") from child.refused
            untaken.pop_all()
            task_status.started(child)
            with child.scope:
                await child.wait_end()
        finally:
            if not child.ended.is_set() and not child.scope.cancelled_caught:
                child.kill()
                with trio.CancelScope(shield=True, deadline=child.scope.deadline):
                    await child.wait_end()
            child.conclude()
        assert child.exit is not None
        return child.exit


async def _wait_threads(threads: Iterable[threading.Thread]) -> None:
    # The end of a thread is no event.
    while any(thread.is_alive() for thread in threads):  # noqa: ASYNC110
        await trio.sleep(0.0005)


def _check(spec: ChildSpec) -> str:
    if sys.version_info < _SINCE:
        raise RuntimeError(
            f"the start method 'subint' needs CPython 3.14 or later; this is {sys.version.split()[0]}"
        )
    options = dict(spec.options)
    gil = options.pop("gil", None) or os.environ.get("TRACTOR_SUBINT_GIL") or "auto"
    if options:
        raise TypeError(
            f"the start method 'subint' makes no process and does not know {', '.join(sorted(options))}; proc_kwargs may have: gil"
        )
    if gil not in GILS:
        raise ValueError(f"gil is one of {', '.join(GILS)}, not {gil!r}")
    return gil

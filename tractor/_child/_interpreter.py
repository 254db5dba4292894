"""The life of a child that is an interpreter beside others in one process."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

import trio
import trio._core._thread_cache

from tractor._child._boot import be_actor
from tractor._child._warden import LIFT_AFTER, Warden
from tractor.ipc._lending import count_lent
from tractor.log import get_console_log, get_logger
from tractor.msg._codec import get_codec
from tractor.msg._types import SpawnSpec
from tractor.runtime._actor import Actor
from tractor.spawn._interpreters import ANEW, LEFT, LENT, hosted

log = get_logger(__name__)

#: What every module says that cannot live in an isolated interpreter (PEP 489, PEP 684).
REFUSAL = "does not support loading in subinterpreters"

#: Seconds in which a loop that turns has run what it was given; less than in a process, for only the user's code is
#: interrupted because of that.
_TURN = 0.01
#: Seconds after the hang-up at which whatever runs is interrupted, and where the parent said that it cannot wait.
_TEAR_AFTER, _TEAR_SOON = 0.35, 0.04
#: Seconds between two turns at the lock of an interpreter that is being ended.
_SWITCH = 0.0005
#: Bytes of a stack that are told.
_STACK = 8192
#: Seconds between two interrupts, at first and after as many as an actor has that is not abandoned.
_AGAIN, _SELDOM = 0.03, 1.0
_OFTEN = 200
#: Seconds that daemon threads have after the end of the actor before they are interrupted too.
_THREADS_GRACE = 0.1
#: Seconds that trio keeps a thread that has nothing to do; while there is one the interpreter cannot be taken apart.
_IDLE = 0.1
#: Where the code is that must not be torn, and that which runs for whoever calls it.
_OURS = tuple(os.path.dirname(path) + os.sep for path in (trio.__file__, os.path.dirname(__file__)))
_STDLIB = (os.path.dirname(os.__file__) + os.sep, "<frozen")


class InterpreterWarden(Warden):
    """Watches the lifeline of an interpreter, and takes every step that ends its threads: nobody outside of it can.

    What it sees of the main thread, when that does not end, it writes to the lifeline.
    """

    def __init__(self, lifeline: socket.socket) -> None:
        super().__init__(lifeline, os.getpid())
        self._main = threading.get_ident()
        #: Whether the warden is just interrupting; it looks whether that is still wanted after it has said so.
        self._interrupts = False
        self._wake, self._sleeper = socket.socketpair()
        self._epoll: select.epoll | None = None
        self._thread = threading.Thread(target=self._watch, name="tractor-warden", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def is_orphan(self) -> bool:
        """Never: the parent lives in the same process."""
        return False

    def finished(self) -> None:
        """The actor has ended; from here on nothing interrupts this thread."""
        # No lock: an interrupt that comes just when one was taken leaves it so for ever.
        self._finished.set()
        while self._interrupts:
            time.sleep(0)
        _interrupt(self._main, None)

    def end_threads(self) -> list[str]:
        """Return when no thread but this one is left, or the names of those that nothing ends."""
        started = time.monotonic()
        threading.excepthook = _say_nothing_of_interrupts
        # Where the loop was torn, nobody else has: such a thread ends with its interpreter, and takes that apart.
        for hang_up in list(hosted.values()):
            hang_up()
        left = _others()
        count = 0
        while left:
            left[0].join(_AGAIN)
            waited = time.monotonic() - started
            for thread in left:
                # Those that a process would wait for, this waits for as well, until it is hung up on.
                if (self.hung_up or thread.daemon) and waited > _THREADS_GRACE and thread.ident is not None:
                    if thread not in hosted:
                        _interrupt(thread.ident, KeyboardInterrupt)
                    count += 1
            left = [thread for thread in left if thread.is_alive()]
            if count > _OFTEN:
                break
        return [thread.name for thread in left]

    def close(self) -> None:
        """End the warden."""
        self._wake.close()
        self._thread.join()
        self._sleeper.close()

    def _watch(self) -> None:
        hurry = False
        while True:
            ready, _, _ = select.select([self._lifeline, self._sleeper], [], [])
            if self._sleeper in ready:
                return
            try:
                said = self._lifeline.recv(64)
            except OSError:
                said = b""
            if not said:
                break
            hurry = True
        self.hung_up = True
        if not self.is_finished:
            self._in_loop(self._cancel)
            self._force(hurry=hurry)

    def _force(self, *, hurry: bool) -> None:
        """End an actor step by step, each a little later and harder than the one before, until it has ended.

        Cancel it; interrupt the user's code that keeps its loop from turning; lift the shields of one that turns;
        interrupt whatever runs, also where that tears the loop.
        """
        with _switching_often():
            self._climb(hurry=hurry)
        while not self._finished.wait(_SELDOM):
            self._tear()

    def _climb(self, *, hurry: bool) -> None:
        began = time.monotonic()
        lifted, turned = False, True
        count = 0
        while not self.is_finished and count < _OFTEN:
            waited = time.monotonic() - began
            tears = waited >= (_TEAR_SOON if hurry else _TEAR_AFTER)
            if not tears:
                turned = self._turns(_TURN)
            if turned and waited >= LIFT_AFTER and not tears and not lifted:
                lifted = True
                self._in_loop(self._lift)
            if tears or (not turned and _is_in_user_code(self._main)):
                if count == 0 and not turned:
                    self._say_interrupting()
                if tears:
                    self._tear()
                else:
                    self._interrupt()
                if count % 10 == 1:
                    self._tell_stack()
                count += 1
            self._finished.wait(_AGAIN)

    def _interrupt(self) -> None:
        self._interrupts = True
        if not self.is_finished:
            _interrupt(self._main, KeyboardInterrupt)
        self._interrupts = False

    def _tear(self) -> None:
        """Interrupt whatever runs, and what waits. From now on nothing of the loop's is used that has a lock."""
        # What trio says of a loop that was torn is no news to anybody.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"trio\.")
        self._interrupt()
        self._wake_loop()

    def guard(self, actor: Actor) -> None:
        """Say whom to cancel; called inside the trio loop as soon as there is one."""
        # Private, but there is no public way to wake a loop that may be torn.
        manager = trio._core._run.GLOBAL_RUN_CONTEXT.runner.io_manager
        self._epoll = getattr(manager, "_epoll", None)
        super().guard(actor)

    def _wake_loop(self) -> None:
        """Have a loop that waits for events run code, so that it notices; a torn one may not hear of the usual way."""
        with suppress(OSError, ValueError):
            if self._epoll is not None:
                mask = select.EPOLLOUT | select.EPOLLONESHOT
                try:
                    self._epoll.register(self._wake, mask)
                except FileExistsError:
                    self._epoll.modify(self._wake, mask)

    def _tell_stack(self) -> None:
        frame: FrameType | None = sys._current_frames().get(self._main)
        text = "".join(traceback.format_stack(frame)) if frame is not None else ""
        with suppress(OSError):
            self._lifeline.send(text.encode(errors="replace")[-_STACK:], socket.MSG_DONTWAIT)


class InterpreterBody:
    """An interpreter of this process. `gil`: "own", "shared", or "auto" for its own as long as all modules allow it."""

    def __init__(self, gil: str, stderr: int) -> None:
        self._gil = gil
        self._terminal = sys.stderr
        # Closed by `came_up`.
        self._copy = open(stderr, "w", encoding="utf-8", errors="replace", buffering=1)  # noqa: SIM115
        self.refused: ImportError | None = None
        sys.stderr = self._held = _Held(self._copy)

    def take_signals(self, actor: Actor, warden: Warden) -> None:
        """None come here: they are the process's."""

    def begins_anew(self, exc: BaseException) -> bool:
        """Whether a module has refused an interpreter with a lock of its own, and another would do."""
        if self._gil == "auto" and isinstance(exc, ImportError) and REFUSAL in str(exc):
            self.refused = exc
        return self.refused is not None

    def came_up(self, *, ok: bool) -> None:
        """Write to stderr from now on; what was written meanwhile goes there first, unless the boot has failed."""
        if self._copy.closed:
            return
        self._copy.flush()
        if ok and (size := os.fstat(self._copy.fileno()).st_size):
            self._terminal.write(os.pread(self._copy.fileno(), size, 0).decode(errors="replace"))
        sys.stderr = self._held.stream = self._terminal
        self._copy.close()


class _Held:
    """A stream that leads elsewhere later; handlers of the log may have taken it for good."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self.stream.fileno()


def live(boot: bytes, channel_fd: int, lifeline_fd: int, stderr_fd: int, gil: str) -> None:
    """Be the actor that `boot` describes, in the calling thread; how that ended is raised as `SystemExit`."""
    # Private, but there is no public way: it is what keeps an ended actor in memory.
    trio._core._thread_cache.IDLE_TIMEOUT = _IDLE  # type: ignore[assignment]
    channel, lifeline = socket.socket(fileno=channel_fd), socket.socket(fileno=lifeline_fd)
    body = InterpreterBody(gil, stderr_fd)
    warden = InterpreterWarden(lifeline)
    status: int | str = 1
    try:
        status = _run_guarded(boot, channel, warden, body)
    except BaseException:  # noqa: BLE001 - whatever it was, the interpreter has to be left
        if body.refused is None:
            # Its channel breaks soon, and its threads may take long: who wonders why is to see that it is going.
            with suppress(OSError):
                lifeline.shutdown(socket.SHUT_WR)
        # Where it was interrupted, trio's loop may be torn: that is no news to anybody.
        if body.refused is None and not warden.hung_up:
            traceback.print_exc()
    left = warden.end_threads()
    body.came_up(ok=False)
    if body.refused is not None:
        status = f"{ANEW}{channel_fd} {lifeline.detach()} {body.refused}"
    else:
        channel.close()
    warden.close()
    lifeline.close()
    if left:
        status = LEFT + ", ".join(left)
    elif count_lent():
        status = f"{LENT}{status}"
    raise SystemExit(status)


def _run_guarded(
    boot: bytes, channel: socket.socket, warden: InterpreterWarden, body: InterpreterBody
) -> int:
    try:
        warden.start()
        spec: SpawnSpec = get_codec().decoder(SpawnSpec)(boot)
        if spec.loglevel:
            get_console_log(spec.loglevel)
        return trio.run(be_actor, spec, channel, warden, body, {})
    finally:
        # Here and not in a function of its own, whose first step an interrupt could forestall.
        while True:
            try:
                warden.finished()
                break
            except KeyboardInterrupt:
                # It was under way.
                continue


@contextmanager
def _switching_often() -> Iterator[None]:
    """Have threads let go of the lock sooner, or each step waits long for what it is to end.

    Others may have the same lock, and do the same: who finds it so leaves it so, and a setting of the program's comes back.
    """
    before = sys.getswitchinterval()
    if before <= _SWITCH:
        yield
        return
    sys.setswitchinterval(_SWITCH)
    ours = sys.getswitchinterval()
    try:
        yield
    finally:
        if sys.getswitchinterval() == ours:
            sys.setswitchinterval(before)


def _others() -> list[threading.Thread]:
    # What `threading` takes for the main thread is that of the process.
    ours = (threading.current_thread(), threading.main_thread())
    return [
        thread for thread in threading.enumerate() if thread not in ours and thread.name != "tractor-warden"
    ]


def _say_nothing_of_interrupts(args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, KeyboardInterrupt):
        threading.__excepthook__(args)


def _interrupt(ident: int, exc: type[BaseException] | None) -> None:
    """Have the thread raise `exc` as soon as it runs Python code; None: not any more."""
    target = ctypes.py_object(exc) if exc is not None else ctypes.py_object()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), target)


def _is_in_user_code(ident: int) -> bool:
    """Whether what the thread runs is the user's: code of trio's or ours lets the loop turn soon, and would be torn."""
    frame = sys._current_frames().get(ident)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_OURS):
            return False
        if not name.startswith(_STDLIB) or "site-packages" in name:
            return True
        # What the standard library does, it does for its caller.
        frame = frame.f_back
    return False

"""What a child in an interpreter does about its threads and its stderr."""

import io
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tractor._child import _interpreter
from tractor._child._interpreter import InterpreterBody, InterpreterWarden, _interrupt, _is_in_user_code
from tractor.spawn import _interpreters


def test_an_interrupt_reaches_code_that_never_waits() -> None:
    """As soon as it runs any Python code."""
    caught: list[str] = []
    begun = threading.Event()

    def spin() -> None:
        try:
            begun.set()
            while True:
                pass
        except KeyboardInterrupt:
            caught.append("interrupted")

    thread = threading.Thread(target=spin)
    thread.start()
    begun.wait()
    assert thread.ident is not None
    _interrupt(thread.ident, KeyboardInterrupt)
    thread.join(10)
    assert caught == ["interrupted"]


@pytest.mark.parametrize("what", ["spin", "stdlib", "trio"])
def test_only_the_users_code_is_interrupted_in_order(what: str) -> None:
    """Also where it waits in the standard library; trio's own would be torn."""
    begun = threading.Event()
    over = threading.Event()

    def act() -> None:
        if what == "trio":
            trio.run(wait)
            return
        begun.set()
        if what == "stdlib":
            over.wait(10)
        while not over.is_set():
            pass

    async def wait() -> None:
        begun.set()
        while not over.is_set():
            await trio.sleep(0.2)

    thread = threading.Thread(target=act)
    thread.start()
    begun.wait()
    time.sleep(0.05)
    assert thread.ident is not None
    assert _is_in_user_code(thread.ident) is (what != "trio")
    over.set()
    thread.join(10)
    assert not _is_in_user_code(thread.ident)


@pytest.mark.parametrize("ok", [True, False])
def test_what_is_written_before_it_is_up_is_kept_back(
    ok: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For whoever reports a failed boot; where it does not fail it is written then. Who took the stream may go on using it."""
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    kept = tmp_path / "kept"
    body = InterpreterBody("own", os.open(kept, os.O_RDWR | os.O_CREAT))
    taken = sys.stderr
    taken.write("hello\n")
    assert not taken.isatty()
    assert terminal.getvalue() == ""
    assert kept.read_text() == "hello\n"
    body.came_up(ok=ok)
    sys.stderr.write("later\n")
    taken.write("still\n")
    assert sys.stderr is terminal
    body.came_up(ok=False)
    assert terminal.getvalue() == ("hello\n" if ok else "") + "later\nstill\n"


@pytest.mark.parametrize(
    ("gil", "exc", "anew"),
    [
        ("auto", ImportError(f"module numpy {_interpreter.REFUSAL}"), True),
        ("own", ImportError(f"module numpy {_interpreter.REFUSAL}"), False),
        ("auto", ImportError("no module named numpy"), False),
        ("auto", ValueError(_interpreter.REFUSAL), False),
        ("shared", ImportError(_interpreter.REFUSAL), False),
    ],
)
def test_a_module_that_refuses_is_one_reason_to_begin_anew(gil: str, exc: Exception, anew: bool) -> None:
    """And the only one."""
    stderr = sys.stderr
    body = InterpreterBody(gil, os.open(os.devnull, os.O_WRONLY))
    try:
        assert body.begins_anew(exc) is anew
    finally:
        body.came_up(ok=False)
    assert sys.stderr is stderr


def test_a_thread_that_is_an_interpreter_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends by itself then; an interrupt would leave the interpreter where it is."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    hung_up = threading.Event()
    ended: list[str] = []

    def drive() -> None:
        try:
            hung_up.wait()
            until = time.monotonic() + 4 * _interpreter._THREADS_GRACE
            while time.monotonic() < until:
                pass
            ended.append("in order")
        except KeyboardInterrupt:
            ended.append("interrupted")

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()
    monkeypatch.setitem(_interpreters.hosted, thread, hung_up.set)
    monkeypatch.setattr(_interpreter, "_others", lambda: [thread])
    ours, theirs = socket.socketpair()
    with ours:
        warden = InterpreterWarden(theirs)
        warden.start()
        warden.hung_up = True
        warden.finished()
        assert warden.end_threads() == []
        warden.close()
        theirs.close()
    assert ended == ["in order"]


def test_an_interrupt_at_the_end_of_an_actor_locks_nobody_out() -> None:
    """See ai/conc-anal/lock-kept-interrupted-in-with.md."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        ended = [_end_in_the_rain() for _ in range(300)]
    finally:
        sys.setswitchinterval(before)
    # An interrupt may also come where no `try` is in this test, which ends its actor.
    assert ended.count(True) > 100


def _end_in_the_rain() -> bool:
    wardens: list[InterpreterWarden] = []
    ours, theirs = socket.socketpair()

    def be_actor() -> None:
        wardens.append(InterpreterWarden(theirs))
        with suppress(KeyboardInterrupt):
            while True:
                try:
                    for _ in range(3000):
                        pass
                    wardens[0].finished()
                    return
                except KeyboardInterrupt:
                    continue

    def rain() -> None:
        while not wardens[0].is_finished and actor.is_alive():
            wardens[0]._interrupt()

    with ours:
        actor = threading.Thread(target=be_actor, daemon=True)
        actor.start()
        while not wardens:
            time.sleep(0)
        guard = threading.Thread(target=rain, daemon=True)
        guard.start()
        for thread in (actor, guard):
            thread.join(5)
            assert not thread.is_alive()
        wardens[0]._wake.close()
        wardens[0]._sleeper.close()
        theirs.close()
    return wardens[0].is_finished

"""One actor's connection to the fork server, and the server as it is seen from there."""

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from tests.spawn.test_backend import SOON, is_alive
from tractor._errors import RuntimeFailure
from tractor.spawn import _forklink
from tractor.spawn._backend import UNKNOWN_STATUS
from tractor.spawn._forklink import (
    NUMBER,
    REFUSED,
    ForkedProcess,
    ServerLink,
    ServerLostError,
    exec_server,
    hear_start,
    message_pair,
)
from tractor.supervise._spec import _search_path


@asynccontextmanager
async def open_server(preload: tuple[str, ...] = ()) -> AsyncGenerator[ServerLink]:
    """Run a server around the block."""
    link = exec_server({"sys_path": _search_path(), "preload": list(preload)})
    try:
        yield link
    finally:
        await link.aclose()


@contextmanager
def sleeping() -> Iterator[tuple[ForkedProcess, socket.socket]]:
    """Run a process that waits; yield it with the server's end of where its status is said."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        ours, theirs = message_pair()
        with ours, theirs:
            forked = ForkedProcess(process.pid, os.pidfd_open(process.pid), ours)
            try:
                yield forked, theirs
            finally:
                forked.close()
                process.kill()


async def test_a_process_ends_with_the_status_that_the_server_says() -> None:
    """Not before it is gone, whatever was said."""
    with sleeping() as (forked, theirs):
        theirs.send(NUMBER.pack(-9))
        with trio.move_on_after(0.05) as scope:
            await forked.wait()
        assert scope.cancelled_caught
        assert not forked.unknown
        forked.kill()
        await forked.wait()
        assert (forked.returncode, forked.unknown) == (-9, "")


@pytest.mark.parametrize("how", ["close", "nonsense", "silence"])
async def test_nobody_knows_how_a_process_has_ended(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is gone, or has lost its mind, or says nothing: nobody waits for ever."""
    monkeypatch.setattr(_forklink, "STATUS_TIMEOUT", 0.05)
    with sleeping() as (forked, theirs):
        if how == "close":
            theirs.close()
        elif how == "nonsense":
            theirs.send(b"what?")
        forked.send_signal(signal.SIGTERM)
        with trio.fail_after(SOON):
            await forked.wait()
        assert (forked.returncode, forked.unknown) == (None, UNKNOWN_STATUS)


async def test_a_signal_after_the_end_hits_nobody() -> None:
    """Neither once the process is reaped nor once it is forgotten."""
    with sleeping() as (forked, _):
        forked.kill()
        os.waitid(os.P_PID, forked.pid, os.WEXITED)  # noqa: ASYNC222 - it was killed
        forked.kill()
        forked.close()
        forked.kill()


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (REFUSED + b"too many", OSError, "the fork server could not fork: too many"),
        (b"", ServerLostError, "ended before it had forked"),
        (NUMBER.pack(7), ServerLostError, "ended before it had forked"),
    ],
)
async def test_a_server_that_has_not_forked(said: bytes, error: type[Exception], message: str) -> None:
    """Because it could not, which is an answer, or because it is lost."""
    ours, theirs = message_pair()
    with ours, theirs:
        theirs.send(said) if said else theirs.close()
        with pytest.raises(error, match=message):
            await hear_start(ours)


async def test_a_pid_is_no_refusal() -> None:
    """Whatever byte it begins with."""
    for pid in (1, REFUSED[0], 256 + REFUSED[0], 2**31 - 1):
        ours, theirs = message_pair()
        with ours, theirs:
            socket.send_fds(theirs, [NUMBER.pack(pid)], [0])
            process = await hear_start(ours)
            assert process.pid == pid
            process.close()


async def test_a_server_is_ready_and_then_gone() -> None:
    """Closing the connection is all it takes; it can be done twice."""
    async with open_server() as link:
        await link.wait_ready()
        assert link._process is not None
        pid = link._process.pid
        assert is_alive(pid)
        await link.aclose()
        assert not is_alive(pid)
        assert link._process.returncode == 0
        with pytest.raises(OSError, match="Bad file descriptor"):
            link.request([0])


async def test_a_request_to_a_server_that_is_gone() -> None:
    """It is known at once, or by the missing answer."""
    async with open_server() as link:
        await link.wait_ready()
        assert link._process is not None
        link._process.kill()
        pidfd = os.pidfd_open(link._process.pid)
        await trio.lowlevel.wait_readable(pidfd)
        os.close(pidfd)
        with pytest.raises(ServerLostError):
            link.request([0])


async def test_a_server_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is doing."""
    monkeypatch.setattr(_forklink, "_LEAVE_TIMEOUT", 0.05)
    async with open_server() as link:
        await link.wait_ready()
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGSTOP)
        with trio.fail_after(SOON):
            await link.aclose()
        assert link._process.returncode == -signal.SIGKILL


async def test_what_a_server_writes_while_it_starts_is_passed_on(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To our stderr, once it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/chatty.py", "w") as file:
            file.write("import sys\nprint('one')\nprint('two', file=sys.stderr)\n")
        monkeypatch.syspath_prepend(folder)
        async with open_server(("chatty",)) as link:
            await link.wait_ready()
            assert sorted(capfd.readouterr().err.split()) == ["one", "two"]


async def test_a_server_that_is_killed_while_it_starts() -> None:
    """It is not waited for."""
    async with open_server() as link:
        assert link._process is not None
        link._process.kill()
        with trio.fail_after(SOON), pytest.raises(RuntimeFailure, match="ended before it was ready"):
            await link.wait_ready()


async def test_an_interrupt_of_our_terminal_is_not_the_servers() -> None:
    """Nor is one that comes while it starts."""
    async with open_server() as link:
        assert link._process is not None
        os.kill(link._process.pid, signal.SIGINT)
        await link.wait_ready()
        os.kill(link._process.pid, signal.SIGINT)
        ended = select.poll()
        ended.register(link.sock, select.POLLHUP)
        await trio.sleep(0.05)
        assert ended.poll(0) == []
    assert link._process.returncode == 0


async def test_nothing_is_left_where_there_is_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leak check behind this test finds what was not closed."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(FileNotFoundError):
        exec_server({"sys_path": [], "preload": []})

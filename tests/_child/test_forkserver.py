"""The server itself, as it is asked by whoever has its other end."""

import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.spawn.test_backend import SOON
from tests.spawn.test_forklink import open_server
from tractor._child._forked import LEAST_FDS
from tractor._child._forkserver import import_all, refuse_company
from tractor.spawn._forklink import NUMBER, REFUSED, ServerLink, hear_start, message_pair


@asynccontextmanager
async def ready_server() -> AsyncGenerator[ServerLink]:
    """Run a server around the block."""
    async with open_server() as link:
        await link.wait_ready()
        yield link


def send_request(link: ServerLink, said: bytes, fds: list[int]) -> socket.socket:
    """Send it anything, with one more descriptor, where it says what comes of it; return our end of that."""
    status, theirs = message_pair()
    with theirs:
        socket.send_fds(link.sock, [said], [theirs.fileno(), *fds])
    return status


async def hear(status: socket.socket) -> bytes:
    """Return what it says next, which is nothing at its end."""
    with trio.fail_after(SOON):
        await trio.lowlevel.wait_readable(status)
    return status.recv(1000)


@pytest.mark.parametrize(
    ("said", "count"),
    [(NUMBER.pack(3), 3), (NUMBER.pack(LEAST_FDS), 3), (b"fork", 7), (b"", 0), (b"x" * 64, 1)],
)
async def test_nonsense_is_refused(said: bytes, count: int) -> None:
    """And harms nobody else; an empty message cannot be told from a connection that has ended, and ends it."""
    async with ready_server() as link:
        with send_request(link, said, [0] * max(count - 1, 0)) as status:
            answer = await hear(status)
            assert answer == b"" if not said else answer.startswith(REFUSED)


async def test_a_server_whose_root_has_gone_meanwhile_ends_without_a_word() -> None:
    """Ctrl-C while a program starts its first child: the prompt is back before the server is ready."""
    async with open_server() as link:
        assert link._process is not None
        link.sock.shutdown(socket.SHUT_RDWR)
        assert await trio.to_thread.run_sync(link._process.wait) == 0
        assert os.pread(link._record, 1000, 0) == b""


async def test_a_child_that_nobody_tells_anything_ends() -> None:
    """Such as one whose parent has changed its mind; its status is said all the same."""
    async with ready_server() as link:
        lifeline, theirs = socket.socketpair()
        channel, other = socket.socketpair()
        cwd = os.open("/", os.O_RDONLY)
        with theirs, channel, other:
            fds = [theirs.fileno(), other.fileno(), cwd, 0, 1, 2]
            with send_request(link, NUMBER.pack(len(fds) + 1), fds) as status:
                forked = await hear_start(status)
                lifeline.close()
                with trio.fail_after(SOON):
                    await forked.wait()
                assert forked.returncode == 1
                forked.close()
        os.close(cwd)


async def test_the_server_ends_with_the_connection_alone() -> None:
    """Whoever started it may live on."""
    async with ready_server() as link:
        assert link._process is not None
        pidfd = os.pidfd_open(link._process.pid)
        link.sock.close()
        with trio.fail_after(SOON):
            await trio.lowlevel.wait_readable(pidfd)
        os.close(pidfd)


def test_a_server_whose_starter_is_dead_ends_at_once() -> None:
    """It may have died before the server could have the kernel watch it."""
    code = "from tractor._child._forkserver import die_with; die_with(1); print('lives')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=SOON)
    assert (done.returncode, done.stdout) == (1, b"")


def test_a_server_is_killed_with_its_starter() -> None:
    """Also where somebody else holds the other end of its connection."""
    code = (
        "import os, sys, time\n"
        "from tractor._child._forkserver import die_with\n"
        "starter = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    die_with(starter)\n"
        "    os.write(1, b'%d' % os.getpid())\n"
        "    time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(os.read(process.stdout.fileno(), 100))
        ended = select.poll()
        ended.register(pidfd := os.pidfd_open(pid), select.POLLIN)
        assert ended.poll(0) == []
        process.kill()
        assert ended.poll(SOON * 1000)
        os.close(pidfd)


def test_company_is_refused() -> None:
    """Other threads would be lost in a fork; a process that has none is fine."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="companion")
    thread.start()
    try:
        with pytest.raises(RuntimeError, match="companion"):
            refuse_company()
    finally:
        done.set()
        thread.join()


def test_a_module_that_is_not_there() -> None:
    """It is named, with where it was wanted."""
    with pytest.raises(RuntimeError, match=r"could not import 'no_such_module', of forkserver_preload:"):
        import_all(["no_such_module"])

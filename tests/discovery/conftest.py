"""Registries of several programs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.programs import bodies
from tractor.ipc._rtdir import get_rt_dir

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registry(transport: str, tmp_path: Path) -> str:
    """An address that nobody listens at."""
    return free_address(transport, tmp_path)


def free_address(transport: str, directory: Path) -> str:
    """Return a registry address that nobody listens at."""
    if transport == "uds":
        return f"/unix{directory}/registry.sock"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"/ip4/127.0.0.1/tcp/{probe.getsockname()[1]}"


class Program:
    """Another program, that talks in lines of JSON."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._buffer = b""

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    async def hear(self) -> dict[str, Any]:
        """Return what it says next."""
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            data = await self.process.stdout.receive_some()
            if not data:
                raise EOFError(f"it ended, with {await self.process.wait()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    async def say(self, line: str) -> None:
        """Send it a line."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(line.encode() + b"\n")

    async def end(self, how: str) -> int:
        """End it `gracefully` or by a signal; return its exit status."""
        if how == "gracefully":
            assert self.process.stdin is not None
            await self.process.stdin.aclose()
        else:
            os.kill(self.pid, signal.Signals[how])
        return await self.process.wait()


@asynccontextmanager
async def open_program(*args: str) -> AsyncGenerator[Program]:
    """Run `python -m tests.programs.townsfolk ARGS` for the length of the block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.programs.townsfolk", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    program = Program(process)
    try:
        yield program
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                with trio.move_on_after(5):
                    await program.end("gracefully")
            if process.returncode is None:
                process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()
        if bodies.SHARED and process.returncode:
            # As the next who listens does, a while after a process was killed with all its actors; see tests/ipc/test_sweep.py.
            for path in get_rt_dir().glob(f"*@{process.pid}.sock"):
                path.unlink()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket that somebody else listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock

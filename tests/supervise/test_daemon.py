"""A program that does nothing but answer others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import townsfolk
from tractor.supervise._daemon import run_daemon

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from tractor import run_daemon
async def say(actor):
    print(actor.accept_addr, flush=True)
run_daemon(["tests.programs.townsfolk"], name="d", registry_addrs=[sys.argv[1]],
           enable_transports=[sys.argv[2]], on_ready=say)
print("returned", flush=True)
"""


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "cancel_actor"])
async def test_a_daemon_answers_until_it_is_told_to_end(how: str, transport: str, tmp_path: Path) -> None:
    """Ctrl-C is a `KeyboardInterrupt` and the exit status of one; everything else is an orderly return."""
    registry = f"/unix{tmp_path}/r.sock" if transport == "uds" else "/ip4/127.0.0.1/tcp/0"
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", SCRIPT, registry, transport],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    told = b""
    while not told.endswith(b"\n"):
        told += await process.stdout.receive_some()
    addr = eval(told)
    async with tractor.open_root_actor(registry_addrs=[]):
        async with tractor.get_registry(addr) as portal:
            assert isinstance(portal, tractor.Portal)
            assert await portal.run(townsfolk.ping) == "d"
            if how == "cancel_actor":
                assert await portal.cancel_actor()
        if how != "cancel_actor":
            os.kill(process.pid, signal.Signals[how])
        with trio.fail_after(5):
            code = await process.wait()
            said = []
            for stream in (process.stdout, process.stderr):
                async with stream:
                    said.append(b"".join([part async for part in stream]))
    assert code == (-signal.SIGINT if how == "SIGINT" else 0)
    assert said[0] == (b"" if how == "SIGINT" else b"returned\n")
    assert (b"KeyboardInterrupt" in said[1]) is (how == "SIGINT")
    assert not list(tmp_path.glob("*.sock"))


def test_a_module_that_is_not_there_is_an_error() -> None:
    """Before anything is started."""
    with pytest.raises(ModuleNotFoundError):
        run_daemon(["no.such.module"])


def test_what_is_no_option_of_a_root_is_an_error() -> None:
    """As it would be there."""
    with pytest.raises(TypeError, match="nonsense"):
        run_daemon([], nonsense=1)


def test_what_goes_wrong_when_it_is_ready_ends_it() -> None:
    """Nobody is left waiting for a daemon that has failed."""

    async def fail(_actor: tractor.Actor) -> None:
        raise ValueError("no room")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="no room"):
        run_daemon([], registry_addrs=[], on_ready=fail)
    assert signal.getsignal(signal.SIGTERM) is before

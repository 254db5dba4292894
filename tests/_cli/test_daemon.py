"""`tractor daemon`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

import tractor
from tests.discovery.conftest import free_address
from tests.programs import townsfolk
from tractor._cli._daemon import _say_ready

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tractor", "daemon"]


def wait_for(path: Path, process: subprocess.Popen[str]) -> list[str]:
    """Return what is in a file as soon as it is there."""
    until = time.monotonic() + 20
    while not path.exists():
        assert process.poll() is None, process.stderr
        assert time.monotonic() < until
        time.sleep(0.02)
    return path.read_text().splitlines()


@pytest.mark.parametrize(("how", "status"), [("SIGINT", 130), ("SIGTERM", 0), ("SIGKILL", -9)])
def test_it_says_when_it_is_ready_and_ends_in_order(
    how: str, status: int, transport: str, tmp_path: Path
) -> None:
    """In a file and on stdout. After SIGKILL the next one starts all the same."""
    registry = free_address(transport, tmp_path)
    ready = tmp_path / "ready"
    for expected in (status, 0):
        ready.unlink(missing_ok=True)
        with subprocess.Popen(
            [
                *COMMAND,
                "tests.programs.townsfolk",
                "--name",
                "d",
                "--registry",
                registry,
                "--ready-file",
                str(ready),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as process:
            assert wait_for(ready, process) == [registry]

            async def use() -> None:
                async with tractor.open_root_actor(registry_addrs=[registry], enable_transports=[transport]):
                    async with tractor.find_actor("d", raise_on_none=True) as portal:
                        assert await portal.run(townsfolk.ping) == "d"

            trio.run(use)
            os.kill(process.pid, signal.Signals[how] if expected == status else signal.SIGTERM)
            out, err = process.communicate(timeout=10)
            assert process.returncode == expected
            assert err == ""
            assert out == f"d@{process.pid} (registrar) listens on {registry}\n"
            assert ready.exists() is (expected == -9)


@pytest.mark.parametrize("name", ["../x", "a\nb", "n" * 5000])
def test_any_name_is_one_that_it_can_be_found_by(name: str, tmp_path: Path) -> None:
    """Its socket is in the directory of the registry all the same, under a name that fits."""
    registry = f"/unix{tmp_path}/r.sock"
    ready = tmp_path / "ready"
    with subprocess.Popen(
        [*COMMAND, "os", "--name", name, "--registry", registry, "--ready-file", str(ready)],
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        assert wait_for(ready, process) == [registry]

        async def find() -> None:
            async with tractor.open_root_actor(
                name=name, registry_addrs=[registry], enable_transports=["uds"]
            ) as root:
                assert root.server.addrs[0].bindspace == tmp_path
                async with tractor.get_registry() as portal:
                    assert isinstance(portal, tractor.Portal)
                    assert portal.aid.name == name
                async with tractor.find_actor(name, raise_on_none=True) as found:
                    assert found.aid == root.aid

        trio.run(find)
        process.terminate()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["no.such.module"], "No module named 'no'"),
        (["os", "--registry", "nowhere"], "not an address"),
        (["os", "--bind", "/ip4/127.0.0.1/udp/1"], "Unsupported multiaddr protocol combo"),
        ([], "Missing argument 'MODULE...'"),
        (["os", "--loglevel", "loud"], "loud"),
        (["os", "--name", ""], "an actor's name must not be empty"),
        (["os", "--name", "n" * 20_000], "an actor's name must be at most"),
        (["os", "--name", os.fsdecode(b"x\xff")], "without lone surrogates"),
        (["os", "--registry", "/unix/tmp/" + "x" * 200], "AF_UNIX path too long"),
        (["os", "--registry", "/ip4/127.0.0.1/tcp/99999"], "TCP port out of range"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(argv: list[str], message: str) -> None:
    """And no traceback."""
    done = subprocess.run([*COMMAND, *argv], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_registry_that_must_be_ones_own(tmp_path: Path) -> None:
    """Two daemons at one address: the second one refuses, if it was told to."""
    registry = free_address("tcp", tmp_path)
    ready = tmp_path / "ready"
    with subprocess.Popen(
        [*COMMAND, "os", "--registry", registry, "--ready-file", str(ready)],
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    ) as process:
        wait_for(ready, process)
        done = subprocess.run(
            [*COMMAND, "os", "--registry", registry, "--ensure-registry"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert done.returncode == 1
        assert "there is a registrar at" in done.stderr
        process.terminate()


async def test_a_ready_file_that_cannot_be_put_in_place_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither itself nor the file beside it that was written first."""

    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(os, "replace", refuse)
    async with tractor.open_root_actor(registry_addrs=[]) as root:
        with pytest.raises(OSError, match="no room"):
            await _say_ready(root, str(tmp_path / "ready"))
    assert list(tmp_path.iterdir()) == []

"""Two programs in two terminals, as `docs/two-programs.md` shows them."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.discovery.conftest import free_address

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "two-programs.md").read_text()
#: Seconds for a program to say what it has to; a fence.
SOON = 20
#: The commands of the page, in order.
COMMANDS = re.findall(r"^\$ \.\./\.venv/bin/(.+)$", PAGE, re.MULTILINE)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A registry of their own. The page uses TCP: its programs are started without options."""
    return {**os.environ, "TRACTOR_REGISTRY_ADDRS": free_address("tcp", tmp_path)}


@contextmanager
def terminal(command: str, environment: dict[str, str]) -> Iterator[pexpect.spawn[str]]:
    """Run a command of the page in a terminal of its own."""
    name, *args = command.split()
    argv = [sys.executable, *args] if name == "python" else [sys.executable, "-m", "tractor", *args]
    with pexpect.spawn(
        argv[0],
        argv[1:],
        cwd=str(ROOT / "examples"),
        env=environment,
        encoding="utf-8",
        timeout=SOON,
        dimensions=(50, 200),
    ) as shell:
        yield shell


def end(shell: pexpect.spawn[str], how: str) -> None:
    """End a program as people do."""
    if how == "Ctrl-C":
        shell.sendintr()
    else:
        shell.kill(signal.Signals[how])
    shell.expect(pexpect.EOF)
    shell.wait()


def expect_quotes(client: pexpect.spawn[str], pid: int | None) -> None:
    """The client has found the service and follows it."""
    client.expect_exact(f"found quotes@{pid}")
    client.expect_exact("following ABC")
    for number in range(2):
        client.expect(rf"{number} ABC +\d+\.\d\d")


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("first", ["service", "client"])
def test_a_client_survives_the_restart_of_its_service(
    how: str, first: str, environment: dict[str, str]
) -> None:
    """Whichever of them was there first, and so keeps the names, and however the service ends."""
    service, client = COMMANDS
    with terminal(client if first == "client" else service, environment) as one:
        one.expect_exact("waiting for the service" if first == "client" else "(registrar) listens on")
        with terminal(service if first == "client" else client, environment) as two:
            asker, server = (one, two) if first == "client" else (two, one)
            expect_quotes(asker, server.pid)
            end(server, how)
            asker.expect(r"the service is gone: (TransportClosed|ContextCancelled|RemoteActorError)")
            with terminal(service, environment) as again:
                again.expect_exact("listens on")
                expect_quotes(asker, again.pid)
                end(asker, "Ctrl-C")
                assert asker.exitstatus == 0
                assert asker.before is not None
                assert asker.before.endswith("bye\r\n")
                assert "Traceback" not in asker.before
                end(again, "Ctrl-C")
                assert again.exitstatus == 130
                assert "Traceback" not in (again.before or "")


def test_the_page_shows_what_the_programs_print() -> None:
    """Each line that they say, in the order in which they say it."""
    service, client = COMMANDS
    assert service == "tractor daemon quotes --name quotes"
    assert client == "python quotes_client.py ABC"
    for line in (
        "(registrar) listens on",
        "waiting for the service",
        "found quotes@",
        "the service is gone: ",
    ):
        assert line in PAGE

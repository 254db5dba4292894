"""Who answers for a registry address."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import tractor
from tests.discovery.conftest import free_address
from tests.resident import open_resident
from tractor.discovery import _election
from tractor.discovery._election import ATTEMPTS, PROBE_TIMEOUT, Address, Finding, conclude, probe, probe_all
from tractor.discovery._registrar import become_registrar
from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls, parse_maddr


async def test_nobody_is_there(registry: str) -> None:
    """Refused, or no such socket; a socket file that a killed process left is nobody as well."""
    addr = parse_maddr(registry)
    assert await probe(addr) is Finding.ABSENT
    if isinstance(addr, UDSAddress):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(addr.sockpath))
        assert await probe(addr) is Finding.ABSENT


async def test_an_actor_is_there(transport: str) -> None:
    """A registrar, or one that is none. Neither takes the question for a visit."""
    binds = [get_address_cls(transport).get_random("x")]
    for registrar in (True, False):
        async with open_resident("reg", binds=binds) as resident:
            if registrar:
                become_registrar(resident.actor)
            (addr,) = resident.actor.server.addrs
            found = await probe(addr)
            assert found is (Finding.REGISTRAR if registrar else Finding.OCCUPIED)
            await trio.testing.wait_all_tasks_blocked()
            assert resident.actor.peers == {}


async def _serve(sock: socket.socket, act: Callable[[trio.SocketStream], object], seen: list[float]) -> None:
    sock.setblocking(False)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))

    async def handle(stream: trio.SocketStream) -> None:
        seen.append(trio.current_time())
        await act(stream)  # type: ignore[misc]

    await trio.serve_listeners(handle, [listener])


async def _answer_http(stream: trio.SocketStream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await stream.aclose()


async def _hang_up(stream: trio.SocketStream) -> None:
    await stream.aclose()


async def _drip(stream: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while True:
            await stream.send_all(b"\0")
            await trio.sleep(0.3)


async def _say_nothing(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.fixture
def short_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the time for each attempt; one test waits as long as programs do."""
    monkeypatch.setattr(_election, "ATTEMPT_TIMEOUT", _election.ATTEMPT_TIMEOUT / 10)


@pytest.mark.parametrize("act", [_answer_http, _hang_up, _drip, _say_nothing])
async def test_something_else_is_there(
    act: Callable[[trio.SocketStream], object], listener: socket.socket, short_attempts: None
) -> None:
    """It is asked again, in case that it only begins or ends; then it is occupied, in bounded time."""
    seen: list[float] = []
    addr = TCPAddress(*listener.getsockname())
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, listener, act, seen)
            began = trio.current_time()
            assert await probe(addr) is Finding.OCCUPIED
            assert trio.current_time() - began < 1.5
            assert 1 <= len(seen) <= ATTEMPTS
            with pytest.raises(RuntimeError, match="occupied but did not answer"):
                async with tractor.open_root_actor(registry_addrs=[addr]):
                    pytest.fail("entered")
            nursery.cancel_scope.cancel()
    finally:
        listener.close()


async def test_a_listener_that_nobody_serves_is_there(listener: socket.socket, short_attempts: None) -> None:
    """The kernel takes the connection; a process that is stopped looks like this."""
    assert await probe(TCPAddress(*listener.getsockname())) is Finding.OCCUPIED


async def test_one_that_is_slow_to_begin_is_asked_again(listener: socket.socket) -> None:
    """The first attempt is dropped, as by a registrar that ends; by the second there is another one, or nobody."""
    addr = TCPAddress(*listener.getsockname())

    async def drop_once(*, task_status: trio.TaskStatus[None]) -> None:
        listener.setblocking(False)
        sock = trio.socket.from_stdlib_socket(listener)
        task_status.started()
        conn, _ = await sock.accept()
        sock.close()
        conn.close()

    async with trio.open_nursery() as nursery:
        await nursery.start(drop_once)
        assert await probe(addr) is Finding.ABSENT


async def test_all_addresses_are_asked_at_once(listener: socket.socket, tmp_path: Path) -> None:
    """The slowest decides how long it takes."""
    slow = TCPAddress(*listener.getsockname())
    free = parse_maddr(free_address("tcp", tmp_path)), parse_maddr(free_address("uds", tmp_path))
    began = trio.current_time()
    found = await probe_all([slow, *free])
    assert found == {slow: Finding.OCCUPIED, free[0]: Finding.ABSENT, free[1]: Finding.ABSENT}
    assert trio.current_time() - began < PROBE_TIMEOUT + 1


A, B, C = (TCPAddress("127.0.0.1", port) for port in (1, 2, 3))


@pytest.mark.parametrize(
    ("found", "live"),
    [
        ({}, []),
        ({A: Finding.ABSENT, B: Finding.ABSENT}, []),
        ({A: Finding.REGISTRAR, B: Finding.ABSENT}, [A]),
        ({A: Finding.REGISTRAR, B: Finding.OCCUPIED, C: Finding.REGISTRAR}, [A, C]),
        ({A: Finding.OCCUPIED, B: Finding.ABSENT}, None),
        ({A: Finding.OCCUPIED}, None),
    ],
)
def test_what_follows_from_what_was_found(found: dict[Address, Finding], live: list[Address] | None) -> None:
    """The table of the election."""
    if live is None:
        with pytest.raises(RuntimeError, match=r"tcp/1 is occupied but did not answer.*registry_addrs"):
            conclude(found)
    else:
        assert conclude(found) == live

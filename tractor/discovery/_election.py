"""Who answers for a registry address: found out by a connection and a handshake, never by a connection alone."""

from __future__ import annotations

import enum
from collections.abc import Iterable

import trio

from tractor._errors import TransportClosed
from tractor._ids import Aid, new_uuid
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._channel import Channel
from tractor.ipc._dial import connect
from tractor.runtime._handshake import Refused, hear_hello, say_hello
from tractor.wire._kinds import MAX_BODY

type Address = TCPAddress | UDSAddress

#: Seconds in which all registry addresses must have been found out about.
PROBE_TIMEOUT = 3.0
#: Seconds for one attempt, and how many there are: who has just begun to listen, or is about to end, is asked again.
ATTEMPT_TIMEOUT = 1.0
ATTEMPTS = 3
#: Seconds before the nth further attempt are n times this.
RETRY_DELAY = 0.05


class Finding(enum.Enum):
    """What is at a registry address."""

    ABSENT = "absent"  # nobody listens there
    REGISTRAR = "registrar"  # an actor that says it is one
    OCCUPIED = "occupied"  # somebody, but no registrar


async def probe_all(addrs: Iterable[Address]) -> dict[Address, Finding]:
    """Return what is at each address, all asked at once."""
    found: dict[Address, Finding] = {}

    async def ask(addr: Address) -> None:
        found[addr] = await probe(addr)

    async with trio.open_nursery() as nursery:
        for addr in addrs:
            nursery.start_soon(ask, addr)
    return found


async def probe(addr: Address) -> Finding:
    """Return what is at `addr`, in at most `PROBE_TIMEOUT` seconds. The peer does not take us for a visitor."""
    # Where a connection was made once, somebody is there.
    finding = Finding.ABSENT
    with trio.move_on_after(PROBE_TIMEOUT):
        for attempt in range(ATTEMPTS):
            await trio.sleep(RETRY_DELAY * attempt)
            finding = await _attempt(addr)
            if finding is not Finding.OCCUPIED:
                break
    return finding


async def _attempt(addr: Address) -> Finding:
    channel: Channel | None = None
    try:
        with trio.fail_after(ATTEMPT_TIMEOUT):
            channel = Channel(await connect(addr), dialer=True, limit=MAX_BODY)
            say_hello(channel, Aid("probe", new_uuid(), is_probe=True), [])
            hello = await hear_hello(channel)
    except PermissionError:
        # Another user's.
        return Finding.OCCUPIED
    except (OSError, trio.TooSlowError, TransportClosed, Refused):
        return Finding.ABSENT if channel is None else Finding.OCCUPIED
    finally:
        if channel is not None:
            channel.abort()
    return Finding.REGISTRAR if hello.is_registrar else Finding.OCCUPIED


def conclude(found: dict[Address, Finding]) -> list[Address]:
    """Return where live registrars are; an empty list where every address is free to become one.

    Raises `RuntimeError` where there is neither: something else is at one of the addresses.
    """
    live = [addr for addr, finding in found.items() if finding is Finding.REGISTRAR]
    occupied = [str(addr) for addr, finding in found.items() if finding is Finding.OCCUPIED]
    if not live and occupied:
        raise RuntimeError(
            f"registry address {', '.join(occupied)} is occupied but did not answer as a registrar: "
            "stop what listens there, or choose another address with `registry_addrs`"
        )
    return live

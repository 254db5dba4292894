"""What a registrar says about actors, read with care: whoever listens at its address may say anything."""

from __future__ import annotations

import reprlib

from tractor._errors import TransportClosed
from tractor.ipc._addr import TCPAddress, UDSAddress, parse_maddr
from tractor.msg._boxed import ContextCancelled, RemoteActorError
from tractor.runtime._portal import Portal

type Address = TCPAddress | UDSAddress
#: Name, uuid, and addresses as multiaddr strings.
type Row = tuple[str, str, list[str]]


class RegistrarLost(ConnectionError):
    """A registrar has gone while it was asked; there may be another one soon."""


class NoRegistrar(ConnectionError):
    """Somebody answers, but not as a registrar does."""


async def ask(registry: Portal, method: str, **kwargs: object) -> object:
    """Call a method of a registrar in another actor. Raises `RegistrarLost` and `NoRegistrar`."""
    try:
        answer: object = await registry.run_from_ns("self", method, **kwargs)
    except (ContextCancelled, TransportClosed) as exc:
        raise RegistrarLost(f"the registrar {registry.aid} was lost while it was asked: {exc}") from exc
    except RemoteActorError as exc:
        raise NoRegistrar(f"{registry.aid} does not answer as a registrar: {exc}") from exc
    return answer


def is_name(name: object) -> bool:
    """Whether an actor may have that name; `TypeError` for something else than a str."""
    if not isinstance(name, str):
        raise TypeError(f"an actor's name is a str, not {name!r}")
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        # A lone surrogate: no peer could ever have said it.
        return False


def read_rows(answer: object, name: str) -> list[Row]:
    """Return the answer to a look-up of `name`; of everybody for ''. Raises `NoRegistrar` for what is none."""
    if not isinstance(answer, list | tuple):
        raise _nonsense(answer)
    return [_read_row(row, name) for row in answer]


def _read_row(row: object, name: str) -> Row:
    match row:
        case [str(its_name), str(uuid), addrs] if (
            its_name and uuid and (not name or name in (its_name, uuid))
        ):
            return its_name, uuid, read_addrs(addrs)
    raise _nonsense(row)


def read_addrs(answer: object) -> list[str]:
    """Return a list of addresses. Raises `NoRegistrar` for what is none."""
    if not isinstance(answer, list | tuple):
        raise _nonsense(answer)
    for addr in answer:
        try:
            parse_maddr(addr)
        except ValueError:
            raise _nonsense(addr) from None
    return list(answer)


def _nonsense(what: object) -> NoRegistrar:
    return NoRegistrar(f"a registrar gave an answer that makes no sense: {reprlib.repr(what)}")


def by_preference(addrs: list[str]) -> list[Address]:
    """Return an actor's addresses, the best first: Unix-domain, loopback, anything else; of equals the last one."""

    def rank(addr: Address) -> int:
        if isinstance(addr, UDSAddress):
            return 0
        return 1 if addr.host.startswith("127.") or addr.host == "::1" else 2

    return sorted((parse_maddr(text) for text in reversed(addrs)), key=rank)

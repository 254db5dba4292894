"""Where an actor listens: address types, their wire spelling, and the table of transports."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from tractor.ipc._rtdir import get_rt_dir

type ProtoKey = Literal["tcp", "uds"]

#: Bytes of `sockaddr_un.sun_path`, the terminating NUL included (`man 7 unix`).
_SUN_PATH_LIMIT = 104 if sys.platform == "darwin" else 108


@runtime_checkable
class Address(Protocol):
    """What every transport's address type offers."""

    proto_key: ClassVar[ProtoKey]

    def unwrap(self) -> tuple[Any, ...]:
        """Return the plain tuple that a user would write."""

    @property
    def maddr(self) -> str:
        """The multiaddr spelling, which is also the one on the wire."""

    @property
    def bindspace(self) -> Any:
        """The part that addresses of one place share: the host, the directory."""

    @classmethod
    def get_random(cls, name: str, bindspace: Any = None) -> Self:
        """Return an address nobody else uses, for an actor called `name`."""

    @classmethod
    def get_root(cls) -> Self:
        """Return where a registrar is looked for unless told otherwise."""


@dataclass(frozen=True, slots=True)
class TCPAddress:
    """A TCP host and port; port 0 asks the system for a free one."""

    proto_key: ClassVar[ProtoKey] = "tcp"
    host: str
    port: int

    def __post_init__(self) -> None:
        given: Any = self.host
        try:
            # To the library, numbers and bytes are addresses as well.
            host = str(ipaddress.ip_address(given if isinstance(given, str) else ""))
        except ValueError:
            raise ValueError(
                f"not an IP address: {self.host!r:.100}; names are not resolved, write 127.0.0.1 or ::1 for this machine"
            ) from None
        # There are many spellings of an IPv6 address, and addresses are compared.
        object.__setattr__(self, "host", host)
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise ValueError(f"TCP port out of range: {self.port!r:.100}")

    def unwrap(self) -> tuple[str, int]:
        """Return `(host, port)`."""
        return (self.host, self.port)

    @property
    def is_valid(self) -> bool:
        """Whether peers of this machine or its network can be told to connect there: a real port of a host of theirs."""
        ip = ipaddress.ip_address(self.host)
        return self.port != 0 and (
            ip.is_loopback
            or not (
                ip.is_reserved or ip.is_unspecified or ip.is_link_local or ip.is_multicast or ip.is_global
            )
        )

    @classmethod
    def from_addr(cls, addr: tuple[str, int]) -> Self:
        """Return the address of a pair `(host, port)`."""
        host, port = addr
        return cls(host, port)

    @property
    def bindspace(self) -> str:
        """The host."""
        return self.host

    @property
    def maddr(self) -> str:
        """`/ip4/HOST/tcp/PORT` or `/ip6/HOST/tcp/PORT`."""
        return f"/ip{ipaddress.ip_address(self.host).version}/{self.host}/tcp/{self.port}"

    @classmethod
    def get_random(cls, name: str, bindspace: str | None = None) -> Self:  # noqa: ARG003 - the name is for UDS
        """Return an address of the host `bindspace`, by default loopback, whose port the system picks at bind time."""
        return cls(bindspace or "127.0.0.1", 0)

    @classmethod
    def get_root(cls) -> Self:
        """Return where the registrar of this machine is looked for."""
        return cls("127.0.0.1", 1616)

    def __str__(self) -> str:
        return self.maddr


@dataclass(frozen=True, slots=True)
class UDSAddress:
    """A Unix-domain socket file: its directory and its name in there."""

    proto_key: ClassVar[ProtoKey] = "uds"
    filedir: str
    filename: str

    def __post_init__(self) -> None:
        if not self.filename or self.filename in (".", "..") or "/" in self.filename or "\0" in self.filename:
            raise ValueError(f"not a socket file name: {self.filename!r:.200}")
        if "\0" in self.filedir:
            raise ValueError(f"not a directory: {self.filedir!r:.200}")

    def unwrap(self) -> tuple[str, str]:
        """Return `(directory, file name)`."""
        return (self.filedir, self.filename)

    @property
    def is_valid(self) -> bool:
        """Whether a socket may be there: an absolute path without `..` that fits into what the system takes."""
        path = Path(self.filedir)
        return (
            path.is_absolute()
            and ".." not in path.parts
            and len(os.fsencode(self.sockpath)) < _SUN_PATH_LIMIT
        )

    @property
    def bindspace(self) -> Path:
        """The directory."""
        return Path(self.filedir)

    @property
    def sockpath(self) -> Path:
        """The socket file."""
        return Path(self.filedir) / self.filename

    @property
    def maddr(self) -> str:
        """`/unix/PATH`."""
        return "/unix" + os.path.join("/", self.filedir, self.filename)

    @classmethod
    def get_random(cls, name: str, bindspace: Path | None = None) -> Self:
        """Return `NAME@PID.sock` in the directory `bindspace`, by default the runtime directory."""
        return cls.from_path(get_sockname(name, os.getpid(), bindspace or get_rt_dir()))

    @classmethod
    def get_root(cls) -> Self:
        """Return where the registrar of this user is looked for."""
        return cls(str(get_rt_dir()), "registry@1616.sock")

    @classmethod
    def from_addr(cls, addr: tuple[str | Path, str] | Path | str) -> Self:
        """Return the address of a pair `(directory, file name)`, or of a socket file's path."""
        if isinstance(addr, str | Path):
            return cls.from_path(addr)
        filedir, filename = addr
        return cls(str(filedir), filename)

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """Split a socket file's path."""
        path = Path(path)
        return cls(str(path.parent), path.name)

    def __str__(self) -> str:
        return self.maddr


def get_sockname(name: str, pid: int, bindspace: Path) -> Path:
    """Return the socket path of the actor `name` in process `pid`.

    A name that is unsafe as a file name or too long is replaced by a digest of it, so the path is always inside
    `bindspace` and shorter than the platform's limit. Raises `ValueError` where `bindspace` leaves no room.
    """
    suffix = f"@{pid}.sock"
    unsafe = not name or "/" in name or "\0" in name or name.startswith(".") or ".." in name
    budget = _SUN_PATH_LIMIT - 1 - len(os.fsencode(bindspace)) - 1 - len(suffix)
    too_long = len(os.fsencode(name)) > budget
    if unsafe or too_long:
        import hashlib

        digest = f"actor.{hashlib.blake2b(name.encode(errors='surrogateescape'), digest_size=6).hexdigest()}"
        if len(digest) > budget:
            raise ValueError(
                f"the directory {bindspace} leaves no room for a socket name: name was unsafe: {unsafe}, "
                f"name was over budget: {too_long}, AF_UNIX path limit: {_SUN_PATH_LIMIT}"
            )
        name = digest
    return bindspace / (name + suffix)


ADDRESS_TYPES: dict[str, type[TCPAddress | UDSAddress]] = {"tcp": TCPAddress, "uds": UDSAddress}


def get_address_cls(proto_key: str) -> type[TCPAddress | UDSAddress]:
    """Return the address type of a transport; `ValueError` for one we do not have."""
    try:
        return ADDRESS_TYPES[proto_key]
    except KeyError:
        raise ValueError(f"unknown transport {proto_key!r}; choose one of {sorted(ADDRESS_TYPES)}") from None


def check_transports(transports: Iterable[str] | None, default: list[str]) -> list[str]:
    """Return the transports that `enable_transports=[...]` names, the first one for whoever needs only one.

    None means `default`. Raises `TypeError` for something else than a list or tuple, `RuntimeError` for an empty one,
    and `ValueError` for a transport we do not have.
    """
    if transports is None:
        return list(default)
    if not isinstance(transports, list | tuple):
        raise TypeError(f"enable_transports must be a list such as ['tcp'], not {transports!r}")
    if not transports:
        raise RuntimeError("enable_transports must name a transport: ['tcp'], ['uds'] or both")
    for transport in transports:
        get_address_cls(transport)
    return list(dict.fromkeys(transports))


def default_lo_addrs(transports: Iterable[str]) -> list[tuple[Any, ...]]:
    """Return where a registrar is looked for on this machine, for each transport; `NotImplementedError` for others."""
    try:
        return [ADDRESS_TYPES[transport].get_root().unwrap() for transport in transports]
    except KeyError as exc:
        raise NotImplementedError(
            f"unknown transport {exc.args[0]!r}; we have {sorted(ADDRESS_TYPES)}"
        ) from None


def parse_maddr(text: str) -> TCPAddress | UDSAddress:
    """Return the address a multiaddr string names; `ValueError` for protocols we do not have."""
    given: Any = text
    parts = given.split("/") if isinstance(given, str) else []
    match parts:
        case ["", "ip4" | "ip6", host, "tcp", port] if port.isdigit():
            return TCPAddress(host, int(port))
        case ["", "unix", *rest] if rest and rest[-1]:
            return UDSAddress.from_path("/" + "/".join(rest))
    raise ValueError(
        f"Unsupported multiaddr protocol combo: {text!r:.200} (we have /ip4|ip6/HOST/tcp/PORT and /unix/PATH)"
    )


def mk_maddr(addr: TCPAddress | UDSAddress) -> str:
    """Return the multiaddr string of an address; the inverse of `parse_maddr`. `ValueError` for other transports."""
    if not isinstance(addr, TCPAddress | UDSAddress):
        raise ValueError(  # noqa: TRY004 - what users of the documented API catch
            f"Unsupported proto_key: {getattr(addr, 'proto_key', addr)!r}"
        )
    return addr.maddr


def parse_endpoints(table: dict[str, list[Any]]) -> dict[str, list[TCPAddress | UDSAddress]]:
    """Return a table of services with each of their addresses, in whatever spelling, as an address object."""
    return {name: [wrap_address(addr) for addr in addrs] for name, addrs in table.items()}


def wrap_address(addr: object) -> TCPAddress | UDSAddress:
    """Return the address object for what a user may write: an address, a tuple or list, or a multiaddr string."""
    match addr:
        case TCPAddress() | UDSAddress():
            return addr
        case (str(host), int(port)) if type(port) is int:
            return TCPAddress(host, port)
        case (str() | Path() as filedir, str(filename)):
            return UDSAddress(str(filedir), filename)
        case str() if addr.startswith("/"):
            return parse_maddr(addr)
        case _ if type(addr).__name__ == "Multiaddr":
            # Of whichever library: what they have in common is how they are written.
            return parse_maddr(str(addr))
    raise ValueError(
        f"not an address: {addr!r}; write (host, port), (directory, socket file name) or a multiaddr such as /ip4/127.0.0.1/tcp/1616"
    )

"""Addresses: what people write, what travels, and names that fit into a socket's path."""

from pathlib import Path
from typing import Any

import pytest

from tractor.ipc import _addr
from tractor.ipc._addr import (
    Address,
    TCPAddress,
    UDSAddress,
    get_address_cls,
    get_sockname,
    parse_maddr,
    wrap_address,
)


@pytest.mark.parametrize(
    ("addr", "plain", "maddr"),
    [
        (TCPAddress("127.0.0.1", 1616), ("127.0.0.1", 1616), "/ip4/127.0.0.1/tcp/1616"),
        (TCPAddress("::1", 0), ("::1", 0), "/ip6/::1/tcp/0"),
        (UDSAddress("/run/x", "a@1.sock"), ("/run/x", "a@1.sock"), "/unix/run/x/a@1.sock"),
        (UDSAddress("/", "a.sock"), ("/", "a.sock"), "/unix/a.sock"),
        (UDSAddress("/tmp/dots . and spaces", "é.sock"), ("/tmp/dots . and spaces", "é.sock"), None),
    ],
)
def test_every_spelling_means_the_same_address(
    addr: Address, plain: tuple[Any, ...], maddr: str | None
) -> None:
    """The object, a tuple, a list and the multiaddr."""
    assert addr.unwrap() == plain
    assert maddr is None or addr.maddr == maddr
    assert str(addr) == addr.maddr
    assert wrap_address(addr) is addr
    for spelling in (plain, list(plain), addr.maddr):
        assert wrap_address(spelling) == addr
    assert parse_maddr(addr.maddr) == addr


def test_a_directory_may_be_a_path_object() -> None:
    """`(Path, name)` is a Unix-domain address."""
    assert wrap_address((Path("/run"), "x.sock")) == UDSAddress("/run", "x.sock")
    assert UDSAddress.from_path(Path("/run/x.sock")) == UDSAddress("/run", "x.sock")


def test_an_address_says_where_it_is() -> None:
    """The bindspace is the host, or the directory."""
    assert TCPAddress("127.0.0.1", 5).bindspace == "127.0.0.1"
    addr = UDSAddress("/run/x", "y")
    assert (addr.bindspace, addr.sockpath) == (Path("/run/x"), Path("/run/x/y"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/unix",
        "/unix/",
        "/unix/a/",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/udp/1",
        "/ip4/127.0.0.1/tcp/",
        "/ip4/127.0.0.1/tcp/-1",
        "/ip4/127.0.0.1/tcp/70000",
        "/ip4/127.0.0.1/tcp/²",
        "/ip4/nowhere/tcp/1",
        "/unix/run/..",
        "/unix/run/a\0b",
        "127.0.0.1:1616",
    ],
)
def test_a_string_that_is_no_address_is_refused(text: str) -> None:
    """Whatever a peer or a user writes, the answer is `ValueError`."""
    with pytest.raises(ValueError):  # noqa: PT011 - the texts differ; what matters is that there is no other error
        parse_maddr(text)


@pytest.mark.parametrize("thing", [None, 1616, (), ("127.0.0.1",), ("a", 1, 2), {"host": 1}, b"/unix/x", "x"])
def test_something_else_is_refused_with_the_ways_to_write_it(thing: object) -> None:
    """The error teaches."""
    with pytest.raises(ValueError, match=r"not an address: .*write"):
        wrap_address(thing)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0b"])
def test_a_socket_file_has_a_name_of_its_own(name: str) -> None:
    """Nothing that would lead out of its directory."""
    with pytest.raises(ValueError, match="not a socket file name"):
        UDSAddress("/run", name)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_is_a_port(port: int) -> None:
    """Sixteen bits."""
    with pytest.raises(ValueError, match="port out of range"):
        TCPAddress("127.0.0.1", port)


def test_a_random_address_is_free() -> None:
    """TCP leaves the port to the system; Unix-domain names begin with the actor's name and process."""
    assert TCPAddress.get_random("x") == TCPAddress("127.0.0.1", 0)
    assert UDSAddress.get_random("worker").filename.startswith("worker@")


def test_transports_have_names() -> None:
    """An unknown one is refused with the choice there is."""
    assert get_address_cls("tcp") is TCPAddress
    assert get_address_cls("uds") is UDSAddress
    with pytest.raises(ValueError, match=r"unknown transport 'udp'; choose one of \['tcp', 'uds'\]"):
        get_address_cls("udp")


def test_a_short_safe_name_is_used_as_it_is() -> None:
    """People recognise their actors in `ls`."""
    assert get_sockname("worker", 7, Path("/run/x")) == Path("/run/x/worker@7.sock")


@pytest.mark.parametrize("name", ["", "../evil", "a/b", ".hidden", "a\0b", "n" * 200, "é" * 60])
def test_an_unsafe_or_long_name_is_replaced(name: str) -> None:
    """By a digest of it: always the same, inside the directory, and short enough for the kernel."""
    bindspace = Path("/run/user/1000/tractor")
    path = get_sockname(name, 123456, bindspace)
    assert path == get_sockname(name, 123456, bindspace)
    assert path.parent == bindspace
    assert path.name.startswith("actor.")
    assert path.name.endswith("@123456.sock")
    assert len(bytes(path)) < _addr._SUN_PATH_LIMIT


def test_different_names_stay_different() -> None:
    """A digest tells them apart."""
    assert get_sockname("a/b", 1, Path("/run")) != get_sockname("a/c", 1, Path("/run"))


def test_the_longest_name_that_fits_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts the terminating NUL."""
    monkeypatch.setattr(_addr, "_SUN_PATH_LIMIT", 40)
    fits = get_sockname("n" * 27, 1, Path("/run"))
    assert fits.name == "n" * 27 + "@1.sock"
    assert len(bytes(fits)) == 39
    assert get_sockname("n" * 28, 1, Path("/run")).name.startswith("actor.")


def test_a_directory_without_room_is_an_error_that_says_why() -> None:
    """The facts are in the text."""
    with pytest.raises(ValueError, match="leaves no room") as info:
        get_sockname("n" * 90, 1, Path("/" + "d" * 100))
    for fact in ("name was unsafe: False", "name was over budget: True", "AF_UNIX path limit: "):
        assert fact in str(info.value)


@pytest.mark.parametrize(
    ("addr", "valid"),
    [
        (TCPAddress("127.0.0.1", 1), True),
        (TCPAddress("10.0.0.1", 1), True),
        (TCPAddress("::1", 1), True),
        (TCPAddress("127.0.0.1", 0), False),
        (TCPAddress("0.0.0.0", 1), False),
        (TCPAddress("::", 1), False),
        (TCPAddress("8.8.8.8", 1), False),
        (TCPAddress("169.254.0.1", 1), False),
        (TCPAddress("224.0.0.1", 1), False),
        (TCPAddress("240.0.0.1", 1), False),
        (UDSAddress("/run/x", "a.sock"), True),
        (UDSAddress("run", "a.sock"), False),
        (UDSAddress("/run/../x", "a.sock"), False),
        (UDSAddress("/run", "a" * 200), False),
    ],
)
def test_where_somebody_may_listen(addr: TCPAddress | UDSAddress, valid: bool) -> None:
    """A real port of this machine or its network; a path that fits, and does not climb."""
    assert addr.is_valid is valid


def test_one_address_has_one_spelling() -> None:
    """They are compared: of what was asked for with what the system says, of one actor's word with another's."""
    assert TCPAddress("0:0:0:0:0:0:0:1", 5) == TCPAddress("::1", 5)
    assert wrap_address(("2001:DB8::0", 5)).maddr == "/ip6/2001:db8::/tcp/5"


def test_an_address_is_made_of_what_it_unwraps_to() -> None:
    """A pair; for Unix-domain sockets a path as well."""
    assert TCPAddress.from_addr(("127.0.0.1", 5)) == TCPAddress("127.0.0.1", 5)
    for what in (("/run", "x.sock"), (Path("/run"), "x.sock"), "/run/x.sock", Path("/run/x.sock")):
        assert UDSAddress.from_addr(what) == UDSAddress("/run", "x.sock")


@pytest.mark.parametrize("parts", [(5, 5), (b"\x7f\0\0\1", 5), ("127.0.0.1", True), ("127.0.0.1", "5")])
def test_what_is_like_a_host_or_port_is_none(parts: tuple[Any, Any]) -> None:
    """Numbers and bytes mean hosts to the standard library, and `True` is the number of a port."""
    with pytest.raises(ValueError, match=r"not an IP address|port out of range"):
        TCPAddress(*parts)


@pytest.mark.parametrize("what", [None, 5, b"/unix/x", ["/unix/x"], "/unix/a\0b/c", "x" * 10**6])
def test_what_is_said_to_be_a_multiaddr_may_be_anything(what: Any) -> None:
    """One short error."""
    with pytest.raises(ValueError, match=r"Unsupported multiaddr|not a directory") as info:
        parse_maddr(what)
    assert len(str(info.value)) < 400

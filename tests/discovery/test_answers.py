"""Reading what a registrar says: it may say anything."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import tractor
from tests.resident import Resident, open_resident
from tractor.discovery._answers import NoRegistrar, by_preference, is_name, read_addrs, read_rows
from tractor.ipc._addr import TCPAddress, UDSAddress, get_address_cls

X = "/ip4/127.0.0.1/tcp/1001"

#: Rows that no registrar would give when it is asked for `ann`.
NONSENSE: list[Any] = [
    None,
    5,
    "rows",
    {"ann": X},
    [5],
    ["ann"],
    [["ann", "u1"]],
    [["ann", "u1", X]],
    [["ann", "u1", None]],
    [["ann", "u1", [X], "more"]],
    [["ann", "", [X]]],
    [["", "ann", [X]]],
    [["bob", "u1", [X]]],
    [[b"ann", "u1", [X]]],
    [["ann", 1, [X]]],
    [["ann", "u1", [5]]],
    [["ann", "u1", [["127.0.0.1", 1]]]],
    [["ann", "u1", ["/ip4/127.0.0.1/udp/1"]]],
    [["ann", "u1", ["/ip4/127.0.0.1/tcp/99999"]]],
    [["ann", "u1", ["/unix/a\0b/c"]]],
    [["ann", "u1", ["x" * 1_000_000]]],
]


def short(value: object) -> str:
    """Name a parameter."""
    return repr(value)[:40]


@pytest.mark.parametrize("answer", NONSENSE, ids=short)
def test_nonsense_is_a_short_error(answer: Any) -> None:
    """It says what was said, and not all of it."""
    with pytest.raises(NoRegistrar, match="makes no sense") as info:
        read_rows(answer, "ann")
    assert len(str(info.value)) < 300


def test_what_makes_sense_is_taken() -> None:
    """Nobody; an actor by its name or uuid; one that does not listen; everybody."""
    assert read_rows([], "ann") == []
    assert read_rows((["ann", "u1", (X,)],), "ann") == [("ann", "u1", [X])]
    assert read_rows([["bob", "ann", []]], "ann") == [("bob", "ann", [])]
    assert read_rows([["bob", "u1", []], ["ann", "u2", [X]]], "") == [("bob", "u1", []), ("ann", "u2", [X])]
    assert read_addrs([]) == []


def test_what_can_be_a_name() -> None:
    """Almost any text; where something else is asked for, the caller has erred."""
    assert is_name("a")
    assert is_name("../a\0b\n")
    assert not is_name("")
    assert not is_name("\udc80")
    for what in (None, 5, b"ann", ["ann"]):
        with pytest.raises(TypeError, match="is a str"):
            is_name(what)


def test_addresses_in_order_of_preference() -> None:
    """Unix-domain, loopback, others; of equals the last one first."""
    order = by_preference(["/ip4/10.0.0.1/tcp/1", X, "/unix/x/y", "/ip6/::1/tcp/3"])
    assert order == [
        UDSAddress("/x", "y"),
        TCPAddress("::1", 3),
        TCPAddress("127.0.0.1", 1001),
        TCPAddress("10.0.0.1", 1),
    ]


@pytest.fixture
def said() -> dict[str, Any]:
    """What the liar of a test answers."""
    return {}


def tell_lies(liar: Resident, said: dict[str, Any]) -> Any:
    """Let an actor answer as a registrar does, with what is in `said`; return its address."""

    async def answer(_served: object, **_kwargs: Any) -> Any:
        return said["answer"]

    for method in ("look_up", "wait_for_actor", "find_actor", "get_registry", "delete_addr"):
        liar.actor.self_methods[method] = answer
    (addr,) = liar.actor.server.addrs
    return addr


async def test_a_lying_registrar_is_an_error_to_everybody_who_asks(
    said: dict[str, Any], transport: str
) -> None:
    """Of the kind that one without a registrar gets; nobody's actor is ended by it."""
    binds = [get_address_cls(transport).get_random("liar")]
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root,
        open_resident("liar", is_registrar=True, binds=binds) as liar,
    ):
        addr = tell_lies(liar, said)
        for said["answer"] in NONSENSE:
            with pytest.raises(NoRegistrar):
                async with tractor.find_actor("ann", registry_addrs=[addr]):
                    pytest.fail("entered")
            with pytest.raises(NoRegistrar):
                async with tractor.query_actor("ann", addr):
                    pytest.fail("entered")
            with pytest.raises(NoRegistrar), trio.fail_after(2):
                async with tractor.wait_for_actor("ann", addr):
                    pytest.fail("entered")
        assert not root.cancel_called


async def test_one_liar_of_several_does_not_hide_what_the_others_know(said: dict[str, Any]) -> None:
    """The next one is asked."""
    binds = [get_address_cls("tcp").get_random("liar")]
    async with (
        tractor.open_root_actor(registry_addrs=[]) as root,
        open_resident("liar", is_registrar=True, binds=binds) as liar,
    ):
        addr = tell_lies(liar, said)
        said["answer"] = [["root", 5, None]]
        for only_first in (True, False):
            async with tractor.find_actor("root", [addr, root.accept_addr], only_first) as found:
                assert (found if only_first else found[0]).aid == root.aid


async def test_an_actor_that_is_no_registrar_is_no_registrar(transport: str) -> None:
    """Its refusal to answer becomes the same error."""
    binds = [get_address_cls(transport).get_random("plain")]
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]),
        open_resident("plain", binds=binds) as plain,
    ):
        with pytest.raises(NoRegistrar, match="does not answer as a registrar"):
            async with tractor.find_actor("ann", registry_addrs=plain.actor.server.addrs):
                pytest.fail("entered")

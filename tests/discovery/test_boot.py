"""How a program finds the registrars of its machine, or becomes the one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.discovery.conftest import free_address, open_program
from tests.resident import open_resident
from tractor.discovery._boot import _bind_all, enter
from tractor.discovery._client import Registries, RegistryLink
from tractor.discovery._registrar import Registrar, become_registrar, local_registrar
from tractor.ipc._addr import get_address_cls, parse_maddr
from tractor.runtime._vars import RuntimeVars


async def test_the_first_program_is_the_registrar(registry: str, transport: str, tmp_path: Path) -> None:
    """It listens where names are looked for, and where it was told to."""
    extra = free_address(transport, tmp_path).replace("registry", "extra")
    async with tractor.open_root_actor(
        registry_addrs=[registry], tpt_bind_addrs=[extra], enable_transports=[transport], ensure_registry=True
    ) as root:
        assert root.is_registrar
        assert [addr.maddr for addr in root.server.addrs] == [registry, extra]
        assert tractor.get_runtime_vars()["_registry_addrs"] == [registry, extra]


async def test_the_next_program_is_registered_there(registry: str, transport: str) -> None:
    """It listens at a random address beside the registrar, and is no registrar."""
    async with open_program("first", registry) as first:
        assert (await first.hear())["registrar"]
        async with tractor.open_root_actor(
            name="second", registry_addrs=[registry], enable_transports=[transport]
        ) as root:
            assert not root.is_registrar
            (addr,) = root.server.addrs
            assert addr.maddr != registry
            assert addr.bindspace == parse_maddr(registry).bindspace
            async with tractor.get_registry() as portal:
                names = await portal.run_from_ns("self", "get_registry")
            assert sorted(name.split(".")[0] for name in names) == ["first", "second"]
            async with tractor.find_actor("first") as found:
                assert found.aid.pid == first.pid
        with pytest.raises(RuntimeError, match=r"there is a registrar at .* already"):
            async with tractor.open_root_actor(
                registry_addrs=[registry], enable_transports=[transport], ensure_registry=True
            ):
                pytest.fail("entered")


async def test_a_program_that_is_told_where_to_listen_listens_only_there(
    registry: str, transport: str, tmp_path: Path
) -> None:
    """Where it is no registrar."""
    own = free_address(transport, tmp_path).replace("registry", "own")
    async with open_program("first", registry) as first:
        await first.hear()
        async with tractor.open_root_actor(
            registry_addrs=[registry], tpt_bind_addrs=[own], enable_transports=[transport]
        ) as root:
            assert [addr.maddr for addr in root.server.addrs] == [own]
        with pytest.raises(ConnectionError, match="cannot listen"):
            async with tractor.open_root_actor(
                registry_addrs=[registry], tpt_bind_addrs=[registry], enable_transports=[transport]
            ):
                pytest.fail("entered")


async def test_programs_that_start_in_the_same_instant_have_one_registrar(
    transport: str, tmp_path: Path
) -> None:
    """Whatever the order of their steps; the others are registered with it."""
    async with open_program("a", "--rounds") as a, open_program("b", "--rounds") as b:
        for number in range(100):
            registry = free_address(transport, tmp_path).replace("registry", f"r{number % 3}")
            for program in (a, b):
                await program.say(registry)
            roles = [(await program.hear())["registrar"] for program in (a, b)]
            assert sorted(roles) == [False, True], f"round {number}"
            for program in (a, b):
                await program.say("")


async def test_a_tree_may_keep_to_itself() -> None:
    """Without a registry address there is nobody to ask."""
    async with tractor.open_root_actor(registry_addrs=[]) as root:
        assert root.is_registrar
        assert isinstance(root.registrar, Registrar)
        assert list(root.registrar.entries()) == [f"root.{root.aid.uuid}"]


async def test_the_environment_says_where_names_are_kept(
    registry: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For programs that do not; of several addresses those of its transports."""
    other = "/ip4/127.0.0.1/tcp/1" if transport == "uds" else "/unix/x/y.sock"
    monkeypatch.setenv("TRACTOR_REGISTRY_ADDRS", f"{other} {registry}")
    async with tractor.open_root_actor(enable_transports=[transport]) as root:
        assert [addr.maddr for addr in root.server.addrs] == [registry]
    monkeypatch.setenv("TRACTOR_REGISTRY_ADDRS", "nowhere")
    with pytest.raises(ValueError, match="not an address"):
        async with tractor.open_root_actor():
            pytest.fail("entered")


async def test_without_either_names_are_kept_where_everybody_looks(
    transport: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A well-known address; a class attribute of nobody's business is put in its place here."""
    monkeypatch.delenv("TRACTOR_REGISTRY_ADDRS")
    address = parse_maddr(free_address(transport, tmp_path))
    monkeypatch.setattr(type(address), "get_root", classmethod(lambda _cls: address))
    async with tractor.open_root_actor(enable_transports=[transport]) as root:
        assert root.server.addrs == [address]


async def test_a_program_of_several_transports_is_found_by_all_of_them(tmp_path: Path) -> None:
    """So are its children; the nearer one is preferred."""
    addrs = [free_address("tcp", tmp_path), free_address("uds", tmp_path)]
    async with tractor.open_nursery(
        registry_addrs=addrs, enable_transports=["tcp", "uds"], enable_modules=["tests.programs.townsfolk"]
    ) as nursery:
        root = tractor.current_actor()
        assert [addr.maddr for addr in root.server.addrs] == addrs
        portal = await nursery.start_actor("kid", enable_modules=["tests.programs.townsfolk"])
        assert [addr.proto_key for addr in portal.chan.peer_addrs] == ["tcp", "uds"]
        async with tractor.query_actor("kid") as (addr, _):
            assert str(addr[1]).endswith(".sock")
        for transport, address in zip(("tcp", "uds"), addrs, strict=True):
            async with open_program("friend", address) as friend:
                assert not (await friend.hear())["registrar"], transport
        await nursery.cancel()


async def test_a_registrar_that_lies_is_an_error(transport: str) -> None:
    """It says that it is one, and takes no note of anybody: bounded, and clear."""
    binds = [get_address_cls(transport).get_random("liar")]
    async with tractor.open_root_actor(registry_addrs=[]):
        async with open_resident("liar", is_registrar=True, binds=binds) as liar:
            registry = liar.actor.server.addrs[0].maddr
            async with open_program("victim", registry) as victim:
                with pytest.raises(EOFError):
                    await victim.hear()


@pytest.mark.parametrize("news", ["early", "late"])
async def test_a_registrar_that_is_lost_while_a_program_enters(
    transport: str, news: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has said that it is one, and has gone when it is told the name: the program takes its place.

    Whether who has told it hears of that before or after its place was taken.
    """
    async with (
        tractor.open_root_actor(registry_addrs=[], enable_transports=[transport]) as root,
        open_resident("old", binds=[get_address_cls(transport).get_random("old")]) as old,
    ):
        (addr,) = old.actor.server.addrs
        become_registrar(old.actor)

        async def leave(served: Any, **_kwargs: Any) -> None:
            old.actor.server.close()
            served.router.channel.abort()

        old.actor.self_methods["register_actor"] = leave
        if news == "late":
            told = RegistryLink._register

            async def tell_slowly(link: RegistryLink, *args: Any) -> None:
                try:
                    await told(link, *args)
                except tractor.TransportClosed:
                    if link.kept and not local_registrar(root):
                        with trio.CancelScope(shield=True):
                            await trio.sleep(0 if "_keep" in trio.lowlevel.current_task().name else 0.5)
                    raise

            monkeypatch.setattr(RegistryLink, "_register", tell_slowly)
        # As `settle()` leaves a program that is no registrar.
        root.registrar = None
        root.registries = Registries(root, [addr])
        await enter(root)
        registrar = local_registrar(root)
        assert registrar is not None
        assert list(registrar.entries()) == [f"root.{root.aid.uuid}"]
        assert addr in root.server.addrs


async def test_where_nobody_can_listen_it_says_why(transport: str, tmp_path: Path) -> None:
    """At once, and in the words of the system; another program is not blamed for it."""
    addr = f"/unix{tmp_path}/{'x' * 120}" if transport == "uds" else "/ip4/192.0.2.1/tcp/1616"
    if transport == "tcp":
        root = tractor.Actor("root", variables=RuntimeVars(_is_root=True), modules={})
        with pytest.raises(ConnectionError, match="Cannot assign requested address"):
            _bind_all(root, [parse_maddr(addr)])
        assert root.server.addrs == []
    else:
        with pytest.raises(ConnectionError, match=r"cannot listen on .*: AF_UNIX path too long"):
            async with tractor.open_root_actor(registry_addrs=[addr], enable_transports=[transport]):
                pytest.fail("entered")


async def test_of_several_registrars_the_living_ones_are_used(transport: str, tmp_path: Path) -> None:
    """A program is registered with each of them, and finds what any of them knows."""
    one = free_address(transport, tmp_path).replace("registry", "one")
    two = free_address(transport, tmp_path).replace("registry", "two")
    nobody = free_address(transport, tmp_path).replace("registry", "nobody")
    async with open_program("one", one) as first, open_program("two", two) as second:
        await first.hear()
        await second.hear()
        async with tractor.open_root_actor(
            name="both", registry_addrs=[one, nobody, two], enable_transports=[transport]
        ) as root:
            assert not root.is_registrar
            for name in ("one", "two"):
                async with tractor.find_actor(name) as found:
                    assert found.aid.name == name
            async with tractor.find_actor("both", only_first=False) as several:
                assert [portal.aid for portal in several] == [root.aid] * 2


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"registry_addrs": "/ip4/127.0.0.1/tcp/1"}, TypeError),
        ({"registry_addrs": ["nowhere"]}, ValueError),
        ({"registry_addrs": ["/unix/x/y.sock"]}, ValueError),
        ({"tpt_bind_addrs": ["/unix/x/y.sock"]}, ValueError),
        ({"enable_transports": []}, RuntimeError),
        ({"enable_transports": ["quic"]}, ValueError),
    ],
)
async def test_arguments_that_do_not_fit_are_an_error(kwargs: dict[str, Any], error: type[Exception]) -> None:
    """Before anybody is asked."""
    with pytest.raises(error):
        async with tractor.open_root_actor(**kwargs):
            pytest.fail("entered")
    assert tractor.current_actor(err_on_no_runtime=False) is None
    with pytest.raises(tractor.NoRuntime):
        tractor.current_actor()
    await trio.lowlevel.checkpoint()


async def test_a_registrar_is_made_once() -> None:
    """It is listed by the handshake from then on."""
    async with open_resident("reg") as resident:
        assert not resident.actor.is_registrar
        become_registrar(resident.actor)
        assert resident.actor.is_registrar

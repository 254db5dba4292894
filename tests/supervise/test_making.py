"""How an actor is made: its options, its name and its address."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import tractor
from tests.kinds import OF_A_PROCESS
from tests.programs import actors
from tests.programs.bodies import SHARED
from tests.supervise.kids import start

#: Seconds in which something is done at once, on a busy machine.
SOON = 2.0


@OF_A_PROCESS
async def test_environment_and_folder_of_a_child(tmp_path: Path) -> None:
    """`proc_kwargs` reaches the process; modules are found all the same."""
    env = {**os.environ, "GREETING": "hello"}
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery, proc_kwargs={"env": env, "cwd": tmp_path})
        assert await portal.run(actors.get_env, name="GREETING") == "hello"
        assert (await portal.run(actors.describe))["cwd"] == str(tmp_path)
        await nursery.cancel()


@OF_A_PROCESS
async def test_what_a_nursery_says_for_all_its_children() -> None:
    """Whatever a child says itself goes before that, one by one."""
    async with tractor.open_nursery(proc_kwargs={"env": {"GREETING": "hello"}, "cwd": "/"}) as nursery:
        first = await start(nursery, "first")
        second = await start(nursery, "second", proc_kwargs={"env": {"GREETING": "goodbye"}})
        third = await nursery.run_in_actor(actors.describe, name="third")
        assert await first.run(actors.get_env, name="GREETING") == "hello"
        assert await second.run(actors.get_env, name="GREETING") == "goodbye"
        assert [(await portal.run(actors.describe))["cwd"] for portal in (first, second)] == ["/", "/"]
        assert (await third.wait_for_result())["cwd"] == "/"
        await nursery.cancel()


async def test_what_a_nursery_says_must_be_arguments() -> None:
    """Not something that would fail with each child."""
    with pytest.raises(TypeError, match="proc_kwargs must be a dict of arguments, not 'own'"):
        async with tractor.open_nursery(proc_kwargs="own"):  # type: ignore[arg-type]
            pytest.fail("it is open")


async def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removed the working directory; children start in the same nowhere."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery)
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


@OF_A_PROCESS
async def test_a_child_with_an_empty_environment() -> None:
    """It needs nothing from there."""
    async with tractor.open_nursery() as nursery:
        portal = await start(nursery, proc_kwargs={"env": {}})
        assert await portal.run(actors.get_env, name="PATH") is None
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


@OF_A_PROCESS
async def test_descriptors_are_passed_on() -> None:
    """Those that were named, by number."""
    reader, writer = os.pipe()
    try:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.run_in_actor(
                actors.write_fd, fd=writer, text="hello", proc_kwargs={"pass_fds": (writer,)}
            )
            await portal.wait_for_result()
        assert os.read(reader, 100) == b"hello"
    finally:
        os.close(reader)
        os.close(writer)


async def test_options_that_no_child_has() -> None:
    """The failure names the child and has the error of whoever refused."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorFailure, match=r"'kid'.*could not be started") as caught:
            await start(nursery, proc_kwargs={"nonsense": True})
        assert isinstance(caught.value.__cause__, TypeError)
        with pytest.raises(tractor.ActorFailure, match="could not be started") as caught:
            await start(nursery, proc_kwargs={"gil": "none"} if SHARED else {"cwd": "/nowhere/at/all"})
        assert isinstance(caught.value.__cause__, ValueError if SHARED else FileNotFoundError)
        assert nursery._children == {}


async def test_the_log_level_is_inherited_or_given() -> None:
    """A child has its own, or else its parent's."""
    async with tractor.open_nursery(loglevel="critical") as nursery:
        heir, other = await start(nursery), await start(nursery, loglevel="error")
        assert (await heir.run(actors.describe))["loglevel"] == "critical"
        assert (await other.run(actors.describe))["loglevel"] == "error"
        await nursery.cancel()


@pytest.mark.parametrize(
    "name",
    [
        "with blanks",
        "a/b\\c",
        "../../etc",
        ".",
        "x" * 300,
        "žluťoučký 🐴",
        'it\'s "quoted"',
        "nul\0byte",
        "new\nline",
        "--uid",
        "%s{0}",
    ],
    ids=lambda name: repr(name)[:20],
)
async def test_any_text_is_a_name(name: str, transport: str) -> None:
    """On every transport; it is what the child calls itself, and it can be found by it."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await start(nursery, name)
        assert (await portal.run(actors.describe))["name"] == name
        async with tractor.find_actor(name) as found:
            assert found is not None
            assert found.aid.uuid == portal.aid.uuid
        await nursery.cancel()


@pytest.mark.parametrize(
    ("name", "kind"), [("", ValueError), ("\udc80", ValueError), (b"bytes", TypeError), (None, TypeError)]
)
async def test_what_is_no_name(name: Any, kind: type[Exception]) -> None:
    """Said before anything is started."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(kind, match=r"name|surrogate"):
            await start(nursery, name)
        assert nursery._children == {}


async def test_an_address_of_ones_own(transport: str, tmp_path: Path) -> None:
    """`bind_addrs` is where the child listens, and its socket file goes with it."""
    addr: Any = ("127.0.0.1", 0) if transport == "tcp" else (str(tmp_path), "own.sock")
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await start(nursery, bind_addrs=[addr])
        (found,) = (await portal.run(actors.describe))["addrs"]
        assert found[0] == addr[0]
        if transport == "uds":
            assert (tmp_path / "own.sock").is_socket()
        if not SHARED:
            os.kill(portal.aid.pid or 0, signal.SIGSTOP)
        await nursery.cancel()
    assert not (tmp_path / "own.sock").exists()


async def test_an_address_in_use_is_a_clear_failure(transport: str, tmp_path: Path) -> None:
    """It is the child that cannot listen; the parent gets its error, and the other's socket stays."""
    addr: Any = ("127.0.0.1", 0) if transport == "tcp" else (str(tmp_path), "own.sock")
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        first = await start(nursery, bind_addrs=[addr])
        (taken,) = (await first.run(actors.describe))["addrs"]
        with pytest.raises(tractor.ActorFailure, match=r"(?s)'second'.*cannot listen"):
            await start(nursery, "second", bind_addrs=[tuple(taken)])
        async with tractor.find_actor("kid") as found:
            assert found is not None
        assert await first.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()

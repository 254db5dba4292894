"""The first actor of a program: how it is opened, what it refuses, and how it ends."""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors
from tests.programs.watch import find_sockets
from tractor.ipc._rtdir import get_rt_dir
from tractor.log import get_console_log

MODULES = [actors.__name__]


# Opening.


async def test_a_root_actor_knows_what_it_is(transport: str) -> None:
    """It is the current actor for the block, listens, and keeps the names; behind the block there is none."""
    assert tractor.current_actor(err_on_no_runtime=False) is None
    assert not tractor.is_root_process()
    async with tractor.open_root_actor(name="first", enable_transports=[transport]) as actor:
        assert tractor.current_actor() is actor
        assert tractor.is_root_process()
        assert (actor.name, actor.pid, actor.is_root, actor.is_registrar) == (
            "first",
            os.getpid(),
            True,
            True,
        )
        assert len(actor.accept_addrs) == 1
        variables = tractor.get_runtime_vars(as_dict=False)
        assert variables._is_root
        assert variables._root_addrs == actor.accept_addrs
        assert variables._root_mailbox == actor.accept_addr
        if transport == "uds":
            assert find_sockets(get_rt_dir()) != []
    assert tractor.current_actor(err_on_no_runtime=False) is None
    assert not tractor.get_runtime_vars(as_dict=False)._is_root
    assert find_sockets(get_rt_dir()) == []


async def test_a_nursery_opens_a_root_actor_where_there_is_none() -> None:
    """With the arguments of `open_root_actor`; a second nursery uses the same actor."""
    async with tractor.open_nursery(name="implicit", enable_transports=["uds"]):
        actor = tractor.current_actor()
        assert actor.name == "implicit"
        assert len(actor.accept_addr) == 2
        async with tractor.open_nursery():
            assert tractor.current_actor() is actor
        assert tractor.current_actor() is actor
    assert tractor.current_actor(err_on_no_runtime=False) is None


async def test_arguments_for_a_root_are_not_used_where_an_actor_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A block need not know whether it is the outermost; the log says what came to nothing."""
    caplog.set_level("INFO", "tractor")
    unused = "arguments for a root actor are not used"
    async with tractor.open_nursery(name="outer", max_msg_size=10**6) as outer:
        async with tractor.open_nursery() as inner:
            assert unused not in caplog.text
        async with tractor.open_nursery(grace=0.5, max_msg_size=10**5, name="inner") as inner:
            assert inner._actor is outer._actor is tractor.current_actor()
            assert (inner._actor.name, inner._actor.vars._max_msg_size) == ("outer", 10**6)
    (record,) = [record for record in caplog.records if unused in record.message]
    assert vars(record)["arguments"] == "max_msg_size, name"


async def test_one_root_after_the_other() -> None:
    """Nothing of the first is left for the second."""
    ids = set()
    for _ in range(3):
        async with tractor.open_root_actor() as actor:
            ids.add(actor.uid)
    assert len(ids) == 3


@pytest.mark.parametrize("argument", ["registry_addrs", "tpt_bind_addrs"])
async def test_it_listens_where_it_is_told_to(argument: str, transport: str, tmp_path: Path) -> None:
    """A tuple or a multiaddr; a port of 0 is resolved."""
    addrs: list[Any]
    if transport == "tcp":
        addrs = [("127.0.0.1", 0), "/ip4/127.0.0.1/tcp/0"]
    else:
        addrs = [(str(tmp_path), "one.sock"), f"/unix{tmp_path}/two.sock"]
    options: dict[str, Any] = {argument: addrs, "enable_transports": [transport]}
    async with tractor.open_root_actor(**options) as actor:
        assert len(actor.accept_addrs) == 2
        if transport == "tcp":
            assert all(port > 0 for _, port in actor.accept_addrs)
        else:
            assert sorted(path.name for path in find_sockets(tmp_path)) == ["one.sock", "two.sock"]
    assert find_sockets(tmp_path) == []


async def test_the_environment_wins_over_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs a program can see more of it without changing it."""
    monkeypatch.setenv("TRACTOR_LOGLEVEL", "critical")
    async with tractor.open_root_actor(loglevel="error") as actor:
        assert actor.loglevel == "critical"
        assert logging.getLogger("tractor").level == logging.CRITICAL
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "carrier pigeon")
    with pytest.raises(ValueError, match="carrier pigeon"):
        async with tractor.open_root_actor(start_method="trio"):
            raise AssertionError("unreachable")
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "trio")
    with pytest.raises(ValueError, match="carrier pigeon"):
        # It is not used, and wrong all the same.
        async with tractor.open_root_actor(start_method="carrier pigeon"):
            raise AssertionError("unreachable")


async def test_the_end_of_a_root_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """In the words that people look for."""
    get_console_log("info")
    async with tractor.open_root_actor():
        pass
    assert "Root actor terminated" in caplog.messages


# Refusing.


async def test_a_second_root_is_refused() -> None:
    """The first is not disturbed."""
    async with tractor.open_root_actor() as actor:
        with pytest.raises(tractor.RuntimeFailure, match="one root actor at a time"):
            async with tractor.open_root_actor():
                raise AssertionError("unreachable")
        assert tractor.current_actor() is actor


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"name": ""}, ValueError),
        ({"name": 3}, TypeError),
        ({"start_method": "carrier pigeon"}, ValueError),
        ({"enable_transports": ["carrier pigeon"]}, ValueError),
        ({"enable_transports": ["uds"], "registry_addrs": [("127.0.0.1", 0)]}, ValueError),
        ({"tpt_bind_addrs": ["nonsense"]}, ValueError),
        ({"registry_addrs": [("127.0.0.1", 99999)]}, ValueError),
        ({"enable_modules": ["no_such_module_anywhere"]}, ModuleNotFoundError),
        ({"loglevel": "loud"}, ValueError),
        ({"max_msg_size": 10}, ValueError),
        ({"max_requests": 0}, ValueError),
        ({"nonsense": True}, TypeError),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_arguments_that_do_not_fit(options: dict[str, Any], kind: type[Exception]) -> None:
    """Said at once, and nothing stays behind: the next one opens."""
    with pytest.raises(kind):
        async with tractor.open_root_actor(**options):
            raise AssertionError("unreachable")
    assert tractor.current_actor(err_on_no_runtime=False) is None
    async with tractor.open_root_actor():
        pass


async def test_an_address_in_use_is_refused(transport: str, tmp_path: Path) -> None:
    """With the address; whoever has it keeps it."""
    addr: Any = ("127.0.0.1", 0) if transport == "tcp" else (str(tmp_path), "own.sock")
    async with tractor.open_root_actor(tpt_bind_addrs=[addr], enable_transports=[transport]) as actor:
        program = (
            "import sys, trio, tractor\n"
            "async def main():\n"
            f"    async with tractor.open_root_actor(tpt_bind_addrs=[{actor.accept_addr!r}],"
            f" enable_transports=[{transport!r}]):\n"
            "        pass\n"
            "try:\n"
            "    trio.run(main)\n"
            "except ConnectionError as exc:\n"
            "    sys.exit(f'refused: {exc}')\n"
        )
        done = await trio.run_process([sys.executable, "-c", program], check=False, capture_stderr=True)
        assert done.returncode == 1
        assert done.stderr.startswith(b"refused:")
        assert b"cannot listen on" in done.stderr
        if transport == "uds":
            assert (tmp_path / "own.sock").is_socket()


def test_outside_trio_it_says_what_is_missing() -> None:
    """Somebody has called it from another event loop, or from none."""
    with pytest.raises(tractor.RuntimeFailure, match=r"trio\.run"):
        tractor.open_root_actor().__aenter__().send(None)


# Ending.


async def test_what_the_block_raises_leaves_bare() -> None:
    """No group around it."""
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_root_actor():
            raise ValueError("mine")


async def test_a_root_can_be_cancelled() -> None:
    """By itself or by a peer: the block is cancelled, and that is no error."""
    async with tractor.open_root_actor() as actor:
        actor.cancel_soon()
        await trio.sleep_forever()
    assert actor.cancel_called


@pytest.mark.parametrize("who", ["a peer", "a scope around it"])
async def test_an_error_that_the_end_of_the_root_has_hidden_comes_out(who: str) -> None:
    """It was on its way out of the block when a checkpoint there was cancelled."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as info, trio.CancelScope() as scope:
        async with tractor.open_root_actor() as actor:
            try:
                raise error
            finally:
                if who == "a peer":
                    actor.cancel_soon()
                else:
                    scope.cancel()
                await trio.sleep_forever()
    assert info.value is error
    assert error.__context__ is None


async def test_a_child_can_cancel_its_root() -> None:
    """Any actor may cancel any other: the whole tree ends in order."""
    async with tractor.open_nursery() as nursery:
        await nursery.run_in_actor(actors.cancel_root)
        with trio.fail_after(10):
            await trio.sleep_forever()
    assert nursery._children == {}


@pytest.mark.parametrize(
    ("what", "kind"), [("interrupt_self", KeyboardInterrupt), ("exit_softly", SystemExit)]
)
def test_an_exit_in_a_request_to_the_root_ends_the_program(what: str, kind: type[BaseException]) -> None:
    """As it would have done anywhere else in it: it is not swallowed with the request."""
    reached = False

    async def main() -> None:
        nonlocal reached
        async with tractor.open_nursery(enable_modules=MODULES) as nursery:
            await nursery.run_in_actor(actors.call_root, what=what)
            reached = True
            with trio.fail_after(10):
                await trio.sleep_forever()

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - bare, or beside what the caller was told
        trio.run(main)
    assert reached
    assert isinstance(caught.value, kind) or caught.group_contains(kind)


def test_an_interrupt_does_not_wait_for_a_request_behind_a_shield() -> None:
    """Ctrl-C is prompt also where the root serves something that ignores its end."""
    began = 0.0

    async def main() -> None:
        nonlocal began
        async with tractor.open_nursery(enable_modules=MODULES) as nursery:
            await nursery.run_in_actor(actors.call_root, what="shielded")
            with trio.fail_after(10):
                while len(tractor.current_actor().served) == 0:
                    await trio.sleep(0.01)
            began = time.monotonic()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert time.monotonic() - began < 2.0


async def test_the_lifetime_stack_is_closed_on_the_way_out() -> None:
    """On every path, after the requests have ended."""
    closed: list[str] = []
    with pytest.raises(ValueError, match="mine"):
        async with tractor.open_root_actor() as actor:
            actor.lifetime_stack.callback(closed.append, "closed")
            raise ValueError("mine")
    assert closed == ["closed"]

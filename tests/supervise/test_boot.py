"""How a child comes up, how it fails to, and how it ends when it alone is told to."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors
from tests.programs.watch import find_sockets, is_alive, wait_until
from tractor.ipc._rtdir import get_rt_dir
from tractor.runtime import _actor
from tractor.supervise import _nursery

MODULES = [actors.__name__]
#: Seconds in which something happens at once, on a busy machine.
SOON = 3.0


@pytest.fixture
def main_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes some source the main module, as children see it."""

    def install(source: str) -> Path:
        script = tmp_path / "script.py"
        script.write_text(source)
        module = ModuleType("__main__")
        module.__file__ = str(script)
        monkeypatch.setitem(sys.modules, "__main__", module)
        return script

    return install


async def fail_to_start(boot_timeout: float = 30.0) -> tractor.ActorFailure:
    """Start an actor that does not come up; return the failure, raised in good time."""
    async with tractor.open_nursery(boot_timeout=boot_timeout) as nursery:
        began = trio.current_time()
        with pytest.raises(tractor.ActorFailure) as caught:
            await nursery.start_actor("kid")
        assert trio.current_time() - began < boot_timeout + SOON
        assert nursery._children == {}
    return caught.value


# Failing.


async def test_a_main_module_that_raises_is_a_failure_at_once(each_link: str, main_module: Any) -> None:
    """It says what was raised; the child's own traceback is there to be read."""
    script = main_module("def broken():\n    return 1 / 0\n\nbroken()\n")
    failure = await fail_to_start()
    assert failure.name == "kid"
    assert failure.exit is not None
    assert failure.exit.code == 1
    assert failure.message == "it failed to boot: ZeroDivisionError: division by zero"
    assert failure.stderr_tail == ""
    cause = failure.__cause__
    assert isinstance(cause, tractor.RemoteActorError)
    assert cause.boxed_type is ZeroDivisionError
    assert cause.src_uid == ("kid", cause.src_uid[1]) if cause.src_uid else False
    assert f'{script}", line 2' in cause.tb_str
    assert "in broken" in cause.tb_str


async def test_an_error_at_boot_that_is_too_big_to_be_told_is_cut(each_link: str, main_module: Any) -> None:
    """Before the hello a parent takes only small messages; a long traceback or text does not lose the whole report."""
    main_module(
        "def deeper(n):\n    return deeper(n + 1) + 1\ntry: deeper(0)\nexcept Exception as e: raise ValueError('x' * 200_000) from e\n"
    )
    failure = await fail_to_start()
    assert failure.message.startswith("it failed to boot: ValueError: xxxx")
    assert isinstance(failure.__cause__, tractor.RemoteActorError)
    assert failure.__cause__.boxed_type is ValueError


async def test_a_boot_may_take_longer_than_a_handshake(
    each_link: str, main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child connects when it has something to say: what it imports may be big."""
    monkeypatch.setattr(_actor, "HANDSHAKE_TIMEOUT", 0.3)
    main_module("import time\ntime.sleep(0.8)\n")
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        assert await portal.run(actors.add, a=1, b=2) == 3
        await nursery.cancel()


async def test_a_main_module_that_does_not_compile(each_link: str, main_module: Any) -> None:
    """Changed since the parent read it, perhaps."""
    main_module("def f(:\n")
    failure = await fail_to_start()
    assert "SyntaxError" in str(failure)


@pytest.mark.parametrize("code", [0, 3, "'too late'"])
async def test_a_main_module_that_exits(code: object, each_link: str, main_module: Any) -> None:
    """`sys.exit()` at import is a failed boot whatever its status."""
    main_module(f"import sys\nsys.exit({code})\n")
    failure = await fail_to_start()
    assert "SystemExit" in str(failure)


@pytest.mark.parametrize("code", [0, 3])
async def test_a_main_module_that_exits_hard(code: int, each_link: str, main_module: Any) -> None:
    """Nobody can tell why; the failure has the exit status and the end of what was written before."""
    main_module(f"import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit({code})\n")
    failure = await fail_to_start()
    assert failure.exit is not None
    assert failure.exit.code == code
    assert "last words" in failure.stderr_tail
    assert "last words" in str(failure)


async def test_a_main_module_that_kills_its_process(each_link: str, main_module: Any) -> None:
    """Such as a C extension that crashes."""
    main_module("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    failure = await fail_to_start()
    assert "killed by SIGSEGV" in str(failure)


@pytest.mark.parametrize(
    "hang",
    [
        "import time\ntime.sleep(60)\n",
        "while True: pass\n",
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(60)\n",
        "import threading\nthreading.Event().wait()\n",
        "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass\n",
    ],
    ids=["sleep", "spin", "deaf", "lock", "stubborn"],
)
async def test_a_main_module_that_hangs_is_given_up(hang: str, main_module: Any) -> None:
    """After `boot_timeout` it is ended by force, and its socket file goes with it."""
    main_module(hang)
    async with tractor.open_nursery(boot_timeout=0.8, enable_transports=["uds"]) as nursery:
        began = trio.current_time()
        with pytest.raises(tractor.ActorFailure, match=r"did not .* within 0\.8 s") as caught:
            await nursery.start_actor("kid")
        assert trio.current_time() - began < 0.8 + 0.5 + 1.0
        assert nursery._children == {}
        assert caught.value.exit is not None
        assert not [path for path in find_sockets(get_rt_dir()) if "kid" in path.name]


async def test_a_main_module_that_hangs_is_given_up_when_it_should_connect_back(
    main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same deadline holds for the connection, and the token is worth nothing behind it."""
    monkeypatch.setenv("TRACTOR_CHILD_LINK", "connect")
    main_module("import time\ntime.sleep(60)\n")
    async with tractor.open_nursery(boot_timeout=0.8) as nursery:
        with pytest.raises(tractor.ActorFailure, match=r"did not connect back within 0\.8 s"):
            await nursery.start_actor("kid")
        assert tractor.current_actor().expected == {}


async def test_a_token_is_worth_nothing_once_its_child_is_gone(
    main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presents it later is a stranger."""
    monkeypatch.setenv("TRACTOR_CHILD_LINK", "connect")
    main_module("import os\nos._exit(0)\n")
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorFailure):
            await nursery.start_actor("kid")
        assert tractor.current_actor().expected == {}


async def test_a_failed_boot_does_not_spoil_the_nursery(main_module: Any) -> None:
    """Its other children live on, and more can be started."""
    async with tractor.open_nursery() as nursery:
        first = await nursery.start_actor("first", enable_modules=MODULES)
        main_module("1 / 0")
        with pytest.raises(tractor.ActorFailure):
            await nursery.start_actor("kid")
        second = await nursery.start_actor("second", enable_modules=MODULES, inherit_parent_main=False)
        assert await first.run(actors.add, a=1, b=2) == await second.run(actors.add, a=1, b=2) == 3
        assert not nursery.cancel_called
        await nursery.cancel()


async def test_an_exposed_module_that_fails_to_import_in_the_child(
    each_link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be found and compiled here, but not run there."""
    (tmp_path / "only_at_home.py").write_text("raise RuntimeError('not here')\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorFailure, match="RuntimeError: not here") as caught:
            await nursery.start_actor("kid", enable_modules=["only_at_home"])
        assert isinstance(caught.value.__cause__, tractor.RemoteActorError)
        assert "only_at_home.py" in caught.value.__cause__.tb_str


async def test_a_child_whose_python_cannot_even_start(each_link: str) -> None:
    """What the interpreter says itself is in the report."""
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorFailure, match="exit status 1") as caught:
            await nursery.start_actor("kid", proc_kwargs={"env": {"PYTHONHOME": "/nowhere"}})
        assert "encodings" in caught.value.stderr_tail


async def test_a_child_that_is_killed_while_it_boots_leaves_nothing(transport: str, main_module: Any) -> None:
    """At whatever moment of its boot it was: no socket file either."""
    main_module("import time\ntime.sleep(60)\n")
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        for delay in (0.0, 0.04, 0.08, 0.12, 0.3):

            async def kill_soon(delay: float) -> None:
                while not (kids := [child.pid for child in nursery._children.values() if child.pid]):
                    await trio.sleep(0.001)
                await trio.sleep(delay)
                os.kill(kids[0], signal.SIGKILL)

            async with trio.open_nursery() as tasks:
                tasks.start_soon(kill_soon, delay)
                with pytest.raises(tractor.ActorFailure, match="killed by SIGKILL"):
                    await nursery.start_actor("kid")
            assert not [path for path in find_sockets(get_rt_dir()) if "kid" in path.name]


# Output.


async def test_what_a_child_writes_is_seen(each_link: str, main_module: Any, capfd: Any) -> None:
    """Before it is up and behind that, on both streams, once."""
    main_module("import sys\nprint('early', file=sys.stderr)\n")
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=MODULES)
        await portal.run(actors.print_twice, text="late")
        await nursery.cancel()
    out, err = capfd.readouterr()
    assert out == "late\n"
    assert err == "early\nlate\n"


async def test_a_child_that_fails_to_boot_writes_nothing_to_our_stderr(
    each_link: str, main_module: Any, capfd: Any
) -> None:
    """It is all in the failure."""
    main_module("import sys\nprint('early', file=sys.stderr)\n1 / 0\n")
    await fail_to_start()
    assert capfd.readouterr() == ("", "")


async def test_an_orderly_end_writes_nothing(each_link: str, capfd: Any) -> None:
    """Neither that of the child nor that of the nursery."""
    async with tractor.open_nursery() as nursery:
        await nursery.start_actor("kid")
        await nursery.run_in_actor(actors.sleep_forever)
        await nursery.cancel()
    assert capfd.readouterr() == ("", "")


# Ending alone.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_one_child_is_a_request_to_end_in_order(
    number: signal.Signals, each_link: str, tmp_path: Path
) -> None:
    """Its requests are cancelled and clean up; the parent learns which signal it was."""
    done = tmp_path / "done"
    with trio.fail_after(SOON + 5), pytest.raises(tractor.ActorFailure) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)

            async def use() -> None:
                with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
                    await portal.run(actors.clean_up_slowly, path=str(done), seconds=0.2)

            async with trio.open_nursery() as tasks:
                tasks.start_soon(use)
                await trio.sleep(0.2)
                os.kill(portal.aid.pid or 0, number)
                await trio.sleep_forever()
    assert caught.value.name == "kid"
    assert caught.value.exit is not None
    assert f"interrupted: {number.name}" in str(caught.value)
    assert done.read_text() == "clean\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_one_idle_child(number: signal.Signals) -> None:
    """Nobody was waiting on it; the nursery tells."""
    with pytest.raises(tractor.ActorFailure, match=f"interrupted: {number.name}"):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid")
            os.kill(portal.aid.pid or 0, number)
            with trio.fail_after(SOON):
                await trio.sleep_forever()


async def test_a_signal_to_a_parent_in_the_middle_ends_its_children_too(tmp_path: Path) -> None:
    """The whole subtree, in order."""
    pids = tmp_path / "pids"
    with pytest.raises(tractor.ActorFailure, match="interrupted: SIGTERM"):
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("middle", enable_modules=MODULES)
            async with trio.open_nursery() as tasks:

                async def use() -> None:
                    with pytest.raises((tractor.RemoteActorError, tractor.TransportClosed)):
                        await portal.run(actors.nest, depth=2, target="sleep_forever", path=str(pids))

                tasks.start_soon(use)
                with trio.fail_after(SOON + 5):
                    while not pids.exists() or len(pids.read_text().split()) < 3:
                        await trio.sleep(0.02)
                    os.kill(portal.aid.pid or 0, signal.SIGTERM)
                    await trio.sleep_forever()
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize(
    ("act", "kwargs", "kind", "said"),
    [
        (actors.exit_softly, {"code": 3}, SystemExit, "exited: SystemExit(3)"),
        (actors.interrupt_self, {}, KeyboardInterrupt, "interrupted: KeyboardInterrupt()"),
    ],
)
async def test_an_exit_inside_a_request_ends_the_actor(
    act: Any, kwargs: dict[str, Any], kind: type[BaseException], said: str, each_link: str
) -> None:
    """The caller gets it as that actor's error; the nursery learns why the actor ended."""
    with trio.fail_after(SOON + 5), pytest.raises(BaseExceptionGroup) as caught:
        async with tractor.open_nursery() as nursery:
            portal = await nursery.start_actor("kid", enable_modules=MODULES)
            with pytest.raises(tractor.RemoteActorError) as told:
                await portal.run(act, **kwargs)
            assert told.value.boxed_type is kind
            with trio.CancelScope(shield=True), trio.move_on_after(SOON):
                while portal.chan.connected():
                    await trio.sleep(0.01)
            raise told.value
    error, failure = caught.value.exceptions
    assert isinstance(error, tractor.RemoteActorError)
    assert isinstance(failure, tractor.ActorFailure)
    assert said in str(failure)


# What survives its parent.


PROGRAM = """
import trio, tractor
from tests.programs import actors

async def main():
    async with tractor.open_nursery(enable_transports=[{transport!r}]) as nursery:
        portal = await nursery.start_actor("kid", enable_modules=[actors.__name__])
        await portal.run(actors.nest, depth=1, target={target!r}, path={path!r})
        await trio.sleep_forever()

trio.run(main)
"""


def has_lines(path: Path, count: int) -> bool:
    """Tell whether a file has so many lines."""
    return path.exists() and path.read_text().count("\n") >= count


OUTLIVING = ["sleep_forever", "shielded", "block", "spin", "deaf", "swallow", "hold_exit"]


def test_no_child_outlives_a_parent_that_was_killed(tmp_path: Path, transport: str) -> None:
    """Whatever it does, and whatever it ignores: within two seconds it is gone, and so are the socket files."""
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "XDG_RUNTIME_DIR": str(tmp_path)}
    with ExitStack() as stack:
        roots, children = [], {}
        for target in OUTLIVING:
            program = PROGRAM.format(transport=transport, target=target, path=str(tmp_path / target))
            root = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", program], env=env, stderr=subprocess.DEVNULL)
            )
            stack.callback(root.kill)
            roots.append(root)
        for target in OUTLIVING:
            wait_until(partial(has_lines, tmp_path / target, 2), 30, target)
            children[target] = [int(pid) for pid in (tmp_path / target).read_text().split()]
        time.sleep(0.3)
        killed = time.monotonic()
        for root in roots:
            root.kill()
        while left := {target: pids for target, pids in children.items() if any(map(is_alive, pids))}:
            assert time.monotonic() - killed < 2.0, left
            time.sleep(0.01)
    assert find_sockets(tmp_path) == []


def test_a_fork_of_the_parent_does_not_keep_the_children(tmp_path: Path) -> None:
    """It holds copies of the parent's descriptors, but not of the lifelines."""
    pids = tmp_path / "pids"
    program = (
        "import os, time, warnings, trio, tractor\n"
        "from tests.programs import actors\n"
        "warnings.simplefilter('ignore')\n"
        "async def main():\n"
        "    async with tractor.open_nursery() as nursery:\n"
        "        portal = await nursery.start_actor('kid', enable_modules=[actors.__name__])\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(30)\n"
        "            os._exit(0)\n"
        f"        await portal.run(actors.nest, depth=0, target='shielded', path={str(pids)!r})\n"
        "trio.run(main)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "XDG_RUNTIME_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=env, stderr=subprocess.DEVNULL, start_new_session=True
    ) as root:
        try:
            deadline = time.monotonic() + 20
            while not pids.exists() or not pids.read_text().strip():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            child = int(pids.read_text())
            killed = time.monotonic()
            root.kill()
            while is_alive(child):
                assert time.monotonic() - killed < 2.0
                time.sleep(0.01)
        finally:
            os.killpg(root.pid, signal.SIGKILL)


def test_the_boot_timeout_has_a_default_that_a_slow_machine_meets() -> None:
    """And that people can wait for."""
    assert 10 <= _nursery.BOOT_TIMEOUT <= 60

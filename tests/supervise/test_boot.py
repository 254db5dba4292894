"""How a child comes up, and how it fails to."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

import tractor
from tests.kinds import ENDLESS, OF_A_PROCESS
from tests.programs import actors, bodies
from tests.programs.watch import find_sockets
from tests.supervise.kids import install_main
from tractor.ipc._rtdir import get_rt_dir
from tractor.runtime import _actor
from tractor.supervise import _nursery

MODULES = [actors.__name__]
#: Seconds in which something happens at once, on a busy machine.
SOON = 3.0


@pytest.fixture
def main_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that makes some source the main module, as children see it."""
    return lambda source: install_main(source, tmp_path, monkeypatch)


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


@OF_A_PROCESS
@pytest.mark.parametrize("code", [0, 3])
async def test_a_main_module_that_exits_hard(code: int, each_link: str, main_module: Any) -> None:
    """Nobody can tell why; the failure has the exit status and the end of what was written before."""
    main_module(f"import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit({code})\n")
    failure = await fail_to_start()
    assert failure.exit is not None
    assert failure.exit.code == code
    assert "last words" in failure.stderr_tail
    assert "last words" in str(failure)


@OF_A_PROCESS
async def test_a_main_module_that_kills_its_process(each_link: str, main_module: Any) -> None:
    """Such as a C extension that crashes."""
    main_module("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    failure = await fail_to_start()
    assert "killed by SIGSEGV" in str(failure)


@pytest.mark.parametrize(
    "hang",
    [
        pytest.param(bodies.SLEEP, id="sleep"),
        pytest.param("while True: pass\n", id="spin"),
        pytest.param(
            f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{bodies.SLEEP}",
            id="deaf",
            marks=OF_A_PROCESS,
        ),
        pytest.param("import threading\nthreading.Event().wait()\n", id="lock", marks=ENDLESS),
        pytest.param(
            "import time\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass\n",
            id="stubborn",
            marks=ENDLESS,
        ),
    ],
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
    main_module(bodies.SLEEP)
    async with tractor.open_nursery(boot_timeout=0.8) as nursery:
        with pytest.raises(tractor.ActorFailure, match=r"did not connect back within 0\.8 s"):
            await nursery.start_actor("kid")
        assert tractor.current_actor().expected == {}


async def test_a_token_is_worth_nothing_once_its_child_is_gone(
    main_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever presents it later is a stranger."""
    monkeypatch.setenv("TRACTOR_CHILD_LINK", "connect")
    main_module("import sys\nsys.exit(0)\n" if bodies.SHARED else "import os\nos._exit(0)\n")
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


async def test_a_child_whose_python_cannot_even_start(
    each_link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the interpreter says itself is in the report; a fork has one that runs already."""
    monkeypatch.setenv("TRACTOR_SPAWN_METHOD", "trio")
    async with tractor.open_nursery() as nursery:
        with pytest.raises(tractor.ActorFailure, match="exit status 1") as caught:
            await nursery.start_actor("kid", proc_kwargs={"env": {"PYTHONHOME": "/nowhere"}})
        assert "encodings" in caught.value.stderr_tail


@OF_A_PROCESS
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


def test_the_boot_timeout_has_a_default_that_a_slow_machine_meets() -> None:
    """And that people can wait for."""
    assert 10 <= _nursery.BOOT_TIMEOUT <= 60


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

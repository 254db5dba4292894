"""A child's whole life, as its parent sees it."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import trio

import tractor
from tests.kinds import FRESH, OF_A_PROCESS
from tests.programs import actors
from tests.spawn.test_backend import SOON, make_spec, open_child
from tractor._errors import Exit
from tractor.msg._codec import get_codec
from tractor.msg._types import SpawnSpec
from tractor.runtime._handshake import Refused
from tractor.spawn._backend import ChildSpec


def make_spec_with_main(path: Path, text: str) -> ChildSpec:
    """Describe a child whose parent's main script has this text."""
    path.write_text(text)
    spec = make_spec()
    boot: SpawnSpec = get_codec().decoder(SpawnSpec)(spec.boot)
    boot = boot._replace(main={"path": str(path), "package": ""})
    return replace(spec, boot=get_codec().encode(boot))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit('no')", "SystemExit"),
        ("import nowhere_1", "nowhere_1"),
    ],
)
async def test_a_main_module_that_fails_is_reported(text: str, error: str, tmp_path: Path) -> None:
    """In place of the hello, with the error and its traceback; a moment later the child is gone."""
    spec = make_spec_with_main(
        tmp_path / "script.py", f"import sys\nprint('seen', file=sys.stderr)\n{text}\n"
    )
    async with open_child("trio", spec) as running:
        with trio.fail_after(SOON), pytest.raises(Refused) as caught:
            await running.wait_up()
        bye = caught.value.bye
        assert bye.how == "failed to boot"
        assert error in bye.detail
        assert bye.error is not None
        assert str(tmp_path / "script.py") in bye.error.tb
        assert await running.wait_end() == Exit("died", 1)
        assert running.child.boot_output() == "seen\n"


async def test_a_module_that_cannot_be_imported_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent has only checked that it is there."""
    (tmp_path / "half_a_module.py").write_text("raise LookupError('the other half')\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with tractor.open_nursery() as nursery:
        with pytest.raises(
            tractor.ActorFailure, match="failed to boot: LookupError: the other half"
        ) as caught:
            await nursery.start_actor("kid", enable_modules=["half_a_module"])
    assert isinstance(caught.value.__cause__, tractor.RemoteActorError)
    assert caught.value.__cause__.boxed_type is LookupError


@pytest.mark.parametrize("link", ["inherit", "connect"])
def test_the_parent_hears_why_a_child_does_not_come_up(link: str, tmp_path: Path) -> None:
    """With the child's traceback, at once, and however the two are joined; the child itself writes nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        "import trio, tractor\n"
        "if __name__ != '__main__': missing_name\n"
        "async def main():\n"
        "    async with tractor.open_nursery() as nursery:\n"
        "        try:\n"
        "            await nursery.start_actor('kid')\n"
        "        except tractor.ActorFailure as exc:\n"
        "            print(exc, exc.__cause__)\n"
        "if __name__ == '__main__': trio.run(main)\n"
    )
    env = {**os.environ, "TRACTOR_CHILD_LINK": link}
    done = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert "kid" in done.stdout
    assert "NameError: name 'missing_name' is not defined" in done.stdout
    assert f'File "{script}", line 2' in done.stdout


async def test_a_parent_that_cannot_be_reached_is_reported_on_stderr() -> None:
    """That is where a parent finds what a child could not tell it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}"
    spec = make_spec()
    boot: SpawnSpec = get_codec().decoder(SpawnSpec)(spec.boot)
    boot = boot._replace(connect_to=[nobody], token=b"token")
    async with open_child("trio", replace(spec, boot=get_codec().encode(boot))) as running:
        assert await running.wait_end() == Exit("died", 1)
        assert "ConnectionRefusedError" in running.child.boot_output()


async def test_what_was_written_before_it_was_up_is_passed_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Once, and before what is written later: a warning at import is not lost."""
    text = (
        "import sys, threading, time\n"
        "print('early', file=sys.stderr)\n"
        "def later():\n"
        "    time.sleep(0.5)\n"
        "    print('late', file=sys.stderr)\n"
        "threading.Thread(target=later).start()\n"
    )
    async with open_child("trio", make_spec_with_main(tmp_path / "script.py", text)) as running:
        with trio.fail_after(SOON):
            await running.wait_up()
        assert capfd.readouterr().err == "early\n"
        running.child.hang_up()
        # The thread is waited for.
        assert await running.wait_end() == Exit("returned", 0)
    assert capfd.readouterr().err == "late\n"


@OF_A_PROCESS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_one_child_ends_it_in_order(number: signal.Signals, tmp_path: Path) -> None:
    """What it is doing is cancelled and cleans up; to its parent it is a failure that says which signal it was."""
    path = tmp_path / "cleaned"
    with pytest.raises(tractor.ActorFailure) as caught:
        async with tractor.open_nursery() as nursery, trio.open_nursery() as tasks:
            portal = await nursery.start_actor("kid", enable_modules=[actors.__name__])

            async def wait() -> None:
                with pytest.raises((tractor.ContextCancelled, tractor.TransportClosed)):
                    await portal.run(actors.clean_up_slowly, path=str(path), seconds=0.2)

            tasks.start_soon(wait)
            await portal.run(actors.sleep_for, seconds=0.1)
            assert portal.aid.pid is not None
            os.kill(portal.aid.pid, number)
            await trio.sleep_forever()
    assert path.read_text() == "clean\n"
    assert caught.value.name == "kid"
    assert number.name in str(caught.value)
    assert "interrupted" in str(caught.value)


@OF_A_PROCESS
async def test_ctrl_c_is_left_to_the_root() -> None:
    """A terminal interrupts every process at once: a child that the root then ends has not died of it."""
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=[actors.__name__])
        assert portal.aid.pid is not None
        os.kill(portal.aid.pid, signal.SIGINT)
        # Long after the signal has arrived, and before the child would act on its own.
        await portal.run(actors.sleep_for, seconds=0.1)
        await nursery.cancel()


@OF_A_PROCESS
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_before_it_is_up_ends_it_too(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As soon as its loop turns, and with a word to the parent, which may or may not have seen it come up."""
    name = f"hit_by_{number.name.lower()}"
    (tmp_path / f"{name}.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    monkeypatch.syspath_prepend(tmp_path)
    with trio.fail_after(SOON), pytest.raises(tractor.ActorFailure, match=f"interrupted: {number.name}"):
        async with tractor.open_nursery() as nursery:
            await nursery.start_actor("kid", enable_modules=[name])
            await trio.sleep_forever()
    assert capfd.readouterr().err == ""


@FRESH
@OF_A_PROCESS
async def test_an_interrupt_during_the_imports_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python ignores one that lands in a weakref callback, as imports have them; here a module swallows it."""
    text = (
        "import os, signal\n"
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt: print('lost')\n"
        "def setproctitle(title): pass\n"
    )
    (tmp_path / "setproctitle.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with trio.fail_after(SOON), pytest.raises(tractor.ActorFailure, match="interrupted: SIGINT"):
        async with tractor.open_nursery() as nursery:
            await nursery.start_actor("kid")
            await trio.sleep_forever()
    assert capfd.readouterr() == ("", "")


async def test_a_child_that_blocks_obeys_an_interrupt_once_hung_up_on(tmp_path: Path) -> None:
    """Not before: a request to end in order waits until the loop turns. No traceback, for nobody is left to read it."""
    marker = tmp_path / "blocked"
    text = f"import time\nopen({str(marker)!r}, 'x').close()\ntime.sleep(60)\n"
    async with open_child("trio", make_spec_with_main(tmp_path / "script.py", text)) as running:
        with trio.fail_after(SOON):
            while not marker.exists():
                await trio.sleep(0.01)
        running.child.interrupt()
        await trio.sleep(0.2)
        assert not running.ended.is_set()
        running.child.hang_up()
        await trio.sleep(0.1)
        running.child.interrupt()
        assert await running.wait_end() == Exit("died", 128 + signal.SIGINT)
        assert running.child.boot_output() == ""


async def test_a_child_whose_channel_is_lost_ends() -> None:
    """Its lifeline is still held, but nobody can ask it for anything any more."""
    async with open_child("trio") as running:
        await running.wait_up()
        running.channel.abort()
        assert await running.wait_end() == Exit("returned", 0)


EXIT = """
import atexit, sys, threading, time
from tractor._child._boot import exit_process

class Finalized:
    def __del__(self):
        sys.stderr.write("finalized\\n")

def work():
    time.sleep(0.3)
    sys.stdout.write("thread\\n")

kept = Finalized()
atexit.register(sys.stdout.write, "atexit\\n")
threading.Thread(target=work).start()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
sys.stdout.write("main\\n")
exit_process(7)
"""


def test_a_process_ends_in_the_interpreters_own_order() -> None:
    """Threads, `atexit`, then what was written; daemon threads and finalizers are not waited for."""
    done = subprocess.run(
        [sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("main\nthread\natexit\n", "", 7)


@pytest.mark.parametrize(
    "break_stream", ["sys.stdout.close()", "sys.stdout = None", "import os; os.close(1)"]
)
def test_a_stream_that_is_gone_does_not_keep_a_process(break_stream: str) -> None:
    """The other one is still flushed, and the status is what it was to be."""
    code = (
        "import sys\n"
        "from tractor._child._boot import exit_process\n"
        "sys.stdout.write('lost')\n"
        f"sys.stderr.write('kept')\n{break_stream}\nexit_process(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=10,
        check=False,
    )
    assert (done.stderr, done.returncode) == (b"kept", 3)

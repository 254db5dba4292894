"""What counts as left behind, kind by kind, seen from inside one process."""

import _interpreters
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio

from tractor.testing import _leaks, _procs

MARK = "no-such-mark"
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def test_nothing_is_left_where_nothing_happened() -> None:
    """Two looks at an idle process agree."""
    assert not _leaks.find_leaks(_leaks.take_snapshot(), MARK)


def test_a_running_child_is_found_and_ended() -> None:
    """The report names pid and command line, and `end()` leaves not even a zombie."""
    before = _leaks.take_snapshot()
    with subprocess.Popen(SLEEP) as process:
        leaks = _leaks.settle(before, MARK, wait=0)
        assert leaks
        assert f"  process {process.pid} (" in str(leaks)
        leaks.end()
        assert _procs.read_proc(process.pid) is None
    assert not _leaks.find_leaks(before, MARK)


@pytest.mark.parametrize(("title", "left"), [(f"{_leaks.SPARE}4711]", False), ("_forkserver[of 4711]", True)])
def test_what_a_fork_server_keeps_ready_is_its_own(title: str, left: bool) -> None:
    """The server was there before the test: a module's tests may share it. One that the test has started is found itself."""
    code = (
        f"import setproctitle, time; setproctitle.setproctitle({title!r}); print(flush=True); time.sleep(60)"
    )
    before = _leaks.take_snapshot()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert bool(_leaks.find_leaks(before, MARK).processes) is left
        process.kill()


def test_a_zombie_is_found() -> None:
    """A child that ended but was never waited for is still there."""
    before = _leaks.take_snapshot()
    process = subprocess.Popen(["/bin/true"])
    while not (zombies := [p for p in _leaks.find_leaks(before, MARK).processes if p.state == "Z"]):
        time.sleep(0.005)
    assert [proc.pid for proc in zombies] == [process.pid]
    process.wait()
    assert not _leaks.find_leaks(before, MARK)


def test_a_thread_is_found_by_its_name_until_it_ends() -> None:
    """Idle workers in trio's cache are no leak, every other new thread is."""
    before = _leaks.take_snapshot()
    trio.run(trio.to_thread.run_sync, time.monotonic)
    assert not _leaks.settle(before, MARK)
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="stubborn")
    thread.start()
    leaks = _leaks.find_leaks(before, MARK)
    assert leaks.threads == {thread.native_id: "stubborn"}
    assert str(leaks) == f"  thread 'stubborn' (native id {thread.native_id})"
    end.set()
    thread.join()
    assert not _leaks.settle(before, MARK)


def test_a_cached_worker_that_is_busy_is_found() -> None:
    """A thread of trio's that never came back from its job bears the job's name."""
    before = _leaks.take_snapshot()
    end = threading.Event()

    async def main() -> None:
        with trio.move_on_after(0.1):
            await trio.to_thread.run_sync(end.wait, abandon_on_cancel=True)

    trio.run(main)
    leaks = _leaks.settle(before, MARK, wait=0)
    end.set()
    assert len(leaks.threads) == 1
    assert not _leaks.settle(before, MARK)


def test_an_open_socket_is_found_and_a_reopened_file_is_not() -> None:
    """Descriptors are compared by what they point to."""
    file = os.open("/dev/null", os.O_RDONLY)
    before = _leaks.take_snapshot()
    with socket.socket() as sock:
        reopened = os.dup(file)
        os.close(file)
        leaks = _leaks.find_leaks(before, MARK)
        assert list(leaks.descriptors) == [sock.fileno()]
        assert str(leaks).startswith(f"  descriptor {sock.fileno()} -> socket:[")
    os.close(reopened)
    assert not _leaks.find_leaks(before, MARK)


def test_one_more_of_the_same_kind_is_found() -> None:
    """All epoll descriptors look alike, so their number counts."""
    import select

    first = select.epoll()
    before = _leaks.take_snapshot()
    second = select.epoll()
    leaks = _leaks.find_leaks(before, MARK)
    assert list(leaks.descriptors.values()) == ["anon_inode:[eventpoll]"]
    first.close()
    assert not _leaks.find_leaks(before, MARK)
    second.close()


def test_an_interpreter_is_found_until_it_is_destroyed() -> None:
    """A sub-interpreter has no process, thread or descriptor of its own to betray it."""
    before = _leaks.take_snapshot()
    interpreter = _interpreters.create()
    try:
        leaks = _leaks.find_leaks(before, MARK)
        assert str(leaks) == f"  interpreter {interpreter}"
    finally:
        _interpreters.destroy(interpreter)
    assert not _leaks.find_leaks(before, MARK)


def test_a_socket_file_is_found_and_deleted(tmp_path: Path) -> None:
    """Only sockets count in the runtime directory, at any depth."""
    (tmp_path / "deep").mkdir()
    before = _leaks.take_snapshot(tmp_path)
    path = tmp_path / "deep" / "worker@1.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path))
    (tmp_path / "note.txt").touch()
    leaks = _leaks.find_leaks(before, MARK, tmp_path)
    assert leaks.files == [path]
    leaks.end()
    assert not path.exists()
    assert not _leaks.find_leaks(before, MARK, tmp_path)


def test_shared_memory_is_found_and_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new file counts, also one that this session itself still maps; an old one does not."""
    monkeypatch.setattr(_leaks, "SHM", tmp_path)
    (tmp_path / "old").touch()
    before = _leaks.take_snapshot()
    (tmp_path / "new").touch()
    leaks = _leaks.find_leaks(before, MARK)
    assert leaks.files == [tmp_path / "new"]
    leaks.end()
    assert not _leaks.find_leaks(before, MARK)


def test_shared_memory_of_another_session_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process outside this session maps is in use by somebody else's tests."""
    monkeypatch.setattr(_leaks, "SHM", tmp_path)
    before = _leaks.take_snapshot()
    code = f"import mmap; f = open({os.fspath(tmp_path / 'theirs')!r}, 'w+b'); f.write(b'x'); f.flush(); "
    code += "m = mmap.mmap(f.fileno(), 1); print(flush=True); import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert _leaks.find_leaks(before, MARK).files == [tmp_path / "theirs"]
        monkeypatch.setattr(_procs, "find_family", lambda root, mark, among: [])
        assert _leaks.find_leaks(before, MARK).files == []
        process.kill()


def test_settle_waits_for_what_is_on_its_way_out() -> None:
    """A child that ends by itself within the wait, and is reaped, is no leak."""
    before = _leaks.take_snapshot()
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.2)"])
    reaper = threading.Thread(target=process.wait)
    reaper.start()
    assert not _leaks.settle(before, MARK, wait=10)
    reaper.join()


def test_the_socket_directory_is_that_of_this_session() -> None:
    """The plugin gives every session a runtime directory of its own."""
    found = _leaks.find_socket_dir()
    assert found is not None
    assert found.is_relative_to(os.environ["XDG_RUNTIME_DIR"])
    assert "tractor-test-" in os.environ["XDG_RUNTIME_DIR"]


def test_without_the_transport_there_is_no_socket_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tractor without that module is checked for everything else."""
    monkeypatch.setitem(sys.modules, "tractor.ipc._rtdir", None)
    assert _leaks.find_socket_dir() is None

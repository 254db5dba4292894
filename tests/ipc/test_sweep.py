"""Socket files of processes that were killed: whoever listens next in the runtime directory removes them."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.programs.watch import Tree, find_sockets
from tractor.ipc import _uds
from tractor.ipc._addr import UDSAddress, get_sockname
from tractor.ipc._rtdir import get_rt_dir


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """The pid of a process that was there; pids are given out in turn, so nobody has it again soon."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory like `tmp_path` that leaves room for the name of any socket."""
    with TemporaryDirectory(prefix="tractor-") as name:
        yield Path(name)


@pytest.fixture
def place(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime directory of this test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(short_path))
    return get_rt_dir()


@pytest.fixture
def leave(place: Path) -> Iterator[Callable[..., Path]]:
    """A function that leaves a socket file of some age behind, with or without somebody listening on it."""
    with ExitStack() as stack:

        def make(name: str, *, alive: bool = False, age: float = 60.0) -> Path:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.bind(os.fspath(place / name))
            sock.listen()
            if not alive:
                sock.close()
            made = (place / name).stat().st_mtime
            os.utime(place / name, (made - age, made - age))
            return place / name

        yield make


def listen_once(place: Path) -> None:
    """Open a listener in the directory, as an actor does, and close it."""
    addr = UDSAddress.from_path(place / f"newcomer@{os.getpid()}.sock")
    sock, _ = _uds.listen(addr)
    sock.close()
    _uds.unlink(addr)


@pytest.mark.parametrize("name", ["alone", "name that/is no file name"])
def test_a_root_that_was_killed_leaves_a_file_that_the_next_listener_removes(
    name: str, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no child that could have done it; an actor that lives beside it keeps its own."""
    tree = Tree(short_path, "lone.py", name)
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tree.runtime_dir))
    place = get_rt_dir()
    with tree.running() as process:
        file = Path(tree.wait_for(actor="root")["path"])
        assert file.parent == place
        listen_once(place)
        assert find_sockets(place) == [file]
        tree.kill("root")
        process.wait()
        assert find_sockets(place) == [file]
        os.utime(file, (1, 1))
        listen_once(place)
        assert find_sockets(place) == []


@pytest.mark.parametrize("name", ["worker", "", "with@sign", "a@1.sock"])
def test_the_file_of_a_dead_process_is_removed(
    name: str, place: Path, leave: Callable[..., Path], dead_pid: int
) -> None:
    """Whatever the actor was called, also where its name was replaced by a digest."""
    file = leave(get_sockname(name, dead_pid, place).name)
    listen_once(place)
    assert not file.exists()


def test_what_is_not_certainly_dead_stays(place: Path, leave: Callable[..., Path], dead_pid: int) -> None:
    """A pid is not proof: it may be of another container, of a process just starting, or belong to somebody else by now."""
    kept = [
        leave(f"elsewhere@{dead_pid}.sock", alive=True),
        leave(f"starting@{dead_pid}.sock", age=0),
        leave(f"tomorrow@{dead_pid}.sock", age=-3600),
        leave(f"reused@{os.getppid()}.sock"),
        leave("init@1.sock"),
        leave("none@0.sock"),
        leave("chosen.sock"),
        leave(f"long@{2**32}.sock"),
        leave("text@12x.sock"),
        leave(f"other@{dead_pid}.socket"),
    ]
    (place / f"text@{dead_pid}.sock").write_text("data")
    (place / f"link@{dead_pid}.sock").symlink_to(kept[6])
    (place / f"folder@{dead_pid}.sock").mkdir()
    before = sorted(place.iterdir())
    listen_once(place)
    assert sorted(place.iterdir()) == before


def test_a_file_of_another_user_stays(
    place: Path, leave: Callable[..., Path], dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root could come by one here."""
    file = leave(f"worker@{dead_pid}.sock")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    _uds.sweep(place)
    assert file.exists()


def test_only_the_runtime_directory_is_swept(
    place: Path, leave: Callable[..., Path], dead_pid: int, tmp_path: Path
) -> None:
    """Another one that somebody listens in is not ours to tidy."""
    file = leave(f"worker@{dead_pid}.sock")
    listen_once(tmp_path / "else")
    assert file.exists()


def test_many_are_removed_little_by_little(place: Path, leave: Callable[..., Path], dead_pid: int) -> None:
    """No start takes long for it, and after some starts nothing is left."""
    most = _uds._SWEEP_MOST
    for number in range(2 * most + 1):
        leave(f"worker{number}@{dead_pid}.sock")
    left = []
    for _ in range(3):
        listen_once(place)
        left.append(len(find_sockets(place)))
    assert left == [most + 1, 1, 0]


def test_sweepers_do_not_disturb_each_other(place: Path, leave: Callable[..., Path], dead_pid: int) -> None:
    """Several at the same time: none fails, and what lives is still there behind them."""
    for number in range(50):
        leave(f"worker{number}@{dead_pid}.sock")
    alive = {leave(f"living{number}@{dead_pid}.sock", alive=True) for number in range(5)}
    together = threading.Barrier(4)

    def sweep() -> None:
        together.wait()
        _uds.sweep(place)

    threads = [threading.Thread(target=sweep) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(find_sockets(place)) == alive


def test_a_file_that_was_bound_again_meanwhile_stays(
    place: Path, leave: Callable[..., Path], dead_pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another sweeper was quicker, and so was an actor of the same name in another container."""
    file = leave(f"worker@{dead_pid}.sock")
    check = _uds._is_undecided

    def check_and_be_late(path: str, patience: float) -> bool:
        try:
            return check(path, patience)
        except ConnectionRefusedError:
            os.unlink(path)
            leave(file.name, alive=True, age=0)
            raise

    monkeypatch.setattr(_uds, "_is_undecided", check_and_be_late)
    _uds.sweep(place)
    assert file.exists()


def test_a_directory_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    """Nothing is left in it, either."""
    _uds.sweep(tmp_path / "missing")

"""The thread that watches the lifeline, in a process of its own: it ends by killing that."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs.watch import Tree, is_alive
from tractor._child._warden import FORSAKEN_AFTER, INTERRUPT_AFTER, KILL_AFTER, LIFT_AFTER, TURN, Warden
from tractor.ipc._addr import UDSAddress

#: Seconds by which a step may be late on a busy machine.
LATE = 0.4
#: Not the parent of anybody.
NOBODY = -1


class Warded:
    """The process, the parent's end of its lifeline, and when that was hung up."""

    def __init__(self, tree: Tree, lifeline: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.tree = tree
        self.process = process
        self.lifeline = lifeline
        self._hung_up_at = 0.0

    def hang_up(self) -> None:
        """Do what a parent does, or what happens when it dies."""
        self._hung_up_at = time.monotonic()
        self.lifeline.close()

    def wait_for(self, event: str) -> float:
        """Return how many seconds after the hang-up this was noted."""
        at: float = self.tree.wait_for(event=event)["at"]
        return at - self._hung_up_at

    def wait_end(self) -> tuple[int, float]:
        """Return the exit status, and how many seconds after the hang-up it came."""
        return self.process.wait(10), time.monotonic() - self._hung_up_at

    @property
    def events(self) -> list[str]:
        """What was noted so far, in order."""
        return [one["event"] for one in self.tree.reports()]


@contextmanager
def start(
    folder: Path, how: str, *sockets: Path, parent: int | None = None, hung_up: bool = False
) -> Iterator[Warded]:
    """Run `warded.py`; `parent` is who it takes for its parent (default: this process, and rightly so)."""
    ours, theirs = socket.socketpair()
    fd = theirs.fileno()
    parent = os.getpid() if parent is None else parent
    tree = Tree(folder, "warded.py", str(fd), str(parent), how, *map(str, sockets))
    with ours, theirs, tree.running(pass_fds=(fd,)) as process:
        warded = Warded(tree, ours, process)
        theirs.close()
        if hung_up:
            warded.hang_up()
        tree.wait_for(event="ready")
        yield warded


def listen(path: Path) -> socket.socket:
    """Return a socket that listens there."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def test_the_steps_come_in_this_order() -> None:
    """An interrupt that comes before shields are lifted would tear what was about to end in order."""
    assert 0 < LIFT_AFTER < INTERRUPT_AFTER < KILL_AFTER


def test_an_actor_is_cancelled_when_its_parent_hangs_up(tmp_path: Path) -> None:
    """At once, and not by what comes before; one that obeys is left alone."""
    with start(tmp_path, "obey") as warded:
        warded.lifeline.sendall(b"x" * 1000)
        time.sleep(0.2)
        assert warded.events == ["ready"]
        warded.hang_up()
        assert warded.wait_for("cancel") < LIFT_AFTER
        assert warded.wait_end()[0] == 0
        assert warded.events == ["ready", "cancel", "finished"]
        cancel, finished = warded.tree.reports()[1:]
        assert (cancel["how"], cancel["detail"]) == ("orphaned", "its parent has hung up")
        # What the actor has to share with children of its own.
        assert cancel["grace"] == INTERRUPT_AFTER
        assert finished["hung_up"]
        assert finished["over"]


@pytest.mark.parametrize("parent", [None, NOBODY])
def test_shields_are_lifted_from_one_that_does_not_end(parent: int | None, tmp_path: Path) -> None:
    """Whether the parent lives or not."""
    with start(tmp_path, "lift", parent=parent) as warded:
        warded.hang_up()
        assert LIFT_AFTER <= warded.wait_for("lift") < LIFT_AFTER + LATE
        assert warded.wait_end()[0] == 0
        assert warded.events == ["ready", "cancel", "lift", "finished"]


def test_a_loop_that_does_not_turn_is_interrupted_at_once(tmp_path: Path) -> None:
    """It was asked before, and nothing else ends what it runs."""
    with start(tmp_path, "block") as warded:
        warded.hang_up()
        assert TURN <= warded.wait_for("interrupted") < TURN + LATE
        assert warded.wait_end()[0] == -signal.SIGINT
        # What was meant for the loop waits until that turns.
        assert warded.events[:2] == ["ready", "interrupted"]


def test_a_parent_that_lives_uses_force_itself(tmp_path: Path) -> None:
    """It knows the grace that it has given; the warden does not kill."""
    with start(tmp_path, "deaf") as warded:
        warded.hang_up()
        time.sleep(KILL_AFTER + LATE)
        assert warded.process.poll() is None
        assert warded.events == ["ready"]
        warded.process.kill()
        assert warded.wait_end()[0] == -signal.SIGKILL


def test_a_parent_that_does_not_use_force_is_not_waited_for_long(tmp_path: Path) -> None:
    """It was an interpreter and is gone, though its process lives."""
    with start(tmp_path, "deaf") as warded:
        warded.hang_up()
        code, seconds = warded.wait_end()
        assert code == -signal.SIGKILL
        assert FORSAKEN_AFTER <= seconds < FORSAKEN_AFTER + KILL_AFTER + LATE


def test_an_orphan_that_takes_its_time_still_ends_in_order(tmp_path: Path) -> None:
    """Up to the kill; the interrupt finds it waiting, and lets go of it."""
    with start(tmp_path, "late", parent=NOBODY) as warded:
        warded.hang_up()
        code, seconds = warded.wait_end()
        assert code == -signal.SIGINT
        assert INTERRUPT_AFTER <= seconds < KILL_AFTER + LATE
        assert warded.events == ["ready", "cancel", "lift", "finished"]


def test_an_orphan_that_blocks_is_interrupted(tmp_path: Path) -> None:
    """Nobody else is left to do it."""
    with start(tmp_path, "block", parent=NOBODY) as warded:
        warded.hang_up()
        assert INTERRUPT_AFTER <= warded.wait_for("interrupted") < INTERRUPT_AFTER + LATE
        assert warded.wait_end()[0] == -signal.SIGINT


def test_an_orphan_that_ignores_interrupts_is_killed(tmp_path: Path) -> None:
    """Half a second after it has become one, and its own and its parent's socket files are gone."""
    paths = [tmp_path / "parent", tmp_path / "own"]
    with listen(paths[0]), listen(paths[1]), start(tmp_path, "deaf", *paths, parent=NOBODY) as warded:
        warded.hang_up()
        code, seconds = warded.wait_end()
        assert code == -signal.SIGKILL
        assert KILL_AFTER <= seconds < KILL_AFTER + LATE
        assert not any(path.exists() for path in paths)


def test_an_orphan_does_not_outlive_its_actor(tmp_path: Path) -> None:
    """A thread that never ends keeps an interpreter from ending, but not from being killed."""
    with start(tmp_path, "linger", parent=NOBODY) as warded:
        warded.hang_up()
        warded.wait_for("finished")
        code, seconds = warded.wait_end()
        assert code == -signal.SIGKILL
        assert KILL_AFTER <= seconds < KILL_AFTER + LATE
        assert warded.events == ["ready", "cancel", "finished"]


def test_a_parent_need_not_have_made_the_process(tmp_path: Path) -> None:
    """A fork server has; the warden follows the life of the parent all the same."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        with start(tmp_path, "deaf", parent=other.pid) as warded:
            warded.hang_up()
            time.sleep(KILL_AFTER + LATE)
            assert warded.process.poll() is None
            assert warded.events == ["ready"]
            other.kill()
            assert warded.wait_end()[0] == -signal.SIGKILL


def test_one_whose_parent_dies_later_is_interrupted_then(tmp_path: Path) -> None:
    """Its parent has hung up and lives; when that dies instead of using force, the warden does."""
    ours, theirs = socket.socketpair()
    fd = theirs.fileno()
    tree = Tree(tmp_path, "warded.py", str(fd))
    script = '"$@" $$ deaf & wait'
    with ours, theirs, tree.running("sh", "-c", script, "sh", *tree.argv, pass_fds=(fd,)) as parent:
        theirs.close()
        pid = tree.wait_for(event="ready")["pid"]
        ours.close()
        time.sleep(KILL_AFTER + LATE)
        assert is_alive(pid)
        parent.kill()
        tree.wait_gone(time.monotonic(), within=KILL_AFTER - INTERRUPT_AFTER + LATE)


def test_nothing_is_done_after_the_end(tmp_path: Path) -> None:
    """The process is on its way out, and its parent sees to it."""
    with start(tmp_path, "over") as warded:
        warded.wait_for("finished")
        warded.hang_up()
        assert warded.wait_end()[0] == 0
        assert warded.events == ["ready", "finished"]


def test_an_actor_that_comes_after_the_hang_up_is_cancelled(tmp_path: Path) -> None:
    """The parent may have gone while the interpreter was still starting."""
    with start(tmp_path, "slow", hung_up=True) as warded:
        warded.wait_for("cancel")
        assert warded.wait_end()[0] == 0
        assert warded.events == ["ready", "cancel", "finished"]


@pytest.mark.parametrize("hung_up", [True, False])
def test_a_dead_parents_socket_files_are_removed(hung_up: bool, tmp_path: Path) -> None:
    """Found by nobody listening there: a parent that hangs up may live, and one that is dying may not have."""
    lifeline, other = socket.socketpair()
    with lifeline, other, listen(tmp_path / "alive"):
        listen(tmp_path / "dead").close()
        warden = Warden(lifeline, os.getppid() if hung_up else NOBODY)
        warden.hung_up = hung_up
        warden.parent_addrs = [UDSAddress.from_path(tmp_path / name) for name in ("alive", "dead", "never")]
        warden.finished()
        assert warden.is_finished
        assert warden.is_orphan() is not hung_up
        assert [path.name for path in tmp_path.iterdir()] == ["alive"]


def test_the_socket_files_of_a_parent_that_lives_are_its_own(tmp_path: Path) -> None:
    """It may be about to listen there again."""
    lifeline, other = socket.socketpair()
    with lifeline, other:
        listen(tmp_path / "parent").close()
        warden = Warden(lifeline, os.getppid())
        warden.parent_addrs = [UDSAddress.from_path(tmp_path / "parent")]
        warden.finished()
        assert (tmp_path / "parent").exists()

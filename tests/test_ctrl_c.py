"""Ctrl-C at a real terminal: the prompt is back soon, with one traceback at most, and nothing is left running."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.programs.bodies import FORCE, SHARED
from tests.programs.watch import GONE, READY, Tree, find_marked, find_sockets
from tractor.testing import _procs

#: How often each is done, at moments that differ.
TIMES = 10
#: Seconds that a stuck child has. Interpreters end from inside and are taken apart one by one, so that force may take longer than
#: the grace of a process: more of it, or nobody could tell the one from the other.
GRACE = 1.0
AMPLE = 4.0 if SHARED else GRACE
#: Seconds until force has ended a chain of three whose first is stuck, from the order on.
AT_ONCE = FORCE if SHARED else 0.4


class Terminal:
    """A tree of actors in the foreground of a terminal."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        command, *args = tree.argv
        self._shell = pexpect.spawn(command, args, env=tree.env, encoding="utf-8", timeout=READY)

    def press_ctrl_c(self) -> float:
        """Interrupt the whole foreground group, as the terminal does; return when."""
        moment = time.monotonic()
        self._shell.sendintr()
        return moment

    def wait_prompt(self, since: float, within: float = GONE) -> str:
        """Return what was shown when the program is gone; `AssertionError` when it takes longer."""
        try:
            self._shell.expect(pexpect.EOF, timeout=max(0.0, since + within - time.monotonic()))
        except pexpect.TIMEOUT:
            left = [str(proc) for proc in find_marked(self.tree.mark)]
            raise AssertionError(
                f"no prompt after {within} s; still there: {left}; {self._shell.before}"
            ) from None
        shown: str = self._shell.before or ""
        self._shell.wait()
        return shown

    @property
    def signal(self) -> int | None:
        """What ended the program, as a shell sees it."""
        return self._shell.signalstatus

    @property
    def is_running(self) -> bool:
        """Whether there is no prompt yet."""
        running: bool = self._shell.isalive()
        return running

    def close(self) -> None:
        """Leave nothing behind."""
        self._shell.close(force=True)
        _procs.kill(find_marked(self.tree.mark))


@contextmanager
def open_terminal(folder: Path, transport: str, what: str, grace: float = GRACE) -> Iterator[Terminal]:
    """Run `nest.py` in a terminal of its own."""
    folder.mkdir()
    terminal = Terminal(Tree(folder, "nest.py", transport, what, str(grace), PYTHON_COLORS="0"))
    try:
        yield terminal
    finally:
        terminal.close()


def check_end(terminal: Terminal, since: float, *, within: float = GONE, interrupts: int = 1) -> None:
    """The prompt is back in time, the user was shown the root's interrupts alone, and nothing is left of the tree."""
    shown = terminal.wait_prompt(since, within)
    terminal.tree.wait_gone(since, within + 0.1)
    assert 1 <= len(re.findall(r"Traceback \(most recent call last\)", shown)) <= interrupts, shown
    assert shown.rstrip().endswith("KeyboardInterrupt"), shown
    assert "Warning" not in shown, shown
    assert terminal.signal == signal.SIGINT, shown
    assert find_sockets(terminal.tree.runtime_dir) == []


def test_a_nested_tree_ends(transport: str, tmp_path: Path) -> None:
    """Ten times in a row, with actors three levels deep that wait or stream."""
    for number in range(TIMES):
        what = "stream" if number % 2 else "sleep"
        with open_terminal(tmp_path / str(number), transport, what) as terminal:
            terminal.tree.wait_for(event="ready")
            time.sleep(0.007 * number)
            check_end(terminal, terminal.press_ctrl_c())


def test_a_tree_that_is_coming_up_ends(transport: str, tmp_path: Path) -> None:
    """Ten times in a row, at moments from the root's first step to the last actor's."""
    for number in range(TIMES):
        with open_terminal(tmp_path / str(number), transport, "sleep") as terminal:
            terminal.tree.wait_for(actor="root")
            time.sleep(0.06 * number)
            check_end(terminal, terminal.press_ctrl_c())


def test_a_root_that_is_spawning_ends(transport: str, tmp_path: Path) -> None:
    """Ten times in a row, with up to four children, at different moments of the next one's start."""
    for number in range(TIMES):
        with open_terminal(tmp_path / str(number), transport, "spawn") as terminal:
            terminal.tree.wait_for(event=f"child {number // 3}")
            time.sleep(0.02 * number)
            check_end(terminal, terminal.press_ctrl_c())


@pytest.mark.alone
@pytest.mark.parametrize("moment", [0.1, 0.4, 0.9])
def test_a_second_ctrl_c_does_not_wait_for_a_stuck_child(
    transport: str, moment: float, tmp_path: Path
) -> None:
    """Once is a request, and a child has its grace; twice is an order."""
    with open_terminal(tmp_path / "tree", transport, "stuck", AMPLE) as terminal:
        terminal.tree.wait_for(event="ready")
        first = terminal.press_ctrl_c()
        time.sleep(moment)
        assert terminal.is_running
        second = terminal.press_ctrl_c()
        # The second interrupt may come while the body handles the first, and Python shows both then.
        check_end(terminal, second, within=AT_ONCE, interrupts=2)
        assert second - first < 1.0


@pytest.mark.alone
def test_one_ctrl_c_is_enough_for_a_stuck_child(transport: str, tmp_path: Path) -> None:
    """It has its grace, then it is ended by force."""
    with open_terminal(tmp_path / "tree", transport, "stuck") as terminal:
        terminal.tree.wait_for(event="ready")
        check_end(terminal, terminal.press_ctrl_c(), within=GRACE + FORCE if SHARED else GONE)


LOADING = """
import signal, sys
import trio, tractor

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tractor.supervise._child":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                print("lost")

async def main():
    sys.meta_path.insert(0, Finder())
    async with tractor.open_nursery():
        await trio.sleep_forever()

trio.run(main)
"""


def test_an_interrupt_while_the_runtime_is_loaded_is_not_lost() -> None:
    """The first use of a public name imports; Python ignores an interrupt in a weakref callback, as imports have them."""
    done = subprocess.run(
        [sys.executable, "-c", LOADING], capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.stdout, done.returncode) == ("", -signal.SIGINT), done.stderr

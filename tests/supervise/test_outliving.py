"""No child outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.programs import actors
from tests.programs.bodies import SHARED
from tests.programs.watch import find_sockets, is_alive, wait_until

MODULES = [actors.__name__]
#: Seconds in which something happens at once, on a busy machine.
SOON = 3.0


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
    if not SHARED:
        # Those of a process that was killed are left, whoever was in it.
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

"""Whole trees of actors that are cancelled: they are gone together, in the time of the longest grace."""

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio

import tractor
from benchmarks import _trees, soak
from tests.programs import bodies, branches
from tests.programs.bodies import SHARED
from tests.programs.watch import find_sockets, is_alive, wait_until

# What is tested is how long it takes.
pytestmark = pytest.mark.alone

#: Children of each actor in a tree of three levels, which has 84 or 14. To make 84 interpreters takes 15 s of a processor,
#: for each imports its modules anew.
WIDTH = 2 if SHARED else 4
#: Seconds before force is used where nobody should need it, and far more than a healthy tree takes.
AMPLE = 30.0
#: Seconds that a stuck tree has, and what force may take beyond that on a busy machine.
GRACE = 1.0
FORCE = bodies.FORCE if SHARED else 1.0
#: Seconds within which every process is gone whose parent has died: half of one, and what a busy machine needs.
ORPHAN = 1.5


@pytest.mark.fence(150)
async def test_a_big_tree_is_cancelled(transport: str) -> None:
    """Three levels: when the block is left nobody is there any more, and nobody had to be forced."""
    async with tractor.open_root_actor(enable_transports=[transport]):
        with trio.CancelScope() as scope:
            async with _trees.growing(3, WIDTH, AMPLE) as grown:
                assert len(set(grown)) == WIDTH + WIDTH**2 + WIDTH**3
                assert all(map(is_alive, grown))
                scope.cancel()
                began = trio.current_time()
                await trio.sleep_forever()
        took = trio.current_time() - began
        left = [body for body in grown if is_alive(body)]
    assert scope.cancelled_caught
    assert left == []
    assert took < AMPLE


async def test_a_tree_whose_block_ends_well_is_ended_too() -> None:
    """By its nurseries' own `cancel()`, from the top."""
    async with _trees.growing(2, 3, AMPLE) as grown:
        assert len(set(grown)) == 3 + 9
    assert not any(map(is_alive, grown))


async def test_every_level_takes_its_time_at_the_same_time() -> None:
    """Each actor of a chain lingers behind a shield, and the one below is asked before it has done so."""
    # Interpreters are taken apart one by one: what that adds counts less beside more of it.
    linger = 2.0 if SHARED else 1.0
    with trio.CancelScope() as scope:
        async with _trees.growing(4, 1, AMPLE, linger) as grown:
            scope.cancel()
            began = trio.current_time()
            await trio.sleep_forever()
    took = trio.current_time() - began
    assert not any(map(is_alive, grown))
    # One after the other they would need four times as long.
    assert linger <= took < 2.5 * linger


async def measure_stuck(depth: int, width: int, path: Path) -> float:
    """Return how long a tree takes to end whose leaves block, from the cancellation until everybody is gone."""
    with trio.CancelScope() as scope:
        async with tractor.open_nursery(grace=GRACE) as nursery:
            async with trio.open_nursery() as tasks:
                for number in range(width):
                    tasks.start_soon(branches.hold_stuck, nursery, number, depth - 1, str(path))
                with trio.fail_after(40):
                    while not path.exists() or path.read_text().count("\n") < depth * width:
                        await trio.sleep(0.02)
                grown = [int(line) for line in path.read_text().split()]
                assert len(set(grown)) == depth * width
                # The last one has said that it is about to block.
                await trio.sleep(0.2)
                scope.cancel()
                began = trio.current_time()
    with trio.fail_after(10):
        while any(map(is_alive, grown)):
            await trio.sleep(0.005)
    return trio.current_time() - began


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (1, 8), (2, 4), (3, 2), (5, 1)])
async def test_what_a_stuck_tree_takes_is_one_grace(depth: int, width: int, tmp_path: Path) -> None:
    """However deep and however wide it is: bodies that wait for the stuck ones add nothing."""
    assert await measure_stuck(depth, width, tmp_path / "bodies") < GRACE + FORCE


CHAIN = """
import sys, trio, tractor
from tests.programs import branches

async def main(transport, depth, path):
    async with tractor.open_nursery(enable_transports=[transport], grace=30) as nursery:
        await branches.hold_stuck(nursery, 0, int(depth) - 1, path, grace=30)

trio.run(main, *sys.argv[1:])
"""


@pytest.mark.parametrize("depth", [1, 5])
def test_a_tree_whose_root_was_killed_takes_no_longer_for_being_deep(
    depth: int, transport: str, tmp_path: Path
) -> None:
    """Its leaf blocks: each level would wait for half a second, did it not pass on what time it has."""
    path = tmp_path / "bodies"
    place = Path(os.environ["XDG_RUNTIME_DIR"], f"chain-{depth}-{transport}")
    place.mkdir()
    argv = [sys.executable, "-c", CHAIN, transport, str(depth), str(path)]
    env = {**os.environ, "XDG_RUNTIME_DIR": str(place)}
    with subprocess.Popen(argv, cwd=Path(__file__).parents[1], env=env) as root:
        wait_until(lambda: path.exists() and path.read_text().count("\n") == depth, 40, "the tree")
        time.sleep(0.2)
        killed = time.monotonic()
        root.kill()
    grown = [int(line) for line in path.read_text().split()]
    wait_until(lambda: not any(map(is_alive, grown)), 10, "the end")
    assert time.monotonic() - killed < ORPHAN
    if not SHARED:
        # Those of a process that was killed are left, whoever was in it.
        assert find_sockets(place) == []


# The program that does it a hundred times.


def made(cancel: float = 0.2, left: int = 0) -> soak.Round:
    """A round of a soak."""
    return soak.Round(actors=84, grow=5.0, cancel=cancel, cpu=0.5, left=left, load=1.0)


def test_a_short_soak(transport: str, tmp_path: Path) -> None:
    """It says what every round took, and all of them."""
    figures = tmp_path / "figures.json"
    options = ["--rounds=2", "--depth=2", "--width=2", f"--transport={transport}", f"--json={figures}"]
    argv = [sys.executable, soak.__file__, *options]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^ +\d: 6 actors gone after \d", done.stdout, re.MULTILINE)) == 2
    assert re.search(r"^gone after, s +\d+\.\d+ +\d", done.stdout, re.MULTILINE)
    assert figures.read_text().count('"actors": 6') == 2
    assert not done.stderr


def test_a_soak_finds_what_should_not_be() -> None:
    """Who was left behind, and what waited for force."""
    assert soak.find_faults([made(), made()], grace=20.0) == []
    assert soak.find_faults([made(), made(left=3)], grace=20.0) == ["round 2: 3 actors were still there"]
    (fault,) = soak.find_faults([made(cancel=20.4)], grace=20.0)
    assert "by force" in fault


def test_a_soak_counts_who_is_left() -> None:
    """Those that run, not those that are gone; a thread is as good as a process, but uses its process's time."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert soak.count_left([os.getpid(), done.pid]) == 1
    assert soak.used_cpu({os.getpid()}) > 0
    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(threading.get_native_id).result()
        assert soak.count_left([thread]) == 1
        assert soak.find_pids([thread, os.getpid()]) == {os.getpid()}
    wait_until(lambda: soak.count_left([thread]) == 0, 1, "its end")

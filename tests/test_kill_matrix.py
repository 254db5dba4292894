"""SIGKILL of any actor, whatever its tree is doing: everything else is gone soon, cleanly, and the waiters know why."""

import signal
from pathlib import Path

import pytest

from tests.kinds import OF_A_PROCESS
from tests.programs.bodies import SHARED
from tests.programs.watch import Tree, find_sockets

PARENTS = {"middle": "root", "leaf": "middle"}

#: What the tree reports once it is in a state.
EVENTS = {
    "idle": ["idle middle", "idle leaf"],
    "rpc": ["rpc in middle", "rpc in leaf"],
    "stream": ["stream with middle", "stream with leaf"],
    "spawn": ["spawning"],
}


def find_waiters(who: str, state: str) -> list[str]:
    """Return which parts of the tree were waiting on that actor, and so must hear how it ended."""
    match who, state:
        case "root", _:
            return []
        case _, "rpc" | "stream":
            return [f"nursery of {PARENTS[who]}", f"task on {who}"]
        case "middle", _:
            return ["nursery of root", "context with middle"]
        case "leaf", "spawn":
            return ["nursery of middle", "task on leaf"]
    return ["nursery of middle"]


@pytest.mark.parametrize("state", ["idle", "rpc", "stream", "spawn"])
@pytest.mark.parametrize("who", ["root", *(pytest.param(who, marks=OF_A_PROCESS) for who in PARENTS)])
def test_a_killed_actor_takes_its_tree_along(who: str, state: str, transport: str, tmp_path: Path) -> None:
    """Every other process is gone within two seconds, no socket file is left, and whoever waited was told why."""
    tree = Tree(tmp_path, "tree.py", transport, state, who)
    with tree.running() as process:
        for event in EVENTS[state]:
            tree.wait_for(event=event)
        tree.wait_gone(tree.kill(who))
        assert process.wait(1) == (-signal.SIGKILL if who == "root" else 1), tree.stderr.read_text()
    if not SHARED:
        # Else nobody is left who could remove those of a process that was killed; the next who listens does.
        assert find_sockets(tree.runtime_dir) == []
    errors = [one for one in tree.reports() if "waiter" in one]
    for waiter in find_waiters(who, state):
        told = [one for one in errors if one["waiter"] == waiter]
        assert told, f"{waiter} heard nothing; the others: {errors}"
        assert told[0]["type"] in ("TransportClosed", "ActorFailure"), told
        assert who in told[0]["text"]
        assert "killed by SIGKILL" in told[0]["text"]

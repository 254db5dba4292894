"""A tree of real processes that the tests of a module share: a new child for each would cost more than all they do."""

from __future__ import annotations

import functools
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import outcome
import pytest
import trio

import tractor

#: Seconds that one test may take in the tree.
PATIENCE = 20.0

type Job = Callable[[], Awaitable[None]]


@dataclass
class Tree:
    """A root actor in a thread of its own, and its child."""

    nursery: tractor.ActorNursery
    portal: tractor.Portal
    _jobs: trio.MemorySendChannel[Job]
    _token: trio.lowlevel.TrioToken
    _results: queue.SimpleQueue[outcome.Outcome[None]]

    def run(self, main: Job) -> None:
        """Run `main` in the root's task and raise what it raises; the tree goes on."""
        trio.from_thread.run_sync(self._jobs.send_nowait, main, trio_token=self._token)
        self._results.get().unwrap()

    @property
    def us(self) -> tuple[str, str]:
        """The root's uid."""
        return tractor.current_actor().uid

    @property
    def them(self) -> tuple[str, str]:
        """The child's uid."""
        return self.portal.aid.uid


@contextmanager
def open_tree(transport: str, *modules: str) -> Iterator[Tree]:
    """Run a root with one child that exposes `modules`, for as long as the block takes."""
    trees: queue.SimpleQueue[Tree | None] = queue.SimpleQueue()
    left: list[BaseException] = []
    results: queue.SimpleQueue[outcome.Outcome[None]] = queue.SimpleQueue()

    async def main() -> None:
        async with tractor.open_nursery(enable_transports=[transport]) as an:
            portal = await an.start_actor("child", enable_modules=list(modules))
            sender, receiver = trio.open_memory_channel[Job](1)
            trees.put(Tree(an, portal, sender, trio.lowlevel.current_trio_token(), results))
            async for job in receiver:
                results.put(await _run(job))
            await an.cancel()

    def live() -> None:
        try:
            trio.run(main)
        except BaseException as exc:  # noqa: BLE001 - raised again where the tree is used
            left.append(exc)
        finally:
            trees.put(None)
            results.put(outcome.Error(RuntimeError("the shared tree has ended")))

    thread = threading.Thread(target=live, name="shared tree")
    thread.start()
    try:
        tree = trees.get()
        if tree is not None:
            yield tree
            trio.from_thread.run_sync(tree._jobs.close, trio_token=tree._token)
    except trio.RunFinishedError:
        # Why is said below.
        pass
    finally:
        thread.join()
    if left:
        raise left[0]


async def _run(job: Job) -> outcome.Outcome[None]:
    async def bounded() -> Any:
        with trio.fail_after(PATIENCE):
            await job()

    result: outcome.Outcome[None] = await outcome.acapture(bounded)
    return result


def in_tree(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in the task of the shared tree's root."""

    @functools.wraps(test)
    def run(tree: Tree, **kwargs: Any) -> None:
        tree.run(lambda: test(tree, **kwargs))

    return run


def named(name: str, *values: object) -> pytest.MarkDecorator:
    """Parametrize a test; its id reads `name=value`."""
    return pytest.mark.parametrize(name, values, ids=[f"{name}={_spell(value)}" for value in values])


def _spell(value: object) -> str:
    return value.__name__ if isinstance(value, type) else str(value)

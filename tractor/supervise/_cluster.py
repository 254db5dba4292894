"""A number of like actors at once."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import trio

from tractor.runtime._expose import find_modules
from tractor.runtime._portal import Portal
from tractor.runtime._state import current_actor
from tractor.supervise._nursery import ActorNursery
from tractor.supervise._root import open_nursery
from tractor.trionics._groups import collapse_eg
from tractor.trionics._managers import protected_manager


@protected_manager
async def open_actor_cluster(
    modules: list[str],
    count: int | None = None,
    names: Iterable[str] | None = None,
    hard_kill: bool = False,
    **runtime_kwargs: Any,
) -> AsyncGenerator[dict[str, Portal]]:
    """Start `count` actors together, yield portals to them, and end them with the block.

    `modules` are those whose functions may be run in them. `count`: how many (default: as many as there are `names`, else as
    there are processors that this process may use). `names`: one each (default: `worker_0`, `worker_1`, …).
    `hard_kill`: end them by force. `runtime_kwargs` are those of `open_nursery()`, and so are the errors.
    The portals are in the order of the names, under `"<name of this actor>.<name of the worker>"`.

    Raises `ValueError` where `names` are not `count` different ones, and what starting one of the actors raises.
    """
    chosen = _choose_names(count, names)
    async with open_nursery(**runtime_kwargs) as nursery:
        # Or every start would raise the same.
        find_modules(modules)
        portals = await _start_all(nursery, chosen, modules)
        here = current_actor().name
        try:
            yield {f"{here}.{name}": portals[name] for name in chosen}
        finally:
            await nursery.cancel(hard_kill=hard_kill)


def _choose_names(count: int | None, names: Iterable[str] | None) -> list[str]:
    if isinstance(count, bool) or not isinstance(count, int | None):
        raise TypeError(f"the number of actors must be an int, not {count!r}")
    if count is not None and count < 0:
        raise ValueError(f"the number of actors must not be negative: {count}")
    if names is None:
        number = (os.process_cpu_count() or 1) if count is None else count
        return [f"worker_{index}" for index in range(number)]
    chosen = list(names)
    if count is not None and len(chosen) != count:
        raise ValueError(f"{count} actors need as many names, not {len(chosen)}: {chosen}")
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"the names of a cluster's actors must differ: {chosen}")
    return chosen


async def _start_all(nursery: ActorNursery, names: list[str], modules: list[str]) -> dict[str, Portal]:
    portals: dict[str, Portal] = {}

    async def start(name: str) -> None:
        portals[name] = await nursery.start_actor(name, enable_modules=modules)

    async with collapse_eg(add_notes=False), trio.open_nursery() as starts:
        for name in names:
            starts.start_soon(start, name)
    return portals

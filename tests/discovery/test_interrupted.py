"""Ctrl-C in a root: what it has registered is gone while its block is still open, in its own registry and elsewhere."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack

import pytest
import trio

import tractor
from tests.discovery.conftest import open_program
from tests.discovery.test_client import list_names, wait_for_names
from tests.programs import townsfolk

KIDS = ["kid0", "kid1", "kid2"]


async def _start(nursery: tractor.ActorNursery) -> list[tractor.Portal]:
    """Start the children at the same time; their order is that of their names."""
    portals: dict[str, tractor.Portal] = {}

    async def start(name: str) -> None:
        portals[name] = await nursery.start_actor(name, enable_modules=[townsfolk.__name__])

    async with trio.open_nursery() as tasks:
        for name in KIDS:
            tasks.start_soon(start, name)
    return [portals[name] for name in KIDS]


async def _run_and_interrupt(nursery: tractor.ActorNursery, kids: str, how: str) -> None:
    """Start the children, and be interrupted."""
    async with AsyncExitStack() as stack:
        if kids == "sleeping":
            for name in KIDS:
                await nursery.run_in_actor(trio.sleep_forever, name=name)
        else:
            for portal in await _start(nursery):
                ctx, _ = await stack.enter_async_context(portal.open_context(townsfolk.count))
                stream = await stack.enter_async_context(ctx.open_stream())
                assert await stream.receive() == 0
                if kids == "streams closed":
                    with trio.fail_after(1):
                        await stream.aclose()
        assert [name for name in await list_names() if name in KIDS] == KIDS
        if how == "signal":
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("kids", "how"),
    [
        ("sleeping", "raise"),
        ("sleeping", "signal"),
        ("streaming", "raise"),
        ("streaming", "signal"),
        ("streams closed", "raise"),
    ],
)
@pytest.mark.parametrize("where", ["in the tree", "elsewhere"])
def test_an_interrupted_root_unregisters_its_children(
    registry: str, transport: str, where: str, kids: str, how: str
) -> None:
    """Within its block exactly those are listed who live; the interrupt leaves the program bare."""
    seen: list[str] = []

    async def live() -> None:
        async with tractor.open_root_actor(
            name="me", registry_addrs=[registry], enable_transports=[transport]
        ) as root:
            assert root.is_registrar is (where == "in the tree")
            try:
                async with tractor.open_nursery() as nursery:
                    await _run_and_interrupt(nursery, kids, how)
            finally:
                with trio.CancelScope(shield=True):
                    await wait_for_names(["me"] if where == "in the tree" else ["keeper", "me"], 5)
                    seen.extend(await list_names())

    async def main() -> None:
        if where == "in the tree":
            await live()
        else:
            async with open_program("keeper", registry) as keeper:
                await keeper.hear()
                await live()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert seen == (["me"] if where == "in the tree" else ["keeper", "me"])

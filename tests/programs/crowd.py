"""Many programs that come, go and look each other up: `python -m tests.programs.crowd NAME REGISTRY ACTORS SECONDS SEED`.

Each program has a number of actors; some end in order, some are killed, and new ones are started in their place. Meanwhile
it looks up actors of all programs and calls them: a portal to an actor that does not answer, or is another one, is an error.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable

import trio

import tractor
from tests.programs import bodies

MODULES = ["tests.programs.crowd", bodies.__name__]


async def tell_uuid() -> str:
    """Who it is."""
    return tractor.current_actor().aid.uuid


class Program:
    """One program of the crowd."""

    def __init__(self, name: str, programs: int, actors: int, seed: int) -> None:
        self.name = name
        self.programs = programs
        self.actors = actors
        self.random = random.Random(f"{seed} {name}")
        #: Most seconds that an actor lives: the more there are, the longer, so that starting them is not all that happens.
        self.lifetime = 2 + programs * actors / 25
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def live(self, registry: str, seconds: float) -> None:
        """Keep the actors coming and going."""
        transport = "uds" if registry.startswith("/unix") else "tcp"
        async with tractor.open_root_actor(
            name=self.name, registry_addrs=[registry], enable_transports=[transport], enable_modules=MODULES
        ):
            # `actors` counts the root.
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as tasks:
                    for number in range(1, self.actors):
                        tasks.start_soon(self.keep_one, f"{self.name}-{number}")
                    tasks.start_soon(self.look_up)

    async def keep_one(self, name: str) -> None:
        """Start an actor, again and again; each ends in one of several ways."""
        while True:
            try:
                async with tractor.open_nursery() as nursery:
                    portal = await nursery.start_actor(name, enable_modules=MODULES)
                    self.counts["started"] += 1
                    await trio.sleep(self.random.uniform(0.5, self.lifetime))
                    if self.random.random() < 0.5:
                        await bodies.slay(portal)
                        self.counts["killed"] += 1
                        await trio.sleep_forever()
                    await nursery.cancel()
            except tractor.ActorFailure:
                # The one that was killed.
                pass

    async def look_up(self) -> None:
        """Look for anybody, and see whether it is there."""
        while True:
            await trio.sleep(self.random.expovariate(20))
            number = self.random.randrange(self.actors)
            name = f"p{self.random.randrange(self.programs)}" + (f"-{number}" if number else "")
            try:
                async with tractor.find_actor(name) as portal:
                    if portal is None:
                        self.counts["none"] += 1
                        continue
                    found = await portal.run(tell_uuid)
                    self.counts["found"] += 1
                    if found != portal.aid.uuid or portal.aid.name != name:
                        self.wrong.append(f"{name}: {portal.aid} is {found}")
            except (tractor.TransportClosed, tractor.ContextCancelled):
                # It ended between the look-up and the answer, or during it.
                self.counts["ended meanwhile"] += 1
            except OSError:
                self.counts["no registrar"] += 1


def report(program: Program, memory: Callable[[], int]) -> None:
    """Print what came of it."""
    print(
        json.dumps({"name": program.name, "counts": program.counts, "wrong": program.wrong, "rss": memory()}),
        flush=True,
    )


def main() -> None:
    """Run one program of the crowd."""
    import psutil

    name, registry, programs, actors, seconds, seed = sys.argv[1:]
    program = Program(name, int(programs), int(actors), int(seed))
    trio.run(program.live, registry, float(seconds))
    report(program, lambda: int(psutil.Process().memory_info().rss))


if __name__ == "__main__":
    # Its functions are asked for by the name of this module, not of the main one.
    from tests.programs import crowd

    crowd.main()

"""Start interpreters that do something, and say what becomes of them. Arguments: GIL ACT [SECONDS]."""

import json
import sys
import time
from typing import Any

import trio

import tractor
from tests.programs import actors, stubborn


def say(**what: Any) -> None:
    """One line of JSON."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def main(*args: str) -> None:
    """Leave it in the middle of what it does; without seconds, wait for Ctrl-C."""
    gil, act, *seconds = args
    arguments = {"seconds": float(seconds[0])} if seconds else {}
    try:
        async with tractor.open_nursery(start_method="subint", grace=0.2) as nursery:
            portal = await nursery.start_actor(
                "lodger",
                enable_modules=[actors.__name__, stubborn.__name__],
                proc_kwargs={"gil": gil},
            )
            async with trio.open_nursery() as tasks:
                tasks.start_soon(call, portal, act, arguments)
                await trio.sleep(0.3)
                say(event="busy")
                if not seconds:
                    await trio.sleep_forever()
                began = time.monotonic()
                await nursery.cancel()
                say(event="cancelled", took=time.monotonic() - began)
    finally:
        say(event="left")


async def call(portal: tractor.Portal, act: str, arguments: dict[str, Any]) -> None:
    """Have it do something, which will not end well."""
    try:
        module = stubborn if hasattr(stubborn, act) else actors
        await portal.run_from_ns(module.__name__, act, **arguments)
        say(event="returned")
    except (tractor.TransportClosed, tractor.RemoteActorError) as exc:
        say(event="told", what=str(exc))


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])

"""A root actor without children that listens on a Unix-domain socket. Usage: lone.py REPORT NAME."""

import sys

import trio

import tractor
from tests.programs.watch import note


async def main(report: str, name: str) -> None:
    """Say where, and live."""
    async with tractor.open_root_actor(name=name, enable_transports=["uds"]) as actor:
        note(report, actor="root", pid=actor.pid, path="/".join(actor.accept_addr))
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])

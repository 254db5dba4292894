"""Many programs at one registry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

import tractor
from tests.discovery.conftest import Program
from tractor._ids import Aid

ROOT = Path(__file__).parents[2]


def run_crowd(registry: str, programs: int, actors: int, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Run the programs; return what each has reported."""
    argv = [str(programs), str(actors), str(seconds), str(seed)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.programs.crowd", f"p{number}", registry, *argv],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(programs)
    ]
    reports = []
    try:
        for process in running:
            out, _ = process.communicate(timeout=seconds + 120)
            assert process.returncode == 0
            reports.append(json.loads(out))
    finally:
        for process in running:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    return reports


def test_nobody_is_found_who_is_not_there(registry: str, request: pytest.FixtureRequest) -> None:
    """Actors of several programs come, end and are killed at random; whoever is found answers, and is the right one.

    `--crowd PROGRAMS,ACTORS,SECONDS` makes it a soak.
    """
    programs, actors, seconds = map(int, request.config.getoption("--crowd").split(","))
    reports = run_crowd(registry, programs, actors, seconds, seed=7)
    counts: Counter[str] = sum((Counter(report["counts"]) for report in reports), Counter())
    sys.stderr.write(f"\n{dict(counts)}, MiB: {sorted(report['rss'] >> 20 for report in reports)}\n")
    assert [report["wrong"] for report in reports] == [[]] * programs
    assert counts["found"] > counts["ended meanwhile"]
    assert counts["no registrar"] == 0


async def test_the_memory_of_a_registrar_stays_flat(transport: str) -> None:
    """However many have come and gone: nothing of them is kept."""
    async with tractor.open_root_actor(enable_transports=[transport]) as root:
        registrar: Any = root.registrar
        async with tractor.watch(), tractor.watch("x"):
            sizes = []
            for _ in range(4):
                for number in range(5_000):
                    aid = Aid(f"a{number}", f"u{number}")
                    registrar.register(aid, [f"/ip4/127.0.0.1/tcp/{number + 1}"], aid.uuid)
                    if number % 100 == 0:
                        await trio.lowlevel.checkpoint()
                for number in range(5_000):
                    registrar.table.remove_kept_by(f"u{number}")
                    if number % 100 == 0:
                        await trio.lowlevel.checkpoint()
                sizes.append(psutil.Process().memory_info().rss >> 10)
            assert len(registrar.table) == 1
            assert sizes[-1] - sizes[1] < 2048


async def test_many_that_start_at_one_address_have_one_registrar(
    registry: str, transport: str, request: pytest.FixtureRequest
) -> None:
    """Whoever is first; everybody is registered. There are four times the programs of the crowd."""
    count = 4 * int(request.config.getoption("--crowd").split(",")[0])
    running = [
        await trio.lowlevel.open_process(
            [sys.executable, "-m", "tests.programs.townsfolk", f"p{number}", registry],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        for number in range(count)
    ]
    try:
        programs = [Program(process) for process in running]
        roles = [(await program.hear())["registrar"] for program in programs]
        assert sorted(roles) == [False] * (count - 1) + [True]
        async with tractor.open_root_actor(
            registry_addrs=[registry], enable_transports=[transport], name="me"
        ):
            async with tractor.get_registry() as portal:
                entries = await portal.run_from_ns("self", "get_registry")
        names = sorted(entry.split(".")[0] for entry in entries)
        assert names == sorted(["me", *(f"p{number}" for number in range(count))])
    finally:
        for process in running:
            process.kill()
            await process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    await stream.aclose()

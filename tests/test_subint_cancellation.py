"""Children in interpreters that do not want to end: no signal reaches them, and they are gone all the same."""

import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

import tractor
from tests.programs import actors, stubborn

HERE = [actors.__name__, stubborn.__name__]
GRACE = 0.3
#: Seconds that force may take: what is meant, and a fence for a machine that does other things as well.
FORCE = 2.5
#: Interpreters that are made and ended, how many at a time, and the KiB by which the process may be larger in the second half
#: of the rounds: a third of one interpreter that has loaded trio.
ROUNDS, LANES, GROWTH = 300, 4, 4_096


@pytest.fixture(params=["own", "shared"])
def gil(request: pytest.FixtureRequest) -> str:
    """Which lock the children run under."""
    key: str = request.param
    return key


async def call(portal: tractor.Portal, func: Any, told: list[BaseException], **kwargs: Any) -> None:
    """Run something that will not end well."""
    try:
        await portal.run(func, **kwargs)
    except (tractor.TransportClosed, tractor.RemoteActorError) as exc:
        told.append(exc)


#: Beside those that any kind of child is ended in: see tests/spawn/test_backend_contract_ends.py.
ACTS = [actors.swallow, stubborn.spin_and_swallow, stubborn.wait_in_thread]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
async def test_a_stubborn_child_is_gone(act: Any, gil: str) -> None:
    """With its threads, and whoever waited for it is told."""
    told: list[BaseException] = []
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(start_method="subint", grace=GRACE) as nursery:
            portal = await nursery.start_actor("lodger", enable_modules=HERE, proc_kwargs={"gil": gil})
            tasks.start_soon(call, portal, act, told)
            await trio.sleep(0.2)
            began = trio.current_time()
            await nursery.cancel()
            assert trio.current_time() - began < GRACE + FORCE
    assert len(told) == 1


async def test_subint_non_checkpointing_child(gil: str) -> None:
    """One that waits in C for a second at a time is cancelled and joined, and no task of the parent's is left waiting."""
    told: list[BaseException] = []
    with trio.fail_after(15):
        async with trio.open_nursery() as tasks:
            async with tractor.open_nursery(start_method="subint", grace=GRACE) as nursery:
                portal = await nursery.start_actor("lodger", enable_modules=HERE, proc_kwargs={"gil": gil})
                tasks.start_soon(call, portal, stubborn.wait_for_event, told)
                await trio.sleep(0.2)
                await nursery.cancel()
                assert tractor.current_actor().served == {}
    assert len(told) == 1


@pytest.mark.parametrize("act", ["spin", "shielded"])
async def test_one_that_lives_in_another(act: str, gil: str) -> None:
    """The outer one ends the inner one before it ends itself."""
    told: list[BaseException] = []
    async with trio.open_nursery() as tasks:
        async with tractor.open_nursery(start_method="subint", grace=1.5) as nursery:
            portal = await nursery.start_actor("outer", enable_modules=HERE, proc_kwargs={"gil": gil})
            tasks.start_soon(lambda: call(portal, stubborn.with_child, told, module=actors.__name__, act=act))
            await trio.sleep(0.8)
            began = trio.current_time()
            await nursery.cancel()
            assert trio.current_time() - began < 1.5 + FORCE


async def test_threads_that_are_left_end_with_their_actor(gil: str) -> None:
    """Daemon threads are interrupted, as a process would not wait for them either."""
    async with tractor.open_nursery(start_method="subint", grace=GRACE) as nursery:
        portal = await nursery.start_actor("lodger", enable_modules=HERE, proc_kwargs={"gil": gil})
        await portal.run(stubborn.spin_in_thread)
        await portal.run(stubborn.leave_thread, seconds=0.5)
        began = trio.current_time()
        await portal.cancel_actor()
        while len(nursery._children):
            await trio.sleep(0.01)
        assert trio.current_time() - began < FORCE


async def test_twenty_five_fail_at_once(gil: str) -> None:
    """Every error arrives, and nobody is left."""
    with pytest.raises(ExceptionGroup) as info:
        async with tractor.open_nursery(start_method="subint", grace=GRACE) as nursery:
            async with trio.open_nursery() as starts:
                for number in range(25):
                    starts.start_soon(start_failing, nursery, number, gil)
    errors = [exc for exc in info.value.exceptions if isinstance(exc, tractor.RemoteActorError)]
    assert sorted(int(exc.message.split()[-1]) for exc in errors) == list(range(25))


async def start_failing(nursery: tractor.ActorNursery, number: int, gil: str) -> None:
    """Start one whose function fails."""
    await nursery.run_in_actor(stubborn.fail, name=f"lodger{number}", proc_kwargs={"gil": gil}, number=number)


# What ends a process, in a process of its own.


@contextmanager
def running(*args: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program; it is gone behind the block."""
    command = [sys.executable, "-m", "tests.programs.lodging", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def read_event(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next thing that it says."""
    assert process.stdout is not None
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


@pytest.mark.alone
@pytest.mark.fence(240)
def test_nothing_grows_with_three_hundred_rounds() -> None:
    """Neither threads nor descriptors nor interpreters, after any; nor memory, once what is made only once is there."""
    command = [sys.executable, "-m", "tests.programs.rounds", str(ROUNDS), str(LANES)]
    env = {**os.environ, "TRACTOR_SUBINT_POOL": "0"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=230, check=True)
    counts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(counts) == ROUNDS // LANES
    warm = counts[len(counts) // 5 :]
    for what in ("threads", "descriptors", "interpreters"):
        assert {one[what] for one in warm} == {warm[0][what]}, what
    assert warm[0]["interpreters"] == 1
    first, second = warm[: len(warm) // 2], warm[len(warm) // 2 :]
    growth = statistics.mean(one["memory"] for one in second) - statistics.mean(
        one["memory"] for one in first
    )
    assert growth < GROWTH, f"{growth:.0f} KiB"


def test_one_that_sleeps_in_c_is_abandoned(gil: str) -> None:
    """Nothing ends it; it is reported with where it was seen, and neither the nursery nor the process waits for it."""
    with running(gil, "sleep_in_c", "60") as process:
        assert read_event(process)["event"] == "busy"
        heard = [read_event(process) for _ in range(3)]
        ended = time.monotonic()
        output, errors = process.communicate(timeout=10)
        assert time.monotonic() - ended < 5
    assert sorted(event["event"] for event in heard) == ["cancelled", "left", "told"]
    assert process.returncode == 0, errors
    assert output == ""


async def test_what_was_abandoned_is_reported_with_its_stack(
    caplog: pytest.LogCaptureFixture, gil: str
) -> None:
    """Line by line, as its own interpreter sees it; when it ends after all, it is taken apart."""
    told: list[BaseException] = []
    with caplog.at_level(logging.ERROR, "tractor"):
        async with trio.open_nursery() as tasks:
            async with tractor.open_nursery(start_method="subint", grace=0.1) as nursery:
                portal = await nursery.start_actor("lodger", enable_modules=HERE, proc_kwargs={"gil": gil})
                tasks.start_soon(lambda: call(portal, stubborn.sleep_in_c, told, seconds=4.0))
                await trio.sleep(0.2)
                await nursery.cancel()
        record = next(record for record in caplog.records if "abandoned" in record.message)
        assert "in sleep_in_c" in record.stack  # type: ignore[attr-defined]
        assert "interpreter" in record.where  # type: ignore[attr-defined]
    with trio.fail_after(10):
        while any(thread.name == "tractor-interpreter" for thread in threading.enumerate()):
            await trio.sleep(0.05)


@pytest.mark.alone
@pytest.mark.parametrize("act", ["spin", "shielded", "wait_for_event"])
def test_ctrl_c_ends_the_program(act: str, gil: str) -> None:
    """Also where a child computes under the lock that the handler of the signal needs."""
    with running(gil, act) as process:
        assert read_event(process)["event"] == "busy"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        assert time.monotonic() - began < 2
    assert process.returncode in (-signal.SIGINT, 130, 1)
    assert "KeyboardInterrupt" in errors


def test_a_process_that_is_killed_takes_its_interpreters_along(gil: str) -> None:
    """They are nothing beside it."""
    with running(gil, "spin") as process:
        assert read_event(process)["event"] == "busy"
        process.kill()
        assert process.wait(10) == -signal.SIGKILL

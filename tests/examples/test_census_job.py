"""The books of a census: which files wait, which are in flight, and what is said of workers that died."""

import census
import pytest
import trio
from census_analysis import Finding
from census_report import Death, Share

import tractor


def finding(job: census.Job, worker: census.Worker) -> Finding:
    """Let the worker finish the file it was sent first."""
    found = Finding(worker.in_flight[0])
    job.answer(worker, found)
    return found


def send(job: census.Job, worker: census.Worker, count: int) -> None:
    """Let the worker have the next files."""
    worker.in_flight += [job.waiting.receive_nowait() for _ in range(count)]


def test_a_dead_workers_files_are_put_back_the_suspect_last() -> None:
    """What it had finished counts; the file it was examining comes after those it had not begun."""
    job = census.Job(["a", "b", "c", "d"], 2)
    one, two = job.workers
    send(job, one, 3)
    finding(job, one)
    job.bury(one, "killed by SIGKILL")
    assert job.deaths == [Death("worker-0", 0, "killed by SIGKILL", ["b", "c"])]
    assert (one.in_flight, job.missing) == ([], 3)
    send(job, two, 3)
    assert two.in_flight == ["d", "c", "b"]


def test_a_file_that_two_workers_died_over_is_reported() -> None:
    """It is not tried a third time, and the job can end without it."""
    job = census.Job(["a", "b"], 3)
    one, two, three = job.workers
    send(job, one, 2)
    job.bury(one, "killed by SIGSEGV")
    send(job, two, 2)
    finding(job, two)
    assert two.in_flight == ["a"]
    job.bury(two, "killed by SIGSEGV")
    assert job.missing == 0
    assert job.census.errors == {"a": "two workers died of it, the last one killed by SIGSEGV"}
    with pytest.raises(trio.EndOfChannel):
        send(job, three, 1)


def test_nobody_waits_for_a_file_after_the_last_finding() -> None:
    """Half of the findings and the last one are noticed; before that, waiting for a file is just waiting."""
    job = census.Job(["a", "b"], 1)
    (worker,) = job.workers
    send(job, worker, 2)
    assert not job.half_done.is_set()
    finding(job, worker)
    assert job.half_done.is_set()
    with pytest.raises(trio.WouldBlock):
        send(job, worker, 1)
    finding(job, worker)
    with pytest.raises(trio.EndOfChannel):
        send(job, worker, 1)


def test_a_worker_that_dies_with_nothing_in_flight_takes_nothing_with_it() -> None:
    """It is reported all the same, with how it ended."""
    job = census.Job(["a"], 1)
    (worker,) = job.workers
    job.bury(worker, "exit status 3")
    assert job.deaths[0].in_flight == []
    assert job.shares()["worker-0"] == Share(0, "exit status 3", alive=False)
    assert job.missing == 1


def test_how_a_worker_ended_is_told_by_whichever_error_knows() -> None:
    """In groups of any depth; what it said last, if that is known; and the error itself where no exit is known."""
    exit_3 = tractor.ActorFailure(
        "gone", exit=tractor.Exit("died", 3), stderr_tail="Traceback\nImportError: no\n"
    )
    lost = tractor.TransportClosed("the channel is closed")
    group = BaseExceptionGroup[BaseException]
    assert census.cause_of_death(group("", [lost, group("", [exit_3])])) == "exit status 3: ImportError: no"
    killed = tractor.TransportClosed("closed", exit=tractor.Exit("killed", -9))
    assert census.cause_of_death(group("", [killed])) == "killed by SIGKILL"
    assert "the channel is closed" in census.cause_of_death(group("", [lost]))

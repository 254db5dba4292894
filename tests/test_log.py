"""The logging of tractor.log."""

import logging
import re
import subprocess
import sys
import threading

import pytest
import trio

from tractor import log as tlog

ROOT = logging.getLogger("tractor")


def run_python(code: str) -> str:
    """Run `code` in a fresh interpreter and return what it wrote to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stderr


def test_the_library_is_quiet_by_default() -> None:
    """An error logged before anybody asked for a console writes nothing, not even through logging's last resort."""
    assert run_python("from tractor.log import get_logger; get_logger('x').error('unseen')") == ""


@pytest.mark.parametrize(
    ("name", "full"),
    [
        (None, "tractor"),
        ("tractor", "tractor"),
        ("tractor.ipc._tcp", "tractor.ipc._tcp"),
        ("mine", "tractor.mine"),
        ("tractorish.part", "tractor.tractorish.part"),
    ],
)
def test_every_logger_hangs_below_tractor(name: str | None, full: str) -> None:
    """Names are put below "tractor" once, never twice."""
    assert tlog.get_logger(name).name == full


def test_a_console_shows_actor_task_message_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """One line holds time, level, actor, task, logger, message and the extra fields, in that order."""

    async def worker() -> None:
        tlog.get_logger("part").warning("child %s", "killed", extra={"after_s": 0.5, "child": "w"})

    async def main() -> None:
        tlog.actor_name.set("boss@42")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker, name="the-task")

    tlog.get_console_log("info")
    trio.run(main)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING   \[boss@42 the-task\] tractor\.part: "
        r"child killed after_s=0\.5 child='w'\n",
        capsys.readouterr().err,
    )


def test_an_error_keeps_its_traceback_below_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    """The fields end the first line; the traceback follows it."""
    tlog.get_console_log()
    try:
        raise KeyError("lost")
    except KeyError:
        tlog.get_logger().exception("bad", extra={"n": 1})
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("tractor: bad n=1")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "KeyError: 'lost'"


def test_a_second_call_changes_the_level_and_adds_no_handler(capsys: pytest.CaptureFixture[str]) -> None:
    """Each record is shown once however often the console was asked for."""
    tlog.get_console_log("error")
    assert tlog.get_console_log("cancel") is ROOT
    tlog.get_logger().log(tlog.CANCEL, "once")
    assert capsys.readouterr().err.count("once") == 1


@pytest.mark.parametrize("name", [*tlog.CUSTOM_LEVELS, "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_a_level_shows_itself_and_hides_what_is_below(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every name of the table works in lower case, and is what `get_loglevel()` then answers."""
    number = tlog.get_console_log(name.lower()).level
    tlog.get_logger().log(number, "shown")
    tlog.get_logger().log(number - 1, "hidden")
    out = capsys.readouterr().err
    assert re.search(rf"{name} .*shown", out)
    assert "hidden" not in out
    assert tlog.get_loglevel() == name


def test_the_levels_have_the_documented_numbers() -> None:
    """Numbers are interface: user code passes them to `logger.log`."""
    assert tlog.CUSTOM_LEVELS == {
        "TRANSPORT": 5,
        "RUNTIME": 15,
        "DEVX": 17,
        "IO": 21,
        "CANCEL": 22,
        "PDB": 500,
    }


def test_no_level_means_error_at_first_and_the_last_one_later() -> None:
    """`None` never lowers or raises what was chosen before."""
    assert tlog.get_loglevel() == "ERROR"
    assert tlog.get_console_log().level == logging.ERROR
    tlog.get_console_log("runtime")
    assert tlog.get_console_log().level == tlog.RUNTIME


def test_a_number_without_a_name_survives_the_round_trip() -> None:
    """What `get_loglevel()` answers can be given to a child's `get_console_log()`."""
    tlog.get_console_log(23)
    assert tlog.get_console_log(tlog.get_loglevel()).level == 23


def test_an_unknown_level_is_refused_and_changes_nothing() -> None:
    """The error lists the names, and neither level nor handlers have moved."""
    before = list(ROOT.handlers)
    with pytest.raises(ValueError, match=r"unknown log level 'loud'.*TRANSPORT.*CANCEL"):
        tlog.get_console_log("loud")
    assert ROOT.handlers == before
    assert ROOT.level == logging.NOTSET


def filtered(**fields: object) -> logging.LogRecord:
    """Return a record made here and now, after the filter has seen it."""
    record = logging.makeLogRecord(fields)
    assert tlog.ContextFilter().filter(record)
    return record


def test_outside_any_actor_and_task_the_fields_are_dashes() -> None:
    """A record of plain synchronous code has nothing to show."""
    record = logging.LogRecord("tractor", logging.INFO, __file__, 1, "", (), None)
    assert tlog.ContextFilter().filter(record)
    assert (record.__dict__["actor"], record.__dict__["task"]) == ("-", "-")


def test_a_record_that_names_its_actor_and_task_keeps_them() -> None:
    """Whoever relays a record for somebody else gives both as `extra`."""
    record = filtered(actor="far@1", task="theirs")
    assert (record.__dict__["actor"], record.__dict__["task"]) == ("far@1", "theirs")


def test_an_asyncio_task_or_a_thread_stands_in_where_trio_has_no_task() -> None:
    """The record has the name of the asyncio task already; a worker thread is named by the thread."""
    assert filtered(taskName="guest", threadName="MainThread").__dict__["task"] == "guest"
    names: list[str] = []

    def work() -> None:
        record = logging.LogRecord("tractor", logging.INFO, __file__, 1, "", (), None)
        tlog.ContextFilter().filter(record)
        names.append(record.__dict__["task"])

    thread = threading.Thread(target=work, name="warden")
    thread.start()
    thread.join()
    assert names == ["warden"]


def test_two_actors_of_one_process_log_under_their_own_names() -> None:
    """The name belongs to the context, so tasks of two actors do not see each other's."""
    seen: dict[str, str] = {}

    async def actor(name: str) -> None:
        tlog.actor_name.set(name)
        await trio.lowlevel.checkpoint()
        seen[name] = filtered().__dict__["actor"]

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(actor, "a@1")
            nursery.start_soon(actor, "b@1")

    trio.run(main)
    assert seen == {"a@1": "a@1", "b@1": "b@1"}


def test_the_console_survives_a_process_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """A windowed program has no stderr; logging there must not raise."""
    tlog.get_console_log("info")
    monkeypatch.setattr(sys, "stderr", None)
    tlog.get_logger().error("nowhere to go")


def test_fields_with_a_broken_repr_are_reported_like_any_logging_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The caller goes on; the report says what was wrong."""

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    tlog.get_console_log("info")
    tlog.get_logger().error("x", extra={"field": Broken()})
    assert "--- Logging error ---" in capsys.readouterr().err

"""How the census looks, and how its JSON file is written."""

import io
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from census_analysis import Census, Finding, Function, Nesting
from census_report import (
    DISK_SPACE,
    MOST,
    Death,
    Run,
    Share,
    as_json,
    obituary,
    open_display,
    print_results,
    print_runs,
    reserved,
)
from rich.console import Console

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
LONG = "a_long_name_of_a_package/" * 5 + "module.py"


def census_of(findings: Sequence[Finding]) -> Census:
    """The sum of the findings."""
    census = Census()
    for finding in findings:
        census.add(finding)
    return census


def make_console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """A console 80 columns wide and what is printed on it."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=terminal, width=80, markup=False, highlight=False, color_system=None
    )
    return console, out


SAMPLE = census_of(
    [
        Finding(
            f"/src/{LONG}",
            1_234_567,
            4321,
            21,
            99,
            Function("Thing.do_it", 300, f"/src/{LONG}", 5),
            Nesting(9, f"/src/{LONG}", 77),
            {"os": 1234, "typing": 12},
        ),
        *(Finding(f"/src/bad{n:02}.py", error=f"SyntaxError: number {n}") for n in range(MOST + 2)),
    ]
)


def test_results_fit_eighty_columns_and_hold_every_figure() -> None:
    """Names are relative, numbers grouped, a long list of errors is cut and says so."""
    console, out = make_console(terminal=False)
    print_results(console, SAMPLE, ["/src"])
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for figure in (
        "13 (1,234,567 lines)",
        "4,321",
        "21",
        "99",
        "300 lines: Thing.do_it",
        "9 blocks",
        "os 1,234, typing 12",
    ):
        assert figure in words
    assert "bad00.py SyntaxError: number 0" in words
    assert f"bad{MOST - 1:02}.py" in words
    assert f"bad{MOST:02}.py" not in words
    assert "and 2 more" in words
    assert "/src" not in text


def test_results_of_nothing_can_be_shown() -> None:
    """An empty file has no longest function."""
    console, out = make_console(terminal=False)
    print_results(console, census_of([Finding("/src/empty.py")]), ["/src"])
    assert "longest" not in out.getvalue()
    assert "functions" in out.getvalue()


def test_names_are_never_taken_for_markup_or_control_codes() -> None:
    """A file may be called anything."""
    console, out = make_console(terminal=True)
    name = "/src/[bold]\x1b[2J.py"
    print_results(console, census_of([Finding(name, error="no")]), ["/src"])
    with open_display(console, 1, 1, ["/src"]) as display:
        display.update(0, {"worker-0": Share(0, name)}, [Death("worker-0", 7, "killed by SIGKILL", [name])])
    assert "\x1b[2J" not in out.getvalue()
    assert out.getvalue().count("[bold]\\x1b[2J.py") >= 3


def test_runs_are_compared_with_the_last() -> None:
    """Twice as fast is a speed-up of two; a run alone has none."""
    two, one = (Run(2, 2.0, SAMPLE, [], 0), Run(1, 4.0, SAMPLE, [], 0))
    console, out = make_console(terminal=False)
    print_runs(console, [two, one])
    assert [line.split() for line in out.getvalue().splitlines() if "x" in line] == [
        ["2", "2.00", "s", "6", "2.00", "x"],
        ["1", "4.00", "s", "3", "1.00", "x"],
    ]
    console, out = make_console(terminal=False)
    print_runs(console, [one])
    assert "1.00 x" not in out.getvalue()


def test_a_death_names_the_worker_how_it_ended_and_its_files() -> None:
    """Each file in flight is on a line of its own."""
    death = Death("worker-1", 4242, "killed by SIGKILL", ["/src/a.py", "/src/b/c.py"])
    assert obituary(death, ["/src"]).splitlines() == [
        "worker-1 (process 4242) died: killed by SIGKILL",
        "  2 files were in flight and are put back:",
        "    a.py",
        "    b/c.py",
    ]
    death = Death("worker-1", 0, "exit status 1: ImportError", [])
    assert obituary(death, []).splitlines() == [
        "worker-1 did not start: exit status 1: ImportError",
        "  no file was in flight",
    ]


def test_without_a_terminal_there_is_a_line_for_each_tenth() -> None:
    """Plain text, no control codes, the first and the last line included; deaths between them."""
    console, out = make_console(terminal=False)
    with open_display(console, 2, 2000, ["/src"]) as display:
        for done in range(2001):
            deaths = [Death("worker-1", 4242, "killed by SIGKILL", [])] if done > 1000 else []
            display.update(done, {"worker-0": Share(done, "/src/a.py")}, deaths)
    lines = out.getvalue().splitlines()
    assert [line for line in lines if line.startswith("2 ")] == [
        f"2 workers: {done:,} of 2,000 files" for done in range(0, 2001, 200)
    ]
    assert lines[6:8] == ["worker-1 (process 4242) died: killed by SIGKILL", "  no file was in flight"]
    assert len(lines) == 13
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("total", [1, 3, 7, 19])
def test_few_files_give_few_lines_and_always_the_last(total: int) -> None:
    """No line twice, whatever the number of files."""
    console, out = make_console(terminal=False)
    with open_display(console, 1, total, []) as display:
        for done in (*range(total + 1), total):
            display.update(done, {}, [])
    lines = out.getvalue().splitlines()
    assert lines[-1] == f"1 worker: {total} of {total} files"
    assert len(set(lines)) == len(lines) <= 11


def test_on_a_terminal_there_is_a_bar_for_each_worker_and_the_cursor_comes_back() -> None:
    """Nothing is wider than the terminal, and a dead worker's bar says so."""
    console, out = make_console(terminal=True)
    with open_display(console, 2, 9000, ["/src"]) as display:
        death = Death("worker-1", 7, "killed by SIGKILL", ["b.py"])
        display.update(4500, {"worker-0": Share(2500, LONG), "worker-1": Share(2000, "b.py")}, [])
        shares = {"worker-0": Share(7000, ""), "worker-1": Share(2000, "killed by SIGKILL", alive=False)}
        display.update(9000, shares, [death])
        display.update(9000, shares, [death])
        assert HIDE_CURSOR in out.getvalue()
        assert SHOW_CURSOR not in out.getvalue()
    text = out.getvalue()
    assert SHOW_CURSOR in text
    assert text.count("worker-1 (process 7) died: killed by SIGKILL") == 1
    last = text[text.rindex("2 workers") :].splitlines()
    assert "9,000/9,000" in last[0]
    assert last[1].split()[0] == "worker-0"
    assert "worker-1 died" in last[2]
    assert "killed by SIGKILL" in last[2]
    assert max(map(len, last[:3])) <= 80


def test_the_cursor_comes_back_after_an_error() -> None:
    """An interrupted display leaves the terminal as it was."""
    console, out = make_console(terminal=True)
    with suppress(KeyboardInterrupt), open_display(console, 1, 10, []) as display:
        display.update(1, {}, [])
        raise KeyboardInterrupt
    assert out.getvalue().rindex(SHOW_CURSOR) > out.getvalue().rindex(HIDE_CURSOR)


def test_the_json_has_the_first_runs_census_and_what_each_run_took() -> None:
    """Everything is plain JSON, with the deaths and their files."""
    death = Death("worker-1", 4242, "killed by SIGKILL", ["/src/a.py"])
    data = json.loads(as_json([Run(2, 2.5, SAMPLE, [death], 0), Run(1, 4.0, Census(), [], 3)], "uds"))
    assert data["census"] == SAMPLE.as_dict()
    assert data["transport"] == "uds"
    assert data["runs"][0] == {
        "workers": 2,
        "seconds": 2.5,
        "missing": 0,
        "died": [{"worker": "worker-1", "pid": 4242, "how": "killed by SIGKILL", "in_flight": ["/src/a.py"]}],
    }
    assert data["runs"][1]["missing"] == 3


def test_a_reserved_file_is_written_to(tmp_path: Path) -> None:
    """The text replaces what was there."""
    path = tmp_path / "out.json"
    path.write_text("something longer than what comes")
    with reserved(str(path)) as write:
        write("{}\n")
    assert path.read_text() == "{}\n"


def test_a_reserved_file_keeps_its_content_until_it_is_written_to(tmp_path: Path) -> None:
    """A run that is interrupted destroys no earlier results."""
    path = tmp_path / "out.json"
    path.write_text("before")
    with suppress(KeyboardInterrupt), reserved(str(path)):
        assert path.read_text() == "before"
        raise KeyboardInterrupt
    assert path.read_text() == "before"


def test_a_reserved_file_that_is_new_and_not_written_to_is_removed(tmp_path: Path) -> None:
    """No empty file stays behind an interrupted run."""
    with pytest.raises(KeyboardInterrupt), reserved(str(tmp_path / "out.json")):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["", "none/out.json", "."])
def test_a_place_that_cannot_be_written_is_refused_at_once(path: str, tmp_path: Path) -> None:
    """A missing directory, a directory, no name at all: known before the work begins."""
    with pytest.raises(OSError, match="directory"), reserved(path and str(tmp_path / path)):
        pytest.fail("the work began")


def test_a_full_disk_is_found_at_once() -> None:
    """The device that is always full takes not even the first byte."""
    with pytest.raises(OSError, match="No space left"), reserved("/dev/full"):
        pytest.fail("the work began")


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    """The error is raised, and a new file is gone."""
    import resource
    import signal

    path = tmp_path / "out.json"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_SPACE, limits[1]))
        with pytest.raises(OSError, match="too large"), reserved(str(path)) as write:
            write("x" * (DISK_SPACE + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not path.exists()


def test_a_pipe_can_be_written_to(tmp_path: Path) -> None:
    """What is not a regular file gets white space first, which JSON allows, to find out whether it takes any."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with reserved(str(path)) as write:
            write('{"a": 1}\n')
        assert json.loads(os.read(reader, 100)) == {"a": 1}
    finally:
        os.close(reader)

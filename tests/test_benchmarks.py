"""The benchmark program: that it measures everything it names, and what it makes of the figures. Nothing is timed here."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from benchmarks import _floors, _peer, quick
from benchmarks._measure import Budget, Limits, Measure, Pair, Row, Unit, alternate, run
from benchmarks._report import as_json, beside, budget, number, spread, table

PROGRAM = Path(quick.__file__)
SECONDS = 120


def measure(
    unit: Unit = "ms", *, pairs: Sequence[Pair] = (), limit: Budget | None = None, name: str = "thing"
) -> Measure:
    """A measure whose figures are known beforehand."""
    return Measure(name, f"the {name}", unit, lambda _: list(pairs), budget=limit)


def row(unit: Unit, floor: Sequence[float], ours: Sequence[float], limit: Budget | None = None) -> Row:
    """A row of figures in its own unit."""
    return Row(measure(unit, limit=limit), list(floor), list(ours), load=0.5)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """What the program prints, and writes as JSON, after one round of each measurement with next to nothing to do."""
    file = tmp_path_factory.mktemp("bench") / "figures.json"
    command = [sys.executable, str(PROGRAM), "--rounds", "1", "--scale", "0.01", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text())


def test_every_measurement_has_a_line(short_run: tuple[str, Any]) -> None:
    """With a figure of the floor and one of ours, both more than nothing."""
    output, written = short_run
    measures = quick.catalogue()
    assert [line["name"] for line in written["rows"]] == [each.name for each in measures]
    for each, line in zip(measures, written["rows"], strict=True):
        assert each.title in output
        assert not line["failure"]
        assert len(line["floor"]) == len(line["ours"]) == len(line["ratios"]) == 1
        assert line["floor"][0] > 0
        assert line["ours"][0] > 0


def test_the_machine_and_what_it_was_busy_with_are_told(short_run: tuple[str, Any]) -> None:
    """Figures without them cannot be compared."""
    output, written = short_run
    assert f"cores {len(os.sched_getaffinity(0))}" in output.splitlines()[0]
    assert written["machine"]["python"].startswith(sys.implementation.name.replace("cp", "CP", 1))
    assert all(line["load"] >= 0 for line in written["rows"])


def test_the_budgets_are_shown(short_run: tuple[str, Any]) -> None:
    """Those of the four figures that matter most stand beside them."""
    output, _ = short_run
    for text in ("≤ 2.5x", "≥ 30,000/s", "≥ 300,000/s", "≤ 1.4x"):
        assert text in output


@pytest.mark.parametrize(
    ("unit", "floor", "ours", "ratios"),
    [("us", [10, 20], [25, 30], [2.5, 1.5]), ("/s", [1000, 900], [500, 300], [2, 3])],
)
def test_a_ratio_is_how_much_dearer_ours_is(
    unit: Unit, floor: list[float], ours: list[float], ratios: list[float]
) -> None:
    """Of times and of rates alike, and round by round."""
    assert row(unit, floor, ours).ratios == ratios


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (row("us", [10, 10, 10], [20, 24, 90], Budget("ratio", 2.5)), True),
        (row("us", [10, 10, 10], [20, 26, 90], Budget("ratio", 2.5)), False),
        (row("/s", [9], [30_000], Budget("figure", 30_000)), True),
        (row("/s", [9], [29_999], Budget("figure", 30_000)), False),
        (row("ms", [1], [15], Budget("figure", 15)), True),
        (row("ms", [1], [16], Budget("figure", 15)), False),
        (row("modules", [200], [245], Budget("excess", 45)), True),
        (row("modules", [200], [246], Budget("excess", 45)), False),
        (row("ms", [1], [1]), None),
    ],
)
def test_a_budget_is_about_the_median(line: Row, kept: bool | None) -> None:
    """At the limit is within; without a budget there is no verdict."""
    assert line.within_budget is kept


@pytest.mark.parametrize(
    ("value", "text"), [(1.234, "1.23"), (12.34, "12.3"), (123.4, "123"), (1234567.8, "1,234,568"), (7, "7")]
)
def test_figures_are_short(value: float, text: str) -> None:
    """Three digits, and thousands are marked."""
    assert number(value) == text


def test_a_spread_goes_from_the_least_to_the_most() -> None:
    """Where there is only one value there is none."""
    assert spread([3, 1, 2], " ms") == "2 ms (1-3)"
    assert spread([3.5], "x") == "3.50x"


def test_the_table_is_aligned() -> None:
    """Every column begins at the same place in each line."""
    lines = table(
        [row("ms", [1, 2], [2, 4], Budget("ratio", 1.4)), row("modules", [200], [230], Budget("excess", 45))]
    ).splitlines()
    assert lines[0].index("budget") == lines[1].index("≤ 1.4x") == lines[2].index("≤ +45")
    assert "OVER" in lines[1]
    assert "within budget" in lines[2]
    assert beside(row("modules", [200], [230])) == "+30"
    assert budget(row("ms", [1], [1], Budget("figure", 15))) == "≤ 15 ms"


def test_rounds_end_at_the_limit() -> None:
    """At the number that was asked for, or when the time is over, though not before there are three."""
    patient, late = Limits(5, seconds=1000), Limits(5, seconds=-1)
    assert [patient.allow(done) for done in (4, 5)] == [True, False]
    assert [late.allow(done) for done in (2, 3)] == [True, False]


def test_floor_and_ours_take_turns() -> None:
    """What disturbs one disturbs the other."""
    order: list[str] = []

    def note(name: str, figure: float) -> Callable[[], float]:
        def one_round() -> float:
            order.append(name)
            return figure

        return one_round

    taken = run(Measure("a", "a", "ms", alternate(note("floor", 0.001), note("ours", 0.002)), rounds=3))
    assert order == ["floor", "ours"] * 3
    assert (taken.floor, taken.ours) == ([1.0] * 3, [2.0] * 3)


def failing(_: Limits) -> list[Pair]:
    """A measurement that cannot be taken."""
    raise OSError("no such machine")


def test_a_failure_does_not_take_the_other_figures_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Its row says so, its traceback is shown, and it has no verdict."""
    broken = run(Measure("broken", "the broken one", "ms", failing, budget=Budget("ratio", 1)))
    assert broken.failure == "OSError: no such machine"
    assert "Traceback" in capsys.readouterr().err
    assert broken.within_budget is None
    assert "failed" in table([broken])
    assert as_json({}, [broken])["rows"][0]["failure"] == broken.failure


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--only", "fine"], 0),
        (["--only", "fine", "--strict"], 0),
        (["--only", "fine", "--only", "missed"], 0),
        (["--only", "fine", "--only", "missed", "--strict"], quick.MISSED),
        (["--only", "fine", "--only", "broken"], quick.FAILED),
        (["--strict"], quick.FAILED),
    ],
)
def test_the_exit_status(arguments: list[str], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missed budget counts only where that is asked for, a failure always."""
    measures = [
        measure(name="fine", pairs=[(1, 1)], limit=Budget("ratio", 1.4)),
        measure(name="missed", pairs=[(1, 2)], limit=Budget("ratio", 1.4)),
        Measure("broken", "the broken one", "ms", failing),
    ]
    monkeypatch.setattr(quick, "catalogue", lambda scale=1.0: measures)
    monkeypatch.setattr(quick, "compile_all", lambda: None)
    assert quick.main(arguments) == status


def test_an_unknown_measurement_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """And those that there are are named."""
    with pytest.raises(SystemExit) as left:
        quick.main(["--only", "nonsense"])
    assert left.value.code == 2
    assert "call-any-core" in capsys.readouterr().err


def test_a_floor_whose_peer_has_ended_fails() -> None:
    """Rather than wait for it, or measure nothing at great speed."""

    async def work(stream: trio.socket.SocketType, count: int) -> float:
        await stream.send(_peer.READY)
        await _floors.receive(stream)
        return float(count)

    with _floors.floor("idle", work, 1) as one_round, pytest.raises(EOFError):
        one_round()

"""The benchmark of what backends make of actors: that it measures what it names. Nothing is timed here."""

import pytest

from benchmarks import backends
from benchmarks._measure import Measure


@pytest.mark.parametrize("measure", backends.catalogue(), ids=lambda measure: measure.name)
def test_every_measurement_has_a_line(measure: Measure, capsys: pytest.CaptureFixture[str]) -> None:
    """With a figure of the floor and one of ours."""
    assert backends.main(["--only", measure.name, "--rounds", "1"]) == 0
    output = capsys.readouterr().out
    line = next(line for line in output.splitlines() if line.startswith(measure.title))
    assert "failed" not in line
    assert "x" in line

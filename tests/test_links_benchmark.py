"""The benchmark of links to interpreters: that it measures what it names. Nothing is timed here."""

import pytest

from benchmarks import links


def test_every_measurement_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With a figure of a process and one of an interpreter."""
    assert links.main(["--rounds", "1", "--scale", "0.01"]) == 0
    output = capsys.readouterr().out
    for measure in links.catalogue():
        line = next(line for line in output.splitlines() if line.startswith(measure.title))
        assert "failed" not in line
        assert "x" in line


def test_only_what_was_asked_for_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status says whether it could be."""
    assert links.main(["--only", "call-own", "--rounds", "1", "--scale", "0.01"]) == 0
    output = capsys.readouterr().out
    assert "call, own GIL" in output
    assert "shared GIL" not in output

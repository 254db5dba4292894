"""The stamp of the environment, and what `make setup` does with versions that it does not like."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts.bootstrap import _find, _venv
from scripts.bootstrap.__main__ import main

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose default environment has an interpreter and no stamp."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(_venv, "ROOT", tmp_path)
    return tmp_path


def stamp(checkout: Path) -> None:
    """Mark the default environment as finished."""
    (checkout / ".venv" / _venv.STAMP).write_text(json.dumps(_venv.wanted(_venv.DEFAULT)))


def test_finished(checkout: Path) -> None:
    """A stamped environment is what is wanted."""
    assert _venv.stamped(_venv.DEFAULT) is None
    stamp(checkout)
    assert _venv.stamped(_venv.DEFAULT) == _venv.wanted(_venv.DEFAULT)


def test_other_dependencies(checkout: Path) -> None:
    """A change of pyproject.toml makes the stamp an old one."""
    stamp(checkout)
    (checkout / "pyproject.toml").write_text("[project]\nname='x'\n")
    assert _venv.stamped(_venv.DEFAULT) not in (None, _venv.wanted(_venv.DEFAULT))


@pytest.mark.parametrize("text", ["", "{", "[]", '"done"'])
def test_a_stamp_that_says_nothing(checkout: Path, text: str) -> None:
    """It counts as none, so the environment is made anew."""
    (checkout / ".venv" / _venv.STAMP).write_text(text)
    assert _venv.stamped(_venv.DEFAULT) is None


def test_an_interpreter_that_is_gone(checkout: Path) -> None:
    """Its stamp counts as none too."""
    stamp(checkout)
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").symlink_to(checkout / "gone")
    assert _venv.stamped(_venv.DEFAULT) is None


def test_the_running_interpreter_is_usable() -> None:
    """The probe accepts it for its own version only, and names its base interpreter."""
    found = _find.usable(Path(sys.executable), VERSION)
    assert found is not None
    assert found.samefile(getattr(sys, "_base_executable", sys.executable))
    assert _find.usable(Path(sys.executable), "3.9") is None
    assert _find.usable(Path("/nonexistent/python"), VERSION) is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("3.9", "CPython 3.9 is too old"),
        ("2.7", "too old"),
        ("pypy", "PYTHON=pypy is not understood"),
        ("3", "understood"),
    ],
)
def test_a_version_that_will_not_do(
    asked: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One short message, and an exit status that stops make."""
    monkeypatch.setattr(sys, "argv", ["bootstrap", asked])
    assert main() == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1

"""What a parent says about its main module."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from tractor.supervise._mainmod import describe_main


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A main module to be described, with nothing in it."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_a_script_is_known_by_its_path(
    main: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absolute, for the child may start elsewhere."""
    (tmp_path / "script.py").touch()
    monkeypatch.chdir(tmp_path)
    main.__file__ = "script.py"
    assert describe_main() == {"path": str(tmp_path / "script.py"), "package": ""}


def test_a_script_that_calls_itself_part_of_a_package(main: ModuleType, tmp_path: Path) -> None:
    """PEP 366: what it imports relatively must be found in the child too."""
    script = tmp_path / "script.py"
    script.touch()
    main.__file__ = str(script)
    main.__package__ = "tools"
    assert describe_main() == {"path": str(script), "package": "tools"}


def test_a_module_run_by_name_is_known_by_its_name(main: ModuleType) -> None:
    """`python -m package.module`."""
    main.__spec__ = ModuleSpec("package.module", None)
    assert describe_main() == {"name": "package.module"}


@pytest.mark.parametrize("name", ["__main__", "package.__main__"])
def test_the_main_of_a_package_or_folder_is_not_replayed(main: ModuleType, name: str) -> None:
    """It is meant to be run, not imported."""
    main.__spec__ = ModuleSpec(name, None)
    main.__file__ = __file__
    assert describe_main() == {}


def test_a_main_without_a_file_is_not_replayed(main: ModuleType) -> None:
    """`python -c`, the interactive prompt."""
    assert describe_main() == {}
    main.__file__ = "<stdin>"
    assert describe_main() == {}


def test_no_main_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding program may have none."""
    monkeypatch.delitem(sys.modules, "__main__")
    assert describe_main() == {}


def test_a_replayed_main_is_passed_on(main: ModuleType, tmp_path: Path) -> None:
    """A child's own children replay the same script, although in the child it goes by another name."""
    script = tmp_path / "script.py"
    script.touch()
    main.__spec__ = ModuleSpec("__mp_main__", None)
    main.__file__ = str(script)
    assert describe_main()["path"] == str(script)

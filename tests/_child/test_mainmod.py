"""What a child makes of its parent's main module."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tractor._child._mainmod import replay_main
from tractor.runtime._expose import MP_MAIN
from tractor.supervise._mainmod import describe_main

SCRIPT = """
value = 41
async def where(): return __name__
if __name__ == "__main__":
    raise AssertionError("this is for the parent")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for modules, on the search path; what a replay does to `sys.modules` is undone."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    # Set, so that it is taken out again; then removed, for a fresh interpreter has none.
    monkeypatch.setitem(sys.modules, MP_MAIN, ModuleType(MP_MAIN))
    del sys.modules[MP_MAIN]
    return tmp_path


def replayed() -> ModuleType:
    """Return what goes by both names now."""
    assert sys.modules["__main__"] is sys.modules[MP_MAIN]
    return sys.modules["__main__"]


@pytest.mark.parametrize("name", ["script.py", "script"])
def test_a_script_is_found_by_its_path(folder: Path, name: str) -> None:
    """Also one whose name does not end in .py; its main block does not run."""
    (folder / name).write_text(SCRIPT)
    replay_main({"path": str(folder / name), "package": ""})
    module = replayed()
    assert module.value == 41
    assert module.__name__ == MP_MAIN
    assert module.__file__ == str(folder / name)
    assert module.where.__module__ == MP_MAIN


def test_a_module_run_by_name_is_found_by_its_name(folder: Path) -> None:
    """`python -m module`; the copy under its own name, if anybody imports that, is another one."""
    (folder / "byname_main.py").write_text(SCRIPT)
    replay_main({"name": "byname_main"})
    assert replayed().value == 41
    assert replayed().__name__ == MP_MAIN
    assert "byname_main" not in sys.modules


def test_a_module_in_a_package_imports_its_neighbours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and by path, relatively and absolutely."""
    package = folder / "replayed_pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "near.py").write_text("value = 42\n")
    (package / "tool.py").write_text("from .near import value\nfrom replayed_pkg import near\n")
    for name in ("replayed_pkg", "replayed_pkg.near"):
        monkeypatch.setitem(sys.modules, name, import_module(name))
    replay_main({"name": "replayed_pkg.tool"})
    assert replayed().value == 42
    replay_main({"path": str(package / "tool.py"), "package": "replayed_pkg"})
    assert replayed().value == 42
    assert replayed().__package__ == "replayed_pkg"


def test_a_replayed_module_is_described_as_the_original_was(folder: Path) -> None:
    """So a grandchild replays the same file."""
    script = folder / "script.py"
    script.write_text(SCRIPT)
    first = {"path": str(script), "package": ""}
    replay_main(first)
    assert describe_main() == first
    replay_main(describe_main())
    assert replayed().value == 41


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import nowhere_to_be_found", ModuleNotFoundError),
        ("1 / 0", ZeroDivisionError),
        ("def broken(:", SyntaxError),
        ("raise SystemExit(3)", SystemExit),
        ("raise RuntimeError('its own')", RuntimeError),
    ],
)
@pytest.mark.parametrize("name", ["script.py", "script"])
def test_an_error_at_import_is_the_callers(
    folder: Path, name: str, text: str, error: type[BaseException]
) -> None:
    """Unchanged, whatever it is; its traceback names the script."""
    (folder / name).write_text(text)
    with pytest.raises(error) as caught:
        replay_main({"path": str(folder / name), "package": ""})
    assert caught.value.__cause__ is None
    if error is not SyntaxError:
        assert str(caught.traceback[-1].path) == str(folder / name)


def test_a_script_without_a_main_block_is_told_so(folder: Path) -> None:
    """It starts its program in every child; the error says what to write."""
    (folder / "script.py").write_text("import trio\nasync def main(): pass\ntrio.run(main)\n")
    import trio

    async def child() -> None:
        replay_main({"path": str(folder / "script.py"), "package": ""})

    with pytest.raises(RuntimeError, match=r"put that call under `if __name__ == .__main__.:`"):
        trio.run(child)


@pytest.mark.parametrize(
    "main", [{"path": "/nowhere/script.py", "package": ""}, {"path": "/nowhere/script", "package": ""}]
)
def test_a_script_that_is_gone(folder: Path, main: dict[str, str]) -> None:
    """It was there when the parent started."""
    with pytest.raises(FileNotFoundError):
        replay_main(main)


def test_a_module_that_is_gone(folder: Path) -> None:
    """The child may look elsewhere than its parent did."""
    with pytest.raises(ModuleNotFoundError, match="never_written"):
        replay_main({"name": "never_written"})


def test_without_a_main_module_its_names_are_missed_with_the_reason(folder: Path) -> None:
    """What is asked for was the parent's own."""
    replay_main({})
    with pytest.raises(AttributeError, match=r"'work' of the parent's main module.*move the function"):
        _ = sys.modules["__main__"].work
    assert MP_MAIN not in sys.modules


NESTED = """
import sys
import trio
import tractor
{neighbour}

async def leaf():
    return [__name__, sys.modules["__main__"].__name__, value, tractor.current_actor().name]

async def middle():
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("leaf", enable_modules=[__name__])
        result = await portal.run(leaf)
        await nursery.cancel()
        return result

async def main():
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("middle", enable_modules=[__name__])
        print(await portal.run(middle))
        await nursery.cancel()

if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.parametrize("how", ["script", "relative script", "no suffix", "module", "in a package"])
def test_a_grandchild_runs_the_functions_of_the_script(how: str, tmp_path: Path) -> None:
    """The replay of a replay, for each way to start a program."""
    package = tmp_path / "nested_pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "near.py").write_text("value = 42\n")
    (tmp_path / "near.py").write_text("value = 42\n")
    name = "script" if how == "no suffix" else "script.py"
    dot = "." if how == "in a package" else ""
    place = package if how == "in a package" else tmp_path
    (place / name).write_text(NESTED.format(neighbour=f"from {dot}near import value"))
    argv = {
        "script": [str(tmp_path / name)],
        "relative script": [name],
        "no suffix": [str(tmp_path / name)],
        "module": ["-m", "script"],
        "in a package": ["-m", "nested_pkg.script"],
    }[how]
    done = subprocess.run(
        [sys.executable, *argv], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    assert done.stdout == f"{[MP_MAIN, MP_MAIN, 42, 'leaf']}\n"

"""Programs as people write and start them: what their children find of the main module."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Seconds a program of a few actors may take.
LIMIT = 30.0
#: The name of the main module in a child.
MP_MAIN = "__mp_main__"

HELPER = """
async def help_out(x: int) -> int:
    return x + 1
"""

GUARDED = """
import os
import trio
import tractor
import helper

print("imported as", __name__)

async def double(x: int) -> int:
    return 2 * x

async def deeper(x: int) -> int:
    async with tractor.open_nursery() as nursery:
        portal = await nursery.run_in_actor(double, x=x)
        return await portal.wait_for_result()

async def main():
    async with tractor.open_nursery() as nursery:
        portal = await nursery.start_actor("kid", enable_modules=["__main__", "helper"])
        print(await portal.run(double, x=1))
        print(await portal.run(helper.help_out, x=10))
        print(await portal.run(deeper, x=100))
        await nursery.cancel()

if __name__ == "__main__":
    trio.run(main)
"""

UNGUARDED = GUARDED.replace('if __name__ == "__main__":\n    trio.run(main)', "trio.run(main)")


def run(*argv: str, cwd: Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with nothing on its path but what is installed and what belongs to the program."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env=env,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A script with a module beside it, and another folder to start it from."""
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "my projekt ž"
    folder.mkdir()
    (folder / "script.py").write_text(GUARDED)
    (folder / "helper.py").write_text(HELPER)
    return folder


def make_package(folder: Path, main: str) -> None:
    """Write a package whose module `main` is the program."""
    package = folder / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "helper.py").write_text(HELPER)
    source = GUARDED.replace("import helper", "from . import helper").replace('"helper"', '"package.helper"')
    (package / f"{main}.py").write_text(source)


def test_a_script_is_run_from_anywhere(project: Path) -> None:
    """With modules beside it; its children and theirs find the functions of both."""
    done = run("../my projekt ž/script.py", cwd=project.parent / "elsewhere")
    assert done.stderr == ""
    child = f"imported as {MP_MAIN}"
    assert done.stdout.splitlines() == ["imported as __main__", child, "2", "11", child, "200"]


def test_a_script_behind_a_link(project: Path) -> None:
    """Python looks for modules beside the file itself, and so do the children."""
    link = project.parent / "elsewhere" / "link.py"
    link.symlink_to(project / "script.py")
    done = run(str(link), cwd=Path("/"))
    assert done.stderr == ""
    assert "200" in done.stdout


def test_a_script_without_a_guard_is_told_so(project: Path) -> None:
    """It neither hangs nor breeds: the first child refuses, and the error says what to write."""
    (project / "script.py").write_text(UNGUARDED)
    done = run("script.py", cwd=project)
    assert done.returncode == 1
    assert "ActorFailure" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr
    assert done.stdout.splitlines() == ["imported as __main__", f"imported as {MP_MAIN}"]


def test_a_module_of_a_package_is_run_by_name(tmp_path: Path) -> None:
    """`python -m package.module`, with relative imports."""
    make_package(tmp_path, "module")
    done = run("-m", "package.module", cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-4:] == ["2", "11", f"imported as {MP_MAIN}", "200"]


def test_a_package_is_run_by_name(tmp_path: Path) -> None:
    """`python -m package`: its `__main__` is imported nowhere else, and a function of it is refused with the reason."""
    make_package(tmp_path, "__main__")
    done = run("-m", "package", cwd=tmp_path)
    assert done.returncode == 1
    assert "'double' of the parent's main module is not here" in done.stderr


@pytest.mark.parametrize("how", ["-c", "-"])
def test_a_program_without_a_file(how: str, tmp_path: Path) -> None:
    """Its children run functions of modules; one of its own is refused with the reason."""
    (tmp_path / "helper.py").write_text(HELPER)
    program = GUARDED.replace("print(await portal.run(double, x=1))", "")
    program = program.replace("print(await portal.run(deeper, x=100))", "await portal.run(double, x=1)")
    done = run("-c", program, cwd=tmp_path) if how == "-c" else run("-", cwd=tmp_path, stdin=program)
    assert done.stdout.splitlines()[1:] == ["11"]
    assert "'double' of the parent's main module is not here" in done.stderr


def test_a_main_module_that_is_not_inherited(project: Path) -> None:
    """`inherit_parent_main=False` spares a child what the script does when imported."""
    program = GUARDED.replace('["__main__", "helper"]', '["helper"], inherit_parent_main=False')
    program = program.replace("print(await portal.run(double, x=1))", "")
    program = program.replace("print(await portal.run(deeper, x=100))", "")
    (project / "script.py").write_text(program)
    done = run("script.py", cwd=project)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["imported as __main__", "11"]


def test_a_program_that_goes_elsewhere_before_it_starts_a_child(project: Path) -> None:
    """The child starts in the new folder, and finds what the parent found all the same."""
    source = GUARDED.replace("async def main():", "async def main():\n    os.chdir('/')")
    (project / "script.py").write_text(source)
    done = run("script.py", cwd=project)
    assert done.stderr == ""
    assert "200" in done.stdout


def test_optimised_python_is_passed_on(project: Path) -> None:
    """`python -O`: assertions are gone in the children as well."""
    source = GUARDED.replace("    return 2 * x", "    return 2 * x if __debug__ else -1")
    (project / "script.py").write_text(source)
    done = run("-O", "script.py", cwd=project)
    assert done.stderr == ""
    assert done.stdout.splitlines()[2] == "-1"

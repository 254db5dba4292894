"""What a newcomer does wrong with the file of a program gets an answer that says what to do instead."""

import subprocess
import sys
from pathlib import Path

import pytest

#: For a whole program.
SECONDS = 30

MAIN = """
async def f(): return 1
async def main():
    async with tractor.open_nursery() as an:
        portal = await an.run_in_actor(f)
        print(await portal.wait_for_result())
"""


def explain(argv: list[str], cwd: Path) -> str:
    """Run a program that fails; return what it writes to stderr."""
    done = subprocess.run(
        [sys.executable, *argv], cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 1, done
    return done.stderr


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "import trio, tractor\n" + MAIN + "trio.run(main)\n",
            'put that call under `if __name__ == "__main__":`',
        ),
        (
            "import trio, tractor\nif __name__ != '__main__': import no_such_module\n"
            + MAIN
            + "if __name__ == '__main__': trio.run(main)\n",
            "it failed to boot: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "import asyncio, tractor\n" + MAIN + "asyncio.run(main())\n",
            "start the program with `trio.run(main)`",
        ),
    ],
    ids=["no-guard", "broken-in-a-child", "asyncio"],
)
def test_a_main_module_that_cannot_be_inherited_is_explained(source: str, text: str, tmp_path: Path) -> None:
    """In the last line of the parent's traceback."""
    (tmp_path / "program.py").write_text(source)
    assert text in explain(["program.py"], tmp_path).splitlines()[-1]


def test_a_program_without_a_file_is_explained(tmp_path: Path) -> None:
    """Its functions exist nowhere that a child could import them from."""
    report = explain(["-c", "import trio, tractor\n" + MAIN + "trio.run(main)"], tmp_path)
    assert "'f' of the parent's main module is not here" in report
    assert "move the function into another module" in report


def test_a_script_need_not_be_called_py(tmp_path: Path) -> None:
    """Installers write programs without a suffix; their functions run in children like any other's."""
    source = "import trio, tractor\n" + MAIN + "if __name__ == '__main__': trio.run(main)\n"
    (tmp_path / "program").write_text(source)
    argv = [sys.executable, "program"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")

"""What a user's type checker sees: mypy at its strictest on the files of `tests/typing`, the examples and the documents.

A line there that ends in `# type: ignore[code]` is a mistake on purpose. Here these comments are taken away, and mypy
must then report exactly those mistakes, at those lines, with those codes; everything else must be accepted.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import tractor
from tests.test_readme import DOCUMENTS, programs

ROOT = Path(__file__).parents[1]
TYPING = sorted((ROOT / "tests" / "typing").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
IGNORE = re.compile(r"\s*# type: ignore\[([\w, -]+)\]")
REPORT = re.compile(r"^(.+?):(\d+): error: .*\[([\w-]+)\]$", re.MULTILINE)

type Findings = Counter[tuple[str, int, str]]


def strip(source: str, name: str) -> tuple[str, Findings]:
    """Return the source without its `type: ignore` comments, and what mypy has to find there instead."""
    expected: Findings = Counter()
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        for match in IGNORE.finditer(line):
            expected.update((name, number, code.strip()) for code in match[1].split(","))
    return "\n".join(IGNORE.sub("", line) for line in lines) + "\n", expected


def run_mypy(directory: Path, cache: Path) -> tuple[Findings, str]:
    """Check the files of a directory as a user would, with no configuration; return the findings and all output."""
    argv = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", "."]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return Counter((name, int(line), code) for name, line, code in REPORT.findall(done.stdout)), done.stdout


def test_a_users_program_is_checked_as_it_will_run(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Correct programs pass the strictest settings; each deliberate mistake is found where it is."""
    expected: Findings = Counter()
    for path in [*TYPING, *EXAMPLES]:
        source, mistakes = (
            strip(path.read_text(), path.name) if path in TYPING else (path.read_text(), Counter())
        )
        (tmp_path / path.name).write_text(source)
        expected += mistakes
    for document in DOCUMENTS:
        for program in programs(document):
            (tmp_path / f"{document.stem.lower()}_{program.name}").write_text(program.source)
    found, output = run_mypy(tmp_path, tmp_path_factory.mktemp("cache"))
    assert expected.total() > 25
    assert found == expected, output


def test_what_is_expected_is_read_off_the_comments() -> None:
    """Every code of a comment counts, each in its line; the rest of the line stays."""
    source = "a()  # type: ignore[x]\nb()\nc()  # type: ignore[y, z-z]\n"
    assert strip(source, "f.py") == (
        "a()\nb()\nc()\n",
        Counter([("f.py", 1, "x"), ("f.py", 3, "y"), ("f.py", 3, "z-z")]),
    )


async def no_context(n: int) -> int:
    """Have no context."""
    return n


async def untyped_context(ctx) -> None:  # type: ignore[no-untyped-def]
    """Have one that nothing says is one."""


def not_async(ctx: tractor.Context) -> None:
    """Be no coroutine function."""


async def generator(ctx: tractor.Context) -> Any:
    """Be an async generator."""
    yield ctx


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (no_context, "annotate one of its parameters as `ctx: tractor.Context`"),
        (untyped_context, "annotate one of its parameters as `ctx: tractor.Context`"),
        (not_async, "must be an `async def` function"),
        (generator, "must be an `async def` function"),
        (tractor.Context, "must be an `async def` function"),
        (3, "must be an `async def` function"),
    ],
)
def test_the_decorator_refuses_what_cannot_be_an_endpoint(func: Any, reason: str) -> None:
    """At once, where it is written, whoever ignores the type checker; and it says what is missing."""
    for decorate in (tractor.context, tractor.context(pld_spec=int)):
        with pytest.raises(TypeError, match="cannot be a context endpoint") as caught:
            decorate(func)
        assert reason in str(caught.value)


def test_the_decorator_returns_the_function_itself() -> None:
    """Nothing is wrapped, so the signature, the name and the docstring are what they were."""

    async def endpoint(ctx: tractor.Context[str, int, int], n: int) -> int:
        return n

    assert tractor.context(endpoint) is endpoint
    assert tractor.context(pld_spec=int)(endpoint) is endpoint

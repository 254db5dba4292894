"""Rules about the whole tree. What ruff, mypy and import-linter check (see scripts/check.sh) is not repeated here."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "tractor").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DOCUMENTS = sorted((ROOT / "ai" / "conc-anal").glob("*.md"))

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
MAX_IMPORTED_MODULES = 45
MAX_IMPORT_TIME = 1.30

#: Modules without a test file of their own, and why.
WITHOUT_MIRROR = {
    "_child/__main__.py": "where a child process begins; every test that starts an actor runs it",
    "__main__.py": "only calls _cli",
}

SKIPS = {"skip", "skipif", "xfail", "importorskip", "skip_backend"}
DOCUMENT = re.compile(r"(?:(?:ai/conc-anal|docs)/[\w.-]+\.md|ARCHITECTURE\.md)(?:#[\w-]+)?")
TEST_ID = re.compile(r"(tests/[\w/]+\.py)(?:::\w+)*::(test_\w+)")


def relative(path: Path) -> str:
    """Return the path as people write it, from the root of the tree."""
    return path.relative_to(ROOT).as_posix()


def mirror(module: Path) -> Path:
    """Return where the tests of a module of the package are."""
    inner = module.relative_to(ROOT / "tractor")
    return ROOT / "tests" / inner.with_name(f"test_{inner.name.removeprefix('_')}")


@pytest.mark.parametrize(
    ("module", "tests"),
    [("wire/_frame.py", "wire/test_frame.py"), ("log.py", "test_log.py"), ("_ids.py", "test_ids.py")],
)
def test_the_mirror_of_a_module_is_where_people_look_for_it(module: str, tests: str) -> None:
    """Same directory, the leading underscore dropped, `test_` in front."""
    assert mirror(ROOT / "tractor" / module) == ROOT / "tests" / tests


def test_every_module_has_its_mirror() -> None:
    """Whoever changes a module knows which file to run; the exceptions above have none."""
    modules = [path for path in SOURCES if path.name != "__init__.py"]
    missing = {path.relative_to(ROOT / "tractor").as_posix() for path in modules if not mirror(path).exists()}
    assert sorted(missing - WITHOUT_MIRROR.keys()) == []
    assert [name for name in WITHOUT_MIRROR if mirror(ROOT / "tractor" / name).exists()] == []


def test_no_file_is_longer_than_one_reading() -> None:
    """A file above the limit is made of two things."""
    lengths = {relative(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def function_lengths(source: str) -> dict[str, int]:
    """Return how many lines of code each function has; blank lines, comments and its docstring do not count."""
    lines = source.splitlines()
    code = {
        number for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")
    }
    lengths = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            own = set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            if ast.get_docstring(node) is not None:
                own -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
            lengths[f"{node.name}:{node.lineno}"] = len(own & code)
    return lengths


def test_the_length_of_a_function_is_its_code() -> None:
    """Reasons and documentation cost nothing."""
    source = 'async def f(\n    a,\n):\n    """Doc.\n\n    More.\n    """\n\n    # Reason.\n    def g(): pass\n    return g\n'
    assert function_lengths(source) == {"f:1": 5, "g:10": 1}


def test_no_function_is_longer_than_one_screen() -> None:
    """A function above the limit has parts that deserve names."""
    lengths = {
        f"{relative(path)} {name}": lines
        for path in SOURCES
        for name, lines in function_lengths(path.read_text()).items()
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def is_documented(value: object) -> bool:
    """Tell whether somebody wrote a docstring for this class, function or module; other values need none."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)):
        return True
    doc = value.__doc__ or ""
    # What dataclasses and named tuples make up begins with the signature.
    return bool(doc.strip()) and not doc.startswith(f"{value.__name__}(")


def test_every_public_name_resolves_and_is_documented() -> None:
    """The lazy table of the facade holds what it promises, once each, and `help()` has something to say."""
    facade = importlib.import_module("tractor")
    assert len(set(facade.__all__)) == len(facade.__all__)
    assert [name for name in facade.__all__ if not is_documented(getattr(facade, name))] == []


def find_skips(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of everything that keeps a test from having to pass."""
    nodes = list(ast.walk(ast.parse(source)))
    found = [node for node in nodes if isinstance(node, ast.Attribute) and node.attr in SKIPS]
    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    for node in found:
        if ast.unparse(node).startswith("pytest."):
            yield node.lineno, ast.unparse(calls.get(id(node), node))


@pytest.mark.parametrize(
    "form",
    [
        "@pytest.mark.xfail\ndef test_x(): pass",
        "@pytest.mark.skipif(True, reason='slow')\ndef test_x(): pass",
        "def test_x():\n    pytest.skip('not today')",
        "values = [pytest.param(1, marks=pytest.mark.xfail(strict=True))]",
        "pytestmark = [pytest.mark.skip]",
        "numpy = pytest.importorskip('numpy')",
        "SHARED = pytest.mark.skip_backend('subint', see='docs/nowhere.md#at-all')",
    ],
)
def test_every_form_of_a_skip_is_seen(form: str) -> None:
    """Marker, call, parameter and module-wide: none hides; a string or another object's method is none."""
    assert len(list(find_skips(form))) == 1
    assert list(find_skips(f"text = {form!r}; reader.skip(3)")) == []


def is_written(name: str) -> bool:
    """Tell whether there is such a document, and in it the section that is named; those in `docs` are long."""
    file, _, section = name.partition("#")
    path = ROOT / file
    if not path.is_file() or (not section and not file.startswith("ai/")):
        return False
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return not section or section in [
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles
    ]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("ai/conc-anal/subint_destroy_race.md", True),
        ("ai/conc-anal/nothing_of_the_kind.md", False),
        ("docs/interpreters.md", False),
        ("docs/interpreters.md#the-end", True),
        ("docs/interpreters.md#nothing-of-the-kind", False),
    ],
)
def test_the_section_of_a_document_is_looked_for(name: str, written: bool) -> None:
    """By the name that it has in links to it."""
    assert is_written(name) is written


def test_nothing_is_skipped_without_a_document() -> None:
    """The reason of every skip and expected failure is a file that exists, or a section of one."""
    bad = []
    for path in TESTS:
        for line, text in find_skips(path.read_text()):
            documents = DOCUMENT.findall(text)
            if not documents or not all(map(is_written, documents)):
                bad.append(f"{relative(path)}:{line}: {text}")
    assert bad == []


def has_test(file: str, name: str) -> bool:
    """Tell whether that file has a test function or method of that name."""
    path = ROOT / file
    return (
        path.is_file()
        and re.search(rf"^\s*(async )?def {name}\(", path.read_text(), re.MULTILINE) is not None
    )


def test_every_document_is_pinned_by_a_test() -> None:
    """Each analysis of a hang names at least one test, and every test it names exists."""
    bad = {}
    for path in DOCUMENTS:
        named = TEST_ID.findall(path.read_text())
        missing = [f"{file}::{name}" for file, name in named if not has_test(file, name)]
        if missing or not named:
            bad[relative(path)] = missing or "names no test"
    assert bad == {}


def test_the_link_from_a_document_to_a_test_is_followed() -> None:
    """An id with class and parameters leads to this very test; one that never was leads nowhere."""
    file = relative(Path(__file__))
    here = "test_the_link_from_a_document_to_a_test_is_followed"
    assert TEST_ID.findall(f"Pinned by `{file}::TestIt::{here}[tcp]`.") == [(file, here)]
    assert has_test(file, here)
    assert not has_test(file, "test_that_never_was")
    assert not has_test("tests/test_nowhere.py", here)


IMPORT = """
import sys, time
start = time.process_time()
import trio
middle, before = time.process_time(), set(sys.modules)
import tractor
modules = sorted(set(sys.modules) - before)
tractor.open_nursery  # the facade is lazy: a program pays for the runtime when it names it
print(middle - start, time.process_time() - middle, *modules)
"""


def import_tractor() -> tuple[float, float, list[str]]:
    """Import trio, then tractor and its runtime, in a fresh interpreter.

    Returns the processor seconds of the first, those the second adds, and the modules that `import tractor` adds.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    argv = [sys.executable, "-c", IMPORT]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=True)
    trio_time, extra_time, *modules = done.stdout.split()
    return float(trio_time), float(extra_time), modules


def test_importing_tractor_loads_few_modules() -> None:
    """Every child process and every interpreter pays for each of them."""
    modules = import_tractor()[2]
    assert "tractor" in modules
    assert len(modules) <= MAX_IMPORTED_MODULES, modules


@pytest.mark.alone
def test_loading_the_runtime_takes_little_longer_than_importing_trio() -> None:
    """Both are timed in the same process, in processor time; the best of several runs is what the code itself needs."""
    import_tractor()  # the first run may still have to compile
    runs = [import_tractor() for _ in range(15)]
    trio_time, extra_time = min(run[0] for run in runs), min(run[1] for run in runs)
    ratio = (trio_time + extra_time) / trio_time
    assert ratio <= MAX_IMPORT_TIME, f"{ratio:.2f} times as long as trio alone ({trio_time:.3f} s)"

"""The documents say what is true: their programs run and print what is shown; their names, numbers and links exist.

The rules for a code block:

`python`, followed by `console` that begins with `$ .venv/bin/python NAME.py`: a program, run under that name in an empty
directory; it must print what is shown there. A line that is `...` stands for any lines, `...` inside a line for any text;
process ids, uuids, dates, seconds, directories and markers below source lines are not compared. Where the transcript has
`^C`, that key is pressed in a terminal.
`python fragment`: part of a program, which must compile.
`console` or `sh` with `make`: not run, for that would never end; but the targets must exist, and `== STEP` too.
`console terminal`: run by `tests/test_two_programs.py`, each in a terminal of its own.
`text`: anything else.
"""

import ast
import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pexpect
import pytest

import tractor
from tests.kinds import OF_A_PROCESS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
ERRORS = ROOT / "docs" / "errors.md"
DOCUMENTS = [README, ARCHITECTURE, *sorted((ROOT / "docs").glob("**/*.md"))]
SECONDS = 60

FENCE = re.compile(r"^```(\w*)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"\$ \.venv/bin/python (\w+\.py)\n")
MAKE = re.compile(r"(?:\w+=\S+ )*make( .*)?")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
STEP = re.compile(r"^== ([^:\n]+?)(?:: ok, (?:\d+|\.\.\.) s)?$", re.MULTILINE)
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(#[^)\s]+)?\)")
UNITS = {"": 1, "s": 1, "KiB": 1024, "MiB": 1024**2}
NUMBER = re.compile(r"^\| ([\d.]+) ?(\w*) \| `([\w.]+):([^`]+)` \|", re.MULTILINE)
#: What differs from run to run, and what is compared in its place.
VARYING = [
    (re.compile(r"\x1b\[[\d;]*[A-Za-z]"), ""),
    (re.compile(r"(?m)^[ ~^|]*[~^][ ~^|]*\n"), ""),
    (re.compile(r'File "[^"]*?([^"/]+)"'), r'File "\1"'),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"), "DATE"),
    (re.compile(r"(?<=@)\d+\b|(?<=pid )\d+\b|(?<=process )\d+\b"), "PID"),
    (re.compile(r"\b\d+\.\d+ s\b"), "SECONDS"),
    (re.compile(r"(?m)[ \r]+$"), ""),
]


class Block(NamedTuple):
    """A code block of a document."""

    language: str
    note: str
    text: str
    line: int


class Program(NamedTuple):
    """A program in a document, and the transcript of its run there."""

    name: str
    source: str
    shown: str


@functools.cache
def blocks(document: Path) -> list[Block]:
    """Return the code blocks of a document in order."""
    text = document.read_text()
    return [
        Block(match[1], match[2] or "", match[3], text.count("\n", 0, match.start()) + 1)
        for match in FENCE.finditer(text)
    ]


def programs(document: Path) -> list[Program]:
    """Return the programs of a document that can be run."""
    found = []
    for block, following in zip(blocks(document), blocks(document)[1:], strict=False):
        command = RUN.match(following.text)
        if (block.language, block.note, following.language) == ("python", "", "console") and command:
            found.append(Program(command[1], block.text, following.text[command.end() :]))
    return found


def prose(document: Path) -> str:
    """Return a document without its code blocks."""
    return FENCE.sub("", document.read_text())


def as_pattern(shown: str) -> str:
    """Return a regular expression for all outputs that the transcript stands for."""
    pattern = ""
    for line in steady(shown).splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, line.split("..."))) + r"\n"
    return pattern


def steady(output: str) -> str:
    """Return output with what differs from run to run replaced."""
    for pattern, replacement in VARYING:
        output = pattern.sub(replacement, output)
    return output


def run(program: Program, directory: Path) -> tuple[str, int]:
    """Run a program in a directory; return what it printed, stderr among it, and its exit status."""
    (directory / program.name).write_text(program.source)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if "^C" not in program.shown:
        argv = [sys.executable, program.name]
        done = subprocess.run(
            argv, cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
        return done.stdout, done.returncode
    before, _, _ = program.shown.partition("^C")
    terminal = pexpect.spawn(
        sys.executable, [program.name], cwd=os.fspath(directory), env=env, encoding="utf-8", timeout=SECONDS
    )
    output = ""
    for line in before.splitlines():
        terminal.expect_exact(line)
        output += f"{terminal.before}{terminal.after}"
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    output += str(terminal.before)
    terminal.close()
    return output.replace("\r\n", "\n"), int(terminal.signalstatus or terminal.exitstatus or 0)


EVERY_PROGRAM = [
    pytest.param(
        program,
        id=f"{document.stem}-{program.name}",
        # It shows the end of a process.
        marks=[OF_A_PROCESS] if program.name == "killed.py" else [],
    )
    for document in DOCUMENTS
    for program in programs(document)
]


@pytest.mark.parametrize("program", EVERY_PROGRAM)
def test_a_program_prints_what_is_shown(program: Program, tmp_path: Path) -> None:
    """A reader who pastes it into a file gets the very same."""
    output, status = run(program, tmp_path)
    assert re.fullmatch(as_pattern(program.shown), steady(output)), output
    assert status == 0, output


def test_the_first_program_is_short_and_the_failures_are_shown() -> None:
    """The README has one program to begin with, and one for each way to fail."""
    names = {program.name: program for program in programs(README)}
    assert list(names) == ["sums.py", "killed.py", "shop.py", "waits.py", "spins.py"]
    lines = [line for line in names["sums.py"].source.splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.parametrize(
    ("shown", "output", "matches"),
    [
        ("a\n...\nb\n", "a\nb\n", True),
        ("a\n...\nb\n", "a\nx\ny\nb\n", True),
        ("a\n...\nb\n", "a\nx\n", False),
        ("x ... z\n", "x y z\n", True),
        ("a\n", "a\nb\n", False),
        ("1.5 s\n", "0.3 s\n", True),
        ("(worker@17, pid 3)\n", "(worker@4711, pid 99)\n", True),
        ("(worker@17)\n", "(other@17)\n", False),
        ('  File "/home/you/a.py", line 6\n', '  File "/tmp/x/a.py", line 6\n', True),
        ('  File "/home/you/a.py", line 6\n', '  File "/tmp/x/a.py", line 7\n', False),
        ("a[0]\n~^^\n", "a[0]\n", True),
    ],
)
def test_only_what_varies_is_not_compared(shown: str, output: str, matches: bool) -> None:
    """An ellipsis, process ids, times and directories; no more than that."""
    assert (re.fullmatch(as_pattern(shown), steady(output)) is not None) == matches


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_block_follows_the_rules(document: Path) -> None:
    """No block escapes: it is run, it compiles, its targets exist, or it says that it is text."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    script = (ROOT / "scripts" / "check.sh").read_text()
    steps = set(re.findall(r"^ *step '([^']+)'", script, re.MULTILINE))
    steps |= {
        f"tests of {name} (pytest)"
        for name in re.findall(r"^    '\w+ +\S+ \| \S+ +\| (.+?) *\|", script, re.MULTILINE)
    }
    sources = {program.source for program in programs(document)}
    for block in blocks(document):
        where = f"{document.name}:{block.line}"
        if block.language == "python":
            if block.note == "fragment":
                compile(block.text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            else:
                assert block.text in sources, f"{where}: a program without a transcript"
            continue
        # Pictures have a test of their own.
        assert block.language in ("console", "sh", "text", "mermaid"), f"{where}: {block.language!r}"
        if block.note == "terminal":
            assert document.name == "two-programs.md", f"{where}: nobody runs it"
            continue
        lines = block.text.splitlines() if block.language != "text" else []
        commands = [
            line.removeprefix("$ ") for line in lines if line.startswith("$ ") or block.language == "sh"
        ]
        for command in commands:
            if not RUN.match(f"$ {command}\n"):
                made = MAKE.fullmatch(command)
                assert made, f"{where}: {command!r} is neither a program shown above nor make"
                words = [
                    word for word in (made[1] or "").split() if "=" not in word and word[0] not in "-'\""
                ]
                assert words, f"{where}: {command!r} names no target"
                assert set(words) <= targets, f"{where}: {command!r}"
                assert set(STEP.findall(block.text)) <= steps, where


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Files of the tree exist, and so do the headings that are linked to."""
    for path, anchor in LINK.findall(prose(document)):
        if path.startswith("https://"):
            continue
        target = (document.parent / path) if path else document
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor[1:] in slugs, anchor


def quoted_paths(document: Path) -> set[str]:
    """Return what is quoted in the text and looks like a file of the tree."""
    return {
        text for text in QUOTED.findall(prose(document)) if re.fullmatch(r"\.?[\w-]+(/[\w.-]+)+\.\w+", text)
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_file_that_is_named_exists(document: Path) -> None:
    """Nobody is sent to a file that was renamed."""
    assert {path for path in quoted_paths(document) if not (ROOT / path).exists()} == set()


#: The public functions and methods whose parameters a document may quote.
CALLABLES: list[Any] = [
    tractor.open_nursery,
    tractor.open_root_actor,
    tractor.find_actor,
    tractor.Context.open_stream,
    tractor.MsgStream.subscribe,
    tractor.Portal.open_stream_from,
    tractor.Context.cancel,
    tractor.Portal.cancel_actor,
    tractor.ActorNursery.start_actor,
    tractor.ActorNursery.run_in_actor,
    tractor.ActorNursery.cancel,
    tractor.current_ipc_ctx,
    tractor.context,
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_name_of_the_api_exists(document: Path) -> None:
    """`tractor.x` is public, what stands in the parentheses of a call is a parameter of it, and make knows its targets."""
    text = document.read_text()
    for name in re.findall(r"\btractor\.([A-Za-z]\w*)", text):
        assert name in tractor.__all__ or importlib.import_module(f"tractor.{name}"), name
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    by_name = {func.__name__: inspect.signature(func).parameters for func in CALLABLES}
    for quoted in QUOTED.findall(prose(document)):
        if made := MAKE.fullmatch(quoted):
            assert targets.issuperset(word for word in (made[1] or "").split() if "=" not in word), quoted
        if call := re.fullmatch(r"(?:await )?(?:[\w]+\.)*(\w+)\((\w+)=.*\)", quoted):
            parameters = {**by_name["open_root_actor"], **by_name[call[1]]}
            assert call[2] in parameters, quoted


def test_every_number_is_the_one_in_the_code() -> None:
    """The table of bounds is what the code does, to the last one."""
    rows = NUMBER.findall(ARCHITECTURE.read_text())
    for value, unit, module, expression in rows:
        found = eval(expression, vars(importlib.import_module(module)))
        assert found == pytest.approx(float(value) * UNITS[unit]), f"{module}:{expression}"
    assert len(rows) > 20
    for constant in ("GRACE", "MAX_BODY", "HANDSHAKE_TIMEOUT", "BUFFER_ITEMS"):
        assert any(expression == constant for *_, expression in rows)


def test_the_bounds_are_the_defaults_of_the_api() -> None:
    """The constants in that table are what a caller gets who says nothing."""
    from tractor.runtime._context import CANCEL_TIMEOUT
    from tractor.runtime._vars import MAX_REQUESTS
    from tractor.supervise._nursery import BOOT_TIMEOUT, GRACE
    from tractor.wire._kinds import MAX_BODY

    def default(func: Any, name: str) -> object:
        return inspect.signature(func).parameters[name].default

    for name, value in re.findall(r"`(\w+)` \(([\d.]+) s by default\)", README.read_text()):
        assert default(tractor.open_nursery, name) == float(value)
    assert default(tractor.open_nursery, "grace") == GRACE
    assert default(tractor.open_nursery, "boot_timeout") == BOOT_TIMEOUT
    assert default(tractor.open_root_actor, "max_msg_size") == MAX_BODY
    assert default(tractor.open_root_actor, "max_requests") == MAX_REQUESTS
    assert default(tractor.Context.cancel, "timeout") == CANCEL_TIMEOUT


def test_the_architecture_names_every_module() -> None:
    """One line for each, none for what is gone, and none twice."""
    rows = re.findall(r"^\| `([\w/]+)` \|", ARCHITECTURE.read_text(), re.MULTILINE)
    modules = {
        path.relative_to(ROOT / "tractor").with_suffix("").as_posix()
        for path in (ROOT / "tractor").rglob("*.py")
        if path.name != "__init__.py"
    }
    assert sorted(rows) == sorted(modules)


def test_the_picture_shows_the_layers_that_are_checked() -> None:
    """The same packages in the same order as in the contract of import-linter, without those that do not exist."""
    contract = (ROOT / ".importlinter").read_text()
    layers = contract.partition("layers =\n")[2].partition("\n\n")[0]
    exist = {path.stem for path in (ROOT / "tractor").iterdir()}
    expected = [[name for name in re.findall(r"\w+", line) if name in exist] for line in layers.splitlines()]
    picture = next(block.text for block in blocks(ARCHITECTURE) if block.language == "text")
    shown = [re.findall(r"\w+", line[:29]) for line in picture.splitlines()]
    assert shown == [line for line in expected if line]


def test_every_exception_is_explained() -> None:
    """The page has one row for each exception type of the public API, and none for anything else."""
    public = {name: getattr(tractor, name) for name in tractor.__all__}
    exceptions = [
        name for name, value in public.items() if inspect.isclass(value) and issubclass(value, BaseException)
    ]
    rows = re.findall(r"^\| `(\w+)` \|", ERRORS.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(exceptions)


def test_the_facts_that_errors_carry_exist() -> None:
    """Every word of code in a row is a field of that exception, a public name, or a parameter of the API."""
    parameters = {name for func in CALLABLES for name in inspect.signature(func).parameters}
    parameters |= set(inspect.signature(tractor.open_root_actor).parameters)
    for name, row in re.findall(r"^\| `(\w+)` \|(.+)\|$", ERRORS.read_text(), re.MULTILINE):
        exception = getattr(tractor, name)
        known = {
            *dir(exception),
            *dir(tractor.RemoteActorError),
            *inspect.signature(exception.__init__).parameters,
            *parameters,
            *tractor.__all__,
        }
        words = {word for word in QUOTED.findall(row) if word.isidentifier()}
        assert words <= known, name

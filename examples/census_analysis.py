"""What one Python source file contains, and how many such findings add up: no actors in here.

`examine` turns a file into a `Finding`, a small value that travels between processes; a `Census` is the sum
of any number of findings, the same whatever order they come in.
"""

import ast
import gc
import os
import sysconfig
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_SOURCE = 16 * 1024 * 1024
"""Bytes. A syntax tree takes a hundred times the memory of its text: larger files are not parsed."""

PARSE_ERRORS = (SyntaxError, ValueError, LookupError, OverflowError, RecursionError, MemoryError, SystemError)
"""What `ast.parse` raises on bad input; the last three where it nests deeper than the parser can follow."""

BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""The fields of a syntax node that hold statements, or parts of a statement that hold them."""

Block = list[ast.stmt]
Part = ast.Module | ast.stmt | ast.ExceptHandler | ast.match_case


@dataclass(frozen=True, slots=True)
class Function:
    """Where a function is, and its length in lines from `def` to its last line."""

    name: str
    lines: int
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Nesting:
    """A statement and the number of blocks it stands in: `class`, `def`, `if`, `for` and so on."""

    depth: int
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What is in one file; `error` says why nothing is known of it, and is empty otherwise.

    `functions` leaves out `async_functions`; `imports` counts import statements by absolute top-level name.
    """

    file: str
    lines: int = 0
    functions: int = 0
    async_functions: int = 0
    classes: int = 0
    longest: Function | None = None
    deepest: Nesting | None = None
    imports: dict[str, int] = field(default_factory=dict)
    error: str = ""


def examine(file: str) -> Finding:
    """Read and examine one file; one that cannot be read or parsed gives a finding with an `error`."""
    try:
        with open(file, "rb") as source:
            text = source.read(MAX_SOURCE + 1)
    except OSError as error:
        return Finding(file, error=f"cannot be read: {error.strerror or error}")
    if len(text) > MAX_SOURCE:
        return Finding(file, error=f"larger than {MAX_SOURCE >> 20} MiB")
    return examine_source(text, file)


def examine_source(text: bytes, file: str) -> Finding:
    """Examine the content of a source file; `file` is the name that the finding carries."""
    lines = text.count(b"\n") + (not text.endswith(b"\n") and text != b"")
    try:
        with _quick_parsing():
            tree = ast.parse(text, file)
    except PARSE_ERRORS as error:
        return Finding(file, lines, error=_one_line(error))
    return _survey(tree, file, lines)


def _survey(tree: ast.Module, file: str, lines: int) -> Finding:
    """Collect the figures of a parsed file in one walk over its statements."""
    kinds: Counter[type[ast.stmt]] = Counter()
    imports: Counter[str] = Counter()
    longest: Function | None = None
    deepest: Nesting | None = None
    for statement, depth, scope in _statements(tree):
        kinds[type(statement)] += 1
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                length = (statement.end_lineno or statement.lineno) - statement.lineno + 1
                longest = _longer(longest, Function(scope + statement.name, length, file, statement.lineno))
            case ast.Import():
                imports.update(alias.name.partition(".")[0] for alias in statement.names)
            case ast.ImportFrom(module=str(module), level=0):
                imports[module.partition(".")[0]] += 1
        deepest = _deeper(deepest, Nesting(depth, file, statement.lineno))
    return Finding(
        file,
        lines,
        kinds[ast.FunctionDef],
        kinds[ast.AsyncFunctionDef],
        kinds[ast.ClassDef],
        longest,
        deepest,
        dict(imports),
    )


def _statements(tree: ast.Module) -> Iterator[tuple[ast.stmt, int, str]]:
    """Yield each statement, the number of blocks around it, and the dotted prefix of the scope it is in.

    Expressions hold no statements and are not entered, which saves most of the walk. No recursion: a
    thousand `elif` are as many levels of syntax tree.
    """
    todo: list[tuple[Part, int, str]] = [(tree, 0, "")]
    while todo:
        parent, depth, scope = todo.pop()
        for block in BLOCKS:
            for node in getattr(parent, block, ()):
                if not isinstance(node, ast.stmt):  # an `except` or a `case`: its own block is what counts
                    todo.append((node, depth, scope))
                    continue
                yield node, depth, scope
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    todo.append((node, depth + 1, f"{scope}{node.name}."))
                elif hasattr(node, "body") or hasattr(node, "cases"):
                    todo.append((node, depth + (not _is_elif(node, parent)), scope))


def _is_elif(node: ast.stmt, parent: Part) -> bool:
    """Whether the node is written `elif`: in the tree an `if` alone in an `else`, but in the same column."""
    return (
        isinstance(node, ast.If)
        and isinstance(parent, ast.If)
        and parent.orelse == [node]
        and node.col_offset == parent.col_offset
    )


@contextmanager
def _quick_parsing() -> Iterator[None]:
    """No warnings about the code parsed, and no garbage collection: a growing tree only costs it time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        if collecting:
            gc.enable()


def _one_line(error: BaseException) -> str:
    """`SyntaxError: invalid syntax (line 3)`: type, message and line of a parser's error."""
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno})" if error.lineno else ""
        return f"{type(error).__name__}: {printable(error.msg or 'no reason given')}{where}"
    return f"{type(error).__name__}: {printable(str(error))}"


def printable(text: str) -> str:
    """The text with whatever a terminal cannot show, or would obey, written as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _longer(one: Function | None, other: Function | None) -> Function | None:
    """The longer of two functions; of equally long ones, the first by file and line."""
    return min((f for f in (one, other) if f), key=lambda f: (-f.lines, f.file, f.line), default=None)


def _deeper(one: Nesting | None, other: Nesting | None) -> Nesting | None:
    """The deeper of two statements; of equally deep ones, the first by file and line."""
    return min((n for n in (one, other) if n), key=lambda n: (-n.depth, n.file, n.line), default=None)


@dataclass(slots=True)
class Census:
    """The sum of findings: the same for the same findings, in whatever order they were added."""

    files: int = 0
    lines: int = 0
    functions: int = 0
    async_functions: int = 0
    classes: int = 0
    longest: Function | None = None
    deepest: Nesting | None = None
    imports: Counter[str] = field(default_factory=Counter)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Count one file in; a file with an error counts as a file, and its error is kept by its name."""
        self.files += 1
        self.lines += finding.lines
        self.functions += finding.functions
        self.async_functions += finding.async_functions
        self.classes += finding.classes
        self.longest = _longer(self.longest, finding.longest)
        self.deepest = _deeper(self.deepest, finding.deepest)
        self.imports.update(finding.imports)
        if finding.error:
            self.errors[finding.file] = finding.error

    def top_imports(self, count: int) -> list[tuple[str, int]]:
        """The most imported modules and how often; equals in the order of their names."""
        return sorted(self.imports.items(), key=lambda item: (-item[1], item[0]))[:count]

    def as_dict(self) -> dict[str, Any]:
        """The census as JSON can hold it, in a fixed order."""
        return {
            "files": self.files,
            "lines": self.lines,
            "functions": self.functions,
            "async_functions": self.async_functions,
            "classes": self.classes,
            "longest_function": _as_dict(self.longest),
            "deepest_nesting": _as_dict(self.deepest),
            "imports": dict(self.top_imports(len(self.imports))),
            "errors": dict(sorted(self.errors.items())),
        }


def _as_dict(place: Function | Nesting | None) -> dict[str, Any] | None:
    """The fields of a function or nesting by name."""
    return asdict(place) if place else None


PACKAGES = ("site-packages", "dist-packages")
"""Not entered below the standard library: the base of a virtual environment may have packages of its own."""


def installed_source() -> list[str]:
    """The directories of the running interpreter's standard library and of the packages installed for it."""
    paths = sysconfig.get_paths()
    return sorted({os.path.realpath(paths[key]) for key in ("stdlib", "platstdlib", "purelib", "platlib")})


def source_files(
    directories: Iterable[str], leave_out: Collection[str] = ()
) -> tuple[list[str], list[Finding]]:
    """All regular `*.py` files below the directories, sorted, and findings for what cannot be examined.

    Directories whose name is in `leave_out` are not entered, and links to directories not followed.
    """
    files: set[str] = set()
    problems: dict[str, Finding] = {}

    def unlistable(error: OSError) -> None:
        name = _text(error.filename)
        problems[name] = Finding(name, error=f"cannot be listed: {error.strerror or error}")

    for top in directories:
        for directory, below, names in os.walk(top, onerror=unlistable):
            below[:] = [name for name in below if name not in leave_out]
            for path in (os.path.join(directory, name) for name in names if name.endswith(".py")):
                if not os.path.isfile(path):
                    continue
                if path != _text(path):
                    problems[_text(path)] = Finding(_text(path), error="its name is not valid text")
                else:
                    files.add(path)
    return sorted(files), [problems[name] for name in sorted(problems)]


def _text(path: str) -> str:
    """The path with bytes that are no valid text, in Python lone surrogates, written as escapes."""
    return path.encode(errors="backslashreplace").decode()


def shortened(file: str, directories: Sequence[str]) -> str:
    """The file's name relative to the directory it was found below, as it is shown to people."""
    homes = [directory for directory in directories if file.startswith(os.path.join(directory, ""))]
    return printable(os.path.relpath(file, max(homes, key=len)) if homes else file)

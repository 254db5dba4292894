"""The part of the census that knows Python and no actors."""

import ast
import gc
import os
from pathlib import Path
from textwrap import dedent

import census_analysis
import pytest
from census_analysis import (
    PACKAGES,
    Census,
    Finding,
    Function,
    Nesting,
    examine,
    examine_source,
    installed_source,
    printable,
    shortened,
    source_files,
)
from hypothesis import given
from hypothesis import strategies as st


def survey(source: str) -> Finding:
    """Examine a source text that is written indented; it must parse."""
    finding = examine_source(dedent(source).encode(), "some.py")
    assert not finding.error
    return finding


def depth(source: str) -> int:
    """The deepest nesting of a source text."""
    deepest = survey(source).deepest
    assert deepest
    return deepest.depth


def test_definitions_are_counted_wherever_they_stand() -> None:
    """Functions, async functions and classes count in classes, functions and every kind of block."""
    found = survey(
        """
        import os
        class A:
            def one(self): ...
            async def two(self):
                class B: ...
        if os:
            def three(): ...
        else:
            try:
                def four(): ...
            except OSError:
                def five(): ...
            finally:
                async def six(): ...
        match os:
            case 1:
                def seven(): ...
        """
    )
    assert (found.functions, found.async_functions, found.classes) == (5, 2, 2)
    assert found.lines == 18


def test_the_longest_function_has_its_dotted_name_and_leaves_out_decorators() -> None:
    """Its length is from `def` to its last line, and its name says where it is defined."""
    found = survey(
        """
        def short(): ...

        class Outer:
            @staticmethod
            @property
            async def long(
                a,
            ):
                return a
        """
    )
    assert found.longest == Function("Outer.long", 4, "some.py", 7)


def test_of_equally_long_functions_the_first_counts() -> None:
    """A tie is broken by the line."""
    longest = survey("def a():\n  pass\ndef b():\n  pass\n").longest
    assert longest
    assert longest.name == "a"


def test_nesting_counts_the_blocks_around_a_statement() -> None:
    """Each compound statement is a block more; the place is that of the first of the deepest statements."""
    found = survey(
        """
        class A:
            def f(self):
                for x in self:
                    with x:
                        x()
                        x()
        """
    )
    assert found.deepest == Nesting(4, "some.py", 6)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1", 0),
        ("if a: x", 1),
        ("if a: x\nelif b: y\nelif c: z\nelse: w", 1),
        ("if a: x\nelse:\n  if b: y", 2),
        ("for a in b: x\nelse: y", 1),
        ("try: x\nexcept A: y\nelse: z\nfinally: w", 1),
        ("try: x\nexcept* A: y", 1),
        ("match a:\n  case 1: x", 1),
        ("x = [lambda: [y for y in z] for z in w]", 0),
    ],
)
def test_what_is_a_block_and_what_is_not(source: str, expected: int) -> None:
    """`elif` is no deeper than its `if`, an `except` or a `case` no deeper than its statement."""
    assert depth(source) == expected


def test_many_elif_are_no_problem() -> None:
    """A long chain, which is a deep tree, is walked without recursion."""
    assert depth("if a: x\n" + "elif a: x\n" * 500) == 1


def test_imports_are_counted_by_absolute_top_level_name() -> None:
    """Dotted names count for their package; relative imports have no top-level name."""
    found = survey(
        """
        import os, os.path as path
        from collections.abc import Iterator, Mapping
        from . import sibling
        from .other import thing
        def f():
            import os
        """
    )
    assert found.imports == {"os": 3, "collections": 1}


def test_an_empty_file_holds_nothing() -> None:
    """No bytes, no statement, no error."""
    assert examine_source(b"", "some.py") == Finding("some.py")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfdef f(): ...\r\n",
        b"# coding: latin-1\ndef f():\n    return '\xff'\n",
        "def f\u00fc(): ...".encode(),
        b"def f():\r    pass\r",
    ],
    ids=["byte order mark", "declared encoding", "no last newline", "old line ends"],
)
def test_unusual_but_valid_text_parses(text: bytes) -> None:
    """Python's own rules for encodings and line ends hold."""
    found = examine_source(text, "some.py")
    assert (found.functions, found.error) == (1, "")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"def f(:\n", "SyntaxError: invalid syntax (line 1)"),
        (b"x = '\xff'\n", "SyntaxError: "),
        (b"# coding: no-such-thing\n", "unknown encoding"),
        (b"x = 1\0\n", "null bytes"),
        (b"if x:\npass\n", "IndentationError: expected an indented block"),
        (b"x = " + b"1" * 10_000, "limit"),
        (b"".join(b" " * n + b"if x:\n" for n in range(120)), "IndentationError: too many levels"),
        (b"(" * 5000 + b")" * 5000, "too many nested parentheses"),
        (b"+".join([b"1"] * 100_000), "Error: "),
        (b"-" * 100_000 + b"1", "Error: "),
        (b"lambda:" * 50_000 + b"1", "Error: "),
    ],
    ids=[
        "syntax",
        "undecodable",
        "encoding",
        "null byte",
        "indentation",
        "huge number",
        "too many blocks",
        "parentheses",
        "sum",
        "signs",
        "lambdas",
    ],
)
def test_what_does_not_parse_is_a_finding_with_an_error(text: bytes, error: str) -> None:
    """Neither bad syntax nor nesting beyond the parser's means raises anything; the lines still count."""
    found = examine_source(text, "bad.py")
    assert error in found.error
    assert "\n" not in found.error
    assert found == Finding("bad.py", lines=found.lines, error=found.error)
    assert found.lines == max(1, text.count(b"\n"))


@pytest.mark.parametrize(
    "text",
    [b"a" + b".b" * 100_000, b"a" + b"()" * 20_000, b"if a: x\n" + b"elif a: x\n" * 20_000],
    ids=["attributes", "calls", "elif"],
)
def test_what_only_some_versions_can_follow_is_no_problem_either(text: bytes) -> None:
    """Whether the parser manages or not, there is a finding: its tree is never walked by recursion."""
    found = examine_source(text, "deep.py")
    assert found.error.partition(":")[0] in ("", "RecursionError", "MemoryError")


def test_the_codes_own_warnings_are_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    """A doubtful escape in the code parsed is not this program's affair."""
    assert survey(r"x = '\d'").lines == 1
    assert not recwarn.list


def test_garbage_collection_is_left_as_it_was() -> None:
    """On stays on and off stays off, after errors too."""
    assert gc.isenabled()
    examine_source(b"(", "bad.py")
    assert gc.isenabled()
    gc.disable()
    try:
        examine_source(b"()", "some.py")
        assert not gc.isenabled()
    finally:
        gc.enable()


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_no_bytes_raise(text: bytes) -> None:
    """Whatever is in a file, examining it gives a finding that can be sent as UTF-8."""
    found = examine_source(text, "some.py")
    assert found.file == "some.py"
    found.error.encode()


def test_a_file_that_cannot_be_read_is_a_finding_with_an_error(tmp_path: Path) -> None:
    """A name with nothing behind it, or a directory, is reported with the system's reason."""
    assert examine(str(tmp_path / "none.py")).error == "cannot be read: No such file or directory"
    assert examine(str(tmp_path)).error == "cannot be read: Is a directory"


def test_a_huge_file_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just at the limit it is; a byte more and it is reported, without having been read to its end."""
    monkeypatch.setattr(census_analysis, "MAX_SOURCE", 1 << 20)
    path = tmp_path / "big.py"
    path.write_bytes(b"#" * (1 << 20))
    assert examine(str(path)) == Finding(str(path), lines=1)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a terabyte, none of it on the disk
    assert examine(str(path)).error == "larger than 1 MiB"


def count_with_walk(files: list[Path]) -> dict[type, int]:
    """The plain way to count: parse everything, walk over every node."""
    nodes = [type(node) for file in files for node in ast.walk(ast.parse(file.read_bytes()))]
    return {kind: nodes.count(kind) for kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)}


def test_real_source_gives_the_same_counts_as_a_plain_walk() -> None:
    """Skipping expressions loses nothing: the standard library's asyncio and email count the same both ways."""
    library = Path(ast.__file__).parent
    files = sorted([*library.glob("asyncio/*.py"), *library.glob("email/*.py")])
    census = Census()
    for file in files:
        census.add(examine(str(file)))
    plain = count_with_walk(files)
    assert census.files == len(files) > 40
    assert census.functions == plain[ast.FunctionDef] > 1000
    assert census.async_functions == plain[ast.AsyncFunctionDef] > 50
    assert census.classes == plain[ast.ClassDef] > 100


FINDINGS = [
    Finding("b.py", 10, 2, 1, 1, Function("f", 5, "b.py", 1), Nesting(3, "b.py", 4), {"os": 2, "re": 1}),
    Finding("a.py", 20, 1, 0, 0, Function("g", 5, "a.py", 9), Nesting(3, "a.py", 7), {"sys": 2}),
    Finding("d.py", 1, error="SyntaxError: no"),
    Finding("c.py"),
    Finding("e.py", 7, 1, 0, 0, Function("h", 2, "e.py", 1), Nesting(1, "e.py", 2), {"os": 1}),
]


@given(st.permutations(FINDINGS))
def test_a_census_does_not_depend_on_the_order_of_its_findings(findings: list[Finding]) -> None:
    """Sums are sums, ties go to the name that sorts first, and the JSON form is the same to the byte."""
    census = Census()
    for finding in findings:
        census.add(finding)
    assert census.longest == Function("g", 5, "a.py", 9)
    assert census.deepest == Nesting(3, "a.py", 7)
    assert (census.files, census.lines, census.functions, census.async_functions, census.classes) == (
        5,
        38,
        4,
        1,
        1,
    )
    assert census.top_imports(2) == [("os", 3), ("sys", 2)]
    assert census.errors == {"d.py": "SyntaxError: no"}
    first = Census()
    for finding in FINDINGS:
        first.add(finding)
    assert census == first
    assert str(census.as_dict()) == str(first.as_dict())


def test_an_empty_census_has_no_places() -> None:
    """Nothing was found, nothing is longest."""
    assert Census().as_dict()["longest_function"] is None
    assert Census().top_imports(10) == []


def test_equally_often_imported_modules_are_in_the_order_of_their_names() -> None:
    """The list does not depend on which file was counted first."""
    census = Census()
    census.add(Finding("a.py", imports={"zlib": 1, "ast": 1, "os": 2}))
    assert census.top_imports(3) == [("os", 2), ("ast", 1), ("zlib", 1)]


def test_source_files_are_the_regular_ones_in_order(tmp_path: Path) -> None:
    """Directories, pipes and dangling links named `.py` are none; a link to a file is one."""
    for name in ("b.py", "a.py", "sub/c.py", "sub/notes.txt", "sub/d.pyc"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "directory.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    files, problems = source_files([str(tmp_path)])
    assert files == [str(tmp_path / name) for name in ("a.py", "b.py", "link.py", "sub/c.py")]
    assert problems == []


def test_directories_can_be_left_out_below_others_but_not_by_themselves(tmp_path: Path) -> None:
    """Packages below the standard library are counted only where they are asked for."""
    packages = tmp_path / "lib" / PACKAGES[0]
    packages.mkdir(parents=True)
    (packages / "package.py").touch()
    (tmp_path / "lib" / "module.py").touch()
    assert source_files([str(tmp_path)], PACKAGES)[0] == [str(tmp_path / "lib/module.py")]
    assert source_files([str(tmp_path), str(packages)], PACKAGES)[0] == [
        str(tmp_path / "lib/module.py"),
        str(packages / "package.py"),
    ]
    assert len(source_files([str(tmp_path), str(tmp_path / "lib")])[0]) == 2


def test_a_file_whose_name_is_no_text_is_reported(tmp_path: Path) -> None:
    """Its name could not be sent to anyone."""
    with open(os.fsencode(tmp_path) + b"/caf\xe9.py", "wb"):
        pass
    files, problems = source_files([str(tmp_path)])
    assert files == []
    assert problems == [Finding(f"{tmp_path}/caf\\udce9.py", error="its name is not valid text")]


def test_a_directory_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    """The rest is found all the same."""
    (tmp_path / "a.py").touch()
    files, problems = source_files([str(tmp_path / "gone"), str(tmp_path)])
    assert files == [str(tmp_path / "a.py")]
    assert problems == [Finding(str(tmp_path / "gone"), error="cannot be listed: No such file or directory")]


def test_the_installed_source_holds_the_library_and_the_packages() -> None:
    """Both the file of a standard module and that of an installed one are below the default directories."""
    files, _ = source_files(installed_source(), PACKAGES)
    assert os.path.realpath(ast.__file__) in files
    assert os.path.realpath(pytest.__file__) in files


def test_names_are_shown_relative_to_where_they_were_found() -> None:
    """The innermost of the directories counts; what a terminal would obey is escaped."""
    homes = ["/lib", "/lib/site-packages"]
    assert shortened("/lib/os.py", homes) == "os.py"
    assert shortened("/lib/site-packages/a/b.py", homes) == "a/b.py"
    assert shortened("/library/os.py", homes) == "/library/os.py"
    assert shortened("/os.py", ["/"]) == "os.py"
    assert printable("a\x1b[2J\nb\u00e9") == "a\\x1b[2J\\nb\u00e9"

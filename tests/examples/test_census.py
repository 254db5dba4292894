"""The census as a program: its options, its workers, and what it does when one of them dies or Ctrl-C is pressed."""

import ast
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import census
import pexpect
import psutil
import pytest
from census_worker import WINDOW

from tests.kinds import OF_A_PROCESS

PROGRAM = Path(census.__file__)


def run_census(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program with its output in pipes."""
    command = [sys.executable, PROGRAM, *arguments]
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, timeout=60, check=False)


def read_json(path: Path) -> Any:
    """What the program wrote there."""
    return json.loads(path.read_text())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory of 40 files of real source, and three that cannot be parsed."""
    library = Path(ast.__file__).parent
    directory = tmp_path / "source"
    directory.mkdir()
    for path in sorted(library.glob("[a-h]*.py"))[:40]:
        (directory / path.name).write_bytes(path.read_bytes())
    (directory / "bad_null.py").write_bytes(b"x = 1\0")
    (directory / "bad_syntax.py").write_bytes(b"def f(:")
    (directory / "bad_text.py").write_bytes(b"x = '\xff'")
    return directory


def count_plainly(directory: Path) -> dict[str, Any]:
    """The counts of a directory, by one loop in this process."""
    kinds: Counter[type] = Counter()
    imports: Counter[str] = Counter()
    errors = set()
    files = sorted(directory.rglob("*.py"))
    for path in files:
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            errors.add(str(path))
            continue
        for node in ast.walk(tree):
            kinds[type(node)] += 1
            if isinstance(node, ast.Import):
                imports.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imports[node.module.partition(".")[0]] += 1
    return {
        "files": len(files),
        "functions": kinds[ast.FunctionDef],
        "async_functions": kinds[ast.AsyncFunctionDef],
        "classes": kinds[ast.ClassDef],
        "imports": dict(imports),
        "errors": errors,
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--workers", "0"], "--workers: must be from 1 to 256, not 0"),
        (["--workers", "1000"], "--workers: must be from 1 to 256, not 1000"),
        (["--workers", "two"], "--workers: invalid int value: 'two'"),
        (["--workers", "1", "--kill-one"], "--kill-one: needs at least two workers"),
        (["--kill-one", "--backend", "subint"], "--kill-one: kills a process"),
        (["--path", "/nowhere"], "--path: not a directory: '/nowhere'"),
        (["--path", __file__], "--path: not a directory: "),
        (["--transport", "pigeon"], "--transport: invalid choice: 'pigeon'"),
        (["--frob"], "unrecognized arguments: --frob"),
        (["file.py"], "unrecognized arguments: file.py"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, the usage and one line with the reason."""
    assert census.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: census")
    assert f"census: error: argument {reason}" in err or f"census: error: {reason}" in err


def test_a_directory_without_python_source_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to count."""
    assert census.main(["--path", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"census: no Python source below {tmp_path}\n"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("{tmp}/none/x.json", "No such file or directory"),
        ("{tmp}", "Is a directory"),
        ("/dev/full", "No space left"),
    ],
)
def test_json_that_cannot_be_written_is_refused_before_the_work_begins(
    target: str, reason: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No worker is started for nothing."""
    target = target.format(tmp=tmp_path)
    assert census.main(["--path", str(source), "--json", target]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"census: cannot write {target!r}: {reason}")


def test_the_results_are_those_of_a_plain_count(source: Path, tmp_path: Path, transport: str) -> None:
    """Two workers, then one for comparison, over each transport: every figure is right and the output plain text."""
    out = tmp_path / "out.json"
    done = run_census("--workers", "2", "--path", source, "--json", out, "--transport", transport)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "2 workers: 43 of 43 files\n" in done.stdout
    assert "1 worker: 43 of 43 files\n" in done.stdout
    data = read_json(out)
    expected = count_plainly(source)
    assert {key: data["census"][key] for key in expected} | {
        "errors": set(data["census"]["errors"])
    } == expected
    assert data["transport"] == transport
    assert [(run["workers"], run["died"], run["missing"]) for run in data["runs"]] == [(2, [], 0), (1, [], 0)]
    assert f"{expected['functions']:,}" in done.stdout


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_census(workers: int, source: Path, tmp_path: Path) -> None:
    """A run alone has nothing to be compared with."""
    out = tmp_path / "out.json"
    done = run_census("--workers", str(workers), "--path", source, "--json", out, "--no-compare")
    assert (done.returncode, done.stderr) == (0, "")
    assert [run["workers"] for run in read_json(out)["runs"]] == [workers]
    expected = count_plainly(source)
    assert {key: read_json(out)["census"][key] for key in ("functions", "imports")} == {
        key: expected[key] for key in ("functions", "imports")
    }


@pytest.mark.parametrize(
    "backend", ["forkserver", "subint"] if sys.version_info >= (3, 14) else ["forkserver"]
)
def test_workers_of_any_kind_give_the_same_census(backend: str, source: Path, tmp_path: Path) -> None:
    """Forks of one process, or interpreters of this one."""
    out = tmp_path / "out.json"
    done = run_census("--workers", "2", "--path", source, "--json", out, "--backend", backend, "--no-compare")
    assert (done.returncode, done.stderr) == (0, "")
    expected = count_plainly(source)
    data = read_json(out)
    assert {key: data["census"][key] for key in expected} | {
        "errors": set(data["census"]["errors"])
    } == expected


def test_no_more_workers_than_files_are_started(tmp_path: Path) -> None:
    """One file is work for one; it is found from another directory, by a relative name."""
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "a.py").write_text("def f(): ...\n")
    done = run_census("--path", "only", "--workers", "5", "--json", "out.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    data = read_json(tmp_path / "out.json")
    assert [run["workers"] for run in data["runs"]] == [1]
    assert data["census"]["longest_function"] == {
        "name": "f",
        "lines": 1,
        "file": str(tmp_path / "only" / "a.py"),
        "line": 1,
    }


@OF_A_PROCESS
def test_a_killed_worker_is_named_and_nothing_is_lost(source: Path, tmp_path: Path, transport: str) -> None:
    """The program says who died and how and what it was at, and another worker does that."""
    out = tmp_path / "out.json"
    done = run_census(
        "--workers", "2", "--path", source, "--json", out, "--kill-one", "--transport", transport
    )
    assert (done.returncode, done.stderr) == (0, "")
    data = read_json(out)
    assert data["runs"][1]["died"] == []
    (death,) = data["runs"][0]["died"]
    assert death["how"] == "killed by SIGKILL"
    assert f"{death['worker']} (process {death['pid']}) died: killed by SIGKILL\n" in done.stdout
    assert 0 < len(death["in_flight"]) <= 2 * WINDOW + 2
    for file in death["in_flight"]:
        assert f"    {Path(file).name}\n" in done.stdout
    assert data["census"]["functions"] == count_plainly(source)["functions"]
    assert data["census"]["files"] == 43


@OF_A_PROCESS
def test_when_the_last_worker_dies_what_was_found_is_shown_and_the_rest_counted(tmp_path: Path) -> None:
    """Status 1, and in the results no file twice and none invented."""
    out = tmp_path / "out.json"
    library = Path(ast.__file__).parent
    command: list[str | Path] = [sys.executable, PROGRAM, "--workers", "1", "--path", library, "--json", out]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        line = ""
        while not line.startswith("1 worker: ") or " 0 of" in line:
            line = process.stdout.readline()
        # By its title: a fork server, where there is one, is a process below the program as well.
        below = psutil.Process(process.pid).children(recursive=True)
        (worker,) = [one for one in below if one.cmdline()[0].startswith("_subactor[")]
        worker.kill()
        shown, err = process.communicate(timeout=30)
    assert process.returncode == 1
    data = read_json(out)
    (run,) = data["runs"]
    (death,) = run["died"]
    assert f"worker-0 (process {worker.pid}) died: killed by SIGKILL\n" in shown
    assert err == f"census: no worker is left: {run['missing']:,} files were not examined\n"
    assert 0 < len(death["in_flight"]) <= run["missing"]
    assert data["census"]["files"] > 0


def test_output_that_nobody_reads_or_that_has_no_room_ends_it_without_a_traceback(source: Path) -> None:
    """A closed pipe is not worth a word, a full disk is worth one line."""
    arguments = f"{sys.executable} {PROGRAM} --workers 2 --path {source}"
    shell = ["bash", "-c", f"{arguments} | head -1; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(shell, text=True, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "2 workers: 0 of 43 files\n", "")
    shell = ["bash", "-c", f"{arguments} > /dev/full"]
    done = subprocess.run(shell, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "census: cannot go on: [Errno 28] No space left on device\n"


class Terminal:
    """The program on a terminal of its own, 80 columns wide."""

    def __init__(self, *arguments: str | Path) -> None:
        self.child: pexpect.spawn[str] = pexpect.spawn(
            sys.executable,
            [str(PROGRAM), *map(str, arguments)],
            encoding="utf-8",
            codec_errors="replace",  # Ctrl-C makes the terminal drop output, half characters too
            dimensions=(24, 80),
            timeout=30,
            env=dict(os.environ, TERM="xterm-256color"),
        )

    def interrupt(self) -> str:
        """Press Ctrl-C; return all that was shown afterwards. Fails unless the prompt is back within two seconds."""
        self.child.sendintr()
        pressed = time.monotonic()
        self.child.expect(pexpect.EOF, timeout=10)
        self.child.wait()
        assert time.monotonic() - pressed < 2
        return self.child.before or ""

    def close(self) -> None:
        """End it, whatever it does."""
        self.child.close(force=True)


def check_interrupted(terminal: Terminal, shown: str) -> None:
    """Status 130, one line, no traceback, and a terminal that is as it was."""
    assert terminal.child.exitstatus == census.INTERRUPTED
    assert "Traceback" not in shown
    assert "Error" not in shown
    assert "died" not in shown
    assert shown.count("census: interrupted") == 1
    assert shown.endswith("census: interrupted\r\n")
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l")


@pytest.mark.parametrize(
    ("moment", "below"),
    [("2 workers", ""), (r"[1-9]\d\d/", ""), ("1 worker ", "asyncio")],
    ids=["while workers start", "at work", "in the comparison"],
)
def test_ctrl_c_ends_it_at_once(moment: str, below: str, transport: str) -> None:
    """Prompt, quiet, nothing left behind, whatever it was doing."""
    path = Path(ast.__file__).parent / below
    terminal = Terminal("--workers", "2", "--transport", transport, "--path", path)
    try:
        terminal.child.expect(moment)
        check_interrupted(terminal, terminal.interrupt())
    finally:
        terminal.close()


def test_ctrl_c_ends_it_while_it_is_still_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even in the middle of an import, here of a module that never ends, there is no traceback."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("import time\nprint('loading')\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    terminal = Terminal()
    try:
        terminal.child.expect("loading")
        check_interrupted(terminal, terminal.interrupt())
    finally:
        terminal.close()


def test_on_a_terminal_everything_fits_eighty_columns(source: Path) -> None:
    """Bars while it works, tables when it is done, no line wrapped, the cursor back."""
    terminal = Terminal("--workers", "2", "--path", source)
    try:
        terminal.child.expect(pexpect.EOF)
        terminal.child.wait()
        shown: Sequence[str] = (terminal.child.before or "").splitlines()
    finally:
        terminal.close()
    assert terminal.child.exitstatus == 0
    assert any("43/43" in line for line in shown)
    assert any("speed-up" in line for line in shown)
    assert "".join(shown).rfind("\x1b[?25h") > "".join(shown).rfind("\x1b[?25l") > 0

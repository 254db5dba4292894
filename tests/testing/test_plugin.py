"""The pytest plugin, seen from a session outside the one it works in."""

import os
import subprocess
import sys

import pytest

from tractor.testing import _procs


def run(pytester: pytest.Pytester, body: str, *args: str) -> pytest.RunResult:
    """Run a session with the plugin over one file of tests."""
    pytester.makepyfile("import os, socket, subprocess, sys, threading, time\nimport pytest, trio\n" + body)
    return pytester.runpytest_subprocess("-p", "tractor.testing._plugin", *args, timeout=60)


def test_an_async_test_runs_under_trio_with_its_fixtures(pytester: pytest.Pytester) -> None:
    """Parameters, fixtures and methods work as they do for plain tests."""
    body = """
@pytest.fixture
def five():
    return 5

@pytest.mark.parametrize("n", [1, 2])
async def test_function(five, n, tmp_path):
    await trio.lowlevel.checkpoint()
    assert five + n > 5 and tmp_path.is_dir()

class TestIt:
    async def test_method(self, five):
        assert trio.lowlevel.in_trio_task()

def test_plain():
    assert not trio.lowlevel.in_trio_task()
"""
    run(pytester, body).assert_outcomes(passed=4)


def test_a_failing_async_test_fails(pytester: pytest.Pytester) -> None:
    """The coroutine is really awaited, and its error is the test's."""
    result = run(pytester, "async def test_bad():\n    await trio.sleep(0)\n    assert 1 + 1 == 3\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert*== 3*"])


def test_ctrl_c_ends_the_session_also_from_inside_a_nursery(pytester: pytest.Pytester) -> None:
    """A group with the interrupt in it is no failure of one test, after which the others run."""
    body = """
import signal

async def test_interrupted():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        signal.raise_signal(signal.SIGINT)

def test_next():
    print("was run")
"""
    result = run(pytester, body, "-s")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "was run" not in str(result.stdout)


def test_what_an_interrupted_test_had_open_is_no_error(pytester: pytest.Pytester) -> None:
    """The traceback of the interrupt holds on to it, and the session is over anyway."""
    body = """
import signal

async def test_interrupted():
    reader, writer = os.pipe()
    files = open(reader), open(writer, "w")
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()
"""
    result = run(pytester, body)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "left behind" not in str(result.stdout)


def test_the_fence_ends_an_async_test_that_never_would(pytester: pytest.Pytester) -> None:
    """The marker sets the seconds; the next test runs as usual."""
    body = """
@pytest.mark.fence(0.05)
async def test_endless():
    await trio.sleep_forever()

async def test_next():
    await trio.sleep(0.1)
"""
    result = run(pytester, body)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*TooSlowError*"])


def test_a_clean_test_passes(pytester: pytest.Pytester) -> None:
    """Using processes, threads, sockets and trio is fine where all of it is ended."""
    body = """
async def test_clean(tmp_path, capfd):
    await trio.run_process([sys.executable, "-S", "-c", "print(1)"], stdout=None)
    await trio.to_thread.run_sync(time.sleep, 0.01)
    a, b = trio.socket.socketpair()
    a.close(), b.close()
    assert capfd.readouterr().out == "1\\n"
"""
    run(pytester, body).assert_outcomes(passed=1)


#: Statements, each with what the report says of it.
LEAKS = {
    "process": ("left = subprocess.Popen(['sleep', '60'])", "*process * child of *: sleep 60"),
    "zombie": ("left = subprocess.Popen(['true']); time.sleep(0.1)", "*process * (Z, child of *true]"),
    "orphan": ("subprocess.run(['sh', '-c', 'sleep 61 &'])", "*process * child of *: sleep 61"),
    "titled_orphan": (
        "subprocess.run(['sh', '-c', '\"$0\" -c \"$1\" &', sys.executable, TITLED]); wait_for('ready')",
        "*process * child of *: _subactor?w@1?",
    ),
    "thread": (
        "threading.Thread(target=time.sleep, args=(10,), name='stubborn', daemon=True).start()",
        "*thread 'stubborn' *",
    ),
    "descriptor": ("left = socket.socketpair()", "*descriptor * -> socket:*"),
    "epoll": ("left = select.epoll()", "*descriptor * -> anon_inode:*eventpoll*"),
    "socket_file": (
        "s = socket.socket(socket.AF_UNIX); s.bind('rt/w@1.sock'); s.close()",
        "*file rt/w@1.sock",
    ),
    "memory": ("open(f'/dev/shm/tractor-test-{os.getpid()}', 'w').close()", "*file /dev/shm/tractor-test-*"),
    "interpreter": ("_interpreters.create()", "*interpreter 1"),
}

LEAKY = """
import _interpreters, select
TITLED = "import setproctitle as t, time; t.setproctitle('_subactor[w@1]'); open('ready', 'w'); time.sleep(62)"

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
"""


def test_a_leaking_test_fails_and_the_next_one_is_clean(pytester: pytest.Pytester) -> None:
    """For each kind the report says what it is; the test after it is not blamed."""
    pytester.mkdir("rt")
    pytester.makeconftest("""
        import pathlib, sys, types
        from tractor.testing import _plugin
        _plugin.SETTLE = 0.2
        module = sys.modules["tractor.ipc._rtdir"] = types.ModuleType("tractor.ipc._rtdir")
        module.get_rt_dir = lambda: pathlib.Path("rt")
    """)
    tests = [
        f"def test_{kind}():\n    global left\n    {statement}\n\ndef test_after_{kind}(): pass\n"
        for kind, (statement, _) in LEAKS.items()
    ]
    result = run(pytester, LEAKY + "\n".join(tests))
    result.assert_outcomes(passed=2 * len(LEAKS), errors=len(LEAKS))
    for kind, (_, line) in LEAKS.items():
        result.stdout.fnmatch_lines(
            [f"*ERROR at teardown of test_{kind} *", "left behind by this test:", line], consecutive=True
        )


def test_what_a_test_starts_and_leaves_does_not_survive_the_check(pytester: pytest.Pytester) -> None:
    """The leaked process is killed and reaped before the next test begins."""
    body = """
left = None

def test_leaks():
    global left
    left = subprocess.Popen(["sleep", "60"])

def test_next():
    assert not os.path.exists(f"/proc/{left.pid}")
"""
    run(pytester, body).assert_outcomes(passed=2, errors=1)


def test_what_a_session_fixture_leaves_fails_the_session(pytester: pytest.Pytester) -> None:
    """No single test can be blamed, so the session says what it was, kills it, and does not end well."""
    body = """
@pytest.fixture(scope="session")
def server():
    return subprocess.Popen(["sleep", "60"])

def test_uses_it(server):
    with open("pid", "w") as file:
        file.write(str(server.pid))
"""
    result = run(pytester, body)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["left behind by the session, now killed:", "*process *: sleep 60"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    proc = _procs.read_proc(int((pytester.path / "pid").read_text()))
    assert proc is None or proc.state == "Z"


def test_an_unknown_backend_is_refused_with_the_known_ones(pytester: pytest.Pytester) -> None:
    """The session does not start; the message says what there is."""
    result = run(pytester, "def test_x(): pass", "--spawn-backend=carrier-pigeon")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no backend 'carrier-pigeon'; there is *trio*"])


def test_a_backend_is_that_of_every_program_of_the_session(pytester: pytest.Pytester) -> None:
    """Whatever they ask for; without the option the environment is as it was."""
    body = """
def test_method(spawn_backend):
    print("method", spawn_backend, os.environ.get("TRACTOR_SPAWN_METHOD"))
"""
    result = run(pytester, body, "-s", "--spawn-backend=forkserver")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*method forkserver forkserver*"])


OPTIONS = """
def test_options(spawn_backend, child_link):
    print("options", spawn_backend, child_link, os.environ["TRACTOR_CHILD_LINK"])

@pytest.fixture
def address(transport):
    return f"over {transport}"

def test_transport(address):
    print(address)
"""


def test_by_default_every_transport_is_tested(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fixture that uses `transport` multiplies its tests as the test itself would."""
    monkeypatch.delenv("TRACTOR_SPAWN_METHOD", raising=False)
    result = run(pytester, OPTIONS, "-v", "-s")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*options trio inherit inherit*", "*over tcp*", "*over uds*"])


def test_options_choose_transports_and_link(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport named twice is tested once."""
    monkeypatch.delenv("TRACTOR_SPAWN_METHOD", raising=False)
    result = run(pytester, OPTIONS, "-s", "--transport=uds", "--transport=uds", "--child-link=connect")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*options trio connect connect*", "*over uds*"])
    assert "over tcp" not in result.stdout.str()


@pytest.mark.parametrize("option", ["--transport=smoke", "--child-link=guess"])
def test_other_values_are_refused(option: str, pytester: pytest.Pytester) -> None:
    """Options with fixed choices list them."""
    result = run(pytester, "def test_x(): pass", option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*invalid choice*"])


def test_the_environment_of_the_session_ends_with_it(pytester: pytest.Pytester) -> None:
    """An inner session in this very process gives back what it set, and its directory is gone."""
    before = dict(os.environ)
    pytester.makepyfile("def test_x(): pass")
    pytester.runpytest_inprocess("-p", "tractor.testing._plugin", "--collect-only", plugins=[_Seen()])
    assert dict(os.environ) == before
    assert _Seen.mark.startswith(f"{before[_procs.MARK]}/")
    assert _Seen.directory != before["XDG_RUNTIME_DIR"]
    assert not os.path.exists(_Seen.directory)


class _Seen:
    """Notes what an inner session finds in its environment."""

    mark = ""
    directory = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Look, while the session runs."""
        _Seen.mark = os.environ[_procs.MARK]
        _Seen.directory = os.environ["XDG_RUNTIME_DIR"]
        assert os.path.isdir(_Seen.directory)


def test_loading_the_plugin_imports_no_runtime() -> None:
    """Neither trio nor anything heavy is loaded before a test needs it."""
    code = "import sys, pytest; old = set(sys.modules); import tractor.testing._plugin; print(*set(sys.modules) - old)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"trio", "msgspec", "multiprocessing", "asyncio", "hypothesis"} & loaded
    assert not {
        name for name in loaded if name.startswith("tractor.") and not name.startswith("tractor.testing")
    }

"""A pytest plugin: runs async tests under trio, bounds every test, and fails a test that leaves something behind.

Load it with `pytest_plugins = ["tractor.testing._plugin"]` in the top-level conftest. The checks that read /proc and
the guard process work on Linux; elsewhere tests run without them.
"""

import inspect
import os
import shutil
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tractor.testing import _backends, _guard, _leaks, _procs

TRANSPORTS = ("tcp", "uds")
CHILD_LINKS = ("inherit", "connect")
#: Seconds for an async test, and how many more of wall time until the whole session is ended.
FENCE = 60.0
GUARD_MARGIN = 60.0
#: Seconds that what a test started has to be gone after it.
SETTLE = 1.0


@dataclass(slots=True)
class _Session:
    mark: str
    dump: Path
    private: str
    sockets: Path | None = None
    guard: _guard.Guard | None = None


_SESSION = pytest.StashKey[_Session]()
#: Whether somebody has pressed Ctrl-C.
_INTERRUPTED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("tractor")
    group.addoption(
        "--spawn-backend",
        metavar="KEY",
        help="how children are made, in spite of what a program asks for (default: TRACTOR_SPAWN_METHOD, else trio)",
    )
    group.addoption(
        "--transport",
        action="append",
        choices=TRANSPORTS,
        help="run tests that use the `transport` fixture over this one; may be repeated (default: all)",
    )
    group.addoption(
        "--child-link",
        choices=CHILD_LINKS,
        default="inherit",
        help="whether children inherit the channel to their parent or connect back (default: inherit)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options and prepare the environment that every process of the session sees."""
    from tractor.spawn._backend import BACKENDS

    config.pluginmanager.register(_backends, "tractor-backends")
    backend = config.getoption("--spawn-backend")
    if backend is not None and backend not in BACKENDS:
        raise pytest.UsageError(f"--spawn-backend: no backend {backend!r}; there is {', '.join(BACKENDS)}")
    config.addinivalue_line(
        "markers",
        f"fence(seconds): bound of an async test (default {FENCE:g}); the session is ended, with all stacks written, "
        f"when any test runs {GUARD_MARGIN:g} s longer than that.",
    )
    outer = os.environ.get(_procs.MARK)
    own = f"{os.getpid()}-{time.time_ns()}"
    mark = f"{outer}/{own}" if outer else own
    private = tempfile.mkdtemp(prefix="tractor-test-")
    config.add_cleanup(lambda: shutil.rmtree(private, ignore_errors=True))
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    patch.setenv(_procs.MARK, mark)
    # Or an actor's process title is written over its environment, and the mark is lost.
    patch.setenv("SPT_NOENV", "1")
    # Socket files go where no other session on this machine puts its own.
    patch.setenv("XDG_RUNTIME_DIR", private)
    # None is made that no test has asked for.
    patch.setenv("TRACTOR_SUBINT_POOL", "0")
    patch.setenv("TRACTOR_CHILD_LINK", config.getoption("--child-link"))
    if backend is not None:
        patch.setenv("TRACTOR_SPAWN_METHOD", backend)
    # Programs of other tests, and of other sessions on this machine, are none of a test's business.
    patch.setenv("TRACTOR_REGISTRY_ADDRS", "")
    dump = Path(tempfile.gettempdir(), f"tractor-hang-{os.getpid()}.txt")
    config.stash[_SESSION] = _Session(mark, dump, private)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the guard, unless somebody is going to sit in a debugger."""
    unbounded = ("usepdb", "trace", "collectonly")
    if _has_proc() and not any(session.config.getoption(name, default=False) for name in unbounded):
        state = session.config.stash[_SESSION]
        state.guard = _guard.Guard(state.mark, state.dump, state.private)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Kill what fixtures of the whole session left behind, and say so."""
    state = session.config.stash[_SESSION]
    if state.guard is None:
        return
    left = _procs.find_family(os.getpid(), state.mark, _procs.all_pids() - {state.guard.pid})
    lines = "\n".join(f"  process {proc}" for proc in left)
    _procs.kill(left)
    state.guard.stop()
    if left:
        session.config.get_terminal_writer().line(
            f"\nleft behind by the session, now killed:\n{lines}", red=True
        )
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Bound the test's wall time, fixtures included."""
    guard = item.config.stash[_SESSION].guard
    if guard is None:
        return (yield)
    guard.arm(_fence(item) + GUARD_MARGIN, item.nodeid)
    try:
        return (yield)
    finally:
        guard.disarm()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test under trio, within its fence."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    import trio

    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}

    async def main() -> None:
        with trio.fail_after(_fence(pyfuncitem)):
            await test(**arguments)

    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            # Nurseries of the test have put it into a group, which would be one more failure of one more test.
            pyfuncitem.session.stash[_INTERRUPTED] = True
            raise KeyboardInterrupt from group
        raise
    except KeyboardInterrupt:
        pyfuncitem.session.stash[_INTERRUPTED] = True
        raise
    return True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `transport`, itself or through a fixture, once for each chosen one."""
    if "transport" in metafunc.fixturenames:
        chosen = dict.fromkeys(metafunc.config.getoption("--transport") or TRANSPORTS)
        metafunc.parametrize("transport", list(chosen), indirect=True)


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    """The transport this run of the test uses: "tcp" or "uds"."""
    key: str = request.param
    return key


@pytest.fixture(scope="session")
def spawn_backend(request: pytest.FixtureRequest) -> str:
    """The key of the backend that makes this session's children."""
    key: str | None = request.config.getoption("--spawn-backend")
    return key or os.environ.get("TRACTOR_SPAWN_METHOD") or "trio"


@pytest.fixture(scope="session")
def child_link(request: pytest.FixtureRequest) -> str:
    """How children reach their parent in this session: "inherit" or "connect"; the runtime reads TRACTOR_CHILD_LINK."""
    link: str = request.config.getoption("--child-link")
    return link


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, thread, descriptor, interpreter, socket or shared-memory file behind."""
    state = request.config.stash[_SESSION]
    if not _has_proc():
        yield
        return
    state.sockets = state.sockets or _leaks.find_socket_dir()
    before = _leaks.take_snapshot(state.sockets)
    yield
    left = _leaks.settle(before, state.mark, state.sockets, wait=SETTLE)
    if left:
        text = str(left)
        left.end()
        if request.session.stash.get(_INTERRUPTED, False):
            # The traceback of the interrupt holds on to what the test had open.
            return
        pytest.fail(f"left behind by this test:\n{text}", pytrace=False)


def _fence(item: pytest.Item) -> float:
    marker = item.get_closest_marker("fence")
    return FENCE if marker is None else float(marker.args[0])


def _has_proc() -> bool:
    return os.path.isdir("/proc/self/fd")

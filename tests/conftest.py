"""The plugin every test of this suite runs under, and what all tests share."""

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest_plugins = ["tractor.testing._plugin", "pytester"]

if sys.version_info < (3, 14):
    # They run interpreters; that an older Python refuses them is tested in test_backend.py.
    collect_ignore = [
        "_child/test_interpreter.py",
        "ipc/test_lending.py",
        "spawn/test_interpreters.py",
        "spawn/test_subint.py",
        "test_buffers.py",
        "test_interpreter_links.py",
        "test_backends_benchmark.py",
        "test_links_benchmark.py",
        "test_subint_cancellation.py",
        "test_subint_ctrl_c.py",
    ]

#: Folders and files of tests that start no actors by the session's backend: to run them on another one would show nothing.
#: Those below them that do are named too. A wrong entry fails its tests; see `tractor.testing._backends`.
DECLARED = {
    "no_backend": """
        _child bootstrap devx ipc msg runtime stateful trionics wire
        _cli/test_main.py discovery/test_table.py
        examples/test_census_analysis.py examples/test_census_job.py examples/test_census_report.py
        supervise/test_errors.py supervise/test_lifecycle.py supervise/test_main.py supervise/test_mainmod.py
        supervise/test_spec.py supervise/test_verdict.py
        test_2way_frames.py test_architecture.py test_errors.py test_greedy_peers.py test_hooks.py test_ids.py test_log.py
        test_lying_peers.py test_precedence.py test_typing.py
        testing
    """,
    "own_backend": """
        _child/test_spare.py spawn teardowns test_backends_benchmark.py test_buffers.py test_interpreter_links.py
        test_links_benchmark.py test_subint_cancellation.py test_subint_ctrl_c.py
    """,
    "": """
        _child/test_boot.py _child/test_mainmod.py ipc/test_sweep.py
        runtime/test_context_facts.py runtime/test_failed_streams.py runtime/test_lifetime.py runtime/test_portal.py
        runtime/test_real_processes.py runtime/test_refusal.py runtime/test_state.py testing/test_plugin.py
    """,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests that can be made a soak do."""
    parser.addoption(
        "--crowd", default="3,4,4", help="programs, actors of each, and seconds, of the crowd at one registry"
    )


def pytest_configure() -> None:
    """Take Ctrl-C back, which a shell has what it runs in the background ignore: tests press it, and programs they start inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is declared above; what is said of a file goes before what is said of its folder."""
    here = Path(__file__).parent
    markers = {here / path: marker for marker, paths in DECLARED.items() for path in paths.split()}
    for item in items:
        marker = markers.get(item.path, markers.get(item.path.parent))
        if marker:
            item.add_marker(marker)


@pytest.fixture(autouse=True)
def _restore_logger() -> Iterator[None]:
    """Give the logger "tractor" back as it was found: a level that one test asks for would silence it in others."""
    root = logging.getLogger("tractor")
    handlers, level = list(root.handlers), root.level
    root.setLevel(logging.NOTSET)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)

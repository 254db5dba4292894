"""A CPython of the wanted version that is on the machine already, or that uv can download."""

from __future__ import annotations

import glob
import os
import re
import shutil
from pathlib import Path
from typing import Iterator

from scripts.bootstrap._index import index_env, tool
from scripts.bootstrap._machine import STORE, CommandError, run, say

# What the project needs of an interpreter, and what slim or broken builds lack. Free-threaded builds are another
# ABI with other wheels. A virtual environment's interpreter is known by its base, which outlives it.
PROBE = """
import sys, sysconfig
import ctypes, lzma, sqlite3, ssl, zlib, multiprocessing.shared_memory
assert sys.implementation.name == "cpython" and sys.version_info[:2] == ({version})
assert sys.version_info.releaselevel == "final" and not sysconfig.get_config_var("Py_GIL_DISABLED")
print(sys._base_executable)
"""

# Where version managers keep versions. Their programs on PATH refuse to run a version that is not selected.
MANAGED = (
    (str(STORE / "uv"), "cpython-{version}.*"),
    ("${UV_PYTHON_INSTALL_DIR}", "cpython-{version}.*"),
    ("~/.local/share/uv/python", "cpython-{version}.*"),
    ("${PYENV_ROOT}/versions", "{version}.*"),
    ("~/.pyenv/versions", "{version}.*"),
    ("~/.local/share/mise/installs/python", "{version}.*"),
    ("~/.asdf/installs/python", "{version}.*"),
)


def usable(python: Path, version: str) -> Path | None:
    """Return the interpreter behind `python` if it is a complete CPython of that version."""
    probe = PROBE.format(version=version.replace(".", ", "))
    try:
        printed = run(python, "-I", "-c", probe, timeout=30, with_stderr=False)
    except CommandError:
        return None
    return Path(printed.strip())


def present(version: str) -> Path | None:
    """Return an interpreter that is on the machine already."""
    for candidate in _candidates(version):
        found = usable(candidate, version)
        if found is not None:
            return found
    return None


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    for directory, pattern in MANAGED:
        place = os.path.expandvars(
            os.path.expanduser(os.path.join(directory, pattern.format(version=version)))
        )
        # Not Path.glob(), which raises where a directory may not be entered.
        for home in sorted(glob.glob(place), key=_release, reverse=True):
            yield Path(home) / "bin" / f"python{version}"
    command = (tool("uv"), "python", "find", "--system", "--no-project", "--no-python-downloads", version)
    try:
        yield Path(run(*command, timeout=60, with_stderr=False).strip())
    except CommandError:
        return


def _release(home: str) -> list[int]:
    """Return the numbers in a directory's name, so that 3.14.10 is newer than 3.14.9."""
    return [int(digits) for digits in re.findall(r"\d+", os.path.basename(home))]


def download(version: str) -> Path | None:
    """Let uv install the interpreter into the checkout. Returns None where no download site can be reached."""
    say(f"CPython {version} is not on this machine; asking uv for it")
    settings = {
        **index_env(),
        # Where the site is blocked, further attempts only make the user wait.
        "UV_HTTP_RETRIES": "0",
        "UV_HTTP_CONNECT_TIMEOUT": "5",
    }
    place = STORE / "uv"
    try:
        run(
            tool("uv"),
            "python",
            "install",
            "--no-bin",
            "--install-dir",
            place,
            version,
            env=settings,
            timeout=300,
        )
    except CommandError:
        return None
    return present(version)

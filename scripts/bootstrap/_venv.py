"""The virtual environment, and the stamp that says it is finished and what for."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from scripts.bootstrap._index import CHECK_INDEX, index_env, tool
from scripts.bootstrap._machine import ROOT, CommandError, SetupError, run, say

DEFAULT = "3.14"
STAMP = "setup.json"


def place(version: str) -> Path:
    """Return the directory of that version's environment."""
    return ROOT / (".venv" if version == DEFAULT else f".venv-{version}")


def wanted(version: str) -> dict[str, str]:
    """Return what the stamp of a finished environment says."""
    inputs = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return {"version": version, "checkout": str(ROOT), "inputs": inputs}


def stamped(version: str) -> dict[str, str] | None:
    """Return the environment's stamp, or None if it was never finished or its interpreter is gone."""
    try:
        stamp = json.loads((place(version) / STAMP).read_text())
        run(place(version) / "bin" / "python", "-I", "-S", "-c", "pass", timeout=30)
    except (OSError, ValueError, CommandError):
        return None
    return stamp if isinstance(stamp, dict) else None


def make(version: str, python: Path) -> None:
    """Make the environment anew with that interpreter. It has no packages yet."""
    if place(version).exists():
        shutil.rmtree(place(version))
    run(tool("uv"), "venv", "--quiet", "--no-project", "--python", python, place(version), env=index_env())


def install(version: str) -> None:
    """Install the project, editable, with all that it is developed with; byte-compile it; write the stamp."""
    stamp = wanted(version)
    path = place(version) / STAMP
    # Away before the first change and back after the last, so that an interrupted environment is made anew.
    if path.exists():
        path.unlink()
    python = place(version) / "bin" / "python"
    say(f"installing packages into {place(version).name}")
    packages = ("--group", "dev", "--editable", ROOT)
    try:
        run(
            tool("uv"),
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            python,
            *packages,
            env=index_env(),
        )
    except CommandError as exc:
        raise SetupError(f"the packages could not be installed: {exc.tail(12)}\n{CHECK_INDEX}") from exc
    try:
        run(python, "-m", "compileall", "-q", ROOT / "tractor")
    except CommandError:
        # A file that does not compile is for lint and tests to report.
        pass
    path.write_text(json.dumps(stamp, indent=1) + "\n")

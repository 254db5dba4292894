"""Where things are kept, running commands, and saying what happens."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
# All that is fetched for this checkout alone: interpreters, tools, downloads not yet finished.
STORE = ROOT / ".python"

# Users set these for their own programs; each would change what the commands run here see or do.
FOREIGN = frozenset(
    [
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSAFEPATH",
        "PYTHONDONTWRITEBYTECODE",
        "VIRTUAL_ENV",
        "UV_PYTHON",
        "UV_PROJECT",
    ]
)


class SetupError(Exception):
    """The machine lacks something. The message says what, and how to get it."""


class CommandError(Exception):
    """A command failed, or was stopped when its time was over.

    The message is one line; `output` is all that the command printed.
    """

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output

    def tail(self, lines: int = 8) -> str:
        """Return the message with the last lines of the output, indented below it."""
        printed = [line.rstrip() for line in self.output.splitlines() if line.strip()]
        return "\n".join([str(self), *("    " + line for line in printed[-lines:])])


def say(text: str) -> None:
    """Tell the user what happens now."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 900,
    with_stderr: bool = True,
) -> str:
    """Run a command in the checkout and return what it printed.

    `env` is added to the environment; `timeout` is in seconds. Raises `CommandError` when the command cannot be
    started, does not end in time, or has an exit status other than 0.
    """
    words: Sequence[str] = [str(word) for word in command]
    environ = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    try:
        done = subprocess.run(
            words,
            env={**environ, **(env or {})},
            cwd=str(ROOT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_stderr else subprocess.PIPE,
            timeout=timeout,
            check=False,
            # Commands hold the lock with us: one that outlives its killed parent still keeps the next setup out.
            close_fds=False,
        )
    except OSError as exc:
        raise CommandError(f"{words[0]}: {exc.strerror or exc}", "") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandError(f"{words[0]}: stopped after {timeout:.0f} s", _text(exc.stdout)) from exc
    if done.returncode != 0:
        raise CommandError(
            f"{words[0]}: exit status {done.returncode}", _text(done.stdout) + _text(done.stderr)
        )
    return _text(done.stdout)


def fresh(path: Path) -> Path:
    """Return `path` as a new empty directory."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def settle(made: Path, place: Path) -> None:
    """Give a finished directory its name, in place of what has that name now.

    Whatever has the final name is therefore whole: an interrupted run leaves nothing but the temporary one.
    """
    if place.exists():
        shutil.rmtree(place)
    made.rename(place)


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", "replace")

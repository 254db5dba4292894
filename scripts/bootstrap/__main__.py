"""Make sure that the checkout has a finished environment for one version of CPython."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sys
from typing import TYPE_CHECKING, Iterator

from scripts.bootstrap import _debian, _find, _venv
from scripts.bootstrap._machine import ROOT, STORE, CommandError, SetupError, say

if TYPE_CHECKING:
    from pathlib import Path

OLDEST = (3, 13)


def main() -> int:
    """Do what is still to be done, and return the exit status."""
    try:
        version = _version(sys.argv[1] if len(sys.argv) > 1 else _venv.DEFAULT)
        if _venv.stamped(version) != _venv.wanted(version):
            with _alone():
                _set_up(version)
    except SetupError as exc:
        print(f"setup: {exc}", file=sys.stderr)
        return 1
    except CommandError as exc:
        print(f"setup: {exc.tail()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next run goes on", file=sys.stderr)
        return 130
    return 0


def _version(asked: str) -> str:
    match = re.fullmatch(r"(?:python)?(\d+)\.(\d+)", asked)
    if match is None:
        raise SetupError(f"PYTHON={asked} is not understood: give a version, as in PYTHON={_venv.DEFAULT}")
    version = f"{match[1]}.{match[2]}"
    if (int(match[1]), int(match[2])) < OLDEST:
        raise SetupError(f"CPython {version} is too old: give {OLDEST[0]}.{OLDEST[1]} or newer")
    return version


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other setup works in this checkout, and keep others waiting."""
    STORE.mkdir(exist_ok=True)
    with (STORE / "lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another setup in this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _set_up(version: str) -> None:
    stamp = _venv.stamped(version)
    if stamp == _venv.wanted(version):
        return
    if stamp is None or stamp.get("checkout") != str(ROOT):
        python = _interpreter(version)
        say(f"making {_venv.place(version).name} with {python}")
        _venv.make(version, python)
    _venv.install(version)
    say(f"{_venv.place(version).name} is ready")


def _interpreter(version: str) -> Path:
    return (
        _debian.existing(version)
        or _find.present(version)
        or _find.download(version)
        or _debian.make(version)
    )


if __name__ == "__main__":
    sys.exit(main())

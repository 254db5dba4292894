"""Programs from the Python package index, and the settings that make uv use the index that pip uses."""

from __future__ import annotations

import ast
import functools
import os
import re
import shutil
import sys
from pathlib import Path

from scripts.bootstrap._machine import STORE, CommandError, SetupError, fresh, run, say, settle

CHECK_INDEX = "  Check the network, and pip's settings (pip config list) where a mirror or a proxy is needed."


@functools.lru_cache(maxsize=None)
def pip() -> tuple[str, ...]:
    """Return the command for the pip of some python3, or an empty one if there is none."""
    candidates = [sys.executable, shutil.which("python3"), "/usr/bin/python3", "/usr/local/bin/python3"]
    for python in dict.fromkeys(path for path in candidates if path):
        try:
            run(python, "-m", "pip", "--version", timeout=60)
        except CommandError:
            continue
        return python, "-m", "pip"
    return ()


def tool(name: str) -> Path:
    """Return the program `name`, which a package of that name contains. It is fetched on first use.

    Raises `SetupError` when there is no way to fetch it.
    """
    place = STORE / "tools" / name
    program = place / "bin" / name
    if not program.exists():
        say(f"fetching {name}")
        made = fresh(place.with_name(name + ".part"))
        try:
            run(*_installer(), "--target", made, name, env=index_env())
        except CommandError as exc:
            raise SetupError(
                f"the package {name!r} could not be fetched: {exc.tail()}\n{CHECK_INDEX}"
            ) from exc
        settle(made, place)
    return program


def _installer() -> tuple[str, ...]:
    """Return the command that installs into a directory of its own.

    With `--target` pip does that in an externally managed environment too, which it leaves as it is.
    """
    if pip():
        return *pip(), "install", "--disable-pip-version-check", "--no-input", "--retries", "2", "-qq"
    uv = shutil.which("uv")
    if uv:
        return uv, "pip", "install", "--quiet", "--python", sys.executable
    raise SetupError(
        f"{sys.executable} has no pip, which fetches all the rest. Get it with the system's packages (Debian, Ubuntu:\n"
        "  apt install python3-pip; Fedora: dnf install python3-pip), or with: python3 -m ensurepip --user"
    )


@functools.lru_cache(maxsize=None)
def _pip_options() -> dict[str, str]:
    """Return the options that pip gets from its files and its environment, `index-url` for one."""
    options: dict[str, str] = {}
    if not pip():
        return options
    try:
        listing = run(*pip(), "config", "list", timeout=60, with_stderr=False)
    except CommandError:
        return options
    # As in pip, what the environment says goes over what files say, and a command's section over the general one.
    for scope in ("global", "install", ":env:"):
        for name, value in re.findall(rf"^{scope}\.([\w-]+)=(.*)$", listing, re.MULTILINE):
            options[name.replace("_", "-")] = str(ast.literal_eval(value))
    return options


@functools.lru_cache(maxsize=None)
def index_env() -> dict[str, str]:
    """Return the environment that makes uv use the indexes, certificates and proxy that pip is set up to use.

    What the user has set for uv stays as it is.
    """
    options = {name: " ".join(value.split()) for name, value in _pip_options().items()}
    env: dict[str, str] = {}
    if "index-url" in options and "UV_INDEX_URL" not in os.environ:
        env["UV_DEFAULT_INDEX"] = options["index-url"]
    if "extra-index-url" in options and "UV_EXTRA_INDEX_URL" not in os.environ:
        env["UV_INDEX"] = options["extra-index-url"]
        # pip takes the best version that any index has; uv would stop at the first index that has the package.
        env["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    # pip passes over a directory that is not there; for uv it is an error.
    links = [
        place for place in options.get("find-links", "").split() if "://" in place or Path(place).is_dir()
    ]
    if links:
        env["UV_FIND_LINKS"] = ",".join(links)
    for name, option in (
        ("SSL_CERT_FILE", "cert"),
        ("HTTP_PROXY", "proxy"),
        ("HTTPS_PROXY", "proxy"),
        ("UV_INSECURE_HOST", "trusted-host"),
    ):
        if option in options:
            env[name] = options[option]
    if not os.access(os.path.expanduser("~"), os.W_OK):
        env["UV_CACHE_DIR"] = str(STORE / "cache")
    return {name: value for name, value in env.items() if name not in os.environ}

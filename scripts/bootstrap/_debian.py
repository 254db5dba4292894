"""CPython from the distribution's newer suites, unpacked into a prefix inside the checkout.

The machine's apt does the work: index, dependencies, download and signatures. Its state, cache and sources are
private ones, so the system's packages and package lists stay as they are, and no root is needed.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from scripts.bootstrap._find import usable
from scripts.bootstrap._index import tool
from scripts.bootstrap._machine import STORE, CommandError, SetupError, fresh, run, say, settle
from scripts.bootstrap._sources import main_archive, stanza

# The suites that may have a version, the one nearest to a stable release first.
SUITES = {
    "3.13": ("trixie", "forky", "sid"),
    "3.14": ("forky", "sid"),
    "3.15": ("forky", "sid", "experimental"),
}
NEWEST = ("sid", "experimental")

# The file that says a prefix is finished, and the place that it is for.
MARK = "made-for"

# `#clear` takes away what the machine's configuration lets apt do to the system after an update.
CONFIG = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "{place}/state";
Dir::State::status "{place}/state/status";
Dir::Cache "{place}/cache";
Dir::Etc::sourcelist "{place}/main.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Acquire::https::Timeout "15";
"""
# Root's apt would download as a user of its own, who may not be able to enter the checkout.
CONFIG_ROOT = 'APT::Sandbox::User "root";\n'


class _Apt:
    """apt-get with private state. A download that was interrupted goes on where it stopped."""

    def __init__(self, place: Path) -> None:
        self.archives = place / "cache" / "archives"
        self.empty = place / "cache" / "empty"
        for directory in (self.archives, self.empty, place / "state" / "lists"):
            (directory / "partial").mkdir(parents=True, exist_ok=True)
        # With no package installed, apt resolves every dependency down to the C library.
        (place / "state" / "status").write_text("")
        self.sources = place / "main.sources"
        self._config = place / "apt.conf"
        self._config.write_text(CONFIG.format(place=place) + (CONFIG_ROOT if os.geteuid() == 0 else ""))

    def __call__(self, *words: str) -> str:
        return run("apt-get", "-c", self._config, "-y", "-q", *words, env={"LC_ALL": "C.UTF-8"}, timeout=600)


def existing(version: str) -> Path | None:
    """Return the interpreter of a prefix made earlier, if it is one for this place."""
    prefix = STORE / version
    try:
        # Absolute paths are built into it, so a copy of the checkout needs a prefix of its own.
        here = (prefix / MARK).read_text() == str(prefix)
    except OSError:
        return None
    return usable(_python(prefix, version), version) if here else None


def make(version: str) -> Path:
    """Make the prefix and return its interpreter.

    Raises `SetupError` when the machine has no apt, or its archive cannot be reached or lacks that version.
    """
    problem = f"CPython {version} is not here, no download site can be reached by uv"
    archive = main_archive()
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise SetupError(f"{problem}, and this machine has no apt.{_advice(version)}")
    if archive is None:
        raise SetupError(f"{problem}, and apt has no source with a whole release.{_advice(version)}")
    work = STORE / f"{version}.apt"
    packages = _fetch(version, _Apt(work), archive)
    prefix = STORE / version
    say(f"unpacking {len(packages)} packages into {prefix.relative_to(STORE.parent)}")
    made = fresh(STORE / f"{version}.part")
    for package in packages:
        run("dpkg", "-x", package, made)
    _relocate(made, prefix, version)
    settle(made, prefix)
    python = _python(prefix, version)
    if usable(python, version) is None:
        raise SetupError(f"the packages' CPython does not run on this machine: {python}{_advice(version)}")
    _compile(python, version)
    (prefix / MARK).write_text(str(prefix))
    shutil.rmtree(work)
    return python


def _python(prefix: Path, version: str) -> Path:
    return prefix / "usr" / "bin" / f"python{version}"


def _fetch(version: str, apt: _Apt, archive: dict[str, str]) -> list[Path]:
    """Download the interpreter with the libraries it needs, all from one suite, and return the files."""
    trouble = ""
    for suite in SUITES.get(version, NEWEST):
        say(f"looking for CPython {version} in the distribution's suite {suite}")
        # Experimental has only what differs from sid, and apt takes from it only what is asked for.
        apt.sources.write_text(stanza(archive, "sid experimental" if suite == "experimental" else suite))
        wanted = ("install", f"python{version}", "-t", suite)
        try:
            apt("update", "--error-on=any")
            # It leaves out what is in the archives directory already, so it gets to see another one.
            plan = apt("--print-uris", "-o", f"Dir::Cache::archives={apt.empty}", *wanted)
        except CommandError as exc:
            trouble = trouble or exc.tail(3)
            continue
        apt("--download-only", *wanted)
        files: list[str] = re.findall(r"^'[^']+' (\S+\.deb) \d+", plan, re.MULTILINE)
        # The rest is data and helpers, which the running system has.
        return [apt.archives / name for name in files if name.startswith(("lib", "python"))]
    raise SetupError(
        f"the distribution's newer suites gave no CPython {version}.{_advice(version)}\n  What apt said first: {trouble}"
    )


def _relocate(made: Path, prefix: Path, version: str) -> None:
    """Make the interpreter use the C library and the other libraries unpacked beside it.

    `made` is where the tree is now, `prefix` where it will be.
    """
    python = _python(made, version)
    patchelf = tool("patchelf")
    loader = Path(run(patchelf, "--print-interpreter", python).strip()).name
    found = [path for path in made.glob(f"usr/lib*/**/{loader}") if not path.is_symlink()]
    if not found:
        raise SetupError(f"the packages of CPython {version} have no {loader}.{_advice(version)}")
    inside = prefix / found[0].relative_to(made)
    # Forced to RPATH, because extension modules inherit that; they would not inherit a RUNPATH.
    run(patchelf, "--set-interpreter", inside, "--force-rpath", "--set-rpath", inside.parent, python)


def _compile(python: Path, version: str) -> None:
    """Byte-compile the standard library, as the package's own installation script would have done."""
    library = python.parents[1] / "lib" / f"python{version}"
    try:
        run(python, "-I", "-m", "compileall", "-q", library)
    except CommandError as exc:
        # The interpreter works without; it only starts more slowly.
        say(f"the standard library is not byte-compiled: {exc.tail()}")


def _advice(version: str) -> str:
    return (
        f"\n  Any complete CPython {version} will do that is on PATH as python{version}: from the system's packages, from"
        f"\n  pyenv (pyenv install {version}), or from uv (uv python install {version}) with access to its download site."
    )

"""The machine's own apt sources: where its main archive is, and how that is verified."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator

# Suites that add to a release, and the flat archives of third parties, are not a release's main archive.
ADDITION = re.compile(r"-(security|updates|backports(-sloppy)?|proposed-updates|debug)$|/")
# What a source may say about its verification, in the one-line format and in deb822.
OPTIONS = {"signed-by": "Signed-By", "check-valid-until": "Check-Valid-Until", "trusted": "Trusted"}
FIELDS = ("Types", "URIs", "Suites", "Components", "Enabled", *OPTIONS.values())
ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>[^#]*)"
)


def main_archive(root: Path = Path("/etc/apt")) -> dict[str, str] | None:
    """Return the deb822 fields (`URIs`, `Signed-By`…) of the machine's main archive, without its suites.

    That is the first source of binary packages that has a whole release and the component `main`.
    """
    for entry in entries(root):
        releases = [suite for suite in entry.get("Suites", "").split() if not ADDITION.search(suite)]
        if releases and "main" in entry.get("Components", "").split():
            return {name: entry[name] for name in ("URIs", *OPTIONS.values()) if name in entry}
    return None


def entries(root: Path) -> Iterator[dict[str, str]]:
    """Yield the enabled sources of binary packages as deb822 fields, in the order of their files."""
    files = [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]
    for path in files:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for entry in deb822(text) if path.suffix == ".sources" else one_line(text):
            enabled = entry.get("Enabled", "yes").lower() not in (
                "no",
                "false",
                "without",
                "off",
                "disable",
                "0",
            )
            if enabled and "deb" in entry.get("Types", "").split():
                yield entry


def deb822(text: str) -> Iterator[dict[str, str]]:
    """Parse stanzas. Field names get their usual spelling; a folded value keeps its line breaks, as keys need."""
    spelling = {name.lower(): name for name in FIELDS}
    for block in re.split(r"\n\s*\n", text):
        entry: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and name:
                entry[name] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                name = spelling.get(key.strip().lower(), key.strip())
                entry[name] = value.strip()
        if entry:
            yield entry


def one_line(text: str) -> Iterator[dict[str, str]]:
    """Parse `deb [option=value …] URI suite component…`."""
    for line in text.splitlines():
        match = ONE_LINE.match(line.strip())
        if match:
            entry = {
                "Types": "deb",
                "URIs": match["uri"],
                "Suites": match["suite"],
                "Components": match["components"],
            }
            for option in (match["options"] or "").split():
                name, _, value = option.partition("=")
                if name.lower() in OPTIONS:
                    entry[OPTIONS[name.lower()]] = value.replace(",", " ")
            yield entry


def stanza(archive: dict[str, str], suites: str) -> str:
    """Return a deb822 stanza for other suites of that archive, with nothing but their package lists."""
    fields = {"Types": "deb", **archive, "Suites": suites, "Components": "main", "Targets": "Packages"}
    return "".join(f"{name}: {value}\n" for name, value in fields.items())

"""Which archive the setup takes from a machine's apt sources, in both formats that they are written in."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.bootstrap._sources import deb822, main_archive, one_line, stanza

RELEASE = """\
Types: deb deb-src
# a comment between fields
URIs: http://mirror.example/debian
suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A directory like /etc/apt, with no sources in it yet."""
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_the_main_archive_of_a_deb822_file(etc: Path) -> None:
    """The entry with a whole release is taken, with its keyring and without its suites."""
    (etc / "sources.list.d" / "debian.sources").write_text(RELEASE)
    assert main_archive(etc) == {
        "URIs": "http://mirror.example/debian",
        "Signed-By": "/usr/share/keyrings/archive.gpg",
    }


def test_the_main_archive_of_a_one_line_file(etc: Path) -> None:
    """Comments, source packages, additions to a release and third parties' flat archives are passed over."""
    (etc / "sources.list").write_text(
        "# deb http://old.example/debian bullseye main\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/debian-security bookworm-security main\n"
        "deb https://tool.example/apt/ ./\n"
        "deb [arch=amd64 signed-by=/a.gpg,/b.gpg] http://mirror.example/debian bookworm main # here\n"
    )
    assert main_archive(etc) == {"URIs": "http://mirror.example/debian", "Signed-By": "/a.gpg /b.gpg"}


def test_no_archive(etc: Path) -> None:
    """Sources that are disabled, of other components or of another kind of file give nothing."""
    parts = etc / "sources.list.d"
    (parts / "off.sources").write_text(RELEASE.replace("Types: deb", "Enabled: no\nTypes: deb"))
    (parts / "tool.list").write_text("deb http://tool.example/apt stable stable\n")
    (parts / "old.list.save").write_text("deb http://old.example/debian bookworm main\n")
    assert main_archive(etc) is None
    assert main_archive(etc / "missing") is None


def test_a_key_written_into_the_source_survives() -> None:
    """A folded field comes out as it went in, so that apt can read the key in it."""
    text = "Types: deb\nURIs: http://mirror.example/\nSigned-By:\n -----BEGIN\n .\n abc\n -----END\n"
    (entry,) = deb822(text)
    assert entry["Signed-By"] == "\n -----BEGIN\n .\n abc\n -----END"
    assert "Signed-By: \n -----BEGIN\n .\n abc\n -----END\n" in stanza(
        {"Signed-By": entry["Signed-By"]}, "sid"
    )


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# nothing\n", "debian\n", "deb\n", "deb http://mirror.example/\n"]
)
def test_lines_that_are_no_source(etc: Path, text: str) -> None:
    """What is no source is passed over in either kind of file."""
    assert not list(one_line(text))
    (etc / "sources.list").write_text(text)
    (etc / "sources.list.d" / "a.sources").write_text(text)
    assert main_archive(etc) is None


def test_the_stanza_asks_for_other_suites_of_the_same_archive() -> None:
    """What is written for apt reads back as one source with the wanted suites."""
    archive = {"URIs": "http://mirror.example/debian", "Signed-By": "/a.gpg"}
    (entry,) = deb822(stanza(archive, "sid experimental"))
    assert entry == {
        **archive,
        "Types": "deb",
        "Suites": "sid experimental",
        "Components": "main",
        "Targets": "Packages",
    }

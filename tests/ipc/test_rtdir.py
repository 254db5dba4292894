"""The private directory of this user's sockets."""

import os
import stat
from pathlib import Path

import pytest

from tractor.ipc import _rtdir
from tractor.ipc._rtdir import get_rt_dir


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let the directory be made below a fresh one."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path))
    monkeypatch.setattr(_rtdir, "_DARWIN_TMPDIR", os.fspath(tmp_path))
    return tmp_path


def mode(path: Path) -> int:
    """Return the permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def test_it_is_made_private_and_found_again(base: Path) -> None:
    """Nobody else may connect to what is in there."""
    found = get_rt_dir()
    assert found.is_dir()
    assert found.parent == base
    assert mode(found) == 0o700
    assert get_rt_dir() == found


def test_permissions_that_are_too_wide_are_narrowed() -> None:
    """It may have been made by a careless program, or by us under a strange umask."""
    found = get_rt_dir()
    found.chmod(0o755)
    assert mode(get_rt_dir()) == 0o700


def test_a_subdirectory_is_made_in_the_same_way() -> None:
    """Every component is private."""
    found = get_rt_dir("a/b")
    assert found == get_rt_dir() / "a" / "b"
    assert mode(found) == mode(found.parent) == 0o700


@pytest.mark.parametrize("subdir", ["/etc", "..", "a/../../b", Path("/tmp")])
def test_a_subdirectory_may_not_lead_out(subdir: str | Path) -> None:
    """Only what is below is ours."""
    with pytest.raises(ValueError, match=r"relative path without '\.\.'"):
        get_rt_dir(subdir)


def test_another_program_has_a_directory_of_its_own(base: Path) -> None:
    """`appname` names it."""
    assert get_rt_dir(appname="other").name.startswith("other")
    assert get_rt_dir(appname="other").parent == base


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_link_or_a_file_in_its_place_is_refused_and_left_alone(what: str, base: Path) -> None:
    """Somebody with access to the directory above could lead our sockets astray."""
    target = base / "target"
    target.mkdir(mode=0o755)
    place = get_rt_dir()
    place.rmdir()
    if what == "link":
        place.symlink_to(target)
    else:
        place.write_text("")
    with pytest.raises(PermissionError, match=r"Unsafe (POSIX|Darwin).*link or not a directory"):
        get_rt_dir("sub")
    assert mode(target) == 0o755
    assert list(target.iterdir()) == []


def test_a_directory_of_somebody_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it could replace our sockets."""
    found = get_rt_dir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PermissionError, match=r"Unsafe .* belongs to user id \d+"):
        get_rt_dir()
    assert mode(found) == 0o700


def test_without_a_runtime_directory_of_the_session_there_is_one_per_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Containers and services have no XDG_RUNTIME_DIR, or one that does not exist."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(tmp_path / "missing"))
    found = get_rt_dir(appname="tractor-test-suite")
    try:
        assert mode(found) == 0o700
        assert "tractor-test-suite" in os.fspath(found)
    finally:
        found.rmdir()

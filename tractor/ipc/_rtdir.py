"""The private directory that holds this user's Unix-domain sockets."""

import os
import stat
import sys
from pathlib import Path

#: macOS limits a socket's path to 104 bytes, which its per-user temporary directory alone nearly fills.
_DARWIN_TMPDIR = "/tmp"


def get_rt_dir(subdir: str | Path | None = None, appname: str = "tractor") -> Path:
    """Return the runtime directory, made with mode 0700 where it is missing.

    `subdir`: a relative path below it, made the same way.
    Raises `ValueError` for a `subdir` that is absolute or climbs out with `..`, and `PermissionError` when a
    component is a symbolic link, not a directory, or belongs to somebody else; nothing is created or changed then.
    """
    parts = Path(subdir).parts if subdir is not None else ()
    if subdir is not None and (Path(subdir).is_absolute() or ".." in parts):
        raise ValueError(f"subdir must be a relative path without '..': {str(subdir)!r}")
    path = _base_dir(appname)
    _ensure_private(path)
    for part in parts:
        path = path / part
        _ensure_private(path)
    return path


def _base_dir(appname: str) -> Path:
    if sys.platform == "darwin":
        return Path(_DARWIN_TMPDIR) / f"{appname}-{os.getuid()}"
    xdg = os.environ.get("XDG_RUNTIME_DIR")
    if xdg and Path(xdg).is_dir():
        return Path(xdg) / appname
    import warnings

    import platformdirs

    with warnings.catch_warnings():
        # A missing XDG_RUNTIME_DIR is normal in containers and services; the fallback is checked below.
        warnings.simplefilter("ignore")
        base = Path(platformdirs.user_runtime_dir(appname=None, ensure_exists=False))
    if not base.is_dir():
        return Path("/tmp") / f"{appname}-{os.getuid()}"
    return base / appname


def _ensure_private(path: Path) -> None:
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        pass
    info = path.lstat()
    platform = "Darwin" if sys.platform == "darwin" else "POSIX"
    if not stat.S_ISDIR(info.st_mode):
        raise PermissionError(
            f"Unsafe {platform} runtime directory: {path} is a link or not a directory; remove it"
        )
    if info.st_uid != os.geteuid():
        raise PermissionError(f"Unsafe {platform} runtime directory: {path} belongs to user id {info.st_uid}")
    if stat.S_IMODE(info.st_mode) != 0o700:
        path.chmod(0o700)

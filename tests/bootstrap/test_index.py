"""pip's settings, as uv gets them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.bootstrap import _index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def pip_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sets what `pip config list` prints. Nothing is set for uv."""
    for name in [name for name in os.environ if name.startswith("UV_") or name.endswith("_PROXY")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    # Where home cannot be written to, uv also gets a cache directory, which is not the matter here.
    monkeypatch.setattr("os.access", lambda *_: True)
    monkeypatch.setattr(_index, "pip", lambda: ("pip",))

    def prints(listing: str) -> None:
        monkeypatch.setattr(_index, "run", lambda *_, **__: listing)
        _index._pip_options.cache_clear()
        _index.index_env.cache_clear()

    yield prints
    _index._pip_options.cache_clear()
    _index.index_env.cache_clear()


def test_nothing_configured(pip_says: Callable[[str], None]) -> None:
    """The defaults of uv stay."""
    pip_says("")
    assert _index.index_env() == {}


def test_a_mirror_with_its_certificate(pip_says: Callable[[str], None]) -> None:
    """The environment goes over the files, as it does in pip."""
    pip_says(
        ":env:.index-url='https://env.example/simple'\n"
        "global.index-url='https://file.example/simple'\n"
        "global.cert='/etc/ssl/ours.pem'\n"
        "global.proxy='http://proxy.example:3128'\n"
        "global.timeout='60'\n"
    )
    assert _index.index_env() == {
        "UV_DEFAULT_INDEX": "https://env.example/simple",
        "SSL_CERT_FILE": "/etc/ssl/ours.pem",
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


def test_more_indexes_are_searched_as_pip_does(pip_says: Callable[[str], None]) -> None:
    """Several indexes may be on several lines; the best version of all of them is taken."""
    pip_says("install.extra-index-url='\\nhttps://a.example/simple\\nfile:///srv/simple'\n")
    assert _index.index_env() == {
        "UV_INDEX": "https://a.example/simple file:///srv/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_only_directories_that_exist(pip_says: Callable[[str], None], tmp_path: Path) -> None:
    """A wheel directory that is not there is a warning in pip and would be an error in uv."""
    pip_says(f"global.find-links='{tmp_path} {tmp_path}/missing https://wheels.example/'\n")
    assert _index.index_env() == {"UV_FIND_LINKS": f"{tmp_path},https://wheels.example/"}


def test_what_is_set_for_uv_stays(pip_says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's settings for uv are not replaced by those for pip."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example/simple")
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/uv.pem")
    pip_says("global.index-url='https://file.example/simple'\nglobal.cert='/etc/ssl/ours.pem'\n")
    assert _index.index_env() == {}

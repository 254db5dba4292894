"""Which functions of an actor a peer may run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tractor
from tractor._errors import ModuleNotExposed
from tractor.runtime._expose import Exposed, find_modules


async def function() -> int:
    """Be exposed."""
    return 1


def plain() -> None:
    """Be no coroutine function."""


async def generator() -> Any:
    """Be no function either."""
    yield


@tractor.context
async def endpoint(ctx: tractor.Context) -> None:
    """Be an endpoint."""


class Namespace:
    """Holds functions."""

    @staticmethod
    async def inner() -> int:
        """Be found by a dotted name."""
        return 2


@pytest.fixture
def exposed() -> Exposed:
    """Expose this module."""
    return Exposed(find_modules([__name__]))


def test_functions_are_found(exposed: Exposed) -> None:
    """By module and qualified name."""
    assert exposed.lookup(f"{__name__}:function", as_context=False) is function
    assert exposed.lookup(f"{__name__}:function", as_context=False) is function
    assert exposed.lookup(f"{__name__}:Namespace.inner", as_context=False) is Namespace.inner
    assert exposed.lookup(f"{__name__}:endpoint", as_context=True) is endpoint


@pytest.mark.parametrize(
    ("target", "as_context", "error", "text"),
    [
        ("os:system", False, ModuleNotExposed, "'os' is not exposed .*add it to `enable_modules`"),
        ("", False, ModuleNotExposed, "'' is not exposed"),
        ("__main__:main", False, ModuleNotExposed, "'__main__' is not exposed"),
        ("{}:missing", False, AttributeError, "missing"),
        ("{}", False, AttributeError, "''"),
        ("{}:function.__globals__", False, TypeError, "must be an async function!"),
        ("{}:plain", False, TypeError, "must be an async function!"),
        ("{}:generator", False, TypeError, "must be an async function!"),
        ("{}:Namespace", False, TypeError, "must be an async function!"),
        ("{}:endpoint", False, TypeError, "open it with"),
        ("{}:function", True, TypeError, "decorate it with"),
    ],
)
def test_everything_else_is_refused(
    exposed: Exposed, target: str, as_context: bool, error: type[Exception], text: str
) -> None:
    """With an error that says why; asking twice does not help."""
    for _ in range(2):
        with pytest.raises(error, match=text):
            exposed.lookup(target.format(__name__), as_context=as_context)


@pytest.mark.parametrize(
    "path", ["subprocess.run", "tractor.open_nursery", "pytest.main", "tractor.runtime._call.call"]
)
def test_a_module_that_is_imported_by_an_exposed_one_is_not_exposed_with_it(
    exposed: Exposed, path: str
) -> None:
    """The path of attributes may not lead through other modules: everybody imports something dangerous."""
    assert "subprocess" in globals()
    with pytest.raises(ModuleNotExposed, match="is not exposed"):
        exposed.lookup(f"{__name__}:{path}", as_context=False)


def test_both_names_of_the_main_module_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a child the parent's main module is loaded under another name."""
    module = sys.modules[__name__]
    exposed = Exposed({"__main__": "x.py"})
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    for name in ("__main__", "__mp_main__"):
        assert exposed.lookup(f"{name}:function", as_context=False) is function
    monkeypatch.delitem(sys.modules, "__mp_main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exposed = Exposed({"__mp_main__": "x.py"})
    for name in ("__main__", "__mp_main__"):
        assert exposed.lookup(f"{name}:function", as_context=False) is function


def test_modules_are_found_with_their_files() -> None:
    """Imported or not; what has no file has an empty name."""
    assert find_modules([__name__, "sys", "wave"]) == {
        __name__: __file__,
        "sys": "",
        "wave": subprocess.__file__.replace("subprocess", "wave"),
    }
    assert "wave" not in sys.modules


def test_a_module_that_cannot_be_found_is_an_error_here_and_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than in a child: missing, or with a syntax error."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_module.py").write_text("def (:\n")
    with pytest.raises(ModuleNotFoundError, match=r"no module named 'not_there'.*enable_modules"):
        find_modules(["not_there"])
    with pytest.raises(ModuleNotFoundError, match="nor_there"):
        find_modules(["nor_there.inner"])
    with pytest.raises(SyntaxError):
        find_modules(["broken_module"])


def test_loading_imports_every_exposed_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong there is not hidden."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "fails_at_import.py").write_text("raise RuntimeError('at import')\n")
    (tmp_path / "loads_well.py").write_text("")
    Exposed(find_modules(["loads_well", __name__])).load()
    assert "loads_well" in sys.modules
    with pytest.raises(RuntimeError, match="at import"):
        Exposed(find_modules(["fails_at_import"])).load()
    Exposed({"__main__": "", "__mp_main__": ""}).load()

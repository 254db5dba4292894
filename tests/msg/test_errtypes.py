"""Names and the exception types they mean."""

import bdb
import builtins
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tractor import _errors
from tractor.msg import _boxed, _errtypes
from tractor.msg._boxed import ContextCancelled, MsgTypeError, RemoteActorError, StreamOverrun
from tractor.msg._errtypes import bare_name, get_err_type, reg_err_types, resolve, wire_name


class HomeMade(Exception):
    """An error of the program's own."""


class Demanding(Exception):
    """Another one."""


@pytest.fixture(autouse=True)
def clean_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registrations of one test are unknown to the next."""
    with monkeypatch.context() as patch:
        patch.setattr(_errtypes, "_registered", {})
        yield


_KNOWN: list[tuple[str, type[BaseException]]] = [
    ("ValueError", ValueError),
    ("KeyboardInterrupt", KeyboardInterrupt),
    ("ExceptionGroup", ExceptionGroup),
    ("TransportClosed", _errors.TransportClosed),
    ("ActorFailure", _errors.ActorFailure),
    ("ModuleNotExposed", _errors.ModuleNotExposed),
    ("RemoteActorError", RemoteActorError),
    ("ContextCancelled", ContextCancelled),
    ("MsgTypeError", MsgTypeError),
    ("StreamOverrun", StreamOverrun),
    ("Cancelled", trio.Cancelled),
    ("TooSlowError", trio.TooSlowError),
    ("BdbQuit", bdb.BdbQuit),
]


@pytest.mark.parametrize(("name", "exc_type"), _KNOWN)
def test_well_known_types_are_found_by_name(name: str, exc_type: type[BaseException]) -> None:
    """Builtins, our own, trio's and the debugger's, and under that name they travel."""
    assert get_err_type(name) is exc_type
    assert wire_name(exc_type) == name


def test_every_exception_of_ours_is_found_by_name() -> None:
    """None was forgotten."""
    for name in _errors.__all__:
        if name != "Exit":
            assert get_err_type(name) is getattr(_errors, name)


@pytest.mark.parametrize(
    "name", ["", "NoSuchError", "eval", "int", "sleep", "Exit", "__import__", "a.ValueError"]
)
def test_other_names_are_unknown(name: str) -> None:
    """What is not an exception is not found, whatever a peer calls for."""
    assert get_err_type(name) is None


def test_registered_types_are_found() -> None:
    """By the name of their class; the last one of a name counts."""
    assert get_err_type("HomeMade") is None
    reg_err_types([HomeMade, Demanding])
    assert get_err_type("HomeMade") is HomeMade
    assert get_err_type("Demanding") is Demanding
    later = type("HomeMade", (Exception,), {})
    reg_err_types([later])
    assert get_err_type("HomeMade") is later


def test_only_exception_types_can_be_registered() -> None:
    """Of a bad list nothing is."""
    with pytest.raises(TypeError, match="int"):
        reg_err_types([HomeMade, int])  # type: ignore[list-item]
    assert get_err_type("HomeMade") is None


def test_a_type_is_never_taken_for_a_builtin_of_the_same_name() -> None:
    """Its module travels along; the receiver's registration, or nothing, is what it means."""
    foreign = type("ConnectionError", (Exception,), {"__module__": "requests"})
    name = wire_name(foreign)
    assert name == "requests.ConnectionError"
    assert bare_name(name) == "ConnectionError"
    assert resolve(name) is None
    reg_err_types([foreign])
    assert resolve(name) is foreign
    assert resolve("ConnectionError") is get_err_type("ConnectionError") is builtins.ConnectionError


def test_the_debugger_is_not_loaded_for_other_names() -> None:
    """Nor is the serializer: every child pays for what this imports."""
    code = (
        "import sys; import tractor.msg._errtypes as b; b.get_err_type('Nothing');"
        "assert not {'bdb', 'msgspec'} & set(sys.modules);"
        "assert b.get_err_type('BdbQuit').__module__ == 'bdb'"
    )
    root = Path(_boxed.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=30)


def test_lag_of_a_broadcast_is_found_where_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module sits in the layers below, and is not loaded for the sake of a name."""
    lagged = type("Lagged", (trio.TooSlowError,), {})
    module = type(sys)("tractor.trionics._broadcast")
    monkeypatch.delitem(sys.modules, module.__name__, raising=False)
    assert get_err_type("Lagged") is None
    vars(module)["Lagged"] = lagged
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert get_err_type("Lagged") is lagged

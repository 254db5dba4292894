"""What a child is told before it is up, and what is refused before anything is started."""

import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest
import trio

from tests.programs import actors
from tests.resident import open_resident
from tractor._ids import new_uuid
from tractor.ipc._addr import TCPAddress
from tractor.msg._codec import get_codec
from tractor.msg._types import SpawnSpec
from tractor.runtime._actor import Actor
from tractor.spawn._backend import ChildSpec
from tractor.supervise._spec import build_spec

GIVEN: dict[str, Any] = {
    "enable_modules": [actors.__name__],
    "bind_addrs": [],
    "transports": ["tcp"],
    "token": b"",
    "loglevel": None,
    "inherit_parent_main": False,
    "proc_kwargs": {},
}


def build(name: str = "kid", **changed: Any) -> ChildSpec:
    """Return the specification of a child of some actor."""
    return with_actor(lambda actor: build_spec(actor, name, new_uuid(), **{**GIVEN, **changed}))


def with_actor[T](func: Callable[[Actor], T]) -> T:
    """Call `func` with an actor that listens."""

    async def main() -> T:
        async with open_resident("parent", binds=[TCPAddress("127.0.0.1", 0)]) as parent:
            return func(parent.actor)

    return trio.run(main)


def told(spec: ChildSpec) -> SpawnSpec:
    """Return what the child reads."""
    found: SpawnSpec = get_codec().decoder(SpawnSpec)(spec.boot)
    return found


def test_a_child_is_told_who_it_is_and_whose() -> None:
    """And what the backend is told says nothing else about it than who it is."""
    spec = build("somebody", proc_kwargs={"cwd": "/"})
    boot = told(spec)
    assert (boot.name, boot.uuid) == (spec.name, spec.uuid)
    assert spec.name == "somebody"
    assert boot.parent[0] == "parent"
    assert boot.parent[2] == os.getpid()
    assert spec.options == {"cwd": "/"}


def test_no_two_children_are_the_same() -> None:
    """Names repeat, ids do not."""
    assert build("same").uuid != build("same").uuid


def test_it_is_told_what_it_exposes_and_speaks() -> None:
    """Modules come with their files, as found here."""
    boot = told(build(transports=["uds"]))
    assert boot.enable_modules == {actors.__name__: actors.__file__}
    assert boot.runtime_vars["_enable_tpts"] == ["uds"]
    assert boot.runtime_vars["_is_root"] is False


@pytest.mark.parametrize("token", [b"", b"secret"])
def test_only_a_child_with_a_token_connects_back(token: bytes) -> None:
    """The others have their channel."""
    boot = told(build(token=token))
    assert boot.token == token
    assert boot.parent_addrs
    assert boot.connect_to == (boot.parent_addrs[:1] if token else [])


def test_the_main_module_is_described_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not want it replayed says so."""
    main = ModuleType("__main__")
    main.__spec__ = ModuleSpec("program", None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert told(build(inherit_parent_main=True)).main == {"name": "program"}
    assert told(build(inherit_parent_main=False)).main == {}


def test_its_search_path_is_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be started in another directory; '' is ours."""
    monkeypatch.setattr(sys, "path", ["", "some/where", *sys.path])
    path = build().sys_path
    assert path[0].rstrip("/") == os.getcwd()
    assert path[1] == os.path.join(os.getcwd(), "some/where")


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"name": ""}, ValueError, "name"),
        ({"name": b"kid"}, TypeError, "name"),
        ({"enable_modules": ["no_such_module_anywhere"]}, ModuleNotFoundError, "no_such_module_anywhere"),
        ({"loglevel": "very"}, ValueError, "very"),
    ],
)
def test_what_no_child_can_be_told(changed: dict[str, Any], kind: type[Exception], said: str) -> None:
    """It is an error here, before anything is started."""
    with pytest.raises(kind, match=said):
        build(**changed)

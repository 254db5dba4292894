"""Paths to functions and classes."""

import functools
import os
import os.path
import pickle
import sys
from typing import Any

import pytest

from tractor.msg._ptr import NamespacePath


class Outer:
    """Something with methods and a class inside."""

    class Inner:
        """A class inside."""

        def method(self) -> str:
            """Be two classes deep."""
            return "inner"

    module = os

    def method(self) -> str:
        """Be a method."""
        return "outer"

    @classmethod
    def made(cls) -> str:
        """Be a class method."""
        return cls.__name__


def function() -> str:
    """Be a function."""
    return "function"


_NAMED = [
    (function, "function"),
    (Outer, "Outer"),
    (Outer.Inner, "Outer.Inner"),
    (Outer.method, "Outer.method"),
    (Outer.Inner.method, "Outer.Inner.method"),
]


@pytest.mark.parametrize(("ref", "qualname"), _NAMED)
def test_a_path_names_the_object_and_loads_it_again(ref: Any, qualname: str) -> None:
    """Also where only the text travelled."""
    path = NamespacePath.from_ref(ref)
    assert path == f"{__name__}:{qualname}"
    assert path.to_tuple() == (__name__, qualname)
    assert path.load_ref() is ref
    assert NamespacePath(str(path)).load_ref() is ref


def test_a_bound_method_is_named_as_its_class_s() -> None:
    """The object stays; the far side gets the function, this side what was given."""
    bound = Outer().method
    path = NamespacePath.from_ref(bound)
    assert path == f"{__name__}:Outer.method"
    assert path.load_ref() is bound
    assert NamespacePath(path).load_ref() is Outer.method


def test_a_class_method_loads_bound_to_its_class() -> None:
    """It needs no object, so it works on both sides."""
    assert NamespacePath(NamespacePath.from_ref(Outer.made)).load_ref()() == "Outer"


def test_a_path_made_from_its_object_needs_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """The object is kept, whatever became of its module."""
    path = NamespacePath.from_ref(function)
    monkeypatch.delitem(sys.modules, __name__)
    assert path.load_ref() is function


def test_an_object_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second time comes from memory."""
    path = NamespacePath(f"{__name__}:function")
    first = path.load_ref()
    monkeypatch.delattr(f"{__name__}.function")
    assert path.load_ref() is first


@pytest.mark.parametrize("ref", [functools.partial(function), 3, Outer()])
def test_what_has_no_name_is_refused(ref: Any) -> None:
    """With its type, and what to pass instead."""
    with pytest.raises(TypeError, match=f"{type(ref).__name__}.*top of a module"):
        NamespacePath.from_ref(ref)


def test_what_no_import_can_find_is_refused() -> None:
    """Lambdas and local functions, with what to do instead."""

    def local() -> None: ...

    for ref in (local, lambda: None):
        with pytest.raises(ValueError, match="top of a module"):
            NamespacePath.from_ref(ref)


@pytest.mark.parametrize("text", ["", ":", "mod", "mod:", ":name", "a:b:c"])
def test_text_of_another_form_is_refused(text: str) -> None:
    """Neither taken apart nor loaded."""
    with pytest.raises(ValueError, match="module:qualname"):
        NamespacePath(text).to_tuple()
    with pytest.raises(ValueError, match="module:qualname"):
        NamespacePath(text).load_ref()


def test_a_missing_module_or_name_is_told_apart() -> None:
    """The module by the import system, the name with the whole path."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        NamespacePath("no_such_module:f").load_ref()
    with pytest.raises(AttributeError, match=rf"'{__name__}:Outer.no_such'.*'no_such'"):
        NamespacePath(f"{__name__}:Outer.no_such").load_ref()


@pytest.mark.parametrize(
    "qualname",
    [
        "os.system",
        "Outer.module.system",
        "Outer.__base__.__subclasses__",
        "__loader__",
        "function.__globals__",
    ],
)
def test_a_path_cannot_walk_off(qualname: str) -> None:
    """Not through imported modules, objects or the machinery of classes."""
    with pytest.raises(AttributeError, match="cannot load"):
        NamespacePath(f"{__name__}:{qualname}").load_ref()


def test_a_path_is_text() -> None:
    """Equal to, hashed and pickled like the plain string."""
    path = NamespacePath.from_ref(os.path.join)
    assert (path, hash(path)) == (f"{os.path.__name__}:join", hash(f"{os.path.__name__}:join"))
    clone = pickle.loads(pickle.dumps(NamespacePath(path)))
    assert type(clone) is NamespacePath
    assert clone.load_ref() is os.path.join

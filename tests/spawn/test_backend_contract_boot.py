"""How a child fails to come up, or is not wanted any more before it is, whatever it is made of."""

from pathlib import Path

import pytest
import trio

import tractor
from tests.supervise.kids import install_main
from tractor.spawn._backend import SHARING

#: Seconds in which something is done at once, on a busy machine.
SOON = 10.0


async def fail_to_start(backend: str, modules: list[str]) -> tractor.ActorFailure:
    """Start an actor that does not come up; return the failure. The nursery is as good as before."""
    async with tractor.open_nursery(start_method=backend) as nursery:
        with trio.fail_after(SOON), pytest.raises(tractor.ActorFailure) as caught:
            await nursery.start_actor("kid", enable_modules=modules)
        assert nursery._children == {}
        assert caught.value.exit is not None
        assert (caught.value.exit.how, caught.value.exit.code) == ("died", 1)
        assert caught.value.name == "kid"
    return caught.value


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("import no_such_module_anywhere\n", ImportError, "No module named 'no_such_module_anywhere'"),
        ("import unreadable_module\n", SyntaxError, "invalid syntax"),
        ("raise LookupError('the other half')\n", LookupError, "the other half"),
    ],
    ids=["import", "syntax", "raise"],
)
async def test_a_module_that_cannot_be_imported(
    source: str,
    error: type[Exception],
    said: str,
    backend: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The failure has the error, and what the module has written to stderr before."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "odd_module.py").write_text(source)
    (tmp_path / "unreadable_module.py").write_text("def f(:\n")
    (tmp_path / "chatty_module.py").write_text("import sys\nprint('last words', file=sys.stderr)\n")
    failure = await fail_to_start(backend, ["chatty_module", "odd_module"])
    assert said in str(failure)
    assert "last words" in failure.stderr_tail
    assert isinstance(failure.__cause__, tractor.RemoteActorError)
    assert failure.__cause__.boxed_type is not None
    assert issubclass(failure.__cause__.boxed_type, error)
    assert "odd_module.py" in failure.__cause__.tb_str


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys\nprint('so far', file=sys.stderr)\n1 / 0\n", "ZeroDivisionError: division by zero"),
        ("import sys\nprint('so far', file=sys.stderr)\nraise SystemExit(3)\n", "SystemExit"),
    ],
    ids=["raise", "exit"],
)
async def test_a_main_module_that_fails(
    source: str, said: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of the parent's own script."""
    script = install_main(source, tmp_path, monkeypatch)
    failure = await fail_to_start(backend, [])
    assert said in str(failure)
    assert "so far" in failure.stderr_tail
    assert isinstance(failure.__cause__, tractor.RemoteActorError)
    assert str(script) in failure.__cause__.tb_str


async def test_a_start_that_is_cancelled_before_there_is_anything(backend: str) -> None:
    """Nothing is made."""
    async with tractor.open_nursery(start_method=backend) as nursery:
        with trio.CancelScope() as scope:
            scope.cancel()
            await nursery.start_actor("kid")
        assert scope.cancelled_caught
        assert nursery._children == {}


@pytest.mark.parametrize("how", ["scope", "nursery", "timeout"])
async def test_a_start_that_is_given_up_during_the_boot(
    how: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nobody to ask yet: it is ended by force, and whoever wanted it is told."""
    began = tmp_path / "began"
    install_main(
        f"import pathlib, time\npathlib.Path({str(began)!r}).touch()\nwhile True:\n    time.sleep(0.02)\n",
        tmp_path,
        monkeypatch,
    )
    told: list[BaseException] = []
    timeout = 3.0 if how == "timeout" else 30.0
    async with tractor.open_nursery(start_method=backend, boot_timeout=timeout) as nursery:

        async def start() -> None:
            try:
                await nursery.start_actor("kid")
            except tractor.ActorFailure as exc:
                told.append(exc)

        async with trio.open_nursery() as tasks:
            tasks.start_soon(start)
            with trio.fail_after(20):
                while not began.exists():
                    await trio.sleep(0.01)
            (kid,) = nursery._children.values()
            with trio.fail_after(SOON):
                if how == "scope":
                    tasks.cancel_scope.cancel()
                elif how == "nursery":
                    await nursery.cancel()
                await kid.gone.wait()
    assert kid.portal is None
    assert kid.exit is not None
    # What the interrupt, or the kill, found depends on the machine; it never came up, and never is abandoned.
    assert kid.exit.how in ("died", "killed", "returned")
    assert (kid.exit.code is None) or backend not in SHARING or kid.exit.code in (0, 1)
    expected = {
        "scope": "",
        "nursery": "its start was cancelled",
        "timeout": "did not say hello within 3.0 s",
    }
    assert len(told) == (how != "scope")
    assert all(expected[how] in str(exc) for exc in told)

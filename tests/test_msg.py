"""`tractor.msg` as programs see it."""

import subprocess
import sys
from pathlib import Path

import pytest
import trio

import tractor
from tests.programs import plain
from tests.programs.bodies import SHARED
from tests.test_architecture import is_documented
from tractor import msg

ROOT = Path(tractor.__file__).parents[1]


def run(code: str) -> str:
    """Run a program in a fresh interpreter and return what it prints."""
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=ROOT, check=True, timeout=30, capture_output=True, text=True)
    return done.stdout


def test_every_public_name_is_there_and_documented() -> None:
    """The lazy table holds what it promises, once each."""
    assert len(set(msg.__all__)) == len(msg.__all__)
    assert set(msg.__all__) == set(msg._HOME)
    assert [name for name in msg.__all__ if not is_documented(getattr(msg, name))] == []
    assert set(msg.__all__) <= set(dir(msg))
    with pytest.raises(AttributeError, match=r"'tractor\.msg' has no attribute 'nothing'"):
        _ = msg.nothing


def test_the_module_is_an_attribute_of_the_facade() -> None:
    """Without an import of its own, and with `import *`."""
    assert tractor.msg is msg
    assert "msg" in tractor.__all__
    assert "msg" in dir(tractor)
    code = "import tractor, sys; assert 'tractor.msg' not in sys.modules; print(tractor.msg.Stop.__name__)"
    assert run(code) == "Stop\n"
    assert run("from tractor import *; print(msg.Struct.__name__)") == "Struct\n"


def test_names_are_loaded_when_they_are_used() -> None:
    """The serialisation library is not loaded for a name that does not need it."""
    code = (
        "import sys\nfrom tractor.msg import NamespacePath, Started, limit_plds, mk_dec, enc_type_union\n"
        "mk_dec(int); print('msgspec' in sys.modules)\n"
        "from tractor.msg import Struct; print('msgspec' in sys.modules)"
    )
    assert run(code) == "False\nTrue\n"


def test_errors_are_told_by_type() -> None:
    """What an error carries is an `Error`, whatever raised it."""
    error = tractor.msg.Error(("a", "b"), "ValueError", "ValueError", (("a", "b"),), "text", "tb")
    assert tractor.RemoteActorError("text", error).ipc_msg is error
    assert tractor.msg.Aid("a", "b").uid == ("a", "b")


async def test_a_child_does_not_load_what_it_does_not_use(transport: str) -> None:
    """Calls, contexts and streams of plain values need none of it, with a spec or without; the first bad one does."""
    async with tractor.open_nursery(enable_transports=[transport]) as nursery:
        portal = await nursery.start_actor(
            "child", enable_modules=[plain.__name__], inherit_parent_main=False
        )
        for endpoint in (plain.echo, plain.numbers):
            async with portal.open_context(endpoint) as (ctx, _), ctx.open_stream() as stream:
                await stream.send(5)
                assert await stream.receive() == 5
        # What stands in for msgspec needs it.
        assert set(await portal.run(plain.loaded)) <= ({"_spec"} if SHARED else set())
        with pytest.raises(tractor.MsgTypeError):
            async with portal.open_context(plain.numbers) as (ctx, _), ctx.open_stream() as stream:
                await stream.send("x")  # type: ignore[arg-type]
                await trio.sleep_forever()
        assert await portal.run(plain.loaded) == ["_messages", "_spec", "_violation"]
        await nursery.cancel()

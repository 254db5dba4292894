"""Context managers and interrupts at the worst of moments."""

import signal
import sys
from collections.abc import AsyncGenerator
from types import FrameType
from typing import Any

import pytest
import trio

from tractor.trionics._managers import protected_manager


@protected_manager
async def manage(log: list[str]) -> AsyncGenerator[str]:
    """Note what happens."""
    log.append("enter")
    try:
        yield "value"
    finally:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.cancel_shielded_checkpoint()
        log.append("exit")


async def test_it_is_a_context_manager_like_any_other() -> None:
    """It yields its value, raises the errors of its block, and is made anew for each."""
    log: list[str] = []
    async with manage(log) as value:
        assert value == "value"
    with pytest.raises(ValueError, match="x"):
        async with manage(log):
            raise ValueError("x")
    assert log == ["enter", "exit"] * 2


def interrupt_in(method: str) -> None:
    """Interrupt this process as soon as the standard library's method of that name runs."""

    def trace(frame: FrameType, event: str, _arg: Any) -> None:
        if frame.f_code.co_name == method and frame.f_code.co_filename.endswith("contextlib.py"):
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    sys.setprofile(trace)


@pytest.mark.parametrize("method", ["__aenter__", "__aexit__"])
def test_an_interrupt_does_not_leave_it_by_half(method: str) -> None:
    """What was entered is left; the interrupt comes at the next wait."""
    log: list[str] = []

    async def main() -> None:
        if method == "__aenter__":
            interrupt_in(method)
        async with manage(log):
            if method == "__aexit__":
                interrupt_in(method)
            else:
                await trio.sleep(1)
        await trio.sleep(1)

    try:
        with pytest.raises(KeyboardInterrupt):
            trio.run(main)
    finally:
        sys.setprofile(None)
    assert log == ["enter", "exit"]


def test_the_block_is_not_protected() -> None:
    """A program that computes there can be interrupted."""
    log: list[str] = []

    async def main() -> None:
        async with manage(log):
            signal.raise_signal(signal.SIGINT)
            log.append("unreachable")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert log == ["enter", "exit"]

"""How a child ended, as far as its exit and its farewell tell."""

from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from tractor._errors import Exit
from tractor.msg._types import Bye
from tractor.spawn._backend import UNKNOWN_STATUS, Child
from tractor.supervise._verdict import find_verdict, has_crashed, is_dying, left_as_asked, was_interrupted


def bye(how: str, detail: str = "") -> Bye:
    """Return a farewell."""
    return Bye(how, None, detail, None)


@pytest.mark.parametrize(
    ("exit_", "farewell", "verdict"),
    [
        (None, None, None),
        (None, bye("crashed"), None),
        (Exit("died", -9), None, Exit("died", -9)),
        (Exit("returned", 0), bye("interrupted", "SIGTERM"), Exit("returned", 0, "interrupted: SIGTERM")),
        (Exit("returned", 0), bye("exited"), Exit("returned", 0, "exited")),
        (Exit("abandoned", None, "deaf"), bye("cancelled"), Exit("abandoned", None, "deaf")),
    ],
)
def test_what_a_child_said_is_the_detail_of_its_exit(
    exit_: Exit | None, farewell: Bye | None, verdict: Exit | None
) -> None:
    """Unless its body has one already; without an exit there is no verdict."""
    assert find_verdict(exit_, farewell) == verdict


@pytest.mark.parametrize(
    ("exit_", "farewell", "was"),
    [
        (None, None, False),
        (Exit("died", -2), None, True),
        (Exit("died", 130), None, True),
        (Exit("died", -15), None, False),
        (None, bye("interrupted"), True),
        (Exit("returned", 0), bye("interrupted"), True),
        (Exit("died", 130), bye("crashed"), False),
    ],
)
def test_an_interrupted_child_is_known_by_either(exit_: Exit | None, farewell: Bye | None, was: bool) -> None:
    """Its own word counts for more than the status of its process."""
    assert was_interrupted(exit_, farewell) is was


@pytest.mark.parametrize(
    ("exit_", "farewell", "asked"),
    [
        (None, None, False),
        (Exit("returned", 0), None, False),
        (None, bye("cancelled"), True),
        (Exit("returned", 0), bye("cancelled"), True),
        (Exit("died", 1), bye("cancelled"), False),
        (Exit("returned", 0), bye("exited"), False),
    ],
)
def test_only_one_that_says_so_has_left_because_it_was_asked_to(
    exit_: Exit | None, farewell: Bye | None, asked: bool
) -> None:
    """And has not crashed on the way out."""
    assert left_as_asked(exit_, farewell) is asked


@pytest.mark.parametrize(
    ("exit_", "farewell", "crashed"),
    [
        (None, None, False),
        (Exit("returned", 0), bye("cancelled"), False),
        (Exit("killed", -9), None, False),
        (Exit("abandoned"), None, False),
        (Exit("returned", 0), bye("crashed"), True),
        (Exit("died", 1), bye("cancelled"), True),
        (Exit("died", -11), None, True),
        (Exit("died", None, UNKNOWN_STATUS), bye("cancelled"), False),
        (Exit("died", None, UNKNOWN_STATUS), bye("crashed"), True),
        (Exit("died", None, UNKNOWN_STATUS), None, True),
        (Exit("died", None, "a thread's"), bye("cancelled"), True),
    ],
)
def test_a_child_has_crashed_by_its_own_word_or_by_its_exit(
    exit_: Exit | None, farewell: Bye | None, crashed: bool
) -> None:
    """Not when it was ended by force."""
    assert has_crashed(exit_, farewell) is crashed


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("sign", ["exit", "lifeline"])
def test_a_child_that_loses_everything_is_dying(sign: str, moment: float) -> None:
    """Both signs come within a moment of the loss of the channel, or the child lives."""

    async def main() -> None:
        exited = trio.Event()
        began = trio.current_time()
        kid = SimpleNamespace(has_let_go=lambda: sign == "lifeline" and trio.current_time() - began >= moment)

        async def leave() -> None:
            await trio.sleep(moment)
            if sign == "exit":
                exited.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
            assert await is_dying(cast("Child", kid), exited) is (moment < 0.05)
            assert trio.current_time() - began == pytest.approx(min(moment, 0.05), abs=0.01)

    trio.run(main, clock=MockClock(autojump_threshold=0))

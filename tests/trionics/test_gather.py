"""Many context managers at once: entering, leaving, and failing at every stage."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor.trionics import gather_contexts

LOG: list[str] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()


@asynccontextmanager
async def manage(
    name: str,
    *,
    enter: float = 0,
    leave: float = 0,
    fails: str = "",
    shield: bool = False,
) -> AsyncIterator[str]:
    """Take some time to enter and to leave; fail when told to."""
    await trio.sleep(enter)
    if fails == "enter":
        raise ValueError(name)
    LOG.append(f"enter {name}")
    try:
        if fails == "within":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_fail_soon, name)
                yield name
        else:
            yield name
    finally:
        with trio.CancelScope(shield=shield):
            await trio.sleep(leave)
            LOG.append(f"leave {name}")
        if fails == "leave":
            raise ValueError(name)


async def _fail_soon(name: str) -> None:
    await trio.sleep(1)
    raise ValueError(name)


@asynccontextmanager
async def gathered(own: bool, *managers: Any) -> AsyncGenerator[tuple[Any, ...]]:
    """Gather, in a nursery of its own or in one that goes on."""
    if own:
        async with gather_contexts(managers) as values:
            yield values
        return
    left: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            async with gather_contexts(managers, tn=nursery) as values:
                yield values
        except BaseException as exc:  # noqa: BLE001 - raised again outside the nursery, which would wrap it
            left = exc
        assert not nursery.child_tasks, "left before all managers were"
    if left is not None:
        raise left


def run(main: Any) -> None:
    """Run on a clock that jumps."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


both_ways = pytest.mark.parametrize("own", [True, False], ids=["own", "given"])


@both_ways
def test_all_are_entered_and_left_at_the_same_time(own: bool) -> None:
    """The values come in the order given, however long each takes."""

    async def main() -> None:
        began = trio.current_time()
        async with gathered(
            own, manage("a", enter=3, leave=1), manage("b", enter=1, leave=3), manage("c", enter=2, leave=2)
        ) as values:
            assert values == ("a", "b", "c")
            assert trio.current_time() - began == 3
            assert LOG == ["enter b", "enter c", "enter a"]
        assert trio.current_time() - began == 6
        assert LOG[3:] == ["leave a", "leave c", "leave b"]

    run(main)


@both_ways
@pytest.mark.parametrize("generator", [True, False])
async def test_nothing_to_enter_is_a_mistake(own: bool, generator: bool) -> None:
    """Often a generator that was used up."""
    managers = (manage(name) for name in "ab")
    for manager in managers:
        async with manager:
            pass
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="make a list"):
            async with gather_contexts(managers if generator else [], tn=None if own else nursery):
                pytest.fail("entered")


@both_ways
def test_one_that_cannot_be_entered_ends_the_others(own: bool) -> None:
    """Those that were entered are left, the others are not entered; the error comes bare."""

    async def main() -> None:
        with pytest.raises(ValueError, match=r"^b$"):
            async with gathered(
                own, manage("a"), manage("b", enter=1, fails="enter"), manage("c", enter=math.inf)
            ):
                pytest.fail("entered")
        assert trio.current_time() < 2
        assert LOG == ["enter a"]

    run(main)


@both_ways
def test_errors_that_come_together_are_raised_together(own: bool) -> None:
    """As a group; of a manager and of the block, too."""

    async def main() -> None:
        with pytest.RaisesGroup(ValueError, ValueError):
            async with gathered(own, manage("a", fails="leave"), manage("b", fails="leave")):
                pass
        with pytest.RaisesGroup(KeyError, ValueError):
            async with gathered(own, manage("a", fails="leave", shield=True), manage("b")):
                raise KeyError

    run(main)


@both_ways
def test_an_error_of_the_block_comes_bare(own: bool) -> None:
    """The managers are cancelled, and left, before it is raised."""

    async def main() -> None:
        error = KeyError("x")
        with pytest.raises(KeyError) as info:
            async with gathered(own, manage("a", leave=5, shield=True), manage("b", leave=math.inf)):
                raise error
        assert info.value is error
        assert LOG == ["enter a", "enter b", "leave a"] or LOG == ["enter b", "enter a", "leave a"]

    run(main)


@both_ways
def test_one_that_fails_later_ends_the_block(own: bool) -> None:
    """Its error is raised where the block ends."""

    async def main() -> None:
        with pytest.raises(BaseExceptionGroup) as info:
            async with gathered(own, manage("a", fails="within"), manage("b")):
                await trio.sleep_forever()
        assert [str(exc) for exc in info.value.exceptions] == ["a"]
        assert trio.current_time() < 2

    run(main)


@both_ways
def test_one_that_ends_early_ends_the_block_in_silence(own: bool) -> None:
    """As it would if it were around the block by itself."""

    @asynccontextmanager
    async def limited() -> AsyncIterator[None]:
        with trio.move_on_after(1):
            yield

    async def main() -> None:
        async with gathered(own, limited(), manage("b")):
            await trio.sleep_forever()
        assert trio.current_time() < 2
        assert "enter b" in LOG

    run(main)


@both_ways
@pytest.mark.parametrize("when", [0.5, 1.5, 2.5])
def test_being_cancelled_from_outside(own: bool, when: float) -> None:
    """While entering, in the block, and while leaving: no manager is left behind."""

    async def main() -> None:
        with trio.move_on_after(when) as scope:
            async with gathered(
                own, manage("a", enter=1, leave=5, shield=True), manage("b", enter=1, leave=math.inf)
            ):
                await trio.sleep(1)
        assert scope.cancelled_caught
        assert LOG.count("leave a") == LOG.count("enter a") == (when > 1)
        assert trio.current_time() < 10

    run(main)


@pytest.mark.parametrize("fails", ["enter", "leave"])
def test_an_error_is_not_lost_in_a_cancellation(fails: str) -> None:
    """Of a manager that is left because of it."""

    async def main() -> None:
        with pytest.raises(ValueError, match=r"^a$"), trio.move_on_after(1):
            async with gathered(True, manage("a", fails=fails, shield=True), manage("b", enter=5)):
                await trio.sleep_forever()

    run(main)


def test_a_nursery_that_is_cancelled_takes_the_block_with_it() -> None:
    """Although the block may be somewhere else; it is not entered without all its managers."""

    async def main() -> None:
        async def use(nursery: trio.Nursery, enter: float, outcome: list[str]) -> None:
            try:
                async with gather_contexts([manage("a"), manage("b", enter=enter)], tn=nursery):
                    outcome.append("entered")
                    await trio.sleep_forever()
                outcome.append("left")
            except RuntimeError as exc:
                outcome.append(str(exc))

        outcomes: list[list[str]] = [[], []]
        async with trio.open_nursery() as outside:
            async with trio.open_nursery() as nursery:
                for enter, outcome in zip((0, 5), outcomes, strict=True):
                    outside.start_soon(use, nursery, enter, outcome)
                await wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        assert outcomes[0] == ["entered", "left"]
        assert outcomes[1] == ["the nursery for the gathered contexts was cancelled before all were entered"]

    run(main)

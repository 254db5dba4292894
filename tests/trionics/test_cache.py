"""Resources that several tasks share: who opens and closes them, and who hears of their errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tractor.trionics import maybe_open_context
from tractor.trionics._cache import CANCEL_TIMEOUT, CLOSE_TIMEOUT
from tractor.trionics._service import open_service_nursery

LOG: list[Any] = []
#: What the next resources raise while they open or close.
ERRORS: list[BaseException] = []


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()
    ERRORS.clear()


@asynccontextmanager
async def resource(
    name: str = "x", opening: float = 0, closing: float = 0, fails: str = "", shield: bool = False
) -> AsyncIterator[object]:
    """Take so many seconds to open and to close; may raise one of the `ERRORS` at one of its stages."""
    try:
        await trio.sleep(opening)
        if fails == "opening":
            raise ERRORS.pop(0)
    except trio.Cancelled:
        LOG.append(f"cancelled opening {name}")
        raise
    LOG.append(f"open {name}")
    try:
        if fails == "within":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_fail_soon)
                yield object()
        elif fails == "silently":
            with trio.move_on_after(1):
                yield object()
        else:
            yield object()
    finally:
        try:
            with trio.CancelScope(shield=shield):
                await trio.sleep(closing)
            LOG.append(f"close {name}")
        except trio.Cancelled:
            LOG.append(f"cancelled closing {name}")
            raise
        finally:
            if fails == "closing":
                raise ERRORS.pop(0)


async def _fail_soon() -> None:
    await trio.sleep(1)
    raise ERRORS.pop(0)


class User:
    """A task that uses a resource until it is told to leave."""

    def __init__(
        self, nursery: trio.Nursery, name: str = "x", *, tn: trio.Nursery | None = None, **kwargs: Any
    ):
        self.shared: bool | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.leave = trio.Event()
        self.scope = trio.CancelScope()
        self.since = -1.0
        nursery.start_soon(self._run, {"name": name, **kwargs}, tn)

    async def _run(self, kwargs: dict[str, Any], tn: trio.Nursery | None) -> None:
        try:
            with self.scope:
                async with maybe_open_context(resource, kwargs, tn=tn) as (self.shared, self.value):
                    await self.leave.wait()
        except Exception as exc:  # noqa: BLE001 - looked at by the test
            self.error = exc
        self.since = trio.current_time()

    @property
    def gone(self) -> bool:
        """Whether its block is over."""
        return self.since >= 0


def run(main: Callable[[trio.Nursery], Any], *, services: bool = True) -> None:
    """Run on a clock that jumps, in what the services of an actor are; the nursery is one for users."""

    async def whole() -> None:
        if not services:
            async with trio.open_nursery() as nursery:
                await main(nursery)
            return
        async with open_service_nursery():
            async with trio.open_nursery() as nursery:
                await main(nursery)

    trio.run(whole, clock=MockClock(autojump_threshold=0))


def test_many_users_have_one() -> None:
    """The first opens it, the last closes it, and waits until it is closed."""

    async def main(nursery: trio.Nursery) -> None:
        users = [User(nursery, opening=1, closing=2) for _ in range(10)]
        await trio.sleep(1.5)
        assert LOG == ["open x"]
        assert len({user.value for user in users}) == 1
        assert sorted([user.shared for user in users], key=bool) == [False] + [True] * 9
        for user in users[:-1]:
            user.leave.set()
        await wait_all_tasks_blocked()
        assert [user.gone for user in users] == [True] * 9 + [False]
        users[-1].leave.set()
        await trio.sleep(1.5)
        assert not users[-1].gone
        await trio.sleep(1)
        assert users[-1].gone
        assert LOG == ["open x", "close x"]

    run(main)


def test_what_the_same_is_can_be_said() -> None:
    """By default the function and its arguments; else a key, or what a function makes of the arguments."""

    async def main(_nursery: trio.Nursery) -> None:
        def share(*args: Any) -> Any:
            return maybe_open_context(*args)

        async with share(resource, {"name": "a", "opening": 0}) as (_, a), share(resource) as (_, x):
            async with share(resource, {"opening": 0, "name": "a"}) as (shared, again):
                assert (shared, again) == (True, a)
            async with share(resource, {"name": "b"}) as (shared, b):
                assert not shared
                assert len({a, b, x}) == 3
            async with share(resource, {"name": "b"}, "k") as (_, k):
                async with share(resource, {"name": "c"}, "k") as (shared, again):
                    assert (shared, again) == (True, k)
            async with share(resource, {"name": "d"}, lambda name: f"{name!r:.1}") as (_, d):
                async with share(resource, {"name": "e"}, lambda name: f"{name!r:.1}") as (shared, again):
                    assert (shared, again) == (True, d)

            @asynccontextmanager
            async def other(name: str) -> AsyncIterator[str]:
                yield name

            async with share(other, {"name": "a"}) as (shared, value):
                assert (shared, value) == (False, "a")
            with pytest.raises(TypeError, match="pass a `key`"):
                async with share(other, {"name": []}):
                    pytest.fail("it was opened")

    run(main)


def test_who_comes_while_it_closes_gets_a_new_one() -> None:
    """After the old one is closed."""

    async def main(nursery: trio.Nursery) -> None:
        first = User(nursery, closing=2)
        await wait_all_tasks_blocked()
        first.leave.set()
        await trio.sleep(1)
        users = [User(nursery, closing=2) for _ in range(2)]
        await trio.sleep(0.5)
        assert [user.shared for user in users] == [None, None]
        await trio.sleep(1)
        assert sorted(bool(user.shared) for user in users) == [False, True]
        assert users[0].value is users[1].value is not first.value
        assert LOG == ["open x", "close x", "open x"]
        for user in users:
            user.leave.set()

    run(main)


# Errors.


def test_an_error_of_opening_is_for_who_asked_first() -> None:
    """The others try again, one after the other, each with an error of its own."""
    errors: list[BaseException] = [ValueError(str(n)) for n in range(2)]
    ERRORS.extend(errors)

    async def main(nursery: trio.Nursery) -> None:
        users = [User(nursery, opening=1, fails="opening") for _ in range(2)]
        await trio.sleep(5)
        assert {user.error for user in users} == set(errors)
        with pytest.raises(TypeError, match="no_such_argument"):
            async with maybe_open_context(resource, {"no_such_argument": 1}):
                pytest.fail("it was opened")
        async with maybe_open_context(resource) as (shared, _):
            assert not shared

    run(main)


def test_an_error_of_closing_is_for_the_last() -> None:
    """The very object, also where that one is cancelled, or has an error already."""
    errors: list[BaseException] = [ValueError(str(n)) for n in range(3)]
    ERRORS.extend(errors)

    async def main(nursery: trio.Nursery) -> None:
        first, last = (User(nursery, fails="closing") for _ in range(2))
        await wait_all_tasks_blocked()
        first.leave.set()
        await wait_all_tasks_blocked()
        last.leave.set()
        await wait_all_tasks_blocked()
        assert (first.error, last.error) == (None, errors[0])
        cancelled = User(nursery, fails="closing", closing=0.5)
        await wait_all_tasks_blocked()
        cancelled.scope.cancel()
        await trio.sleep(1)
        assert cancelled.error is errors[1]
        with pytest.raises(ValueError, match="2") as info:
            async with maybe_open_context(resource, {"fails": "closing"}):
                raise KeyError
        assert isinstance(info.value.__context__, KeyError)

    run(main)


def test_an_error_in_between_is_for_all() -> None:
    """Their blocks are cancelled, and raise it; who comes later gets a new one."""
    ERRORS.append(ValueError("broken"))

    async def main(nursery: trio.Nursery) -> None:
        users = [User(nursery, fails="within") for _ in range(3)]
        await trio.sleep(2)
        for user in users:
            assert isinstance(user.error, ExceptionGroup)
            assert repr(user.error.exceptions) == "(ValueError('broken'),)"
        ERRORS.append(ValueError("again"))
        later = User(nursery, fails="within")
        await trio.sleep(0.5)
        assert later.shared is False
        later.leave.set()

    run(main)


def test_an_end_in_silence_ends_all_in_silence() -> None:
    """As it would end the block of one who had opened it alone."""

    async def main(nursery: trio.Nursery) -> None:
        users = [User(nursery, fails="silently") for _ in range(3)]
        await trio.sleep(2)
        assert [(user.gone, user.error) for user in users] == [(True, None)] * 3

    run(main)


# Cancellation.


@pytest.mark.parametrize("others", [0, 2])
def test_a_first_user_that_is_cancelled_while_it_opens(others: int) -> None:
    """The others get what it has asked for; where there are none the opening is cancelled."""

    async def main(nursery: trio.Nursery) -> None:
        first = User(nursery, opening=2)
        await trio.sleep(1)
        users = [User(nursery, opening=2) for _ in range(others)]
        await wait_all_tasks_blocked()
        first.scope.cancel()
        await wait_all_tasks_blocked()
        assert first.gone
        assert first.error is None
        await trio.sleep(1.5)
        assert (["open x"] if others else ["cancelled opening x"]) == LOG
        assert [user.shared for user in users] == [True] * others
        for user in users:
            user.leave.set()
        await wait_all_tasks_blocked()
        again = User(nursery, opening=2)
        await trio.sleep(3)
        assert again.shared is False
        again.leave.set()

    run(main)


@pytest.mark.parametrize("while_closing", [False, True])
def test_a_last_user_that_is_cancelled_waits_for_the_closing(while_closing: bool) -> None:
    """And is cancelled then."""

    async def main(nursery: trio.Nursery) -> None:
        user = User(nursery, closing=0.8)
        await trio.sleep(1)
        if while_closing:
            user.leave.set()
            await trio.sleep(0.4)
        user.scope.cancel()
        await trio.sleep(0.3)
        assert not user.gone
        await trio.sleep(0.6)
        assert user.gone
        assert user.scope.cancelled_caught
        assert LOG == ["open x", "close x"]

    run(main)


@pytest.mark.parametrize("shield", [False, True])
def test_a_closing_that_hangs_does_not_hold_a_cancelled_user_for_ever(
    shield: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is cancelled after some time; if it does not care, the user goes on without it, and says so."""

    async def main(nursery: trio.Nursery) -> None:
        user = User(nursery, closing=10, shield=shield)
        await wait_all_tasks_blocked()
        user.scope.cancel()
        await trio.sleep(5)
        assert user.since == CLOSE_TIMEOUT + (CANCEL_TIMEOUT if shield else 0)
        assert ["open x"] + ([] if shield else ["cancelled closing x"]) == LOG

    with caplog.at_level(logging.WARNING):
        run(main)
    assert [record.message for record in caplog.records] == ["a shared resource does not close"] * shield

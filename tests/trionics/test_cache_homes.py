"""Where a shared resource lives: in an actor's nursery or a given one, and until when."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.trionics.test_cache import LOG, User, resource, run
from tractor.trionics import maybe_open_context
from tractor.trionics._service import current_services, open_service_nursery


@pytest.fixture(autouse=True)
def _clear_log() -> None:
    LOG.clear()


def test_without_an_actor_a_nursery_is_needed() -> None:
    """One around the caller, by whatever way."""

    async def main(nursery: trio.Nursery) -> None:
        assert current_services() is None
        with pytest.raises(RuntimeError, match="no actor runs here"):
            async with maybe_open_context(resource):
                pytest.fail("it was opened")

        async def in_a_child(tn: trio.Nursery) -> None:
            async with maybe_open_context(resource, tn=tn) as (shared, _):
                assert shared

        async with trio.open_nursery() as own, maybe_open_context(resource, tn=own) as (shared, _):
            assert not shared
            own.start_soon(in_a_child, nursery)
            own.start_soon(in_a_child, own)
            await wait_all_tasks_blocked()
        assert LOG == ["open x", "close x"]

    run(main, services=False)


def test_a_nursery_that_is_not_around_the_caller_is_refused() -> None:
    """It could end first: one that was left, one of another task, and one that its parent has opened later."""

    async def main(nursery: trio.Nursery) -> None:
        async def try_it(tn: trio.Nursery) -> None:
            with pytest.raises(RuntimeError, match="is not around this task"):
                async with maybe_open_context(resource, tn=tn):
                    pytest.fail("it was opened")
            LOG.append("refused")

        async def neighbour(*, task_status: trio.TaskStatus[trio.Nursery]) -> None:
            async with trio.open_nursery() as its_own:
                task_status.started(its_own)
                await trio.sleep(1)

        async with trio.open_nursery() as left:
            pass
        await try_it(left)
        await try_it(await nursery.start(neighbour))
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            outer.start_soon(try_it, inner)
            await wait_all_tasks_blocked()
        assert LOG == ["refused"] * 3

    run(main)


def test_two_actors_have_one_each() -> None:
    """Even in one run; a third party that is older than both belongs to neither."""

    async def main(nursery: trio.Nursery) -> None:
        async def actor() -> None:
            async with open_service_nursery() as services, maybe_open_context(resource) as (shared, _):
                assert not shared
                assert current_services() is services
                await trio.sleep(1)

        async def stranger() -> None:
            await trio.sleep(0.5)
            assert current_services() is None

        nursery.start_soon(stranger)
        nursery.start_soon(actor)
        nursery.start_soon(actor)

    run(main, services=False)


def test_a_task_that_is_older_than_the_only_actor_belongs_to_it() -> None:
    """But not one of another run."""

    async def main(nursery: trio.Nursery) -> None:
        began = trio.Event()

        async def older() -> None:
            await began.wait()
            assert current_services() is not None
            async with maybe_open_context(resource) as (shared, _):
                LOG.append(shared)

        async def elsewhere() -> None:
            assert current_services() is None

        nursery.start_soon(older)
        await wait_all_tasks_blocked()
        async with open_service_nursery(), maybe_open_context(resource):
            began.set()
            await wait_all_tasks_blocked()
            await trio.to_thread.run_sync(trio.run, elsewhere)
        assert LOG == ["open x", True, "close x"]

    run(main, services=False)


def test_the_end_of_its_nursery_closes_it() -> None:
    """Nobody is stranded: those who are around it end with it, those who are not are told."""

    async def main(nursery: trio.Nursery) -> None:
        async with trio.open_nursery() as tn:
            tn.start_soon(_use_until_cancelled, tn)
            await wait_all_tasks_blocked()
            user = User(nursery)
            await wait_all_tasks_blocked()
            assert user.shared
            tn.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert isinstance(user.error, RuntimeError)
        assert "was cancelled while it was in use" in str(user.error)
        assert sorted(LOG) == ["cancelled closing x", "ended", "open x"]
        assert User(nursery, tn=nursery).shared is None
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    run(main)


async def _use_until_cancelled(tn: trio.Nursery) -> None:
    try:
        async with maybe_open_context(resource, {"name": "x"}, tn=tn):
            await trio.sleep_forever()
    finally:
        LOG.append("ended")


def test_the_end_of_the_actor_closes_what_is_still_being_closed() -> None:
    """A user that has given up is not the last hope."""

    async def main(nursery: trio.Nursery) -> None:
        user = User(nursery, closing=100, shield=True)
        await wait_all_tasks_blocked()
        user.scope.cancel()
        await trio.sleep(2)
        assert user.gone
        LOG.append("the actor ends")

    run(main)
    assert LOG == ["open x", "the actor ends", "close x"]

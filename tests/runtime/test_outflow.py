"""What may be sent: by credit, ahead of news, or freely."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tractor.runtime._flow import AHEAD_ITEMS
from tractor.runtime._outflow import Credit, Outflow


async def wait_and_note(credit: Credit, note: Callable[[], None]) -> None:
    """Wait for credit, then say so."""
    await credit.wait()
    note()


async def test_a_sender_waits_for_items_and_bytes() -> None:
    """Both; one item may overdraw the bytes."""
    credit = Credit()
    passed: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_and_note, credit, lambda: passed.append(1))
        await wait_all_tasks_blocked()
        credit.grant(2, 0)
        await wait_all_tasks_blocked()
        assert passed == []
        credit.grant(0, 10)
        await wait_all_tasks_blocked()
        assert passed == [1]
        credit.spend(1000)
        assert (credit.items, credit.bytes) == (1, -990)
        nursery.start_soon(wait_and_note, credit, lambda: passed.append(2))
        credit.grant(1, 990)
        await wait_all_tasks_blocked()
        assert passed == [1]
        credit.grant(1, 1)
    assert passed == [1, 2]


async def test_the_end_wakes_who_waits_for_credit() -> None:
    """It would wait for ever."""
    credit = Credit()
    passed: list[int] = []
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(wait_and_note, credit, lambda n=n: passed.append(n))
            await wait_all_tasks_blocked()
            credit.close()
    assert sorted(passed) == [0, 1, 2]


async def wait_as_sender(outflow: Outflow, passed: list[int]) -> None:
    """Do what a sender does that finds its limit used up."""
    while (limit := outflow.limit) is not None and limit.items <= 0 and not limit.closed:
        await limit.wait()
    passed.append(1)


@pytest.mark.parametrize("news", ["opened", "opened with backpressure", "dropped", "closed"])
async def test_news_that_wakes_a_sender_that_has_gone_ahead(news: str) -> None:
    """Whatever it is; afterwards the right limit holds."""
    outflow = Outflow()
    outflow.open(ended=False)
    assert outflow.limit is not None
    assert (outflow.limit.items, outflow.credited) == (AHEAD_ITEMS, False)
    outflow.limit.items = 0
    passed: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_as_sender, outflow, passed)
        await wait_all_tasks_blocked()
        outflow.grant(0, 0)
        await wait_all_tasks_blocked()
        assert passed == []
        match news:
            case "opened":
                outflow.opened_there(64, 1000, credited=False)
                assert outflow.limit is None
            case "opened with backpressure":
                outflow.opened_there(1, 1, credited=True)
                assert outflow.limit is outflow.credit
            case "dropped":
                outflow.grant(32, 0)
                assert (outflow.limit.items, outflow.credit.items) == (32, 0)
            case "closed":
                outflow.close()
                assert outflow.limit.closed
    assert passed == [1]


async def test_without_credit_a_sender_goes_on_waiting_when_the_rule_changes() -> None:
    """What it could have sent ahead counts no more."""
    outflow = Outflow()
    outflow.open(ended=False)
    assert outflow.limit is not None
    outflow.limit.items = 0
    passed: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_as_sender, outflow, passed)
        await wait_all_tasks_blocked()
        outflow.opened_there(0, 0, credited=True)
        outflow.grant(5, 0)
        await wait_all_tasks_blocked()
        assert passed == []
        outflow.grant(1, 1)
    assert passed == [1]

"""Items on their way: what is buffered, dropped and owed."""

import signal
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tractor.runtime._flow import AHEAD_ITEMS, BUFFER_ITEMS, OVERFLOW_ITEMS, WINDOW_BYTES, Inbox

CREDITED = 2


class Bench:
    """An inbox, and the credit it gave back."""

    def __init__(self) -> None:
        self.given: list[tuple[int, int]] = []
        self.crowds: list[int] = []
        self.inbox = Inbox(
            lambda items, size: self.given.append((items, size)), lambda: self.crowds.append(1)
        )
        self.inbox.begin()
        self.open()

    def open(self, capacity: int = BUFFER_ITEMS, spare: int = 0) -> None:
        """Open a stream at this side."""
        self.inbox.opened, self.inbox.capacity, self.inbox.spare = True, capacity, spare
        self.inbox.window = capacity

    def put(self, *numbers: int, credited: int = 0) -> bool:
        """Put numbered items; return whether the last one was taken."""
        taken = True
        for number in numbers:
            taken = self.inbox.put(b"%d" % number, credited)
        return taken

    def drain(self) -> list[int]:
        """Take everything."""
        return [int(bytes(body)) for body in self.inbox.take_all()]


def test_the_buffer_has_its_size() -> None:
    """One item more is refused, and nothing that was there is lost."""
    bench = Bench()
    assert bench.put(*range(BUFFER_ITEMS))
    assert not bench.put(BUFFER_ITEMS)
    assert bench.drain() == list(range(64))


@pytest.mark.parametrize("burst", [65, 680, 681, 3000])
def test_overruns_that_are_allowed_keep_the_head_and_the_newest(burst: int) -> None:
    """The buffer keeps the oldest 64, the overflow the newest 616; in between items are dropped."""
    bench = Bench()
    bench.inbox.allow_overruns = True
    assert bench.put(*range(burst))
    expected = list(range(burst))
    if burst > BUFFER_ITEMS + OVERFLOW_ITEMS:
        expected = expected[:BUFFER_ITEMS] + expected[-OVERFLOW_ITEMS:]
    assert bench.drain() == expected


def test_credited_items_always_have_room() -> None:
    """The sender has counted them; whatever else is buffered."""
    bench = Bench()
    bench.put(*range(BUFFER_ITEMS))
    assert bench.put(*range(64, 200), credited=CREDITED)
    assert bench.drain() == list(range(200))


OPS = st.lists(
    st.one_of(
        st.just("put"),
        st.just("credited"),
        st.just("pop"),
        st.sampled_from([("capacity", n) for n in (1, 3, 10)]),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(OPS)
def test_items_keep_their_order(ops: list[object]) -> None:
    """Whatever the mixture of credited and other items, of overflow, and of buffer sizes; no credited item is lost."""
    bench = Bench()
    bench.inbox.capacity = 3
    bench.inbox.allow_overruns = True
    number, taken, credited = 0, [], []
    for op in ops:
        if op == "pop":
            if bench.inbox.items:
                taken.append(int(bytes(bench.inbox.pop())))
        elif isinstance(op, tuple):
            bench.inbox.capacity = op[1]
        else:
            if op == "credited":
                credited.append(number)
            bench.put(number, credited=CREDITED if op == "credited" else 0)
            number += 1
    taken += bench.drain()
    assert taken == sorted(taken)
    assert set(credited) <= set(taken)
    assert taken == list(range(number))


TURNS = st.lists(st.sampled_from(["open", "item", "stop", "take", "next", "finish"]), max_size=60)


@settings(max_examples=300, deadline=None)
@given(TURNS)
def test_the_nth_stream_reads_what_the_nth_sent(turns: list[str]) -> None:
    """Whatever the order in which both sides open, send, take and close; a model with a list per stream agrees."""
    bench = Bench()
    bench.inbox = Inbox(lambda items, size: None, lambda: None)
    sent: list[list[int]] = []
    stopped: list[bool] = []
    reading, taken, finished, number = 0, 0, False, 0
    for turn in turns:
        is_open = bool(stopped) and not stopped[-1]
        if turn == "open" and not is_open and not finished:
            bench.inbox.begin()
            sent.append([])
            stopped.append(False)
        elif turn == "item" and is_open and not finished:
            bench.put(number, credited=CREDITED)
            sent[-1].append(number)
            number += 1
        elif turn == "stop" and is_open and not finished:
            bench.inbox.end()
            stopped[-1] = True
        elif turn == "finish" and not finished:
            bench.inbox.finish()
            finished, stopped = True, [True] * len(stopped)
        elif turn == "take" and bench.inbox.items:
            assert int(bytes(bench.inbox.pop())) == sent[reading][taken]
            taken += 1
        elif turn == "next":
            left = [int(bytes(body)) for body in bench.inbox.next(trio.ClosedResourceError())]
            assert left == (sent[reading][taken:] if reading < len(sent) else [])
            reading, taken = reading + 1, 0
        here = sent[reading] if reading < len(sent) else []
        assert [int(bytes(body)) for body, _ in bench.inbox.items] == here[taken:]
        assert bench.inbox.ended is (stopped[reading] if reading < len(sent) else finished)


def test_credit_is_given_back_in_lots() -> None:
    """When half of the window, in items or in bytes, was taken; items without credit owe nothing."""
    bench = Bench()
    bench.inbox.window = 10
    bench.put(*range(10), credited=CREDITED)
    for _ in range(4):
        bench.inbox.pop()
    assert bench.given == []
    bench.inbox.pop()
    assert bench.given == [(5, 5)]
    bench.drain()
    assert bench.given == [(5, 5), (5, 5)]
    bench.put(*range(10))
    bench.drain()
    assert len(bench.given) == 2
    bench.inbox.put(b"x" * (WINDOW_BYTES // 2), CREDITED)
    bench.inbox.pop()
    assert bench.given[2:] == [(1, WINDOW_BYTES // 2)]


async def test_an_item_for_somebody_who_waits_is_owed_at_once() -> None:
    """It never sees the buffer. Waiting tasks are served in the order they came."""
    bench = Bench()
    bench.inbox.window = 2
    got: list[tuple[str, bytes]] = []

    async def take(name: str) -> None:
        got.append((name, bytes(await bench.inbox.get())))

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(take, name)
            await wait_all_tasks_blocked()
        bench.put(1, 2, credited=CREDITED)
        assert bench.given == [(1, 1), (1, 1)]
    assert sorted(got) == [("a", b"1"), ("b", b"2")]


async def test_a_cancelled_wait_takes_nothing() -> None:
    """The item stays for the next."""
    bench = Bench()
    with trio.move_on_after(0.001) as scope:
        await bench.inbox.get()
    assert scope.cancelled_caught
    assert bench.inbox.waiters == {}
    bench.put(7)
    assert await bench.inbox.get() == b"7"


async def test_an_item_is_not_lost_to_a_cancellation_that_comes_at_the_same_time() -> None:
    """Who was given it gets it."""
    bench = Bench()
    got: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def take() -> None:
            got.append(bytes(await bench.inbox.get()))

        nursery.start_soon(take)
        await wait_all_tasks_blocked()
        bench.put(7)
        nursery.cancel_scope.cancel()
    assert got == [b"7"]


async def test_what_was_buffered_can_be_taken_after_the_end() -> None:
    """Then the end is reported, to whoever waits and to whoever comes."""
    bench = Bench()
    bench.put(1)
    bench.inbox.end()
    assert await bench.inbox.get() == b"1"
    with pytest.raises(trio.EndOfChannel):
        await bench.inbox.get()


@pytest.mark.parametrize("error", [None, ValueError("bad")])
async def test_everyone_who_waits_is_told(error: Exception | None) -> None:
    """Of the end, or of the error; an error takes what is buffered with it."""
    bench = Bench()
    told: list[BaseException] = []

    async def take() -> None:
        with pytest.raises(BaseException) as info:  # noqa: PT011 - the type is what is tested
            await bench.inbox.get()
        told.append(info.value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
        await wait_all_tasks_blocked()
        bench.inbox.fail(error) if error else bench.inbox.end()
    assert [type(exc) for exc in told] == [type(error) if error else trio.EndOfChannel] * 3


async def test_an_error_pre_empts_what_is_buffered() -> None:
    """Also what comes later: nothing can be taken any more."""
    bench = Bench()
    bench.put(1, 2)
    error = ValueError("bad")
    bench.inbox.fail(error)
    for _ in range(2):
        with pytest.raises(ValueError, match="bad"):
            await bench.inbox.get()
    assert bench.drain() == []


def test_discarding_drops_but_gives_credit_back() -> None:
    """The sender must be able to come to its end."""
    bench = Bench()
    bench.inbox.window = 4
    bench.put(1, 2, credited=CREDITED)
    bench.inbox.discard()
    assert bench.given == [(2, 2)]
    assert bench.put(*range(10), credited=CREDITED)
    assert sum(items for items, _ in bench.given) == 12
    assert bench.drain() == []


@pytest.mark.parametrize("buffered", [0, 1, 64])
def test_who_sends_without_credit_to_a_side_that_drops_it_is_told_to_go_on(buffered: int) -> None:
    """In lots, and not to the last item; of those that were buffered, too."""
    bench = Bench()
    bench.put(*range(buffered))
    bench.inbox.discard()
    assert bench.put(*range(1000))
    told = [items for items, size in bench.given if not size]
    assert len(told) == len(bench.given) <= 2 * 1064 // BUFFER_ITEMS
    assert 0 <= buffered + 1000 - sum(told) < BUFFER_ITEMS // 2


def test_the_rest_of_a_stream_that_was_closed_here_is_dropped_in_silence() -> None:
    """Who sends it knows that the stream was opened, and waits for nothing."""
    bench = Bench()
    bench.inbox.next(trio.ClosedResourceError())
    bench.inbox.discard()
    assert bench.put(*range(1000))
    assert bench.given == []


def test_a_spare_takes_what_was_under_way() -> None:
    """So many beyond the buffer, and no more."""
    bench = Bench()
    bench.open(capacity=1, spare=10)
    assert bench.put(*range(11))
    assert not bench.put(0)
    assert bench.drain() == list(range(11))
    assert bench.crowds == []


def test_a_side_without_a_stream_says_when_it_gets_crowded() -> None:
    """It holds what a sender that has heard nothing may send."""
    bench = Bench()
    bench.inbox.next(trio.ClosedResourceError())
    bench.inbox.begin()
    assert bench.put(*range(BUFFER_ITEMS))
    assert bench.crowds == []
    assert bench.put(*range(BUFFER_ITEMS, AHEAD_ITEMS))
    assert len(bench.crowds) == AHEAD_ITEMS - BUFFER_ITEMS
    assert not bench.put(0)
    assert bench.drain() == list(range(AHEAD_ITEMS))


def test_items_of_later_streams_are_bounded() -> None:
    """By the same; however many streams these are."""
    bench = Bench()
    for n in range(AHEAD_ITEMS):
        bench.inbox.end()
        bench.inbox.begin()
        assert bench.put(n)
    assert not bench.put(0)
    assert bench.crowds == []
    bench.inbox.next(trio.ClosedResourceError())
    assert bench.drain() == [0]


def test_streams_that_nobody_reads_cost_nothing() -> None:
    """However often the peer opens and closes one."""
    bench = Bench()
    bench.put(1)
    for _ in range(10_000):
        bench.inbox.end()
        bench.inbox.begin()
    bench.put(2)
    bench.inbox.end()
    assert len(bench.inbox._later) <= 3
    assert bench.drain() == [1]
    for _ in range(10_000):
        assert bench.inbox.ended
        assert bench.drain() == []
        bench.inbox.next(trio.ClosedResourceError())
    assert (bench.drain(), bench.inbox.ended) == ([2], True)


def test_closing_forgets_what_the_stream_was_opened_with() -> None:
    """Until the next is opened this side has the buffer of one that has opened none."""
    bench = Bench()
    bench.open(capacity=1000)
    bench.inbox.next(trio.ClosedResourceError())
    bench.inbox.begin()
    assert bench.put(*range(BUFFER_ITEMS + 1))
    assert len(bench.crowds) == 1


def test_ctrl_c_that_comes_just_before_the_wait_leaves_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry would end whatever that task waits for later."""
    bench = Bench()
    wait = trio.lowlevel.wait_task_rescheduled

    def interrupted(abort: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return wait(abort)

    async def main() -> None:
        with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
            patch.setattr(trio.lowlevel, "wait_task_rescheduled", interrupted)
            await bench.inbox.get()
        assert bench.inbox.waiters == {}

    trio.run(main)

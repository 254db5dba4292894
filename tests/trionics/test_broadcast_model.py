"""Broadcasts against a model: whatever is done in whatever order, each receiver's values and losses add up."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests.trionics.test_broadcast import Result, Source, begin
from tractor.trionics import BroadcastReceiveError, BroadcastReceiver, Lagged, broadcast_receiver

ACTIONS = ("give", "receive", "receive", "nowait", "cancel", "subscribe", "close", "settle", "settle")


class Numbered(Source):
    """Gives 0, 1, 2…; knows how many have left it."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0
        self.taken = 0

    def make(self, count: int) -> None:
        """Add so many values."""
        self.give(*range(self.made, self.made + count))
        self.made += count

    async def receive(self) -> Any:
        """Return the next value."""
        value = await super().receive()
        self.taken += 1
        return value


class Quick(Numbered):
    """The same, which can also be asked without waiting."""

    def receive_nowait(self) -> Any:
        """Return the next value if it is there."""
        assert not self.reading, "the source is read twice at once"
        if not self.values:
            raise trio.WouldBlock
        value = self.values.pop(0)
        if isinstance(value, BaseException):
            raise value
        self.taken += 1
        return value


class Model:
    """A broadcast, and for each of its receivers the number of the value that must come next."""

    def __init__(self, nursery: trio.Nursery, stack: AsyncExitStack, size: int, quick: bool) -> None:
        self.nursery = nursery
        self.stack = stack
        self.size = size
        self.source = Quick() if quick else Numbered()
        first = broadcast_receiver(self.source, size)
        self.next: dict[BroadcastReceiver[int], int] = {first: 0}
        self.pending: list[tuple[BroadcastReceiver[int], Result]] = []

    def note(self, receiver: BroadcastReceiver[int], got: int | Lagged) -> None:
        """Check what a receiver got, or lost, against what it had to be."""
        oldest = max(0, self.source.taken - self.size)
        expected = self.next[receiver]
        if isinstance(got, Lagged):
            assert got.lost == oldest - expected > 0
            self.next[receiver] = oldest
        else:
            assert got == expected >= oldest
            self.next[receiver] += 1

    async def receive(self, receiver: BroadcastReceiver[int]) -> None:
        """Receive one value, or learn of a loss, now or later."""
        got: int | Lagged
        try:
            got = await receiver.receive()
        except Lagged as exc:
            got = exc
        self.note(receiver, got)

    def receive_nowait(self, receiver: BroadcastReceiver[int]) -> None:
        """The same, if there is anything."""
        got: int | Lagged
        try:
            got = receiver.receive_nowait()
        except Lagged as exc:
            got = exc
        except trio.WouldBlock:
            assert self.next[receiver] == self.source.taken
            if isinstance(self.source, Quick):
                assert self.source.reading or not self.source.values
            return
        self.note(receiver, got)

    async def act(self, action: str, n: int) -> None:
        """Do one thing to one of the receivers."""
        receivers = [receiver for receiver in self.next if not receiver._closed]
        receiver = receivers[n % len(receivers)] if receivers else None
        if action == "give":
            self.source.make(n % 5 + 1)
        elif action == "settle":
            await wait_all_tasks_blocked()
            for owner, result in self.pending:
                # Who waits, waits because there is nothing for it.
                assert result.done or (not owner._closed and self.next[owner] == self.source.taken)
            assert not self.source.values or all(result.done for _, result in self.pending)
        elif action == "cancel" and self.pending:
            self.pending[n % len(self.pending)][1].scope.cancel()
        elif receiver is None:
            return
        elif action == "receive":
            self.pending.append((receiver, begin(self.nursery, lambda: self.receive(receiver))))
        elif action == "nowait":
            self.receive_nowait(receiver)
        elif action == "subscribe":
            other = await self.stack.enter_async_context(receiver.subscribe())
            self.next[other] = self.source.taken
        elif action == "close":
            receiver.close()

    def check(self) -> None:
        """Compare the broadcast's own books with the model."""
        for receiver, expected in self.next.items():
            if not receiver._closed:
                queued = min(self.source.taken - expected, self.size)
                assert receiver.statistics().queued[receiver.key] == queued
                assert receiver.statistics().received == self.source.taken

    async def finish(self, end: Exception) -> None:
        """End the source: every task ends, and every receiver gets what is left for it, and the end."""
        self.source.give(end)
        await wait_all_tasks_blocked()
        ends = (type(end), BroadcastReceiveError)
        for receiver, result in self.pending:
            assert result.done, f"{receiver!r} still waits"
            assert result.error is None or isinstance(result.error, (*ends, trio.ClosedResourceError))
        for receiver in self.next:
            if receiver._closed:
                continue
            error: BaseException | None = None
            while error is None:
                try:
                    await self.receive(receiver)
                except ends as exc:
                    error = exc
            assert error is end or error.__cause__ is end
            assert self.next[receiver] == self.source.taken


@settings(max_examples=200, deadline=None)
@given(
    size=st.integers(1, 4),
    actions=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 20)), max_size=60),
    failed=st.booleans(),
    quick=st.booleans(),
)
def test_values_and_losses_add_up(
    size: int, actions: list[tuple[str, int]], failed: bool, quick: bool
) -> None:
    """For every receiver, at every moment; and nothing waits for ever."""

    async def main() -> None:
        with trio.fail_after(10):
            async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
                model = Model(nursery, stack, size, quick)
                for action, n in actions:
                    await model.act(action, n)
                    model.check()
                await wait_all_tasks_blocked()
                model.check()
                await model.finish(ValueError("broken") if failed else trio.EndOfChannel())

    trio.run(main)

"""The sending half of a channel: lanes, batches, a full transport, and the end."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._outbox import BATCH, BIG, HIGH_WATER, Outbox
from tractor.ipc._transport import Buffer


class Wire:
    """A transport that takes `room` bytes at a time and remembers every write."""

    laddr: TCPAddress | UDSAddress | None = None
    raddr: TCPAddress | UDSAddress | None = None
    same_process = False

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.writes: list[bytes] = []
        self.failure: OSError | None = None
        self._more = trio.Event()

    @property
    def sent(self) -> bytes:
        """Everything so far."""
        return b"".join(self.writes)

    def allow(self, room: int) -> None:
        """Make room for so many bytes more."""
        self.room += room
        self._wake()

    def fail(self, failure: OSError) -> None:
        """Be broken from now on."""
        self.failure = failure
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = trio.Event()

    def send_nowait(self, chunks: Sequence[Buffer]) -> int:
        """Take what there is room for."""
        if self.failure is not None:
            raise self.failure
        data = b"".join(chunks)[: self.room]
        if not data:
            raise BlockingIOError
        self.room -= len(data)
        self.writes.append(data)
        return len(data)

    def recv_nowait(self, into: memoryview) -> int:
        """Nothing ever comes."""
        raise BlockingIOError

    async def wait_writable(self) -> None:
        """Wait for `allow` or `fail`."""
        while self.room == 0 and self.failure is None:
            await self._more.wait()
        await trio.lowlevel.checkpoint()

    async def wait_readable(self) -> None:
        """Wait for ever."""
        await trio.sleep_forever()

    def close(self) -> None:
        """Nothing to close."""


async def next_tick() -> None:
    """Let the loop come to the end of this tick and begin another."""
    await trio.lowlevel.checkpoint()


async def test_a_lone_frame_leaves_at_once() -> None:
    """Without a task switch."""
    wire = Wire()
    box = Outbox(wire)
    box.put(b"lone")
    assert wire.writes == [b"lone"]
    await next_tick()
    box.put(b"second")
    assert wire.writes == [b"lone", b"second"]
    assert box.size == 0


async def test_the_frames_of_one_tick_leave_together() -> None:
    """A burst costs two system calls: the first frame's, and one for all the others just before the loop sleeps."""
    wire = Wire()
    box = Outbox(wire)
    for n in range(1000):
        box.put(b"%4d" % n)
    assert wire.writes == [b"   0"]
    await next_tick()
    assert len(wire.writes) == 2
    assert wire.sent == b"".join(b"%4d" % n for n in range(1000))


async def test_a_tick_that_queues_too_much_does_not_wait_for_its_end() -> None:
    """Memory stays bounded."""
    wire = Wire()
    box = Outbox(wire)
    for _ in range(2 * HIGH_WATER // 1000):
        box.put(b"x" * 1000)
    assert len(wire.sent) > HIGH_WATER
    assert box.size <= HIGH_WATER


async def test_writes_are_batches_of_whole_frames() -> None:
    """Not everything in one: a batch is joined in memory."""
    wire = Wire(0)
    box = Outbox(wire)
    for _ in range(200):
        box.put(b"x" * 1000)
    wire.allow(1 << 30)
    await next_tick()
    assert {len(write) for write in wire.writes[1:-1]} == {-(-BATCH // 1000) * 1000}


async def test_urgent_frames_overtake_data() -> None:
    """Also within a tick; each lane keeps its order."""
    wire = Wire()
    box = Outbox(wire)
    box.put(b"[0]")
    for n in (1, 2):
        box.put(b"[d%d]" % n)
        box.put(b"[u%d]" % n, urgent=True)
    await next_tick()
    assert wire.sent == b"[0][u1][u2][d1][d2]"


async def test_a_frame_that_has_begun_is_finished_first() -> None:
    """An urgent frame cannot land in the middle of another."""
    wire = Wire(2)
    box = Outbox(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        box.put(b"[data]")
        box.put(b"[more]")
        box.put(b"[urgent]", urgent=True)
        await wait_all_tasks_blocked()
        assert wire.sent == b"[d"
        wire.allow(1000)
        await wait_all_tasks_blocked()
        assert wire.sent == b"[data][urgent][more]"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("room", [0, 3, 8, 9, 10_000])
async def test_a_header_and_its_big_body_are_never_separated(room: int) -> None:
    """Wherever the transport fills up, and whatever is put in between."""
    wire = Wire(room)
    box = Outbox(wire)
    body = b"b" * BIG
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        box.put_big(b"[header]", body)
        box.put(b"[u1]", urgent=True)
        await wait_all_tasks_blocked()
        box.put(b"[u2]", urgent=True)
        box.put(b"[d]")
        wire.allow(1000)
        await wait_all_tasks_blocked()
        box.put(b"[u3]", urgent=True)
        wire.allow(1 << 30)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert b"[header]" + body in wire.sent
    rest = wire.sent.replace(b"[header]" + body, b"")
    assert rest == b"[u1][u2][u3][d]"


@pytest.mark.parametrize("urgent", [True, False])
async def test_a_big_body_is_not_copied(urgent: bool) -> None:
    """The transport gets the very object."""
    chunks: list[Buffer] = []

    class Watching(Wire):
        def send_nowait(self, given: Sequence[Buffer]) -> int:
            chunks.extend(given)
            return super().send_nowait(given)

    body = bytearray(BIG)
    box = Outbox(Watching())
    box.put_big(b"header", body, urgent=urgent)
    assert any(isinstance(chunk, memoryview) and chunk.obj is body for chunk in chunks)


async def test_a_big_urgent_frame_keeps_its_place_among_urgent_ones() -> None:
    """It overtakes data, and data does not overtake it."""
    wire = Wire(0)
    box = Outbox(wire)
    body = b"b" * BIG
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        box.put(b"[0]")
        await wait_all_tasks_blocked()
        box.put(b"[d]")
        box.put(b"[u1]", urgent=True)
        box.put_big(b"[U]", body, urgent=True)
        box.put(b"[u2]", urgent=True)
        wire.allow(1 << 30)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert wire.sent == b"[0][u1][U]" + body + b"[u2][d]"


async def test_a_full_transport_is_waited_for_by_a_task() -> None:
    """Whoever puts is never blocked; everything arrives in order once there is room."""
    wire = Wire(10)
    box = Outbox(wire)
    expected = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        for n in range(100):
            box.put(b"%9d" % n)
            expected += b"%9d" % n
            await trio.lowlevel.checkpoint()
        assert wire.sent == expected[:10]
        assert box.size == 890
        while wire.sent != expected:
            wire.allow(37)
            await wait_all_tasks_blocked()
        assert box.size == 0
        wire.allow(1000)
        box.put(b"again")
        assert wire.sent == expected + b"again"
        nursery.cancel_scope.cancel()


async def test_what_fills_up_at_the_end_of_a_tick_wakes_the_writer() -> None:
    """The loop has already decided how long to sleep by then: it must be woken, not left to sleep."""
    wire = Wire(3)
    box = Outbox(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        await wait_all_tasks_blocked()
        box.put(b"one")
        box.put(b"two")
        with trio.fail_after(1):
            while wire.sent != b"onetwo":
                await trio.sleep(0.001)
                wire.allow(3)
        nursery.cancel_scope.cancel()


async def test_senders_wait_above_the_high_water_mark() -> None:
    """And go on when there is room again; below it nobody waits."""
    wire = Wire(0)
    box = Outbox(wire)
    done = trio.Event()

    async def sender() -> None:
        await box.wait_room()
        done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        box.put(b"x" * HIGH_WATER)
        await box.wait_room()
        box.put(b"x")
        nursery.start_soon(sender)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        wire.allow(1)
        with trio.fail_after(1):
            await done.wait()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("by", ["the transport", "the owner"])
async def test_a_break_wakes_everyone_and_drops_everything(by: str) -> None:
    """Nobody waits for a transport that is gone; what is put later is dropped without a word."""
    wire = Wire(0)
    box = Outbox(wire)
    broken = BrokenPipeError("gone")
    woken: list[str] = []

    async def wait(name: str) -> None:
        await getattr(box, name)()
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        box.put(b"x" * (HIGH_WATER + 1))
        nursery.start_soon(wait, "wait_room")
        nursery.start_soon(wait, "wait_empty")
        await wait_all_tasks_blocked()
        assert woken == []
        if by == "the owner":
            box.break_(broken)
            box.break_(OSError("later"))
        else:
            wire.fail(broken)
        with trio.fail_after(1):
            await wait_all_tasks_blocked()
        assert sorted(woken) == ["wait_empty", "wait_room"]
        assert box.broken is broken
        assert box.size == 0
        box.put(b"late")
        box.put_big(b"late", b"b" * BIG)
        assert box.size == 0
        assert wire.sent == b""
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("at", ["the first of a tick", "the end of a tick", "a big frame"])
async def test_a_write_that_fails_breaks_the_outbox(at: str) -> None:
    """The first to notice is whoever sends, or the loop; neither is told by an exception."""
    wire = Wire()
    box = Outbox(wire)
    if at == "the end of a tick":
        box.put(b"1")
        box.put(b"2")
    wire.fail(ConnectionResetError("reset"))
    if at == "the first of a tick":
        box.put(b"x")
    elif at == "a big frame":
        box.put_big(b"header", b"b" * BIG)
    else:
        await trio.lowlevel.checkpoint()
    assert isinstance(box.broken, ConnectionResetError)
    assert box.size == 0


async def test_wait_empty_returns_when_all_is_taken() -> None:
    """With a writer, and at once when nothing waits."""
    wire = Wire(0)
    box = Outbox(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.run_writer)
        await box.wait_empty()
        box.put(b"x" * 100)
        nursery.start_soon(box.wait_empty)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        wire.allow(99)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 2
        wire.allow(1)
        await wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        nursery.cancel_scope.cancel()


FRAMES = st.lists(
    st.tuples(
        st.booleans(), st.sampled_from([1, 7, 1000, 30_000, BIG, BIG + 1]), st.booleans(), st.booleans()
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(FRAMES, st.lists(st.integers(1, 40_000), max_size=20))
def test_any_mixture_arrives_whole_and_in_the_order_of_its_lane(
    frames: list[tuple[bool, int, bool, bool]], rooms: list[int]
) -> None:
    """Whatever the sizes, the lanes, the ticks and the room: frames are never torn, and never overtaken in their lane."""

    async def main() -> None:
        wire = Wire(0)
        box = Outbox(wire)
        lanes: dict[bool, list[int]] = {True: [], False: []}
        queue = list(rooms)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(box.run_writer)
            for number, (urgent, size, tick, room) in enumerate(frames):
                header = (b"u" if urgent else b"d") + b"%07d%08d" % (number, size)
                lanes[urgent].append(number)
                if size >= BIG:
                    box.put_big(header, bytes([number]) * size, urgent=urgent)
                else:
                    box.put(header + bytes([number]) * size, urgent=urgent)
                if room and queue:
                    wire.allow(queue.pop())
                if tick:
                    await trio.lowlevel.checkpoint()
            wire.allow(1 << 40)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert box.size == 0
        seen: dict[bool, list[int]] = {True: [], False: []}
        rest = wire.sent
        while rest:
            number, size = int(rest[1:8]), int(rest[8:16])
            assert rest[16 : 16 + size] == bytes([number]) * size
            seen[rest[:1] == b"u"].append(number)
            rest = rest[16 + size :]
        assert seen == lanes

    trio.run(main)

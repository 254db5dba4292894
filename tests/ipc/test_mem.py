"""The in-memory transport keeps the rules of a socket."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import assert_checkpoints, wait_all_tasks_blocked

from tractor.ipc._mem import MemoryTransport, memory_transport_pair


def read(end: MemoryTransport, size: int = 100) -> bytes:
    """Read once."""
    into = memoryview(bytearray(size))
    return bytes(into[: end.recv_nowait(into)])


async def test_bytes_arrive_in_order_both_ways() -> None:
    """Chunks are joined; a read takes what there is."""
    a, b = memory_transport_pair()
    assert a.send_nowait([b"one", bytearray(b"two"), memoryview(b"three")]) == 11
    assert b.send_nowait([b"back"]) == 4
    assert read(b, 4) == b"onet"
    assert read(b) == b"wothree"
    assert read(a) == b"back"


async def test_it_never_blocks() -> None:
    """A full pipe takes a prefix, then nothing; an empty one gives nothing."""
    a, b = memory_transport_pair(capacity=5)
    assert a.send_nowait([b"123", b"4567"]) == 5
    with pytest.raises(BlockingIOError):
        a.send_nowait([b"8"])
    assert read(b) == b"12345"
    with pytest.raises(BlockingIOError):
        read(b)


async def test_waiting_ends_when_a_retry_is_worth_while() -> None:
    """A reader wakes for bytes, a writer for room."""
    a, b = memory_transport_pair(capacity=1)
    a.send_nowait([b"x"])
    order: list[str] = []

    async def write() -> None:
        await a.wait_writable()
        order.append("room")
        a.send_nowait([b"y"])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        assert order == []
        assert read(b) == b"x"
        with trio.fail_after(1):
            await b.wait_readable()
        assert read(b) == b"y"
    assert order == ["room"]


class AtTickEnd(trio.abc.Instrument):
    """Calls a function when the loop has decided how long to sleep."""

    def __init__(self, func: Callable[[], object]) -> None:
        self.func: Callable[[], object] | None = func

    def before_io_wait(self, timeout: float) -> None:
        """Once, and when nothing else is about to happen."""
        if timeout > 0 and self.func is not None:
            func, self.func = self.func, None
            func()


async def test_bytes_sent_at_the_end_of_a_tick_wake_the_reader() -> None:
    """As a socket's do: the loop must not sleep over them."""
    a, b = memory_transport_pair()
    instrument = AtTickEnd(lambda: a.send_nowait([b"x"]))
    trio.lowlevel.add_instrument(instrument)
    with trio.fail_after(1):
        await b.wait_readable()
    trio.lowlevel.remove_instrument(instrument)
    assert read(b) == b"x"


async def test_waiting_lets_other_tasks_run() -> None:
    """Also when there is nothing to wait for."""
    a, b = memory_transport_pair()
    a.send_nowait([b"x"])
    with assert_checkpoints():
        await b.wait_readable()


async def test_the_other_end_reads_what_is_left_then_the_end() -> None:
    """As with a socket; writing is refused at once."""
    a, b = memory_transport_pair()
    a.send_nowait([b"last"])
    a.close()
    a.close()
    await b.wait_readable()
    assert read(b) == b"last"
    await b.wait_readable()
    assert read(b) == b""
    with pytest.raises(BrokenPipeError):
        b.send_nowait([b"x"])
    await b.wait_writable()


async def test_closing_wakes_whoever_waits_at_this_end() -> None:
    """With `ClosedResourceError`; later calls raise too."""
    a, b = memory_transport_pair(capacity=1)
    a.send_nowait([b"x"])
    woken: list[str] = []

    async def wait(what: str) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await getattr(a, what)()
        woken.append(what)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "wait_writable")
        nursery.start_soon(wait, "wait_readable")
        await wait_all_tasks_blocked()
        a.close()
    assert sorted(woken) == ["wait_readable", "wait_writable"]
    with pytest.raises(OSError, match="closed"):
        a.send_nowait([b"x"])
    with pytest.raises(OSError, match="closed locally"):
        read(a)
    with pytest.raises(trio.ClosedResourceError):
        await a.wait_readable()
    b.close()

"""A channel: frames both ways over one transport, and every way to lose it."""

import socket
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.resident import run_fast
from tractor._errors import Exit, RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._channel import Channel
from tractor.ipc._mem import memory_transport_pair
from tractor.ipc._outbox import BIG, HIGH_WATER
from tractor.ipc._transport import Buffer, SocketTransport
from tractor.wire._frame import pack, pack_header
from tractor.wire._kinds import Frame, Kind

SIZES = [0, 1, 1000, BIG - 1, BIG, BIG + 1, 3_000_000]
PEER = Aid("peer", "u-1", 7)


def make_pair(*, limit: int = 1 << 24, capacity: int = 1 << 18) -> tuple[Channel, Channel]:
    """Return two joined channels, the dialer's first."""
    a, b = memory_transport_pair(capacity)
    left, right = Channel(a, dialer=True, limit=limit), Channel(b, dialer=False, limit=limit)
    left.aid = right.aid = PEER
    return left, right


class Log:
    """A handler that remembers what came."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def __call__(self, kind: int, flags: int, did: int, body: Buffer) -> None:
        """Take a frame."""
        self.frames.append((kind, flags, did, bytes(body)))

    @property
    def bodies(self) -> list[bytes]:
        """Only the bodies."""
        return [bytes(frame[3]) for frame in self.frames]


async def test_frames_arrive_as_they_were_sent() -> None:
    """Kind, flags, dialog and body; small ones, empty ones and big ones."""
    left, right = make_pair()
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        nursery.start_soon(right.run, log)
        for n, size in enumerate(SIZES):
            await left.send(Kind.ITEM, 2, n, b"x" * size)
        await wait_all_tasks_blocked()
        await left.aclose()
    assert log.frames == [(Kind.ITEM, 2, n, b"x" * size) for n, size in enumerate(SIZES)]


async def test_an_urgent_kind_overtakes_items_that_wait() -> None:
    """A cancellation does not queue behind the data that is to be stopped."""
    left, right = make_pair(capacity=100)
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        for n in range(50):
            left.post(Kind.ITEM, 0, 1, b"%d" % n)
        left.post(Kind.CANCEL, 0, 1, b"stop")
        left.post(Kind.RETURN, 0, 1, b"last")
        await wait_all_tasks_blocked()
        nursery.start_soon(right.run, log)
        await wait_all_tasks_blocked()
        await left.aclose()
    assert log.bodies[-1] == b"last"
    assert log.bodies.index(b"stop") < 10
    assert [body for body in log.bodies if body != b"stop"] == [*(b"%d" % n for n in range(50)), b"last"]


async def test_send_waits_while_too_much_is_queued() -> None:
    """A slow reader slows its sender; `post` never waits."""
    left, right = make_pair(capacity=1000)
    sent = 0

    async def sender() -> None:
        nonlocal sent
        while True:
            await left.send(Kind.ITEM, 0, 1, b"x" * 1000)
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        nursery.start_soon(sender)
        await wait_all_tasks_blocked()
        assert HIGH_WATER / 1016 - 5 < sent < HIGH_WATER / 1016 + 5
        left.post(Kind.ITEM, 0, 1, b"never blocks")
        nursery.start_soon(right.run, Log())
        while sent < 1000:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_a_send_that_is_cancelled_has_sent_nothing() -> None:
    """It waits first: an item that somebody gave up on does not arrive all the same."""
    left, right = make_pair(capacity=1000)
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        left.post(Kind.ITEM, 0, 1, b"x" * 2 * HIGH_WATER)
        with trio.move_on_after(0.01) as scope:
            await left.send(Kind.ITEM, 0, 1, b"given up")
        assert scope.cancelled_caught
        nursery.start_soon(right.run, log)
        await left.send(Kind.ITEM, 0, 1, b"last")
        await wait_all_tasks_blocked()
        await left.aclose()
    assert log.bodies[1:] == [b"last"]


async def test_send_lets_other_tasks_run() -> None:
    """At least once every 64 frames, and it checks for cancellation every time."""
    left, _right = make_pair()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(640):
            await left.send(Kind.ITEM, 0, 1, b"")
        assert turns >= 9
        nursery.cancel_scope.cancel()
    with trio.CancelScope() as scope:
        scope.cancel()
        await left.send(Kind.ITEM, 0, 1, b"")
    assert scope.cancelled_caught


@pytest.mark.parametrize("limit", [10, BIG - 1, BIG, 1_000_000])
async def test_a_body_over_the_limit_is_refused_before_it_is_sent(limit: int) -> None:
    """By the sender, who can do something about it; the channel goes on working."""
    left, right = make_pair(limit=limit)
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        nursery.start_soon(right.run, log)
        with pytest.raises(
            ValueError, match=f"{limit + 1} bytes is over the channel's limit of {limit} bytes"
        ):
            left.post(Kind.ITEM, 0, 1, b"x" * (limit + 1))
        left.post(Kind.ITEM, 0, 1, b"x" * limit)
        await wait_all_tasks_blocked()
        await left.aclose()
    assert log.bodies == [b"x" * limit]


async def test_the_first_frame_can_be_awaited_alone() -> None:
    """Those behind it wait for `run`, also big ones that came in the same read."""
    a, b = memory_transport_pair(1 << 22)
    channel = Channel(b, dialer=False)
    a.send_nowait(
        [
            pack(Kind.HELLO, 0, 0, b"hello"),
            pack(Kind.START, 0, 1, b"s"),
            pack(Kind.START, 0, 3, b"B" * 300_000),
        ]
    )
    assert await channel.receive_first() == (Kind.HELLO, 0, 0, b"hello")
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.run, log)
        await wait_all_tasks_blocked()
        await channel.aclose()
    assert log.bodies == [b"s", b"B" * 300_000]


async def test_the_first_frame_may_come_in_pieces() -> None:
    """Byte by byte."""
    a, b = memory_transport_pair()
    channel = Channel(b, dialer=False)

    async def dribble() -> None:
        for byte in pack(Kind.HELLO, 0, 0, b"hello"):
            a.send_nowait([bytes([byte])])
            await wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dribble)
        assert await channel.receive_first() == (Kind.HELLO, 0, 0, b"hello")
    await channel.aclose()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a frame"),
        (pack_header(Kind.HELLO, 0, 0, 64 * 1024 + 1), "the limit is 65536"),
        (b"", "was closed by the peer"),
        (pack(Kind.HELLO, 0, 0, b"hello")[:-1], "was closed by the peer"),
    ],
)
async def test_a_bad_first_frame_is_a_loss(data: bytes, why: str) -> None:
    """An unknown peer may not make us hold much."""
    a, b = memory_transport_pair()
    channel = Channel(b, dialer=False)
    if data:
        a.send_nowait([data])
    a.close()
    with pytest.raises(TransportClosed, match=why):
        await channel.receive_first()
    assert not channel.connected()
    await channel.aclose()


def by_peer(left: Channel, right: Channel) -> None:
    """The other end closes."""
    right.abort()


def by_garbage(left: Channel, right: Channel) -> None:
    """The other end sends what is no frame."""
    right.transport.send_nowait([b"garbage, and more of it"])


def by_half_a_frame(left: Channel, right: Channel) -> None:
    """The other end is gone in the middle of a frame."""
    right.transport.send_nowait([pack(Kind.ITEM, 0, 1, b"body")[:-1]])
    right.abort()


def by_abort(left: Channel, right: Channel) -> None:
    """Closed here."""
    left.abort()


def by_exit(left: Channel, right: Channel) -> None:
    """The peer's process is known to be gone."""
    left.abort(Exit("died", -9))


LOSSES: list[tuple[Callable[[Channel, Channel], None], str, type[BaseException]]] = [
    (by_peer, "was closed by the peer", EOFError),
    (by_garbage, r"broke \(not a frame", RemoteProtocolError),
    (by_half_a_frame, "was closed by the peer", EOFError),
    (by_abort, "was already closed locally", trio.ClosedResourceError),
    (by_exit, "was closed by the peer .*killed by SIGKILL", EOFError),
]


@pytest.mark.parametrize(("lose", "text", "cause"), LOSSES)
async def test_every_loss_says_who_and_why(
    lose: Callable[[Channel, Channel], None], text: str, cause: type[BaseException]
) -> None:
    """`run` returns, whoever waits to send is woken, and everything later raises `TransportClosed`."""
    left, right = make_pair(capacity=1000)
    woken = trio.Event()

    async def sender() -> None:
        await left.send(Kind.ITEM, 0, 1, b"x" * 2 * HIGH_WATER)
        with pytest.raises(TransportClosed, match=text):
            await left.send(Kind.ITEM, 0, 1, b"x")
        woken.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        nursery.start_soon(sender)
        await wait_all_tasks_blocked()
        assert not woken.is_set()
        assert left.connected()
        lose(left, right)
    assert woken.is_set()
    assert not left.connected()
    for size in (0, BIG):
        with pytest.raises(TransportClosed, match=text) as info:
            left.post(Kind.ITEM, 0, 1, b"x" * size)
        assert type(info.value.src_exc) is cause
        assert info.value.__cause__ is info.value.src_exc
        assert info.value.peer == str(PEER)
        assert str(PEER) in str(info.value)
    with pytest.raises(TransportClosed, match=text):
        await left.send(Kind.ITEM, 0, 1)
    await left.aclose()
    await right.aclose()


async def test_a_handler_that_blames_the_peer_ends_the_connection() -> None:
    """The frames before the bad one were handled."""
    left, right = make_pair()
    seen: list[int] = []

    def handle(kind: int, flags: int, did: int, body: Buffer) -> None:
        seen.append(did)
        if did == 2:
            raise RemoteProtocolError("dialog 2 makes no sense")

    for did in (1, 2, 3):
        right.post(Kind.ITEM, 0, did)
    await trio.lowlevel.checkpoint()
    await left.run(handle)
    assert seen == [1, 2]
    assert "dialog 2 makes no sense" in str(left.loss())
    await left.aclose()
    await right.aclose()


async def test_what_arrived_before_the_loss_is_handled() -> None:
    """A farewell is read although the peer has hung up behind it."""
    left, right = make_pair()
    log = Log()
    right.post(Kind.BYE, 0, 0, b"bye")
    await right.aclose()
    await left.run(log)
    assert log.bodies == [b"bye"]
    await left.aclose()


async def test_closing_sends_what_is_queued() -> None:
    """For a moment: a peer that does not read cannot hold us up. It is idempotent, and the same when cancelled."""
    left, right = make_pair(capacity=1000)
    log = Log()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.run, Log())
        left.post(Kind.ITEM, 0, 1, b"x" * 50_000)
        nursery.start_soon(right.run, log)
        with trio.CancelScope() as scope:
            scope.cancel()
            await left.aclose()
        await left.aclose()
    assert log.bodies == [b"x" * 50_000]
    assert left.closed
    assert not right.closed
    await right.aclose()


def test_closing_is_bounded() -> None:
    """By its timeout, when the peer does not read."""

    async def main() -> None:
        left, right = make_pair(capacity=1000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.run, Log())
            left.post(Kind.ITEM, 0, 1, b"x" * 50_000)
            before = trio.current_time()
            await left.aclose(timeout=0.3)
            assert trio.current_time() - before == pytest.approx(0.3, abs=0.01)
        right.abort()

    run_fast(main)


async def test_a_peer_that_floods_does_not_starve_other_tasks() -> None:
    """The reader lets them run between two reads."""
    ours, theirs = socket.socketpair()
    channel = Channel(SocketTransport(ours), dialer=True)
    turns = 0
    data = pack(Kind.ITEM, 0, 1, b"x" * 1000) * 500

    def flood() -> None:
        theirs.settimeout(5)
        try:
            while True:
                theirs.sendall(data)
        except OSError:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, flood)
        log = Log()
        nursery.start_soon(channel.run, log)
        while len(log.frames) < 5000:
            turns += 1
            await trio.lowlevel.checkpoint()
        assert turns > 5
        await channel.aclose()
    theirs.close()


async def test_it_introduces_itself() -> None:
    """What `repr` and the address properties say through its life."""
    a, b = memory_transport_pair()
    channel = Channel(a, dialer=True)
    assert repr(channel) == "<Channel to an unknown peer connected>"
    assert channel.laddr is channel.raddr is None
    channel.aid = PEER
    channel.peer_addrs = [TCPAddress("127.0.0.1", 5), TCPAddress("127.0.0.1", 6)]
    assert channel.raddr == TCPAddress("127.0.0.1", 5)
    a.raddr = UDSAddress("/run", "x")
    assert channel.raddr == UDSAddress("/run", "x")
    b.close()
    await channel.run(Log())
    assert repr(channel) == f"<Channel to {PEER} lost>"
    channel = Channel(memory_transport_pair()[0], dialer=True)
    channel.abort()
    assert repr(channel) == "<Channel to an unknown peer closed>"

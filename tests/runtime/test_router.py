"""Who gets a frame."""

import pytest

from tractor._errors import RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._channel import Channel
from tractor.ipc._mem import memory_transport_pair
from tractor.ipc._transport import Buffer
from tractor.msg._codec import DecodeError
from tractor.runtime._flow import CREDIT
from tractor.runtime._router import Router
from tractor.wire._kinds import Kind


class End:
    """A dialog that remembers what it was told."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, Buffer]] = []
        self.losses: list[TransportClosed] = []

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:
        """Take a frame."""
        self.frames.append((kind, flags, body))

    def on_loss(self, error: TransportClosed) -> None:
        """Take the loss."""
        self.losses.append(error)


class Bench:
    """A router, and what reached its callbacks."""

    def __init__(self, *, dialer: bool) -> None:
        channel = Channel(memory_transport_pair()[0], dialer=dialer)
        channel.aid = Aid("peer", "u-1")
        self.requests: list[tuple[int, int, Buffer]] = []
        self.channel_frames: list[tuple[int, Buffer]] = []
        self.router = Router(
            channel,
            Aid("me", "u-0"),
            on_request=self._take_request,
            on_channel_frame=lambda router, kind, body: self.channel_frames.append((kind, body)),
        )

    def _take_request(self, router: Router, did: int, flags: int, body: Buffer) -> None:
        self.requests.append((did, flags, body))


async def test_the_two_ends_number_their_dialogs_differently() -> None:
    """The dialer odd, the other even: they never collide."""
    assert [Bench(dialer=True).router.open(End()) for _ in "x"] == [1]
    router = Bench(dialer=True).router
    assert [router.open(End()) for _ in range(3)] == [1, 3, 5]
    router = Bench(dialer=False).router
    assert [router.open(End()) for _ in range(3)] == [2, 4, 6]


async def test_a_frame_reaches_its_dialog() -> None:
    """And no other; after it is closed, late frames are ignored."""
    bench = Bench(dialer=True)
    one, two = End(), End()
    first, second = bench.router.open(one), bench.router.open(two)
    bench.router.on_frame(Kind.ITEM, 2, first, b"a")
    bench.router.on_frame(Kind.RETURN, 0, second, b"b")
    assert one.frames == [(Kind.ITEM, 2, b"a")]
    assert two.frames == [(Kind.RETURN, 0, b"b")]
    bench.router.close(first)
    bench.router.close(first)
    bench.router.on_frame(Kind.RETURN, 0, first, b"late")
    assert one.frames == [(Kind.ITEM, 2, b"a")]


@pytest.mark.parametrize(("dialer", "dids"), [(True, [2, 6, 8]), (False, [1, 3, 2**64 - 1])])
async def test_a_start_is_a_request(dialer: bool, dids: list[int]) -> None:
    """With ids of the peer's kind, each higher than the last; frames of those that have ended are ignored."""
    bench = Bench(dialer=dialer)
    for did in dids:
        bench.router.on_frame(Kind.START, 1, did, b"x")
    assert bench.requests == [(did, 1, b"x") for did in dids]
    bench.router.on_frame(Kind.CANCEL, 0, dids[0], b"")


@pytest.mark.parametrize("dialer", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in Kind if kind >= 16 and kind != Kind.START])
async def test_a_frame_for_a_dialog_never_started_is_the_peers_fault(dialer: bool, kind: Kind) -> None:
    """Whoever should have started it."""
    bench = Bench(dialer=dialer)
    bench.router.open(End())
    bench.router.open(End())
    for did in (5, 6):
        with pytest.raises(
            RemoteProtocolError, match=f"{kind.name} for dialog id {did}, which was never started"
        ):
            bench.router.on_frame(kind, 0, did, b"")


@pytest.mark.parametrize(("dialer", "bad"), [(True, [0, 1, 7, 3]), (False, [0, 2, 8, 4])])
async def test_a_start_with_a_wrong_id_is_the_peers_fault(dialer: bool, bad: list[int]) -> None:
    """Zero, of our own kind, or not higher than the last."""
    bench = Bench(dialer=dialer)
    high = 100 if dialer else 101
    bench.router.on_frame(Kind.START, 0, high, b"")
    for did in [*bad, high, high - 2]:
        with pytest.raises(
            RemoteProtocolError, match=f"START with dialog id {did}, which the peer may not use"
        ):
            bench.router.on_frame(Kind.START, 0, did, b"")
    assert len(bench.requests) == 1


async def test_frames_about_the_channel_have_no_dialog() -> None:
    """Their id is 0."""
    bench = Bench(dialer=True)
    bench.router.on_frame(Kind.BYE, 0, 0, b"bye")
    assert bench.channel_frames == [(Kind.BYE, b"bye")]


async def test_a_body_that_makes_no_sense_is_the_peers_fault() -> None:
    """Whatever the decoder says of it."""
    bench = Bench(dialer=True)

    class Bad(End):
        def on_frame(self, kind: int, flags: int, body: Buffer) -> None:
            if kind == Kind.CREDIT:
                CREDIT.unpack(body)
            raise DecodeError("not what was expected")

    did = bench.router.open(Bad())
    with pytest.raises(RemoteProtocolError, match="malformed CREDIT: unpack requires"):
        bench.router.on_frame(Kind.CREDIT, 0, did, b"123")
    with pytest.raises(RemoteProtocolError, match="malformed ERROR: not what was expected"):
        bench.router.on_frame(Kind.ERROR, 0, did, b"")


async def test_a_loss_reaches_every_dialog_once() -> None:
    """And nothing can be started any more."""
    bench = Bench(dialer=True)
    ends = [End(), End()]
    for end in ends:
        bench.router.open(end)
    bench.router.channel.abort()
    error = bench.router.channel.loss()
    bench.router.lose(error)
    bench.router.lose(error)
    assert [end.losses for end in ends] == [[error], [error]]
    assert bench.router.dialogs == {}
    with pytest.raises(TransportClosed, match=r"closed locally \(peer"):
        bench.router.open(End())

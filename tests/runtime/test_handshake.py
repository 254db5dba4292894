"""The first exchange on a channel."""

import os

import pytest

from tractor._errors import TransportClosed
from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress
from tractor.ipc._channel import Channel
from tractor.ipc._mem import MemoryTransport, memory_transport_pair
from tractor.msg._codec import get_codec
from tractor.msg._types import PROTOCOL_VERSION, Bye, Hello
from tractor.runtime import _handshake
from tractor.runtime._handshake import DETAIL, Refused, hear_hello, make_bye, say_hello
from tractor.wire._frame import pack
from tractor.wire._kinds import Kind

HELLO = Hello(PROTOCOL_VERSION, "peer", "u-1", 7, False, False, ["/ip4/127.0.0.1/tcp/5"], b"")


def make_channel() -> tuple[Channel, MemoryTransport]:
    """Return a channel, and the transport at its other end."""
    ours, theirs = memory_transport_pair()
    return Channel(ours, dialer=True), theirs


@pytest.mark.parametrize("token", [b"", b"\0secret"])
async def test_both_sides_learn_who_is_there(token: bytes) -> None:
    """Name, process, roles and addresses; the token reaches the one who waits for it."""
    a, b = memory_transport_pair()
    left, right = Channel(a, dialer=True), Channel(b, dialer=False)
    me = Aid("me", "u-0", 5, is_registrar=True)
    say_hello(left, me, [TCPAddress("127.0.0.1", 9)], token=token)
    say_hello(right, Aid("you", "u-1", None, is_probe=True), [])
    assert (await hear_hello(right)).token == token
    await hear_hello(left)
    assert right.aid is not None
    assert left.aid is not None
    assert (right.aid.uid, right.aid.pid, right.aid.is_registrar, right.aid.is_probe) == (
        me.uid,
        5,
        True,
        False,
    )
    assert (left.aid.uid, left.aid.is_registrar, left.aid.is_probe) == (("you", "u-1"), False, True)
    assert left.aid.pid
    assert right.peer_addrs == [TCPAddress("127.0.0.1", 9)]
    assert right.raddr == TCPAddress("127.0.0.1", 9)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (pack(Kind.START, 0, 1, b""), "began with START, not with HELLO"),
        (pack(Kind.HELLO, 0, 4, b""), "began with HELLO, not with HELLO"),
        (pack(Kind.HELLO, 0, 0, b""), "handshake failed"),
        (pack(Kind.HELLO, 0, 0, b"\xc1\xff"), "handshake failed"),
        (pack(Kind.HELLO, 0, 0, get_codec().encode("hello")), "handshake failed: Expected"),
        (pack(Kind.BYE, 0, 0, b"x"), "handshake failed"),
        (HELLO._replace(protocol=PROTOCOL_VERSION + 1), "the peer speaks protocol 2, we speak 1"),
        (HELLO._replace(addrs=["nowhere"]), "handshake failed: Unsupported multiaddr"),
        (HELLO._replace(addrs=["/ip4/1.2.3.4/tcp/99999"]), "handshake failed: .*out of range"),
    ],
)
async def test_anything_else_than_a_good_hello_is_a_loss(frame: bytes | Hello, text: str) -> None:
    """The error says what came instead, and keeps the cause; nothing is believed of it."""
    channel, peer = make_channel()
    if isinstance(frame, Hello):
        frame = pack(Kind.HELLO, 0, 0, get_codec().encode(frame))
    peer.send_nowait([frame])
    with pytest.raises(TransportClosed, match=text) as info:
        await hear_hello(channel)
    assert info.value.src_exc is not None
    assert channel.aid is None


async def test_a_goodbye_instead_of_a_hello_is_a_refusal() -> None:
    """The peer was about to leave; it says why."""
    channel, peer = make_channel()
    peer.send_nowait([pack(Kind.BYE, 0, 0, get_codec().encode(Bye("crashed", None, "no luck", None)))])
    with pytest.raises(Refused, match="no luck") as info:
        await hear_hello(channel)
    assert info.value.bye.how == "crashed"


async def test_a_peer_that_hangs_up_is_a_loss() -> None:
    """Before a word."""
    channel, peer = make_channel()
    peer.close()
    with pytest.raises(TransportClosed, match="closed by the peer"):
        await hear_hello(channel)


def test_a_farewell_has_the_error_that_ended_its_actor() -> None:
    """With its traceback, and as text for people."""
    try:
        raise LookupError("no luck")
    except LookupError as exc:
        bye = make_bye(exc, Aid("me", "u-0", 5), "crashed", 10_000)
    assert (bye.how, bye.canceller, bye.detail, bye.token) == ("crashed", None, "LookupError: no luck", b"")
    assert bye.error is not None
    assert bye.error.boxed_type == "LookupError"
    assert "test_handshake.py" in bye.error.tb


def test_a_farewell_is_never_much_longer_than_it_may_be() -> None:
    """Or its channel would not take it."""
    bye = make_bye(ValueError("x" * 100_000), Aid("me", "u-0", 5), "failed to boot", 20_000)
    assert len(bye.detail) < DETAIL + 20
    assert len(get_codec().encode(bye)) < 20_000


@pytest.mark.parametrize("same_process", [True, False])
@pytest.mark.parametrize("isolated", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("same_pid", [True, False])
async def test_marshal_is_spoken_inside_a_process_where_msgspec_does_not_load(
    monkeypatch: pytest.MonkeyPatch, *, same_process: bool, isolated: tuple[int, ...], same_pid: bool
) -> None:
    """Both ends come to the same answer; what a peer says of its process is not enough, and not left out."""
    pid = os.getpid() if same_pid else os.getpid() + 1
    ends = memory_transport_pair()
    channels = [Channel(end, dialer=not number) for number, end in enumerate(ends)]
    for number, end in enumerate(ends):
        end.same_process = same_process
        monkeypatch.setattr(_handshake, "has_msgspec", lambda number=number: number not in isolated)
        say_hello(channels[number], Aid(f"n{number}", f"u-{number}", pid), [])
    for number, channel in enumerate(channels):
        monkeypatch.setattr(_handshake, "has_msgspec", lambda number=number: number not in isolated)
        assert channel.codec is get_codec()
        await hear_hello(channel)
    expected = "marshal" if same_process and isolated and same_pid else "msgpack"
    assert [channel.codec.name for channel in channels] == [expected, expected]

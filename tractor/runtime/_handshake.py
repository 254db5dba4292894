"""The first exchange on a channel: who is there; and what an actor says when it leaves because of an error."""

from __future__ import annotations

import os

from tractor._errors import RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress, UDSAddress, parse_maddr
from tractor.ipc._channel import Channel
from tractor.msg._codec import DecodeError, get_codec, has_msgspec
from tractor.msg._errbox import pack_error, shrink_error
from tractor.msg._types import PROTOCOL_VERSION, Bye, Hello
from tractor.wire._kinds import Kind

#: Most characters of what an actor says in a farewell, beside the boxed error.
DETAIL = 1000


class Refused(Exception):
    """The peer has said goodbye instead of hello."""

    def __init__(self, bye: Bye) -> None:
        super().__init__(bye.detail)
        self.bye = bye


def say_hello(
    channel: Channel, local: Aid, addrs: list[TCPAddress | UDSAddress], *, token: bytes = b""
) -> None:
    """Send our half of the handshake."""
    if channel.transport.same_process:
        # Only few channels need it.
        from tractor.ipc._lending import Lending

        channel.lending = Lending()
    hello = Hello(
        PROTOCOL_VERSION,
        local.name,
        local.uuid,
        local.pid or os.getpid(),
        local.is_registrar,
        local.is_probe,
        [addr.maddr for addr in addrs],
        token,
        not has_msgspec(),
        channel.lending.number if channel.lending is not None else 0,
    )
    channel.post(Kind.HELLO, 0, 0, get_codec().encode(hello))


async def greet(
    channel: Channel, local: Aid, addrs: list[TCPAddress | UDSAddress], *, token: bytes = b""
) -> Hello:
    """Exchange hellos at the end that has connected; where that fails the channel is closed.

    Raises `ConnectionRefusedError` for an actor that is leaving, and `TransportClosed` for what is no actor.
    """
    try:
        say_hello(channel, local, addrs, token=token)
        return await hear_hello(channel)
    except Refused as exc:
        channel.abort()
        raise ConnectionRefusedError(f"the actor at {channel.raddr} is leaving") from exc
    except BaseException:
        channel.abort()
        raise


def make_bye(exc: BaseException, local: Aid, how: str, limit: int) -> Bye:
    """Return the farewell of an actor that `exc` has ended; its report is cut where it is longer than `limit` bytes."""
    error = pack_error(exc, local.uid)
    if len(get_codec().encode(error)) > limit:
        error = shrink_error(error, limit)
    return Bye(how, None, f"{type(exc).__name__}: {error.message[:DETAIL]}", error)


async def hear_hello(channel: Channel) -> Hello:
    """Wait for the peer's half and note who it is.

    Raises `TransportClosed` for anything else than a hello of our version, and `Refused` for a goodbye.
    """
    kind, _, did, body = await channel.receive_first()
    codec = get_codec()
    try:
        if kind == Kind.BYE:
            raise Refused(codec.decoder(Bye)(body))
        if kind != Kind.HELLO or did:
            raise RemoteProtocolError(f"the connection began with {Kind(kind).name}, not with HELLO")
        hello: Hello = codec.decoder(Hello)(body)
        if hello.protocol != PROTOCOL_VERSION:
            raise RemoteProtocolError(
                f"the peer speaks protocol {hello.protocol}, we speak {PROTOCOL_VERSION}"
            )
        addrs = [parse_maddr(text) for text in hello.addrs]
    except (DecodeError, RemoteProtocolError, ValueError) as exc:
        raise TransportClosed(f"handshake failed: {exc}", src_exc=exc) from exc
    channel.aid = Aid(hello.name, hello.uuid, hello.pid, hello.is_registrar, hello.is_probe)
    channel.peer_addrs = addrs
    if speaks_marshal(channel, hello):
        channel.codec = get_codec("marshal")
        if channel.lending is not None:
            channel.lending.join(hello.queue)
            channel.lend_by(channel.lending)
    elif channel.lending is not None:
        channel.lending.close()
        channel.lending = None
    return hello


def speaks_marshal(channel: Channel, hello: Hello) -> bool:
    """Whether all bodies after this hello, but that of BYE, are written by marshal, in both directions.

    They are between two actors of one process where msgspec does not load for one of them. Both ends come to the same
    answer: that the peer is in this process they do not take from its word, and each knows of itself what it has said.
    """
    same = channel.transport.same_process and hello.pid == os.getpid()
    return same and (hello.is_isolated or not has_msgspec())

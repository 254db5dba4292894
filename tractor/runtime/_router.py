"""Who gets a frame: the dialogs of one channel by id, without looking into any body."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

import trio

from tractor._errors import RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._channel import Channel
from tractor.ipc._transport import Buffer
from tractor.msg._codec import DecodeError, get_codec
from tractor.msg._types import Bye
from tractor.wire._kinds import Kind

_START = int(Kind.START)

#: Seconds that who could not send waits for the news of how the peer has ended.
LOSS_NEWS_TIMEOUT = 0.5
#: Bytes of a PING that are sent back.
_MOST_PING = 64


class DialogEnd(Protocol):
    """One end of one dialog.

    Both methods are synchronous and never raise for what a peer did wrong, except `RemoteProtocolError`, which costs
    the peer its connection.
    """

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:
        """Take the next frame of the dialog."""

    def on_loss(self, error: TransportClosed) -> None:
        """Learn that no frame will come any more."""


class Router:
    """The dialogs of one channel. The end that dialled starts odd ids, the other even ones (after HTTP/2, RFC 9113 §5.1.1)."""

    __slots__ = (
        "_lost_event",
        "_next_id",
        "_on_channel_frame",
        "_on_request",
        "_peer_last_id",
        "_pong",
        "channel",
        "dialogs",
        "local",
        "lost",
        "serving",
        "start_soon",
    )

    def __init__(
        self,
        channel: Channel,
        local: Aid,
        *,
        on_request: Callable[[Router, int, int, Buffer], None],
        on_channel_frame: Callable[[Router, int, Buffer], None],
        start_soon: Callable[..., object] = trio.lowlevel.spawn_system_task,
    ) -> None:
        self.channel = channel
        channel.router = self
        self.local = local
        self.dialogs: dict[int, DialogEnd] = {}
        #: How many requests of the peer are being served.
        self.serving = 0
        #: Why the channel is gone, once it is.
        self.lost: TransportClosed | None = None
        self._lost_event = trio.Event()
        self._on_request = on_request
        self._on_channel_frame = on_channel_frame
        self._next_id = 1 if channel.dialer else 2
        self._peer_last_id = 0
        #: Starts a task of the runtime's own.
        self.start_soon = start_soon
        #: Set when the peer has answered the last question.
        self._pong: trio.Event | None = None

    @property
    def peer(self) -> Aid:
        """Who is at the other end."""
        assert self.channel.aid is not None, "a router is made after the handshake"
        return self.channel.aid

    def open(self, end: DialogEnd) -> int:
        """Give a new dialog its id; raises `TransportClosed` when the channel is gone."""
        if self.lost is not None:
            raise self.channel.loss()
        did = self._next_id
        self._next_id += 2
        self.dialogs[did] = end
        return did

    def close(self, did: int) -> None:
        """Forget a dialog that is over; its late frames are ignored from now on."""
        self.dialogs.pop(did, None)

    def on_frame(self, kind: int, flags: int, did: int, body: Buffer) -> None:
        """Hand a frame to its dialog. Raises `RemoteProtocolError` for an id or a body that makes no sense."""
        try:
            self._dispatch(kind, flags, did, body)
        except (DecodeError, struct.error) as exc:
            raise RemoteProtocolError(f"malformed {Kind(kind).name}: {exc}") from exc

    def _dispatch(self, kind: int, flags: int, did: int, body: Buffer) -> None:
        end = self.dialogs.get(did)
        if end is not None:
            end.on_frame(kind, flags, body)
        elif kind == _START:
            if not did or did % 2 == self._next_id % 2 or did <= self._peer_last_id:
                raise RemoteProtocolError(f"START with dialog id {did}, which the peer may not use")
            if self.channel.ignored():
                raise RemoteProtocolError("the peer goes on asking, but does not read the answers")
            self._peer_last_id = did
            self._on_request(self, did, flags, body)
        elif did == 0:
            self._on_channel_frame(self, kind, body)
        elif did >= self._next_id if did % 2 == self._next_id % 2 else did > self._peer_last_id:
            raise RemoteProtocolError(f"{Kind(kind).name} for dialog id {did}, which was never started")

    def ping(self) -> trio.Event:
        """Ask the peer whether its loop turns; return what is set when it answers. One question at a time is under way."""
        pong = self._pong
        if pong is None or pong.is_set():
            self._pong = pong = trio.Event()
            if self.channel.connected():
                self.channel.post(Kind.PING, 0, 0)
        return pong

    def on_pong(self) -> None:
        """The peer's loop turns."""
        if self._pong is not None:
            self._pong.set()

    async def wait_lost(self) -> None:
        """Return when the channel is gone."""
        await self._lost_event.wait()

    async def wait_loss(self) -> TransportClosed:
        """Return why a frame could not be sent, after a moment for the news of how the peer has ended."""
        if not self.channel.closed:
            with trio.move_on_after(LOSS_NEWS_TIMEOUT):
                await self._lost_event.wait()
        return self.channel.loss()

    def lose(self, error: TransportClosed) -> None:
        """Tell every dialog that the channel is gone."""
        self.lost = error
        self._lost_event.set()
        ends, self.dialogs = list(self.dialogs.values()), {}
        for end in ends:
            end.on_loss(error)


def take_channel_frame(router: Router, kind: int, body: Buffer) -> None:
    """Take a frame that is about the channel itself."""
    channel = router.channel
    if kind == Kind.BYE:
        channel.bye = get_codec().decoder(Bye)(body)
    elif kind == Kind.PING:
        if len(body) > _MOST_PING or channel.ignored():
            raise RemoteProtocolError("the peer goes on asking, but does not read the answers")
        if channel.connected():
            channel.post(Kind.PONG, 0, 0, body)
    elif kind == Kind.PONG:
        router.on_pong()
    else:
        raise RemoteProtocolError(f"{Kind(kind).name} is no frame for a channel that is up")

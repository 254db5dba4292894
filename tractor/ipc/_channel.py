"""A channel: frames in both directions over one transport, and what is known of the peer."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tractor._errors import Exit, RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress, UDSAddress
from tractor.ipc._outbox import BIG, Outbox
from tractor.ipc._transport import Buffer, Transport
from tractor.wire._frame import FrameReader, pack, pack_header
from tractor.wire._kinds import MAX_BODY, URGENT, Frame

type Handler = Callable[[int, int, int, Buffer], None]

#: `send` lets other tasks run after this many frames in a row.
_BURST = 64
#: A peer that has not said who it is may not make us hold more than this many bytes.
_HANDSHAKE_LIMIT = 64 * 1024
_HUNG_UP = "the peer hung up"


class Channel:
    """One duplex connection to a peer actor; many dialogs share it.

    `dialer`: whether this end opened the connection (or is the parent of the other); dialog ids it starts are odd.
    `limit`: the largest frame body in bytes, in either direction.
    """

    def __init__(self, transport: Transport, *, dialer: bool, limit: int = MAX_BODY) -> None:
        self.transport = transport
        self.dialer = dialer
        self.limit = limit
        #: Who the peer is; known after the handshake.
        self.aid: Aid | None = None
        #: Where the peer listens; known after the handshake.
        self.peer_addrs: list[TCPAddress | UDSAddress] = []
        #: Whether this end was closed by us.
        self.closed = False
        #: How the peer's process ended, where it is our child and has ended.
        self.exit: Exit | None = None
        #: The peer's farewell, where it has left in order.
        self.bye: object = None
        #: Whether somebody here asked the peer's actor to cancel itself.
        self.cancel_called = False
        self._outbox = Outbox(transport)
        self._reader = FrameReader(limit=_HANDSHAKE_LIMIT)
        self._early: list[Frame] = []
        self._burst = 0
        self._drained = True
        self._lost: BaseException | None = None

    def __repr__(self) -> str:
        state = "connected" if self.connected() else "closed" if self.closed else "lost"
        return f"<Channel to {self.peer_name} {state}>"

    @property
    def peer_name(self) -> str:
        """The peer as people call it."""
        return str(self.aid) if self.aid is not None else "an unknown peer"

    @property
    def laddr(self) -> TCPAddress | UDSAddress | None:
        """The local address of the connection, where it has one."""
        return self.transport.laddr

    @property
    def raddr(self) -> TCPAddress | UDSAddress | None:
        """The peer's address: the connection's, or the one the peer advertises where the connection was inherited."""
        return self.transport.raddr or (self.peer_addrs[0] if self.peer_addrs else None)

    def connected(self) -> bool:
        """Whether frames can still be sent and received, as far as this end knows."""
        return not self.closed and self._lost is None and self._outbox.broken is None

    def loss(self) -> TransportClosed:
        """Return an error that says why this channel is of no more use."""
        cause = self._lost or self._outbox.broken
        if self.closed:
            what, cause = (
                "was already closed locally",
                trio.ClosedResourceError("another task closed this channel"),
            )
        else:
            what = "was closed by the peer" if isinstance(cause, EOFError) else f"broke ({cause})"
        error = TransportClosed(f"the connection {what}", src_exc=cause, peer=self.peer_name, exit=self.exit)
        error.__cause__ = cause
        return error

    def post(self, kind: int, flags: int, did: int, body: Buffer = b"") -> None:
        """Queue a frame; never blocks. Raises `TransportClosed`, and `ValueError` for a body over the limit."""
        if self.closed or self._lost is not None or self._outbox.broken is not None:
            raise self.loss()
        size = len(body)
        if size < BIG:
            self._outbox.put(pack(kind, flags, did, body), urgent=kind in URGENT)
        elif size > self.limit:
            raise ValueError(
                f"message of {size} bytes is over the channel's limit of {self.limit} bytes; send it in parts"
            )
        else:
            self._outbox.put_big(pack_header(kind, flags, did, size), body, urgent=kind in URGENT)

    async def send(self, kind: int, flags: int, did: int, body: Buffer = b"") -> None:
        """Queue a frame, then wait while too much is queued.

        Checks for cancellation always, and lets other tasks run at least once every 64 frames.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.post(kind, flags, did, body)
        self._burst += 1
        if self._burst >= _BURST or len(body) >= BIG:
            self._burst = 0
            await trio.lowlevel.cancel_shielded_checkpoint()
        await self._outbox.wait_room()

    async def receive_first(self) -> Frame:
        """Return the first frame of the connection; those behind it wait for `run`. Raises `TransportClosed`."""
        frames: list[Frame] = []
        try:
            while not frames:
                frames = await self._receive_some()
        except EOFError:
            raise self.loss() from None
        self._early = frames[1:]
        return frames[0]

    async def run(self, handle: Handler) -> None:
        """Move frames until the connection is lost, handing each one that arrives to `handle`.

        Returns when the peer has closed or the connection broke; `loss()` says which. A `RemoteProtocolError` raised
        by `handle` counts as a break.
        """
        self._reader.limit = self.limit
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.run_writer)
            try:
                frames, self._early = self._early, []
                while True:
                    for frame in frames:
                        handle(*frame)
                    frames = await self._receive_some()
            except EOFError:
                pass
            except RemoteProtocolError as exc:
                self._note_loss(exc)
            nursery.cancel_scope.cancel()

    async def _receive_some(self) -> list[Frame]:
        """Return the frames of one read; raises `EOFError` once the connection is lost."""
        reader = self._reader
        try:
            if self._drained:
                await self.transport.wait_readable()
            buffer = reader.get_buffer()
            n = self.transport.recv_nowait(buffer)
            if n == 0:
                raise EOFError("the peer hung up in the middle of a frame" if reader.pending else _HUNG_UP)
            # A short read has emptied the transport: asking again would only cost a system call.
            self._drained = n < len(buffer)
            frames = reader.received(n)
        except BlockingIOError:
            self._drained = True
            return []
        except (OSError, EOFError, RemoteProtocolError, trio.ClosedResourceError) as exc:
            self._note_loss(exc)
            raise EOFError from exc
        if not self._drained:
            # There is more to read; a flood must not starve the other tasks.
            await trio.lowlevel.checkpoint()
        return frames

    def _note_loss(self, cause: BaseException) -> None:
        if self._lost is None:
            self._lost = cause
        self._outbox.break_(cause)

    def abort(self, exit: Exit | None = None) -> None:  # noqa: A002 - the name users know it by
        """Close at once, dropping what is queued; `exit` says how the peer ended, where that is the reason."""
        self.exit = self.exit or exit
        if exit is None and self._lost is None:
            self.closed = True
        self._note_loss(EOFError(_HUNG_UP))
        self.transport.close()

    async def aclose(self, timeout: float = 0.2) -> None:
        """Send what is queued, for at most `timeout` seconds, and close; idempotent, also when cancelled."""
        try:
            if self.connected():
                with trio.move_on_after(timeout, shield=True):
                    await self._outbox.wait_empty()
        finally:
            self.closed = True
            self.abort()

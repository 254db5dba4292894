"""A channel: frames in both directions over one transport, and what is known of the peer."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import trio

from tractor._errors import Exit, RemoteProtocolError, TransportClosed
from tractor._ids import Aid
from tractor.ipc._addr import TCPAddress, UDSAddress, wrap_address
from tractor.ipc._dial import connect
from tractor.ipc._outbox import BIG, HIGH_WATER, Outbox
from tractor.ipc._transport import Buffer, SocketTransport, Transport
from tractor.msg._codec import get_codec
from tractor.wire._frame import FrameReader, pack, pack_header
from tractor.wire._kinds import MAX_BODY, URGENT, Frame

if TYPE_CHECKING:
    from tractor.ipc._lending import Lending

type Handler = Callable[[int, int, int, Buffer], None]

#: A sender lets other tasks run after this many frames in a row.
_BURST = 64
#: A peer that asks for more although it has not read that many bytes, and none at all for so many seconds, is cut off.
UNREAD_LIMIT = 16 * 1024 * 1024
UNREAD_TIMEOUT = 5.0
#: One that has not read this many bytes, or four messages of the largest size if that is more, is refused what it asks
#: for; and cut off, however busy it looks, when it has not read twice as many.
UNREAD_MOST = 64 * 1024 * 1024
#: A peer that has not said who it is may not make us hold more than this many bytes.
HANDSHAKE_LIMIT = 64 * 1024
_HUNG_UP = "the peer hung up"
#: What the end of the peer looks like: to the reader, and to the writer, which may notice first.
_HANG_UPS = (EOFError, BrokenPipeError, ConnectionResetError)


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
        #: What bodies are written by; after the handshake that may be another one.
        self.codec = get_codec()
        #: Where the peer listens; known after the handshake.
        self.peer_addrs: list[TCPAddress | UDSAddress] = []
        #: Whether the peer has connected for purposes of its own, and leaves when it likes.
        self.visiting = False
        #: Whether this end was closed by us.
        self.closed = False
        #: How the peer's process ended, where it is our child and has ended.
        self.exit: Exit | None = None
        #: The peer's farewell, where it has left in order.
        self.bye: object = None
        #: Whether somebody here asked the peer's actor to cancel itself.
        self.cancel_called = False
        #: By what big buffers go to a peer in this process; anywhere else there is none.
        self.lending: Lending | None = None
        #: What routes its frames, once something does; the runtime's own.
        self.router: object = None
        self._outbox = Outbox(transport)
        self._reader = FrameReader(limit=HANDSHAKE_LIMIT)
        self._burst = 0
        self._drained = True
        self._lost: BaseException | None = None

    @classmethod
    async def from_addr(cls, addr: Any, *, limit: int = MAX_BODY) -> Self:
        """Connect to an actor; `tractor.runtime.open_portal()` makes a portal of it.

        `addr`: `(host, port)`, `(directory, socket file)`, a multiaddr or an address object. Raises `OSError` when nobody
        listens there, and `ValueError` or `TypeError` for what is no address.
        """
        return cls(await connect(wrap_address(addr)), dialer=True, limit=limit)

    @classmethod
    def from_stream(cls, stream: trio.SocketStream, *, dialer: bool = True, limit: int = MAX_BODY) -> Self:
        """Take over a connection that was made in another way; `stream` itself is of no more use then."""
        sock = stream.socket
        return cls(
            SocketTransport(socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())),
            dialer=dialer,
            limit=limit,
        )

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

    @property
    def maddr(self) -> str:
        """The peer's address as a multiaddr; empty where there is none."""
        return "" if self.raddr is None else self.raddr.maddr

    @property
    def msgstream(self) -> Transport:
        """The name that older programs read `transport` by."""
        return self.transport

    @property
    def uid(self) -> tuple[str, str] | None:
        """Deprecated: `aid` says more."""
        warnings.warn("Channel.uid is deprecated; use Channel.aid", DeprecationWarning, stacklevel=2)
        return None if self.aid is None else self.aid.uid

    @property
    def _cancel_called(self) -> bool:
        """The name that older programs read `cancel_called` by."""
        return self.cancel_called

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
            what = "was closed by the peer" if isinstance(cause, _HANG_UPS) else f"broke ({cause})"
        error = TransportClosed(f"the connection {what}", src_exc=cause, peer=self.peer_name, exit=self.exit)
        error.__cause__ = cause
        return error

    def ignored(self) -> bool:
        """Whether the peer does not read: a lot is queued for it, and it has taken none of that for some time; or too much."""
        outbox = self._outbox
        return outbox.size > UNREAD_LIMIT and (
            trio.current_time() - outbox.full_since > UNREAD_TIMEOUT or outbox.size > 2 * self._unread_most()
        )

    @property
    def unread(self) -> int:
        """Bytes queued that the peer has not taken yet."""
        return self._outbox.size

    def crowded(self) -> bool:
        """Whether so much is queued for the peer that it should not ask for more."""
        return self._outbox.size > UNREAD_LIMIT and self._outbox.size > self._unread_most()

    def _unread_most(self) -> int:
        return max(UNREAD_MOST, 4 * self.limit)

    def check(self, size: int) -> None:
        """Raise what `post` would raise for a body of `size` bytes."""
        if self.closed or self._lost is not None or self._outbox.broken is not None:
            raise self.loss()
        if size > self.limit:
            raise ValueError(
                f"message of {size} bytes is over the channel's limit of {self.limit} bytes; send it in parts"
            )

    def post(self, kind: int, flags: int, did: int, body: Buffer = b"") -> None:
        """Queue a frame; never blocks. Raises `TransportClosed`, and `ValueError` for a body over the limit."""
        size = len(body)
        self.check(size)
        if size < BIG:
            self._outbox.put(pack(kind, flags, did, body), urgent=kind in URGENT)
        else:
            self._outbox.put_big(pack_header(kind, flags, did, size), body, urgent=kind in URGENT)

    def lend_by(self, lending: Lending) -> None:
        """Hand over big buffers from now on; not while `run` runs."""
        self.lending = lending
        # In place of the method, so that other channels need not ask.
        self.post = lending.posting(self.check, self.post)  # type: ignore[method-assign]

    async def send(self, kind: int, flags: int, did: int, body: Buffer = b"") -> None:
        """Wait while too much is queued, then queue a frame. Nothing was sent where this is cancelled."""
        await self.wait_room()
        self.post(kind, flags, did, body)
        if self.is_turn_over(len(body)):
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_room(self) -> None:
        """Return when a sender may go on, or the channel is lost; checks for cancellation always."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._outbox.size > HIGH_WATER:
            await self._outbox.wait_room()

    def is_turn_over(self, size: int) -> bool:
        """Whether who has posted `size` bytes now has to let other tasks run: every 64 frames, and after a big one."""
        self._burst += 1
        if self._burst < _BURST and size < BIG:
            return False
        self._burst = 0
        return True

    async def receive_first(self) -> Frame:
        """Return the first frame of the connection; those behind it wait for `run`. Raises `TransportClosed`."""
        frames: list[Frame] = []
        try:
            while not frames:
                # Not a byte more: what is behind it is judged by the limit for peers that are known.
                frames = await self._receive_some(self._reader.wanted)
        except EOFError:
            raise self.loss() from None
        return frames[0]

    @trio.lowlevel.enable_ki_protection
    async def run(self, handle: Handler) -> None:
        """Move frames until the connection is lost, handing each one that arrives to `handle`.

        Returns when the peer has closed or the connection broke; `loss()` says which. A `RemoteProtocolError` raised
        by `handle` counts as a break.
        """
        self._reader.limit = self.limit
        if self.lending is not None:
            handle = self.lending.claiming(handle)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outbox.run_writer)
            try:
                while True:
                    for frame in await self._receive_some():
                        handle(*frame)
            except EOFError:
                pass
            except RemoteProtocolError as exc:
                self._note_loss(exc)
            nursery.cancel_scope.cancel()

    async def _receive_some(self, at_most: int | None = None) -> list[Frame]:
        """Return the frames of one read of `at_most` bytes; raises `EOFError` once the connection is lost."""
        reader = self._reader
        try:
            if self._drained:
                await self.transport.wait_readable()
            buffer = reader.get_buffer()
            if at_most is not None:
                buffer = buffer[:at_most]
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

    def abort(self, exit: Exit | None = None, cause: BaseException | None = None) -> None:  # noqa: A002 - see `exit`
        """Close at once, dropping what is queued.

        `exit` says how the peer ended and `cause` why it is given up, where one of them is the reason.
        """
        self.exit = self.exit or exit
        if exit is None and cause is None and self._lost is None:
            self.closed = True
        self._note_loss(cause or EOFError(_HUNG_UP))
        self.transport.close()
        self._reader.release()
        if self.lending is not None:
            self.lending.close()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, timeout: float = 0.2) -> None:
        """Send what is queued, for at most `timeout` seconds, and close; idempotent, also when cancelled."""
        try:
            if self.connected():
                with trio.move_on_after(timeout, shield=True):
                    await self._outbox.wait_empty()
        finally:
            self.closed = True
            self.abort()

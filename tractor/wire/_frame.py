"""Bytes to frames and back.  A frame is a 16-byte header (see `_kinds.HEADER`) and a body.

The reader owns the memory that the caller's `recv_into` fills:

    while n := sock.recv_into(reader.get_buffer()):
        for kind, flags, did, body in reader.received(n):
            ...

Small frames, many to a read, are cut out of one reused scratch buffer.  A body too big for that gets memory
of its own, filled by the socket without a further copy.
"""

import struct

from tractor._errors import LocalProtocolError, RemoteProtocolError
from tractor.wire._kinds import FLAGS_OF, HEADER, HEADER_SIZE, MAGIC, MAX_BODY, Frame, Kind

# Bytes of one read; also the memory one idle reader holds.
SCRATCH = 256 * 1024
# Bytes; an incomplete body of at least this size gets memory of its own.
LARGE = 64 * 1024
# Bytes allocated for a large body on the word of its header alone.  What is held after that at most doubles
# what really came.
TRUST = 1024 * 1024

# A body grows by blocks of these.  One `bytes(n)` of the whole growth is simpler, and for 10 MB 15 times
# slower: its pages are new to the process every time.
_ZEROS = bytes(64 * 1024)

# The header once more, with magic, kind and flags as one number: one look-up in `_TAGS` checks all three.
_TAGGED = struct.Struct("<IIQ")


def _unknown(kind: int, flags: int) -> int:
    """Those bits of `flags` that `kind` does not know."""
    # As plain numbers: `~` of an IntFlag leaves out the bits that have no name.
    return flags & ~int(FLAGS_OF.get(Kind(kind), 0))


def _tags() -> dict[int, tuple[int, int]]:
    """Every valid (magic, kind, flags) as the number it is on the wire, mapped to kind and flags."""
    return {
        MAGIC | kind << 16 | flags << 24: (kind.value, flags)
        for kind in Kind
        for flags in range(FLAGS_OF.get(kind, 0) + 1)
        if not _unknown(kind, flags)
    }


_TAGS = _tags()


def pack_header(kind: int, flags: int, did: int, length: int) -> bytes:
    """The header of a body of `length` bytes that is sent separately; nothing big needs to be copied.

    Raises `LocalProtocolError` if a number does not fit its field.
    """
    try:
        return HEADER.pack(length, MAGIC, kind, flags, did)
    except struct.error as exc:
        msg = f"no header can say kind={kind} flags={flags} dialog={did} length={length}: {exc}"
        raise LocalProtocolError(msg) from exc


def pack(kind: int, flags: int, did: int, body: bytes | bytearray | memoryview) -> bytes:
    """One whole frame; a memoryview must be one of single bytes.

    Raises `LocalProtocolError` if a number does not fit its field.
    """
    try:
        return HEADER.pack(len(body), MAGIC, kind, flags, did) + body
    except struct.error:
        return pack_header(kind, flags, did, len(body)) + body


class _LargeBody:
    """One body on its way into memory of its own, which grows with what arrives."""

    __slots__ = ("data", "did", "filled", "flags", "kind", "length", "lent")

    def __init__(self, kind: int, flags: int, did: int, length: int, start: memoryview) -> None:
        self.kind = kind
        self.flags = flags
        self.did = did
        self.length = length
        self.filled = len(start)
        self.data = bytearray(min(length, max(TRUST, self.filled)))
        self.data[: self.filled] = start
        self.lent: memoryview | None = None

    def room(self) -> memoryview:
        """Where its next bytes go; never empty, never reaching beyond its end.  Valid until `advance()`."""
        self.take_back()
        if self.filled == len(self.data):
            self.grow()
        self.lent = memoryview(self.data)[self.filled :]
        return self.lent

    def advance(self, n: int) -> Frame | None:
        """Take note of `n` more bytes; the whole frame, once it is whole."""
        self.filled += n
        if self.filled < self.length:
            return None
        self.take_back()
        return self.kind, self.flags, self.did, self.data

    def take_back(self) -> None:
        """End the loan of the memory: a bytearray that is lent can neither grow nor shrink."""
        if self.lent is not None:
            self.lent.release()
            self.lent = None

    def grow(self) -> None:
        """Double the memory, or less if the body ends before that."""
        size = min(2 * len(self.data), self.length)
        try:
            self.data += _ZEROS
        except BufferError:  # the caller holds on to a slice of what it was lent
            self.data = self.data + _ZEROS
        while len(self.data) < size:
            self.data += _ZEROS
        del self.data[size:]


class FrameReader:
    """Cuts a stream of bytes into frames.

    `limit` is the longest body accepted, in bytes.  It may be changed at any time; a body already under way
    may still be judged by the old one.

    A header that cannot be right (magic, kind, flags, or a length over the limit) is fatal: nothing after it
    can be trusted, nothing is allocated for it, and `failure` holds the `RemoteProtocolError` from that
    moment on.  Frames that were complete before it are still returned; the first call that has none left to
    return raises `failure`, and so does every later one.  So a caller that just reads on meets the error
    before it could wait for more bytes.
    """

    __slots__ = ("_held", "_large", "_needed", "_scratch", "failure", "limit")

    def __init__(self, limit: int = MAX_BODY) -> None:
        self.limit = limit
        self.failure: RemoteProtocolError | None = None
        self._scratch = memoryview(bytearray(SCRATCH))
        self._held = 0  # bytes of an incomplete frame, at the start of the scratch
        self._needed = HEADER_SIZE  # that many must be held before anything can come of them
        self._large: _LargeBody | None = None

    @property
    def pending(self) -> int:
        """Bytes held of a frame that is not complete, header included; 0 at a frame border."""
        return self._held if self._large is None else HEADER_SIZE + self._large.filled

    @property
    def wanted(self) -> int:
        """Bytes that are still missing until anything can come of them: the rest of a header, or of a frame."""
        large = self._large
        return self._needed - self._held if large is None else large.length - large.filled

    def release(self) -> None:
        """Give the memory back: nothing more will come.  What refers to a dead reader may live for some time."""
        self._scratch = memoryview(bytearray(0))
        self._held = 0
        self._large = None

    def get_buffer(self) -> memoryview:
        """Where the next bytes are to be put; never empty before `release()`.

        Valid until the next `received()` or `get_buffer()`.  Raises `RemoteProtocolError` after a failure.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        if self._large is not None:
            return self._large.room()
        return self._scratch[self._held :]

    def received(self, n: int) -> list[Frame]:
        """Say that `n` bytes were put at the start of `get_buffer()`; returns the frames they completed.

        Raises `RemoteProtocolError` after a failure (see the class), `ValueError` if so many cannot be there.
        """
        frames = self._advance(n) if self.failure is None else []
        if self.failure is not None and not frames:
            raise self.failure.with_traceback(None)
        return frames

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Do the same for bytes that are elsewhere already, however many.

        Raises `RemoteProtocolError` after a failure (see the class).
        """
        frames: list[Frame] = []
        rest = memoryview(data)
        while rest and self.failure is None:
            buffer = self.get_buffer()
            n = min(len(buffer), len(rest))
            buffer[:n] = rest[:n]
            frames += self._advance(n)
            rest = rest[n:]
        if self.failure is not None and not frames:
            raise self.failure.with_traceback(None)
        return frames

    def _advance(self, n: int) -> list[Frame]:
        """Take `n` new bytes into account; a bad header sets `failure`."""
        large = self._large
        if (
            not 0
            <= n
            <= (len(self._scratch) - self._held if large is None else len(large.data) - large.filled)
        ):
            msg = f"{n} bytes cannot have been put into the buffer"
            raise ValueError(msg)
        if large is not None:
            frame = large.advance(n)
            if frame is None:
                return []
            self._large = None
            return [frame]
        self._held += n
        return self._cut() if self._held >= self._needed else []

    def _cut(self) -> list[Frame]:
        """Cut the complete frames off what is held in the scratch, and prepare for the rest of the last one.

        This loop runs once per frame received by this process: hence the local names, the single copy of all
        the bytes (a slice of `bytes` is the cheapest body there is) and the single check of tag and length.
        """
        end = self._held
        data = bytes(self._scratch[:end])
        frames: list[Frame] = []
        append, unpack, tags, limit = frames.append, _TAGGED.unpack_from, _TAGS, self.limit
        start, last = 0, end - HEADER_SIZE
        self._needed = HEADER_SIZE
        try:
            while start <= last:
                length, tag, did = unpack(data, start)
                kind, flags = tags[tag]
                body = start + HEADER_SIZE
                stop = body + length
                if length > limit:
                    self._fail(data, start)
                    break
                if stop > end:
                    if length >= LARGE:
                        self._large = _LargeBody(kind, flags, did, length, memoryview(data)[body:])
                        start = end
                    else:
                        self._needed = HEADER_SIZE + length
                    break
                append((kind, flags, did, data[body:stop]))
                start = stop
        except KeyError:
            self._fail(data, start)
        self._held = end - start
        if start:
            self._scratch[: end - start] = data[start:]
        return frames

    def _fail(self, data: bytes, start: int) -> None:
        """Set `failure` to what is wrong with the header at `start`."""
        length, magic, kind, flags, did = HEADER.unpack_from(data, start)
        if magic != MAGIC:
            what = f"not a frame: {data[start : start + HEADER_SIZE]!r}"
        elif kind not in Kind:
            what = f"unknown kind {kind} (flags {flags:#x}, dialog {did}, length {length})"
        elif unknown := _unknown(kind, flags):
            what = f"unknown flags {unknown:#x} on {Kind(kind).name} (dialog {did}, length {length})"
        else:
            what = f"{Kind(kind).name} of {length} bytes on dialog {did}, the limit is {self.limit}"
        self.failure = RemoteProtocolError(what)

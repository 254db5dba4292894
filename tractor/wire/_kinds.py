"""The vocabulary of a channel: the frame header, the kinds of frame, their flags and their lanes."""

import enum
import struct

# body length u32, magic u16, kind u8, flags u8, dialog id u64; little endian, no padding.
HEADER = struct.Struct("<IHBBQ")
HEADER_SIZE = HEADER.size
# Two bytes no text protocol starts a message with: a stray HTTP or SSH client is told from a peer at once.
MAGIC = 0xB7A7
# Bytes; what a reader accepts as one body unless told otherwise.
MAX_BODY = 64 * 1024 * 1024

# A frame as it is passed around: (kind, flags, dialog id, body).  A plain tuple, because a million of them
# are made every second; compare with `Kind` and `Flag` members, which are ints.
type Frame = tuple[int, int, int, bytes | bytearray]


class Kind(enum.IntEnum):
    """What a frame says.  Below 16: about the channel itself, on dialog 0.  From 16 on: within a dialog."""

    HELLO = 1  # who I am; the first frame in each direction
    BYE = 2  # the last frame: how I end
    PING = 3  # does your loop turn?
    PONG = 4  # it does; carries the body of the PING
    START = 16  # parent: run this
    STARTED = 17  # child: it runs; carries the first value
    STREAM = 18  # I open my sending side of the stream
    ITEM = 19  # one item of it
    STOP = 20  # I close it; it may be opened again
    CREDIT = 21  # you may send that many items more
    CANCEL = 22  # parent: end early
    RETURN = 23  # child: it ended, with this value
    ERROR = 24  # it failed; on dialog 0 the connection itself is beyond repair
    DEADLINE = 25  # parent: my deadline has moved, you have so many seconds from now


class Flag(enum.IntFlag):
    """A bit that qualifies a kind; `FLAGS_OF` says which kind knows which."""

    CONTEXT = 1  # on START: the parent asks for a context, not for a plain call
    CREDITED = 2  # on ITEM: it used up one credit
    BACKPRESSURE = 4  # on STREAM: the sender waits for credit


FLAGS_OF: dict[Kind, Flag] = {
    Kind.START: Flag.CONTEXT,
    Kind.STREAM: Flag.BACKPRESSURE,
    Kind.ITEM: Flag.CREDITED,
}

# Frames of these kinds may overtake the others of the same sender; among themselves they keep their order,
# and so do the others.  Nothing ever overtakes an urgent frame.
URGENT: frozenset[int] = frozenset(
    {
        Kind.HELLO,
        Kind.PING,
        Kind.PONG,
        Kind.START,
        Kind.STARTED,
        Kind.CREDIT,
        Kind.CANCEL,
        Kind.ERROR,
        Kind.DEADLINE,
    }
)

"""Bytes to frames and back, however the bytes are cut and whatever they say."""

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tractor._errors import LocalProtocolError, RemoteProtocolError
from tractor.wire._frame import LARGE, SCRATCH, TRUST, FrameReader, pack, pack_header
from tractor.wire._kinds import FLAGS_OF, HEADER, HEADER_SIZE, MAGIC, MAX_BODY, Frame, Kind

FRAMES: list[Frame] = [
    (Kind.HELLO, 0, 0, b"who I am"),
    (Kind.START, 1, 1, b""),
    (Kind.ITEM, 2, 2**64 - 1, b"x" * 40),
    (Kind.ERROR, 0, 0, b"\x00"),
]
WIRE = b"".join(pack(*frame) for frame in FRAMES)

# Valid frames: any kind with any of the flags it knows.
frames = st.sampled_from(Kind).flatmap(
    lambda kind: st.tuples(
        st.just(kind.value),
        st.integers(0, 255).map(lambda bits: int(bits & FLAGS_OF.get(kind, 0))),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=60) | st.integers(LARGE - 1, LARGE + 1).map(bytes),
    )
)


def pour(reader: FrameReader, data: bytes, piece: int = 2**63) -> list[Frame]:
    """Give `data` to the reader the way a socket does, at most `piece` bytes at a time."""
    got: list[Frame] = []
    while data:
        buffer = reader.get_buffer()
        n = min(len(buffer), len(data), piece)
        buffer[:n] = data[:n]
        got += reader.received(n)
        data = data[n:]
    return got


def outcome_of(pieces: list[bytes], limit: int = MAX_BODY) -> tuple[list[Frame], str | None]:
    """All frames, and the failure if there is one."""
    reader = FrameReader(limit)
    got: list[Frame] = []
    try:
        for piece in pieces:
            got += reader.feed(piece)
    except RemoteProtocolError:
        assert reader.failure is not None
    return got, None if reader.failure is None else str(reader.failure)


# Packing.


def test_pack_is_the_header_and_the_body() -> None:
    """The same bytes whether the body is appended here or sent separately."""
    assert pack(Kind.ITEM, 2, 7, b"abc") == HEADER.pack(3, MAGIC, Kind.ITEM, 2, 7) + b"abc"
    assert pack(Kind.ITEM, 2, 7, b"abc") == pack_header(Kind.ITEM, 2, 7, 3) + b"abc"
    for body in (bytearray(b"abc"), memoryview(b"abc")):
        packed = pack(Kind.ITEM, 0, 7, body)
        assert type(packed) is bytes
        assert packed[HEADER_SIZE:] == b"abc"


@pytest.mark.parametrize(
    ("kind", "flags", "did", "length"),
    [(256, 0, 0, 0), (19, 256, 0, 0), (19, 0, 2**64, 0), (19, 0, -1, 0), (19, 0, 0, 2**32)],
)
def test_a_number_too_big_for_its_field_is_our_own_error(
    kind: int, flags: int, did: int, length: int
) -> None:
    """It is refused before anything is sent, and the message names the numbers."""
    with pytest.raises(LocalProtocolError, match=f"kind={kind} flags={flags} dialog={did} length={length}"):
        pack_header(kind, flags, did, length)
    if not length:
        with pytest.raises(LocalProtocolError, match=f"dialog={did}"):
            pack(kind, flags, did, b"")


# Whole streams, cut anywhere.


def test_every_split_in_three_gives_the_same_frames() -> None:
    """Where the reads fall makes no difference, and `pending` is 0 exactly at the borders."""
    borders = {0}
    for frame in FRAMES:
        borders.add(max(borders) + HEADER_SIZE + len(frame[3]))
    for first in range(len(WIRE) + 1):
        for second in range(first, len(WIRE) + 1):
            reader = FrameReader()
            got = reader.feed(WIRE[:first])
            assert (reader.pending == 0) == (first in borders)
            got += reader.feed(WIRE[first:second])
            got += reader.feed(WIRE[second:])
            assert got == FRAMES
            assert reader.pending == 0


@pytest.mark.parametrize("piece", [1, 2, 15, 16, 17, 100, SCRATCH])
def test_reading_into_the_buffer_equals_feeding(piece: int) -> None:
    """`get_buffer` and `received`, for reads of any size, including one byte."""
    reader = FrameReader()
    assert pour(reader, WIRE * 50, piece) == FRAMES * 50
    assert reader.pending == 0


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, SCRATCH - 16, SCRATCH, TRUST, TRUST + 1, 5 * TRUST + 3])
@pytest.mark.parametrize("piece", [50_000, 2**63])
def test_bodies_around_every_threshold_arrive_whole(size: int, piece: int) -> None:
    """A large body between small ones: contents, order and borders are kept."""
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    reader = FrameReader()
    got = pour(reader, WIRE + pack(Kind.ITEM, 0, 9, body) + WIRE, piece)
    assert got[len(FRAMES)][:3] == (Kind.ITEM, 0, 9)
    assert got[len(FRAMES)][3] == body
    assert got[: len(FRAMES)] == got[len(FRAMES) + 1 :] == FRAMES
    assert reader.pending == 0


def test_small_bodies_are_bytes_of_their_own() -> None:
    """They stay what they are when the scratch buffer is used again."""
    reader = FrameReader()
    before = pour(reader, WIRE)
    pour(reader, pack(Kind.ITEM, 0, 1, b"\xff" * 200))
    assert before == FRAMES
    assert all(type(body) is bytes for *_, body in before)


def test_a_large_body_is_received_in_place_and_handed_over_free() -> None:
    """The buffer offered is the rest of that very body, never more; its later owner may resize it."""
    reader = FrameReader()
    size = 3 * TRUST
    reader.feed(pack_header(Kind.ITEM, 0, 9, size) + b"ab")
    assert reader.pending == HEADER_SIZE + 2
    offered = reader.get_buffer()
    assert len(offered) == TRUST - 2
    del offered
    assert pour(reader, b"c" * (size - 3)) == []
    buffer = reader.get_buffer()
    assert len(buffer) == 1
    [(_, _, _, body)] = reader.received(1)
    assert type(body) is bytearray
    assert len(body) == size
    body += b"more"
    assert len(reader.get_buffer()) == SCRATCH


def test_a_large_body_grows_though_the_caller_keeps_a_slice_of_the_buffer() -> None:
    """Keeping one is against the rules, and costs a copy, not the connection."""
    reader = FrameReader()
    reader.feed(pack_header(Kind.ITEM, 0, 9, 3 * TRUST))
    kept = reader.get_buffer()[5:10]
    [(_, _, _, body)] = pour(reader, b"c" * (3 * TRUST))
    assert body == b"c" * (3 * TRUST)
    assert kept == b"c" * 5


def test_asking_for_the_buffer_twice_changes_nothing() -> None:
    """A read that would have blocked is simply tried again."""
    reader = FrameReader()
    for data in (WIRE[:20], WIRE[20:], pack(Kind.ITEM, 0, 9, bytes(2 * LARGE))):
        reader.get_buffer()
        reader.get_buffer()
        pour(reader, data, 70_000)
    assert reader.pending == 0


def test_received_refuses_a_count_that_cannot_be() -> None:
    """More bytes than there was room for, or fewer than none: the caller is wrong, and nothing is lost."""
    reader = FrameReader()
    reader.feed(WIRE[:10])
    for n in (-1, SCRATCH - 9):
        with pytest.raises(ValueError, match=f"{n} bytes"):
            reader.received(n)
    assert reader.received(0) == []
    assert reader.feed(WIRE[10:]) == FRAMES


# Headers that cannot be right.

BAD = {
    "not a frame": b"GET / HTTP/1.1\r\n",
    "unknown kind 5": HEADER.pack(0, MAGIC, 5, 0, 5),
    "unknown kind 255": HEADER.pack(0, MAGIC, 255, 0, 5),
    "unknown flags 0x80 on START": HEADER.pack(0, MAGIC, Kind.START, 0x81, 5),
    "unknown flags 0x1 on ITEM": HEADER.pack(0, MAGIC, Kind.ITEM, 1, 5),
    f"ITEM of {MAX_BODY + 1} bytes on dialog 5": HEADER.pack(MAX_BODY + 1, MAGIC, Kind.ITEM, 0, 5),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_header_kills_the_reader_for_good(what: str) -> None:
    """It raises at once when nothing came before it, says what was wrong, and so does every later call."""
    reader = FrameReader()
    with pytest.raises(RemoteProtocolError, match=what):
        reader.feed(BAD[what])
    assert reader.failure is not None
    for call in (reader.get_buffer, lambda: reader.received(0), lambda: reader.feed(WIRE)):
        with pytest.raises(RemoteProtocolError, match=what):
            call()


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("after", [b"", WIRE])
def test_frames_complete_before_a_bad_header_are_returned_first(what: str, after: bytes) -> None:
    """The call that finds it returns them and sets `failure`; the next raises, before anyone could wait."""
    reader = FrameReader()
    data = WIRE + BAD[what] + after
    buffer = reader.get_buffer()
    buffer[: len(data)] = data
    assert reader.received(len(data)) == FRAMES
    assert what in str(reader.failure)
    with pytest.raises(RemoteProtocolError, match=what):
        reader.get_buffer()

    reader = FrameReader()
    assert reader.feed(data) == FRAMES
    with pytest.raises(RemoteProtocolError, match=what):
        reader.feed(b"")


def test_an_incomplete_header_is_not_judged() -> None:
    """15 bytes of nonsense wait for the 16th."""
    reader = FrameReader()
    assert reader.feed(BAD["not a frame"][:15]) == []
    assert reader.failure is None
    assert reader.pending == 15


def test_the_limit_is_inclusive_and_may_be_changed() -> None:
    """A body of exactly `limit` bytes passes; a new limit counts from the next header on."""
    reader = FrameReader(limit=10)
    assert len(reader.feed(pack(Kind.ITEM, 0, 1, bytes(10)))) == 1
    reader.limit = 11
    assert len(reader.feed(pack(Kind.ITEM, 0, 1, bytes(11)))) == 1
    with pytest.raises(RemoteProtocolError, match="ITEM of 12 bytes on dialog 1, the limit is 11"):
        reader.feed(pack_header(Kind.ITEM, 0, 1, 12))


def test_a_lying_length_costs_no_more_than_what_really_came() -> None:
    """A header may promise gigabytes: memory is `TRUST` at first, then at most twice what arrived."""
    reader = FrameReader(limit=2**32 - 1)
    reader.get_buffer()
    tracemalloc.start()
    try:
        reader.feed(pack_header(Kind.ITEM, 0, 1, 2**32 - 1))
        reader.get_buffer()
        assert tracemalloc.get_traced_memory()[1] < 1.2 * TRUST
        pour(reader, bytes(5 * TRUST), 100_000)
        # CPython rounds the memory of a growing bytearray up by an eighth.
        assert tracemalloc.get_traced_memory()[0] < 8 * TRUST * 1.13 + LARGE
    finally:
        tracemalloc.stop()
    assert reader.pending == HEADER_SIZE + 5 * TRUST


def test_a_length_over_the_limit_allocates_nothing() -> None:
    """It is refused on the word of the header."""
    reader = FrameReader(limit=TRUST)
    reader.get_buffer()
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            reader.feed(pack_header(Kind.ITEM, 0, 1, TRUST + 1))
        assert tracemalloc.get_traced_memory()[1] < 20_000
    finally:
        tracemalloc.stop()


# Anything at all.


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data in pieces, cut at these positions (modulo its length)."""
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(places)]


@given(st.lists(frames, max_size=5), st.lists(st.integers(0, 2**20), max_size=8))
def test_what_was_packed_is_what_is_read(sent: list[Frame], cuts: list[int]) -> None:
    """Any valid frames, any cuts: the same frames, nothing pending, no failure."""
    data = b"".join(pack(*frame) for frame in sent)
    assert outcome_of(cut(data, cuts)) == (sent, None)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=8))
def test_random_bytes_never_do_anything_but_fail(data: bytes, cuts: list[int]) -> None:
    """Nothing but `RemoteProtocolError` is raised, at the same place however the bytes are cut."""
    assert outcome_of(cut(data, cuts)) == outcome_of([data])


@given(
    st.lists(frames, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=3),
    st.lists(st.integers(0, 2**20), max_size=6),
)
def test_a_damaged_stream_gives_the_same_result_however_it_is_cut(
    sent: list[Frame], damage: list[tuple[int, int]], cuts: list[int]
) -> None:
    """Frames before the first damaged byte are intact; whatever follows depends on the bytes alone."""
    data = bytearray(b"".join(pack(*frame) for frame in sent))
    for place, value in damage:
        data[place % len(data)] = value
    got, failure = outcome_of([bytes(data)], limit=2 * LARGE)
    assert outcome_of(cut(bytes(data), cuts), limit=2 * LARGE) == (got, failure)
    intact, border = 0, 0
    for frame in sent:
        border += HEADER_SIZE + len(frame[3])
        if any(place % len(data) < border for place, _ in damage):
            break
        intact += 1
    assert got[:intact] == sent[:intact]


def test_a_released_reader_holds_no_memory() -> None:
    """Neither its scratch nor the body that was on its way; it lends nothing any more."""
    reader = FrameReader()
    reader.feed(pack_header(Kind.ITEM, 0, 1, 1_000_000) + bytes(500_000))
    assert reader.pending
    reader.release()
    assert reader.pending == 0
    assert len(reader.get_buffer()) == 0


@pytest.mark.parametrize("size", [0, 1, 1000, LARGE - 1, LARGE, LARGE + 1, 3 * SCRATCH])
def test_who_gives_no_more_than_is_wanted_gets_one_frame_at_a_time(size: int) -> None:
    """So a caller can take a single frame off the stream and leave what is behind it untouched."""
    frame: Frame = (Kind.ITEM, 0, 1, b"x" * size)
    rest = pack(*frame) + WIRE
    reader = FrameReader()
    got: list[Frame] = []
    while not got:
        n = min(reader.wanted, len(reader.get_buffer()))
        assert n > 0
        reader.get_buffer()[:n] = rest[:n]
        rest = rest[n:]
        got = reader.received(n)
    assert got == [frame]
    assert rest == WIRE
    assert (reader.pending, reader.wanted) == (0, HEADER_SIZE)

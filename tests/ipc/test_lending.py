"""Big buffers between two ends of one channel. Here both are in one interpreter; between two it is in tests/test_buffers.py."""

import _interpqueues
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from tractor._errors import RemoteProtocolError
from tractor.ipc import _lending
from tractor.ipc._lending import MOST_LENT, Lending, count_lent
from tractor.msg._codec import get_codec
from tractor.msg._laden import BIG, Laden
from tractor.wire._kinds import Kind

CODEC = get_codec("marshal")


@pytest.fixture
def ends() -> Iterator[tuple[Lending, Lending]]:
    """Two that know each other; none of what they have lent is left, and none of their queues."""
    before = count_lent()
    one, other = Lending(), Lending()
    one.join(other.number)
    other.join(one.number)
    yield one, other
    for end in (one, other, one):
        end.close()
    gc.collect()
    assert count_lent() == before
    assert not {one.number, other.number} & {entry[0] for entry in _interpqueues.list_all()}


def load(*values: Any) -> Laden:
    """Return a message with values."""
    body = CODEC.encode(list(values))
    assert type(body) is Laden
    return body


def big(text: bytes = b"x") -> bytes:
    """Return bytes that are worth it."""
    return text * BIG


def transfer(one: Lending, other: Lending, body: Laden) -> Any:
    """Have a message go from one to the other; return what arrives."""
    got: list[Any] = []
    sent: list[bytes] = []
    one.posting(lambda _: None, lambda *frame: sent.append(frame[-1]))(Kind.ITEM, 0, 1, body)
    other.claiming(lambda *frame: got.append(frame[-1]))(Kind.ITEM, 0, 1, sent[0])
    return got[0]


def test_a_message_arrives_with_its_buffers(ends: tuple[Lending, Lending]) -> None:
    """Of the memory itself, which the receiver looks at; what goes through the socket is short."""
    sent = big()
    body = transfer(*ends, load(1, sent, {"a": big(b"y")}))
    assert type(body) is Laden
    assert len(body) > 2 * BIG
    assert memoryview(body).nbytes < 200
    assert CODEC.decoder()(body) == [1, sent, {"a": big(b"y")}]
    assert body.buffers[0].readonly
    assert count_lent() == 2


def test_a_message_that_was_overtaken_has_its_own(ends: tuple[Lending, Lending]) -> None:
    """They are claimed in another order than they were lent in."""
    one, other = ends
    sent = [one.lend(load(number, big(b"%d" % number), big())) for number in range(5)]
    for number in (3, 0, 4, 2, 1):
        assert CODEC.decoder()(other.claim(sent[number])) == [number, big(b"%d" % number), big()]
    assert count_lent() == 0


def test_more_than_there_is_room_for_is_copied(ends: tuple[Lending, Lending]) -> None:
    """As long as the others have not come back; each is counted on its own."""
    held = [transfer(*ends, load(big())) for _ in range(MOST_LENT - 1)]
    assert count_lent() == MOST_LENT - 1
    assert {type(body) for body in held} == {Laden}
    body = transfer(*ends, load(big(b"a"), big(b"b")))
    assert type(body) is bytes
    assert CODEC.decoder()(body) == [big(b"a"), big(b"b")]
    held.clear()
    del body
    assert type(transfer(*ends, load(big(b"a"), big(b"b")))) is Laden


def test_it_has_come_back_when_nobody_looks_at_it(ends: tuple[Lending, Lending]) -> None:
    """Neither at the message nor at a part of it."""
    body = transfer(*ends, load(big()))
    view = CODEC.decoder(list[Any])(body)[0]
    assert type(view) is bytes
    part = body.buffers[0][5:10]
    del body
    gc.collect()
    assert count_lent() == 1
    assert bytes(part) == b"xxxxx"
    part.release()
    del part
    assert count_lent() == 0


def test_what_nobody_has_claimed_comes_back_at_the_end() -> None:
    """When both have closed: what was sent before this end closed can still be claimed."""
    one, other = Lending(), Lending()
    one.join(other.number)
    other.join(one.number)
    sent = [one.lend(load(big())) for _ in range(3)]
    one.close()
    assert CODEC.decoder()(other.claim(sent[0])) == [big()]
    assert count_lent() == 2
    other.close()
    assert count_lent() == 0


def test_nobody_lends_to_who_does_not_say_where_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor where there are no queues: it is all in the message then."""
    alone = Lending()
    assert type(alone.lend(load(big()))) is bytes
    alone.close()
    monkeypatch.setattr(_lending, "_SINCE", (9,))
    older = Lending()
    assert older.number == 0
    older.join(5)
    assert CODEC.decoder()(older.lend(load(big()))) == [big()]
    older.close()


@pytest.mark.parametrize("body", [b"L", b"L" + bytes(12), b"L" + b"\xff" * 12, b"L" + bytes(8) + b"\1\0\0\0"])
def test_buffers_that_are_not_there_are_a_broken_channel(body: bytes, ends: tuple[Lending, Lending]) -> None:
    """As all that a peer says which cannot be."""
    one, other = ends
    if body == b"L" + bytes(12):
        assert other.claim(body) == b""
        return
    with pytest.raises(RemoteProtocolError, match="not there"):
        other.claim(body)
    stranger = Lending()
    with pytest.raises(RemoteProtocolError, match="nobody"):
        stranger.claim(one.lend(load(big())))
    stranger.close()


def test_only_messages_are_looked_at(ends: tuple[Lending, Lending]) -> None:
    """Other frames may begin in the same way."""
    got: list[Any] = []
    ends[0].claiming(lambda *frame: got.append(frame))(Kind.CREDIT, 0, 1, b"L1234567")
    assert got == [(Kind.CREDIT, 0, 1, b"L1234567")]


def test_limits_count_what_is_beside_a_message(ends: tuple[Lending, Lending]) -> None:
    """And what is refused is not lent."""

    def check(size: int) -> None:
        raise ValueError(str(size))

    post = ends[0].posting(check, lambda *_: pytest.fail("it is sent"))
    with pytest.raises(ValueError, match=r"^65[0-9]{3}$"):
        post(Kind.ITEM, 0, 1, load(big()))
    assert count_lent() == 0

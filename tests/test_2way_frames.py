"""What the two sides of a stream in both ways say to each other, frame by frame."""

from __future__ import annotations

import pytest
import trio

from tests.programs import dialogues
from tests.rawpeer import CONTEXT, RawPeer, encode, make_start, open_raw, open_scene
from tractor.msg._types import Cancel
from tractor.runtime._flow import CREDIT
from tractor.wire._frame import pack
from tractor.wire._kinds import Kind


def opener(kind: Kind, body: bytes = b"") -> bytes:
    """Return a frame of the only dialog."""
    return pack(kind, 0, 1, body)


STREAM = opener(Kind.STREAM, CREDIT.pack(64, 2**20))
CANCEL = opener(Kind.CANCEL, encode(Cancel(("us", "u-1"), "enough")))

#: What is asked for; then, line by line, what the opener says, and what it hears after that, up to the last word.
TRACES: dict[str, tuple[bytes, list[tuple[bytes, list[Kind]]]]] = {
    "call": (make_start(1, f"{dialogues.__name__}:count_served"), [(b"", [Kind.RETURN])]),
    "context": (
        make_start(1, f"{dialogues.__name__}:hear", CONTEXT),
        [
            (b"", [Kind.STARTED]),
            (STREAM + opener(Kind.STOP), [Kind.STREAM, Kind.STOP, Kind.RETURN]),
        ],
    ),
    "both ways": (
        make_start(1, f"{dialogues.__name__}:echo", CONTEXT),
        [
            (b"", [Kind.STARTED, Kind.STREAM]),
            (STREAM + opener(Kind.ITEM, b"\x01"), [Kind.ITEM]),
            (opener(Kind.ITEM, b"\x02"), [Kind.ITEM]),
            (opener(Kind.STOP), [Kind.STOP, Kind.RETURN]),
        ],
    ),
    "items": (
        make_start(1, f"{dialogues.__name__}:say", CONTEXT, items=[1, 2], then="return"),
        [(b"", [Kind.STARTED, Kind.STREAM, Kind.ITEM, Kind.ITEM, Kind.STOP, Kind.RETURN])],
    ),
    "error": (
        make_start(1, f"{dialogues.__name__}:say", CONTEXT, items=[], then="fail"),
        [(b"", [Kind.STARTED, Kind.STREAM, Kind.ERROR])],
    ),
    "cancelled by the opener": (
        make_start(1, f"{dialogues.__name__}:sleeper", CONTEXT),
        [(b"", [Kind.STARTED]), (CANCEL, [Kind.ERROR])],
    ),
    "cancelled by itself": (
        make_start(1, f"{dialogues.__name__}:streams_after_cancel", CONTEXT, goes_on=True),
        [(b"", [Kind.STARTED, Kind.ERROR])],
    ),
    "overrun": (
        make_start(1, f"{dialogues.__name__}:sleeper", CONTEXT),
        [(b"", [Kind.STARTED]), (STREAM + opener(Kind.ITEM, b"\x01") * 65, [Kind.ERROR])],
    ),
}


async def hear(peer: RawPeer, expected: list[Kind]) -> list[Kind]:
    """Return the kinds of as many frames; without the STOP of a stream that an error may have overtaken."""
    kinds: list[Kind] = []
    with trio.fail_after(2):
        while len(kinds) < len(expected):
            frame = await peer.receive()
            assert frame is not None
            if frame[0] != Kind.STOP or Kind.STOP in expected:
                kinds.append(Kind(frame[0]))
    return kinds


@pytest.mark.parametrize("name", TRACES)
async def test_what_is_said(name: str, transport: str) -> None:
    """Frame by frame, in this order, and not one more."""
    asked, lines = TRACES[name]
    async with open_scene(transport, dialogues.__name__) as scene, open_raw(scene.addr) as peer:
        await peer.shake()
        await peer.send(asked)
        for said, heard in lines:
            await peer.send(said)
            assert await hear(peer, heard) == heard
        await peer.send(make_start(3, f"{dialogues.__name__}:count_served"))
        assert await hear(peer, [Kind.RETURN]) == [Kind.RETURN]

"""Random input against a live actor's socket.

Runs with a new seed each time and prints it; `TRACTOR_FUZZ_SEED=<seed>` repeats a run.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trio

import tractor
from tests.programs import victims
from tests.rawpeer import CONTEXT, LIMIT, MODULE, encode, make_hello, make_start, open_raw
from tests.resident import Address
from tractor.msg._types import Bye, Cancel
from tractor.runtime._flow import CREDIT
from tractor.wire._frame import pack
from tractor.wire._kinds import FLAGS_OF, HEADER, MAGIC, Kind

#: Inputs for each transport: one is whatever is sent on one connection.
INPUTS = 5_500
#: Seconds the actor has for the inputs of one transport; they take about a sixth of that.
FENCE = 60.0
#: Connections at once.
PARALLEL = 16
#: KiB by which the actor may have grown between the first fifth of the inputs and the last.
GROWTH = 24 * 1024

type Input = Callable[[random.Random], bytes]


def make_bytes(rng: random.Random) -> bytes:
    """Return noise, mostly short."""
    return rng.randbytes(rng.choice([1, 3, 16, 17, 100, 1000, 20_000]))


def make_value(rng: random.Random, depth: int = 0) -> object:
    """Return any plain value."""
    match rng.randrange(9 if depth < 3 else 6):
        case 0:
            return None
        case 1:
            return rng.choice([True, 0, -1, 2**63, 1.5, float("nan")])
        case 2 | 3:
            return rng.choice(["", "x", "self", f"{MODULE}:add", "a" * 1000, "\0", "é"])
        case 4 | 5:
            return rng.randbytes(rng.randrange(20))
        case 6 | 7:
            return [make_value(rng, depth + 1) for _ in range(rng.randrange(5))]
    return {str(make_value(rng, 3)): make_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def make_body(rng: random.Random, kind: int) -> bytes:
    """Return a body that fits the kind, or any value, or noise."""
    match rng.randrange(4), kind:
        case 0, _:
            return make_bytes(rng)[:200]
        case 1, _:
            return encode(make_value(rng))
        case _, Kind.CANCEL:
            return encode(Cancel(("some", "body"), "for fun"))
        case _, Kind.CREDIT | Kind.STREAM:
            return CREDIT.pack(rng.getrandbits(32), rng.getrandbits(32))
        case _, Kind.BYE:
            return encode(Bye("returned", None, "", None))
    return encode(make_value(rng))


def make_request(rng: random.Random, did: int) -> bytes:
    """Return a request that makes sense, or nearly; never one to end the actor."""
    func = rng.choice(["add", "hang", "pass_on", "echo", "sleeper", "nothing", "plain", "add.x", ""])
    given: dict[str, object] = rng.choice([{}, {"a": 1, "b": 2}, {"data": b"x"}, {"a": make_value(rng)}])
    target = rng.choice([f"{MODULE}:{func}", f"{MODULE}:{func}", f"self:{func}", f"os:{func}"])
    return make_start(did, target, rng.choice([0, CONTEXT]), **given)


def make_frame(rng: random.Random, last: int) -> bytes:
    """Return a frame with a good header; `last`: the newest dialog id of ours."""
    kind = rng.choice(list(Kind))
    flags = rng.choice([0, int(FLAGS_OF.get(kind, 0))])
    did = rng.choice([last, last, last, 1, 0, last + 1, last + 2, rng.getrandbits(64)])
    return pack(kind, flags, did, make_body(rng, kind))


def make_talk(rng: random.Random) -> bytes:
    """Return a handshake and frames, sensible ones at first."""
    parts = [make_hello(addrs=rng.choice([[], ["/ip4/1.2.3.4/tcp/5"]]), uuid=f"fuzz-{rng.getrandbits(64)}")]
    did = -1
    for _ in range(rng.randrange(1, 30)):
        if rng.random() < 0.6:
            did += 2
            parts.append(make_request(rng, did))
        else:
            parts.append(make_frame(rng, max(did, 1)))
    return b"".join(parts)


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return the bytes with a few changed, left out, doubled or added."""
    found = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(4):
            case 0 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                del found[at : at + rng.randrange(1, 20)]
            case 2:
                found[at:at] = found[at : at + rng.randrange(1, 40)]
            case _:
                found[at:at] = rng.randbytes(rng.randrange(1, 20))
    return bytes(found)


INPUT_KINDS: list[Input] = [
    make_bytes,
    lambda rng: (
        HEADER.pack(rng.getrandbits(rng.choice([4, 16, 32])), MAGIC, rng.choice(list(Kind)), 0, 0)
        + make_bytes(rng)
    ),
    lambda rng: mutate(rng, make_hello(uuid="fuzz")),
    lambda rng: make_hello(uuid=f"fuzz-{rng.getrandbits(64)}") + make_bytes(rng),
    make_talk,
    make_talk,
    lambda rng: mutate(rng, make_talk(rng)),
    lambda rng: mutate(rng, make_talk(rng)),
]


@dataclass
class Attack:
    """Inputs for one actor, the same for the same seed."""

    addr: Address
    seed: str
    done: int = 0
    read: int = 0

    async def run(self, begin: int, end: int) -> None:
        """Send the inputs of these numbers, several at a time."""
        numbers = iter(range(begin, end))
        async with trio.open_nursery() as nursery:
            for _ in range(PARALLEL):
                nursery.start_soon(self._run_some, numbers)

    async def _run_some(self, numbers: object) -> None:
        for number in numbers:  # type: ignore[attr-defined]
            rng = random.Random(f"{self.seed}/{number}")
            await self._send(rng, rng.choice(INPUT_KINDS)(rng))
            self.done += 1

    async def _send(self, rng: random.Random, data: bytes) -> None:
        async with open_raw(self.addr) as peer:
            cut = rng.randrange(len(data) + 1) if rng.random() < 0.3 else len(data)
            await peer.send(data[:cut])
            if cut < len(data):
                await trio.sleep(0)
                await peer.send(data[cut:])
            if rng.random() < 0.2:
                # Leave abruptly; what was sent may get lost on the way.
                return
            # Whatever it was, the actor reads it to its end and hangs up.
            peer.send_eof()
            with trio.fail_after(5):
                await peer.receive_rest()
            self.read += 1


@pytest.mark.fence(FENCE)
async def test_no_input_harms_an_actor(transport: str) -> None:
    """After thousands of them it answers, and holds what it held at the beginning."""
    seed = os.environ.get("TRACTOR_FUZZ_SEED") or str(time.time_ns())
    print(f"TRACTOR_FUZZ_SEED={seed}")  # noqa: T201 - shown by pytest where the test fails
    async with tractor.open_nursery(enable_transports=[transport], max_msg_size=LIMIT) as nursery:
        portal = await nursery.start_actor("victim", enable_modules=[MODULE])
        attack = Attack(portal.chan.peer_addrs[0], seed)
        empty = await portal.run(victims.measure)
        await attack.run(0, INPUTS // 5)
        early = await portal.run(victims.measure)
        await attack.run(INPUTS // 5, INPUTS)
        late = await portal.run(victims.measure)
        with trio.move_on_after(5):
            while {**late, "memory": 0} != {**empty, "memory": 0}:
                await trio.sleep(0.02)
                late = await portal.run(victims.measure)
        assert {**late, "memory": 0} == {**empty, "memory": 0}
        assert late["memory"] - early["memory"] < GROWTH
        assert await portal.run(victims.add, a=1, b=1) == 2
        assert attack.done == INPUTS
        assert attack.read > INPUTS // 2
        async with tractor.find_actor("victim") as found:
            assert await found.run(victims.add, a=2, b=2) == 4
        await nursery.cancel()

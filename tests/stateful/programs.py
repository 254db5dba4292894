"""Random programs for two actors: what each end of each context does, how they are joined, and what befalls them.

A program is plain data, printed as Python and made from nothing but a seed. Scripts are lists of operations; an operation
is a tuple of a name and its arguments, some of which are scripts again:

- `pause n`, `sleep s`: let others run; wait.
- `started`: the endpoint's word that it is ready.
- `stream options script`: a stream around the script.
- `send n`, `recv n`, `drain`, `poll`, `close`: what one does with a stream; elsewhere they do nothing.
- `cancel timeout`, `result`: of the context; `result` is the opener's.
- `raise kind`, `return`.
- `try script how cleanup`: how errors and cancellations on their way out are met.
- `shield s script`, `within s script`, `beside script scripts`: scopes and nurseries.
- `open plan`: a context inside this one, on the same channel, at the same peer. A plan is (opener's script, endpoint's script).
- `call s how`: a plain call of the peer.
- `cancel_actor`: ask the peer's whole actor to end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

type Op = tuple[Any, ...]
type Script = list[Op]
type Plan = tuple[Script, Script]

#: Seconds, in a clock that jumps; few values, so that things happen at the same instant.
TIMES = (0.0, 0.0, 0.05, 0.1, 0.1, 0.3, 0.616, 0.7, 1.0, 2.0)
#: Seconds until every opener that is still there is cancelled.
END = 8.0
#: What `raise` knows.
ERRORS = ("error", "error", "error", "group", "interrupt", "exit")
#: Bytes that are under way in one direction before a sender has to wait.
CAPACITIES = (300, 1000, 4096, 256 * 1024)
#: What can happen to the connection, and to the actors.
WEATHER = ("cut", "half", "stall", "abort", "aclose", "third", "outer", "outer", "interrupt")


@dataclass(frozen=True)
class Opener:
    """A task that opens a context in the other actor."""

    actor: str
    after: float
    plan: Plan


@dataclass(frozen=True)
class Program:
    """Everything that decides what happens in one run. `delays`: seconds on the wire each way, None for a direct link."""

    seed: int
    capacity: int = 256 * 1024
    delays: tuple[float, float] | None = None
    openers: tuple[Opener, ...] = ()
    #: When, what, and to whom or in which direction.
    weather: tuple[tuple[float, str, str], ...] = ()

    def __str__(self) -> str:
        lines = [
            "Program(",
            f"    seed={self.seed}, capacity={self.capacity}, delays={self.delays}, weather={self.weather},",
            "    openers=(",
        ]
        for opener in self.openers:
            lines.append(f"        Opener({opener.actor!r}, {opener.after}, (")
            lines += [f"            {part}," for part in opener.plan]
            lines.append("        )),")
        return "\n".join([*lines, "    ),", ")"])


@dataclass
class _Writer:
    """Writes scripts. `allowed`: the operations of this program; a few of many find more than all at once."""

    rng: random.Random
    allowed: frozenset[str]
    backpressure: float = 0.0
    overruns: float = 0.0
    small: float = 0.0
    depth: int = 0
    budget: int = field(default=40)

    def script(self, side: str, *, stream: bool = False, longest: int = 4) -> Script:
        """Write a few operations for one side of a context."""
        ops: Script = []
        self.depth += 1
        for _ in range(self.rng.randint(1, longest)):
            if self.budget <= 0:
                break
            self.budget -= 1
            ops.append(self.op(side, stream=stream))
        self.depth -= 1
        return ops

    def op(self, side: str, *, stream: bool) -> Op:
        """Write one operation."""
        names = [
            (name, weight)
            for name, weight in WEIGHTS.items()
            if name in self.allowed
            and (stream or name not in ON_STREAM)
            and (side == "opener" or name != "result")
            and (self.depth <= 4 or name not in NESTING)
        ]
        name = self.rng.choices([name for name, _ in names], [weight for _, weight in names])[0]
        return (name, *getattr(self, f"_{name}", self._nothing)(side, stream))

    def _nothing(self, side: str, stream: bool) -> Op:
        return ()

    def _pause(self, side: str, stream: bool) -> Op:
        return (self.rng.randint(1, 6),)

    def _sleep(self, side: str, stream: bool) -> Op:
        return (self.rng.choice(TIMES),)

    def _stream(self, side: str, stream: bool) -> Op:
        return self._options(), self.script(side, stream=True)

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self.rng.random() < self.backpressure:
            options["backpressure"] = True
        if self.rng.random() < self.overruns:
            options["allow_overruns"] = True
        if self.rng.random() < self.small:
            options["msg_buffer_size"] = self.rng.choice((1, 2, 3, 8))
        return options

    def _send(self, side: str, stream: bool) -> Op:
        return self.rng.choice((1, 1, 2, 3, 5, 10, 70, 200)), self.rng.choice((0, 0, 0, 50, 2000))

    def _recv(self, side: str, stream: bool) -> Op:
        return (self.rng.choice((1, 1, 2, 3, 5, 10)),)

    def _cancel(self, side: str, stream: bool) -> Op:
        return (self.rng.choice((None, None, None, 0.0, 0.1, 5.0)),)

    def _raise(self, side: str, stream: bool) -> Op:
        # What ends a whole actor is rare: not much happens after it.
        return (self.rng.choice(ERRORS if self.rng.random() < 0.2 else ERRORS[:4]),)

    def _try(self, side: str, stream: bool) -> Op:
        if "raise" in self.allowed and self.rng.random() < 0.2:
            # An error that is on its way out when the clean-up is cancelled.
            return [("raise", "error")], "finally", [("sleep", self.rng.choice(TIMES[4:]))]
        how = self.rng.choice(("finally", "finally", "swallow", "catch", "replace"))
        return self.script(side, stream=stream, longest=3), how, self.script(side, stream=stream, longest=2)

    def _shield(self, side: str, stream: bool) -> Op:
        # Bounded: who shields a wait for ever has to be killed, and that is not for this layer.
        return self.rng.choice(TIMES), self.script(side, stream=stream, longest=2)

    def _within(self, side: str, stream: bool) -> Op:
        return self.rng.choice(TIMES), self.script(side, stream=stream)

    def _beside(self, side: str, stream: bool) -> Op:
        others = [self.script(side, stream=stream, longest=2) for _ in range(self.rng.choice((1, 1, 2)))]
        return self.script(side, stream=stream), others

    def _open(self, side: str, stream: bool) -> Op:
        return (self.plan(),)

    def _call(self, side: str, stream: bool) -> Op:
        return self.rng.choice(TIMES), self.rng.choice(("well", "well", "fails", "fails late"))

    def plan(self) -> Plan:
        """Write both sides of a context: each its own way, or a conversation that something comes into."""
        if self.rng.random() < 0.4:
            return self.conversation()
        endpoint: Script = []
        if self.rng.random() < 0.15:
            endpoint += self.script("endpoint", longest=2)
        if self.rng.random() < 0.95:
            endpoint.append(("started",))
        endpoint += self.script("endpoint")
        return self.script("opener"), endpoint

    def conversation(self) -> Plan:
        """Write two sides that have something to say to each other, and then add to both."""
        opener: Script = []
        endpoint: Script = [("started",)]
        for _ in range(self.rng.choice((1, 1, 2, 3))):
            mine: Script = []
            theirs: Script = []
            for _ in range(self.rng.randint(1, 3)):
                count, pad = self.rng.choice((1, 3, 10, 60)), self.rng.choice((0, 0, 50))
                here, there = self.rng.sample((mine, theirs), 2)
                here.append(("send", count, pad))
                there.append(self.rng.choice((("recv", count), ("recv", count), ("recv", 1), ("pause", 3))))
            for script in (mine, theirs):
                if self.rng.random() < 0.5:
                    script.append(("drain",))
            opener.append(("stream", self._options(), mine))
            endpoint.append(("stream", self._options(), theirs))
        self._add_to("opener", opener)
        self._add_to("endpoint", endpoint)
        return opener, endpoint

    def _add_to(self, side: str, script: Script) -> None:
        for _ in range(self.rng.choice((0, 1, 1, 2, 3))):
            inner = [op[2] for op in script if op[0] == "stream"]
            target = self.rng.choice([script, *inner])
            new = self.op(side, stream=target is not script)
            target.insert(self.rng.randint(0, len(target)), new)


#: How often each operation is written, where it is allowed.
WEIGHTS = {
    "pause": 3,
    "sleep": 3,
    "stream": 7,
    "send": 7,
    "recv": 5,
    "drain": 3,
    "poll": 1,
    "close": 1,
    "cancel": 2,
    "result": 2,
    "raise": 2,
    "return": 1,
    "try": 2,
    "shield": 1,
    "within": 2,
    "beside": 2,
    "open": 1.5,
    "call": 1,
    "cancel_actor": 0.3,
    "started": 0.1,
}
ON_STREAM = frozenset({"send", "recv", "drain", "poll", "close"})
NESTING = frozenset({"stream", "try", "shield", "within", "beside", "open"})
_ALWAYS = ("pause", "sleep", "stream", "send", "recv", "drain")
_SOMETIMES = tuple(name for name in WEIGHTS if name not in _ALWAYS)


def write_program(seed: int) -> Program:
    """Write the program that belongs to a seed."""
    rng = random.Random(seed)
    chosen = [name for name in _SOMETIMES if rng.random() < 0.5]
    writer = _Writer(
        rng,
        frozenset((*_ALWAYS, *chosen)),
        backpressure=rng.choice((0.0, 0.5, 1.0)),
        overruns=rng.choice((0.0, 0.0, 0.5)),
        small=rng.choice((0.0, 0.5, 1.0)),
    )
    openers = tuple(
        Opener(rng.choice(("alice", "alice", "bob")), rng.choice(TIMES[:4]), writer.plan())
        for _ in range(rng.choice((1, 1, 1, 2, 3)))
    )
    stormy = rng.random() < 0.4
    weather = tuple(
        (rng.choice(TIMES), rng.choice(WEATHER), rng.choice(("alice", "bob")))
        for _ in range(rng.choice((1, 1, 2)) if stormy else 0)
    )
    delays = (rng.choice((0.0, 0.01, 0.1)), rng.choice((0.0, 0.01, 0.1))) if rng.random() < 0.4 else None
    return Program(rng.getrandbits(32), rng.choice(CAPACITIES), delays, openers, weather)

"""What is torn down, and how: one plan for each seed."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any

from tests.programs import torn

#: Kinds of children, and how often each is chosen: the dear ones less often.
KINDS = {
    "trio": 12,
    "forkserver": 30,
    "mp_spawn": 6,
    "mp_forkserver": 14,
    "subint own": 19,
    "subint shared": 19,
}
#: What a child does.
ACTS = ("idle", "booting", "nested", "many", *torn.ACTS, *torn.STREAMS)
#: How its parent leaves.
LEAVES = (
    "end",
    "raise",
    "cancel",
    "deadline",
    "portal",
    "nursery",
    "hard",
    "break",
    "interrupt",
    "interrupt later",
    "killed",
)
#: Seconds of grace.
GRACES = (0.0, 0.05, 0.15, 0.4)


def find_kinds() -> dict[str, int]:
    """Return those that this Python has."""
    return {
        kind: often for kind, often in KINDS.items() if "subint" not in kind or sys.version_info >= (3, 14)
    }


@dataclass(frozen=True)
class Kind:
    """What children are made of."""

    key: str
    options: dict[str, Any]

    @classmethod
    def of(cls, name: str) -> Kind:
        """Read a name of `KINDS`."""
        key, _, gil = name.partition(" ")
        return cls(key, {"gil": gil} if gil else {})


@dataclass(frozen=True)
class Plan:
    """One teardown. `delay`: seconds from when everything is under way until the parent leaves."""

    seed: int
    kind: str
    act: str
    leave: str
    grace: float
    delay: float
    #: What a nested child is made of and does, or what each of many does.
    inner_kind: str
    inner_acts: tuple[str, ...]

    def __str__(self) -> str:
        inner = (
            f" of {self.inner_kind}: {', '.join(self.inner_acts)}" if self.act in ("nested", "many") else ""
        )
        return (
            f"{self.seed}: {self.kind}, {self.act}{inner}; {self.leave} after {self.delay * 1e3:.0f} ms, "
            f"grace {self.grace:g} s"
        )

    @property
    def bound(self) -> float:
        """Seconds in which it has to be over, on a machine that does nothing else."""
        # The kill; one that is a thread has up to half a second until it looks up, and its own threads.
        force = 2.35 if any("subint" in kind for kind in (self.kind, self.inner_kind)) else 0.35
        return self.grace + force + (1.0 if self.act == "nested" else 0.0)


def write_plan(seed: int) -> Plan:
    """Return the plan of a seed."""
    draw = random.Random(seed)
    kinds = find_kinds()
    kind = draw.choices(list(kinds), list(kinds.values()))[0]
    act = draw.choice(ACTS)
    leave = draw.choice(LEAVES)
    if leave == "killed":
        # Of those that are a process, and have children.
        act = "nested"
        kind = draw.choice([name for name in kinds if "subint" not in name])
    if leave == "break":
        act = draw.choice(list(torn.STREAMS))
    return Plan(
        seed=seed,
        kind=kind,
        act=act,
        leave=leave,
        grace=draw.choice(GRACES),
        delay=draw.choice((0.0, 0.001, 0.01, 0.05)),
        inner_kind=draw.choices(list(kinds), list(kinds.values()))[0],
        inner_acts=tuple(draw.choices(list(torn.ACTS), k=draw.randint(2, 5) if act == "many" else 1)),
    )

"""What a measurement is, how long its rounds go on, and what is made of them."""

import statistics
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks._machine import load

type Unit = Literal["us", "ms", "/s", "modules"]
#: One round: the floor's figure, and ours directly after it.
type Pair = tuple[float, float]

#: Seconds, rates and counts times this make the unit.
FACTORS: dict[Unit, float] = {"us": 1e6, "ms": 1e3, "/s": 1.0, "modules": 1.0}
#: Rounds that are run however long they take: one alone has no spread.
FEWEST_ROUNDS = 3


class Limits:
    """How many rounds are run: at most `rounds`, and none is begun after `seconds` once there are three."""

    def __init__(self, rounds: int, seconds: float) -> None:
        self._rounds = rounds
        self._deadline = time.monotonic() + seconds

    def allow(self, done: int) -> bool:
        """Whether another round is to be run after so many."""
        return done < self._rounds and (done < FEWEST_ROUNDS or time.monotonic() < self._deadline)


@dataclass(frozen=True)
class Budget:
    """A limit to a median: of the ratio to the floor, of our figure itself, or of what it has over the floor."""

    of: Literal["ratio", "figure", "excess"]
    limit: float


@dataclass(frozen=True)
class Measure:
    """One thing to measure. `take` runs the rounds; its figures are seconds, rates or counts."""

    name: str
    title: str
    unit: Unit
    take: Callable[[Limits], list[Pair]]
    rounds: int = 1
    budget: Budget | None = None


def alternate(floor: Callable[[], float], ours: Callable[[], float]) -> Callable[[Limits], list[Pair]]:
    """Return what `Measure.take` needs for two functions that run one round each."""

    def take(limits: Limits) -> list[Pair]:
        pairs: list[Pair] = []
        while limits.allow(len(pairs)):
            pairs.append((floor(), ours()))
        return pairs

    return take


@dataclass(frozen=True)
class Row:
    """What became of one measure; figures are in its unit, one of each list per round."""

    measure: Measure
    floor: list[float]
    ours: list[float]
    #: Processes that wanted a core when this was measured, on average over the last minute.
    load: float
    #: Why it could not be measured.
    failure: str = ""

    @property
    def more_is_better(self) -> bool:
        """Whether the figure is a rate."""
        return self.measure.unit == "/s"

    @property
    def ratios(self) -> list[float]:
        """How many times the floor's cost ours is, round by round."""
        pairs = zip(self.floor, self.ours, strict=True)
        return [floor / ours if self.more_is_better else ours / floor for floor, ours in pairs]

    @property
    def excess(self) -> float:
        """What ours has over the floor."""
        return statistics.median(self.ours) - statistics.median(self.floor)

    @property
    def within_budget(self) -> bool | None:
        """Whether the budget is kept; None where there is none, or no figure."""
        budget = self.measure.budget
        if budget is None or self.failure:
            return None
        if budget.of == "excess":
            return self.excess <= budget.limit
        if budget.of == "ratio":
            return statistics.median(self.ratios) <= budget.limit
        figure = statistics.median(self.ours)
        return figure >= budget.limit if self.more_is_better else figure <= budget.limit


def run(measure: Measure, *, most_rounds: int | None = None, seconds: float = 12.0) -> Row:
    """Take one measure; what goes wrong is shown on stderr and noted in the row, for the others are of use still.

    `most_rounds` and `seconds` limit the rounds, see `Limits`.
    """
    rounds = measure.rounds if most_rounds is None else min(measure.rounds, most_rounds)
    pairs: list[Pair] = []
    failure = ""
    try:
        pairs = measure.take(Limits(rounds, seconds))
    except Exception as exc:  # noqa: BLE001 - see above
        traceback.print_exception(exc)
        failure = f"{type(exc).__name__}: {exc}"
    factor = FACTORS[measure.unit]
    floor, ours = [floor * factor for floor, _ in pairs], [ours * factor for _, ours in pairs]
    return Row(measure, floor, ours, load(), failure)

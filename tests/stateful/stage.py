"""What the players of one run share."""

from __future__ import annotations

from contextvars import ContextVar

from tests.stateful.programs import Plan
from tests.stateful.records import End, Pair, Record
from tractor import Portal


class Stage:
    """The actors of a run, as the players know them, and the record of what is seen."""

    def __init__(self) -> None:
        self.record = Record()
        #: Each actor's handle on the other, by name.
        self.portals: dict[str, Portal] = {}
        self.uids: dict[str, tuple[str, str]] = {}
        #: Seconds a frame may be under way.
        self.latency = 0.0

    def cast(self, actor: str, plan: Plan) -> Pair:
        """Make the record of a context that is about to be opened by `actor`."""
        peer = "bob" if actor == "alice" else "alice"
        pair = Pair(len(self.record.pairs), plan, End(actor, self.uids[actor]), End(peer, self.uids[peer]))
        self.record.pairs.append(pair)
        return pair


STAGE: ContextVar[Stage] = ContextVar("stage")

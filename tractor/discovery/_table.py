"""The registrar's table: which actors exist and where they listen. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One registered actor."""

    name: str
    uuid: str
    #: Multiaddr strings.
    addrs: list[str]
    #: Uuid of the actor whose connection keeps the entry alive.
    keeper: str


class Table:
    """Entries by uuid, in the order of registration.

    An entry whose keeper does not answer is hidden, not removed: it comes back when the keeper does.
    `on_change(entry, present)` is told of every entry that can be found from now on, or cannot any more.
    """

    def __init__(self, on_change: Callable[[Entry, bool], None] = lambda _entry, _present: None) -> None:
        self._entries: dict[str, Entry] = {}
        self._silent: set[str] = set()
        self._on_change = on_change

    def add(self, entry: Entry) -> None:
        """Register an actor; any other that held one of its addresses is gone and is removed."""
        taken = set(entry.addrs)
        for old in list(self._entries.values()):
            if old.uuid != entry.uuid and taken.intersection(old.addrs):
                self.remove(old.uuid)
        known = self._entries.pop(entry.uuid, None)
        self._entries[entry.uuid] = entry
        if not self._is_hidden(entry) and known != entry:
            self._on_change(entry, True)

    def remove(self, uuid: str) -> bool:
        """Remove an actor; False when it was not registered."""
        entry = self._entries.pop(uuid, None)
        if entry is not None and not self._is_hidden(entry):
            self._on_change(entry, False)
        return entry is not None

    def remove_addr(self, addr: str) -> Entry | None:
        """Remove the actor registered at `addr`; return its entry if there was one."""
        for entry in self._entries.values():
            if addr in entry.addrs:
                self.remove(entry.uuid)
                return entry
        return None

    def remove_kept_by(self, keeper: str) -> None:
        """Remove every actor whose entry was kept alive by a connection that is lost."""
        for entry in list(self._entries.values()):
            if entry.keeper == keeper:
                self.remove(entry.uuid)
        self._silent.discard(keeper)

    def keepers(self) -> set[str]:
        """Return whose connections keep entries alive."""
        return {entry.keeper for entry in self._entries.values()}

    def note_answer(self, keeper: str, answers: bool) -> None:
        """Hide what `keeper` keeps while it does not answer."""
        if answers is (keeper not in self._silent):
            return
        kept = [entry for entry in self._entries.values() if entry.keeper == keeper]
        (self._silent.discard if answers else self._silent.add)(keeper)
        for entry in kept:
            self._on_change(entry, answers)

    def find_all(self, name: str) -> list[Entry]:
        """Return the actors with that name, or with that uuid, the newest first."""
        return [
            e for e in reversed(self._entries.values()) if name in (e.name, e.uuid) and not self._is_hidden(e)
        ]

    def find(self, name: str) -> Entry | None:
        """Return the newest actor with that name, or with that uuid."""
        return next(iter(self.find_all(name)), None)

    def _is_hidden(self, entry: Entry) -> bool:
        return entry.keeper in self._silent

    def __iter__(self) -> Iterator[Entry]:
        """Over what can be found."""
        return iter([entry for entry in self._entries.values() if not self._is_hidden(entry)])

    def __len__(self) -> int:
        return len(self._entries)

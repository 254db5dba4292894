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
        #: Uuid of who holds an address, and of whom each keeper keeps, in the order of registration.
        self._holders: dict[str, str] = {}
        self._kept: dict[str, dict[str, None]] = {}
        self._silent: set[str] = set()
        self._on_change = on_change

    def add(self, entry: Entry) -> None:
        """Register an actor; any other that held one of its addresses is gone and is removed."""
        for addr in entry.addrs:
            if self._holders.get(addr, entry.uuid) != entry.uuid:
                self.remove(self._holders[addr])
        known = self._entries.get(entry.uuid)
        if known is not None:
            self._drop(known)
        self._entries[entry.uuid] = entry
        self._holders.update(dict.fromkeys(entry.addrs, entry.uuid))
        self._kept.setdefault(entry.keeper, {})[entry.uuid] = None
        if not self._is_hidden(entry) and known != entry:
            self._on_change(entry, True)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.uuid]
        for addr in entry.addrs:
            self._holders.pop(addr, None)
        kept = self._kept[entry.keeper]
        del kept[entry.uuid]
        if not kept:
            del self._kept[entry.keeper]

    def remove(self, uuid: str) -> bool:
        """Remove an actor; False when it was not registered."""
        entry = self._entries.get(uuid)
        if entry is None:
            return False
        self._drop(entry)
        if not self._is_hidden(entry):
            self._on_change(entry, False)
        return True

    def remove_addr(self, addr: str) -> Entry | None:
        """Remove the actor registered at `addr`; return its entry if there was one."""
        uuid = self._holders.get(addr)
        if uuid is None:
            return None
        entry = self._entries[uuid]
        self.remove(uuid)
        return entry

    def remove_kept_by(self, keeper: str) -> None:
        """Remove every actor whose entry was kept alive by a connection that is lost."""
        for uuid in list(self._kept.get(keeper, ())):
            self.remove(uuid)
        self._silent.discard(keeper)

    def keepers(self) -> set[str]:
        """Return whose connections keep entries alive."""
        return set(self._kept)

    def note_answer(self, keeper: str, answers: bool) -> None:
        """Hide what `keeper` keeps while it does not answer."""
        if answers is (keeper not in self._silent) or (not answers and keeper not in self._kept):
            return
        (self._silent.discard if answers else self._silent.add)(keeper)
        for uuid in list(self._kept.get(keeper, ())):
            self._on_change(self._entries[uuid], answers)

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

"""The registrar's table: which actors exist and where they listen. No I/O."""

from __future__ import annotations

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
    """Entries by uuid, in the order of registration."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Register an actor; any other that held one of its addresses is gone and is removed."""
        taken = set(entry.addrs)
        for old in list(self._entries.values()):
            if old.uuid != entry.uuid and taken.intersection(old.addrs):
                del self._entries[old.uuid]
        self._entries.pop(entry.uuid, None)
        self._entries[entry.uuid] = entry

    def remove(self, uuid: str) -> bool:
        """Remove an actor; False when it was not registered."""
        return self._entries.pop(uuid, None) is not None

    def remove_addr(self, addr: str) -> Entry | None:
        """Remove the actor registered at `addr`; return its entry if there was one."""
        for entry in self._entries.values():
            if addr in entry.addrs:
                return self._entries.pop(entry.uuid)
        return None

    def remove_kept_by(self, keeper: str) -> None:
        """Remove every actor whose entry was kept alive by a connection that is lost."""
        for entry in list(self._entries.values()):
            if entry.keeper == keeper:
                del self._entries[entry.uuid]

    def find(self, name: str) -> Entry | None:
        """Return the newest actor with that name, or with that uuid."""
        return next((e for e in reversed(self._entries.values()) if name in (e.name, e.uuid)), None)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

"""Who an actor is."""

import os
from dataclasses import dataclass

__all__ = ["Aid", "new_uuid"]


@dataclass(frozen=True, slots=True, eq=False)
class Aid:
    """The identity of one actor, equal and hashed by `uuid` alone.

    Names need not be unique, and one process may hold many actors, so neither `name` nor `pid` identifies.
    `is_probe` marks a peer that only asks whether anybody listens and is never registered.
    """

    name: str
    uuid: str
    pid: int | None = None
    is_registrar: bool = False
    is_probe: bool = False

    @property
    def uid(self) -> tuple[str, str]:
        """`(name, uuid)`, the form in which errors and logs name an actor."""
        return self.name, self.uuid

    def reprol(self, sin_uuid: bool = True) -> str:
        """One short line, `name@pid`; followed by `[uuid]` unless `sin_uuid`.  An unknown pid is left out."""
        short = self.name if self.pid is None else f"{self.name}@{self.pid}"
        return short if sin_uuid else f"{short}[{self.uuid}]"

    def __str__(self) -> str:
        """`name@pid`."""
        return self.reprol()

    def __eq__(self, other: object) -> bool:
        """The same actor, whatever else is known of it."""
        return self.uuid == other.uuid if isinstance(other, Aid) else NotImplemented

    def __hash__(self) -> int:
        """Agrees with equality."""
        return hash(self.uuid)


def new_uuid() -> str:
    """A random UUID (version 4) in its usual text form."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

"""What every actor of a tree inherits at boot."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tractor.wire._kinds import MAX_BODY

#: Requests of one peer that an actor serves at a time.
MAX_REQUESTS = 10_000


@dataclass
class RuntimeVars:
    """The runtime variables. Names with an underscore are those that tools written for this API read."""

    _is_root: bool = False
    _root_mailbox: Any = (None, None)
    _root_addrs: list[Any] = field(default_factory=list)
    _enable_tpts: list[str] = field(default_factory=lambda: ["tcp"])
    _registry_addrs: list[Any] = field(default_factory=list)
    _debug_mode: bool = False
    _start_method: str = "trio"
    _max_msg_size: int = MAX_BODY
    _max_requests: int = MAX_REQUESTS

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, copied."""
        return asdict(self)

    def for_child(self) -> dict[str, Any]:
        """Return what a child starts from."""
        return asdict(replace(self, _is_root=False))

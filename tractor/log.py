"""Standard library logging under the name "tractor": quiet until a console is asked for.

Every record that reaches a console carries the actor's name, the task's name and the fields given as `extra`.
"""

import logging
import sys
from contextvars import ContextVar

import trio

TRANSPORT, RUNTIME, DEVX, IO, CANCEL, PDB = 5, 15, 17, 21, 22, 500

#: Level names beyond the standard ones, accepted by `get_console_log()` like those; `logger.log(CANCEL, ...)` uses them.
CUSTOM_LEVELS: dict[str, int] = {
    "TRANSPORT": TRANSPORT,
    "RUNTIME": RUNTIME,
    "DEVX": DEVX,
    "IO": IO,
    "CANCEL": CANCEL,
    "PDB": PDB,
}

#: The name shown for the actor whose code logs; the runtime sets it in each actor's own context.
actor_name: ContextVar[str] = ContextVar("tractor-actor-name", default="-")

_ROOT = "tractor"
_DEFAULT_LEVEL = "ERROR"
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"actor", "task", "asctime", "message"}

for _name, _value in CUSTOM_LEVELS.items():
    logging.addLevelName(_value, _name)
logging.getLogger(_ROOT).addHandler(logging.NullHandler())


class ContextFilter(logging.Filter):
    """Adds `record.actor` and `record.task`, unless the record has them; drops nothing.

    Outside trio the task is asyncio's current one, else the name of a thread that is not the main one, else "-".
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the two fields and let the record through."""
        if not hasattr(record, "actor"):
            record.actor = actor_name.get()
        if not hasattr(record, "task"):
            record.task = _task_name(record)
        return True


class ContextFormatter(logging.Formatter):
    """Writes one line per record: time, level, actor, task, logger, message, then each `extra` field as `key=value`."""

    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-9s [%(actor)s %(task)s] %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name logging calls
        """Return the line, without the traceback that may follow it."""
        fields = "".join(
            f" {key}={value!r}" for key, value in vars(record).items() if key not in _STANDARD_FIELDS
        )
        return super().formatMessage(record) + fields


class ConsoleHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment, one write per record so that processes do not mix lines."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(ContextFilter())
        self.setFormatter(ContextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a failure is reported the way `logging` reports its own."""
        try:
            if sys.stderr is not None:
                sys.stderr.write(self.format(record) + "\n")
                sys.stderr.flush()
        except Exception:  # noqa: BLE001 - logging never raises into the code that logs
            self.handleError(record)


def get_logger(name: str | None = None) -> logging.Logger:
    """Return the logger of that name below "tractor", or "tractor" itself.

    A name that already starts with "tractor" is taken as it is, so `get_logger(__name__)` does what it should.
    """
    if name is None or name == _ROOT:
        return logging.getLogger(_ROOT)
    return logging.getLogger(name if name.startswith(f"{_ROOT}.") else f"{_ROOT}.{name}")


def get_console_log(level: str | int | None = None) -> logging.Logger:
    """Show records of at least `level` on stderr; return the logger "tractor".

    `level`: a standard or custom level's name in any case, or its number; None keeps the level set before, at first "ERROR".
    Calling it again changes the level and never adds a second handler. Raises `ValueError` for an unknown name.
    """
    logger = logging.getLogger(_ROOT)
    logger.setLevel(level_number(get_loglevel() if level is None else level))
    if not any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        logger.addHandler(ConsoleHandler())
    return logger


def get_loglevel() -> str:
    """Return the name of the level set on the logger "tractor", "ERROR" where none was."""
    level = logging.getLogger(_ROOT).level
    return logging.getLevelName(level) if level else _DEFAULT_LEVEL


def level_number(level: str | int) -> int:
    """Return the number of a level; `ValueError` for a name that neither logging nor this module knows."""
    if isinstance(level, int):
        return level
    known = logging.getLevelNamesMapping()
    # "Level 25" is what logging calls a number without a name, and what get_loglevel() returns for it.
    name = level.upper().removeprefix("LEVEL ")
    if name.isdecimal():
        return int(name)
    if name not in known:
        raise ValueError(
            f"unknown log level {level!r}; use one of {', '.join(sorted(known, key=known.__getitem__))}"
        )
    return known[name]


def _task_name(record: logging.LogRecord) -> str:
    if trio.lowlevel.in_trio_task():
        return trio.lowlevel.current_task().name
    if record.taskName is not None:
        return record.taskName
    return "-" if record.threadName in ("MainThread", None) else record.threadName

"""The table of `docs/precedence.md`, read from the page, and what a test needs to compare with it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import trio

from tractor._errors import TransportClosed
from tractor.ipc._transport import Buffer
from tractor.runtime._router import DialogEnd, Router

PAGE = Path(__file__).parents[1] / "docs" / "precedence.md"
_ROW = re.compile(r"^\| (?P<name>[\w' -]+?) ?(?P<mark>\\\*|†)? \|(?P<cells>.+)\|$", re.MULTILINE)


class Cell(NamedTuple):
    """What comes out, and what it gives way to: everything with a smaller number."""

    number: int
    what: str
    #: `‡`: nothing where it comes while the task is unwinding from a cancellation.
    mark: str


class Failure(NamedTuple):
    """One row."""

    name: str
    #: `*` raised by the body, `†` the other side's last word.
    mark: str
    cells: dict[str, Cell]


def read_table() -> dict[str, Failure]:
    """Return the rows of the page by name."""
    text = PAGE.read_text()
    header = re.search(r"^\| Failure \|(.+)\|$", text, re.MULTILINE)
    assert header is not None
    columns = [column.replace("`", "").strip() for column in header[1].split("|")]
    failures = {}
    for row in _ROW.finditer(text, header.end()):
        cells = [cell.replace("`", "").strip() for cell in row["cells"].split("|")]
        found = {
            column: Cell(int(number), what, *(mark or [""]))
            for column, cell in zip(columns, cells, strict=True)
            if cell[0].isdigit()
            for number, what, *mark in [cell.split(" ")]
        }
        failures[row["name"]] = Failure(row["name"], (row["mark"] or "").strip("\\"), found)
    return failures


TABLE = read_table()


def find_pairs(column: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a column, in both orders, without those of which Python itself decides."""
    names = [name for name, failure in TABLE.items() if column in failure.cells]
    for a, b in combinations(names, 2):
        if (TABLE[a].mark, TABLE[b].mark) != ("*", "*"):
            yield a, b
            yield b, a


def find_winner(column: str, first: str, second: str, *, at_once: bool = True) -> str:
    """Return which of two failures comes out of the place of that column, as the page has it.

    `at_once`: whether the second is there before the first has had any consequences.
    """
    a, b = TABLE[first], TABLE[second]
    if b.cells[column].mark == "‡" and first == "outer trio cancellation" and not at_once:
        return first
    if a.mark == b.mark == "†":
        return first
    return second if b.cells[column].number < a.cells[column].number else first


class HeldBack:
    """Keeps what comes for one end of a dialog until it is wanted, then hands it over at once."""

    def __init__(self, router: Router, did: int) -> None:
        self._end: DialogEnd = router.dialogs[did]
        self._words: list[Callable[[], None]] | None = []
        router.dialogs[did] = self

    def on_frame(self, kind: int, flags: int, body: Buffer) -> None:
        """Keep a frame."""
        copy = bytes(body)
        self._take(lambda: self._end.on_frame(kind, flags, copy))

    def on_loss(self, error: TransportClosed) -> None:
        """Keep the news."""
        self._take(lambda: self._end.on_loss(error))

    def _take(self, word: Callable[[], None]) -> None:
        if self._words is None:
            word()
        else:
            self._words.append(word)

    def release(self) -> None:
        """Hand over what was kept, in its order, and what will come."""
        words, self._words = self._words or [], None
        for word in words:
            word()


@trio.lowlevel.enable_ki_protection
def press_ctrl_c() -> None:
    """Let trio interrupt its main task, and no other."""
    signal.raise_signal(signal.SIGINT)


def name_of(left: Any) -> str:
    """Return what came out, in the words of the page; an error of the body's own is `itself`."""
    if left is None:
        return "nothing"
    return "itself" if isinstance(left, OSError) else type(left).__name__

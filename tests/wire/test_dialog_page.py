"""The pictures of a dialog's states are those of its tables."""

import re

import pytest

from scripts.dialog_page import PAGE, render
from tractor.wire._dialog import RULES, Half, Role, Style
from tractor.wire._kinds import Kind


def test_the_page_is_the_one_that_the_tables_make() -> None:
    """Run `.venv/bin/python -m scripts.dialog_page` after a change of the tables."""
    assert PAGE.read_text(encoding="utf-8") == render()


@pytest.mark.parametrize("who", Role, ids=lambda who: who.name)
@pytest.mark.parametrize("style", Style, ids=lambda style: style.name)
def test_a_picture_shows_every_move_and_no_other(style: Style, who: Role) -> None:
    """Read back from the page, as a reader of it would."""
    pictures = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = pictures[style * len(Role) + who].splitlines()
    moves: dict[Half, dict[Kind, Half]] = {}
    for line in lines:
        if arrow := re.fullmatch(r" +(\w+) --> (\w+): (.+)", line):
            here, after, said = arrow.groups()
        elif stay := re.fullmatch(r" +(\w+): \w+<br>\((.+)\)", line):
            here, said = stay.groups()
            after = here
        else:
            continue
        moves.setdefault(Half[here], {}).update({Kind[kind]: Half[after] for kind in said.split(", ")})
    assert moves == RULES[style].moves[who]

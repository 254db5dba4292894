"""Write `docs/dialog.md`, the pictures of a dialog's states, from the tables in `tractor.wire`: nobody draws them by hand."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tractor.wire._dialog import RULES, TERMINAL, Gates, Half, Role, Rules, Style
from tractor.wire._kinds import URGENT, Kind

PAGE = Path(__file__).parents[1] / "docs" / "dialog.md"

_HEAD = """\
# What the two parties of a dialog may say

Made from the tables of `tractor/wire/_dialog.py` by `.venv/bin/python -m scripts.dialog_page`; a test compares them.

Every request is a dialog of two parties: the **parent** asks, the **child** serves. Each party is in one of seven
states, and only what it says itself moves it, so the books of both ends agree whatever crosses on the way.
Above each arrow stands what is said; what leaves a party where it is, is listed in its box. A party without an
arrow out of its state has nothing more to say; the child's end is the end of the dialog.

| State | The party |
|---|---|
"""
_MEANING = {
    Half.IDLE: "has said nothing",
    Half.OPEN: "may talk",
    Half.STREAMING: "sends items",
    Half.STOPPED: "sent its items, and may open a stream again",
    Half.CANCELLING: "asked the child to end early; it still listens",
    Half.DONE: "ended with a value",
    Half.FAILED: "ended with an error",
}
_STYLE = {
    Style.CALL: "A call: `Portal.run` and what is made of it",
    Style.CONTEXT: "A context: `Portal.open_context`",
}
_GATES = """\
Some things may be said only where the other party permits it by its state. To pass a limit that both check is a
breach of the protocol; one that only the sender checks may have been passed while the frame was on its way.

| Who | says | while the other is | checked by |
|---|---|---|---|
"""
_LATE = """\
Urgent frames overtake what the same party said before them. So after them may still come, without effect:
"""


def _words(kinds: list[Kind]) -> str:
    return ", ".join(kind.name for kind in kinds)


def _picture(rules: Rules, who: Role) -> Iterator[str]:
    moves = rules.moves[who]
    used = {Half.IDLE, *moves} | {after for said in moves.values() for after in said.values()}
    yield "```mermaid\nstateDiagram-v2\n    direction LR\n"
    for half in sorted(used):
        stays = [kind for kind, after in moves.get(half, {}).items() if after is half]
        yield f"    {half.name}: {half.name}{'<br>(' + _words(stays) + ')' if stays else ''}\n"
    yield f"    [*] --> {Half.IDLE.name}\n"
    for half in sorted(used):
        arrows: defaultdict[Half, list[Kind]] = defaultdict(list)
        for kind, after in moves.get(half, {}).items():
            if after is not half:
                arrows[after].append(kind)
        for after, kinds in arrows.items():
            yield f"    {half.name} --> {after.name}: {_words(kinds)}\n"
    for half in sorted(used & TERMINAL):
        yield f"    {half.name} --> [*]\n"
    yield "```\n"


def _gate_rows(gates: Gates, checked_by: str) -> Iterator[str]:
    alike: defaultdict[tuple[Role, frozenset[Half]], list[Kind]] = defaultdict(list)
    for (who, kind), permitting in gates.items():
        alike[who, permitting].append(kind)
    for (who, permitting), kinds in sorted(alike.items(), key=lambda item: (item[0][0], sorted(item[0][1]))):
        closed = [half.name for half in Half if half not in permitting]
        yield f"| {who.name.lower()} | {_words(kinds)} | not {' or '.join(closed)} | {checked_by} |\n"


def _render_style(style: Style) -> Iterator[str]:
    rules = RULES[style]
    yield f"\n## {_STYLE[style]}\n"
    for who in Role:
        yield f"\n### The {who.name.lower()}\n\n"
        yield from _picture(rules, who)
    yield "\n### Limits\n\n" + _GATES
    yield from _gate_rows(rules.once, "both")
    yield from _gate_rows(rules.live, "its sender")
    if rules.late:
        yield f"\n{_LATE}\n"
        for (who, half), kinds in rules.late.items():
            yield f"- {_words(sorted(kinds))} of a {who.name.lower()} that is {half.name}\n"


def render() -> str:
    """Return the page as it follows from the tables."""
    states = "".join(f"| {half.name} | {meaning} |\n" for half, meaning in _MEANING.items())
    tail = f"\nUrgent are {_words(sorted(kind for kind in Kind if kind in URGENT and kind >= Kind.START))}.\n"
    return _HEAD + states + "".join(text for style in Style for text in _render_style(style)) + tail


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")

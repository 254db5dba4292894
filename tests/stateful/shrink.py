"""Makes a program that fails smaller, as long as it fails in the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.stateful.programs import Op, Opener, Plan, Program, Script

#: What differs from run to run, or from program to program, in the text of a fault.
_VARIES = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8}-[0-9a-f-]{27}|\d+|\[.*\]", re.DOTALL)


def kind_of(fault: str) -> str:
    """Return what two faults of the same kind have in common."""
    return _VARIES.sub("#", fault)[:60]


def shrink(program: Program, fails: Callable[[Program], bool], most: int = 500) -> Program:
    """Return a smaller program for which `fails` holds, having tried at most so many."""
    tried = 0
    again = True
    while again:
        again = False
        for candidate in smaller(program):
            tried += 1
            if tried > most:
                return program
            if fails(candidate):
                program, again = candidate, True
                break
    return program


def smaller(program: Program) -> Iterator[Program]:
    """Yield programs that lack something, the least first."""
    for index in range(len(program.openers)):
        yield replace(program, openers=_without(program.openers, index))
    for index in range(len(program.weather)):
        yield replace(program, weather=_without(program.weather, index))
    if program.delays is not None:
        yield replace(program, delays=None)
    if program.capacity != Program.capacity:
        yield replace(program, capacity=Program.capacity)
    for index, opener in enumerate(program.openers):
        for plan in _smaller_plans(opener.plan):
            changed = Opener(opener.actor, opener.after, plan)
            openers = (*program.openers[:index], changed, *program.openers[index + 1 :])
            yield replace(program, openers=openers)
        if opener.after:
            changed = Opener(opener.actor, 0.0, opener.plan)
            yield replace(program, openers=(*program.openers[:index], changed, *program.openers[index + 1 :]))


def _without[T](items: tuple[T, ...], index: int) -> tuple[T, ...]:
    return items[:index] + items[index + 1 :]


def _smaller_plans(plan: Plan) -> Iterator[Plan]:
    opener, endpoint = plan
    for script in _smaller_scripts(opener):
        yield script, endpoint
    for script in _smaller_scripts(endpoint):
        yield opener, script


def _smaller_scripts(script: Script) -> Iterator[Script]:
    for index, op in enumerate(script):
        before, behind = script[:index], script[index + 1 :]
        yield before + behind
        for inner in _inner_scripts(op):
            yield before + inner + behind
        for changed in _smaller_ops(op):
            yield [*before, changed, *behind]


def _inner_scripts(op: Op) -> Iterator[Script]:
    for part in op[1:]:
        if isinstance(part, list) and part and isinstance(part[0], tuple):
            yield part
        elif isinstance(part, list):
            yield from (script for script in part if script)


def _smaller_ops(op: Op) -> Iterator[Op]:
    if op[0] == "open":
        for plan in _smaller_plans(op[1]):
            yield ("open", plan)
        return
    for place, part in enumerate(op[1:], 1):
        variants: Iterator[object] = iter(())
        if isinstance(part, dict):
            variants = ({name: part[name] for name in part if name != gone} for gone in part)
        elif isinstance(part, list) and part and isinstance(part[0], list):
            variants = _smaller_lists(part)
        elif isinstance(part, list):
            variants = _smaller_scripts(part)
        elif isinstance(part, int) and not isinstance(part, bool) and part > 1:
            variants = iter((1, part // 2))
        for variant in variants:
            yield (*op[:place], variant, *op[place + 1 :])


def _smaller_lists(scripts: list[Script]) -> Iterator[list[Script]]:
    for index, script in enumerate(scripts):
        yield scripts[:index] + scripts[index + 1 :]
        for changed in _smaller_scripts(script):
            yield [*scripts[:index], changed, *scripts[index + 1 :]]

"""The life of a child as a table, and the ladder as a list of moments."""

import itertools

import pytest

from tractor.supervise._lifecycle import (
    AFTER_GRACE,
    LEAST_SHARE,
    MARGIN,
    NEXT,
    Phase,
    Refused,
    Rung,
    Sign,
    Step,
    ladder,
    shrunk_grace,
    step,
)

#: What the whole ladder may take beyond the grace.
FORCE_TAKES_AT_MOST = 0.5


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("sign", Sign)
def test_every_cell_of_the_table(phase: Phase, sign: Sign) -> None:
    """A sign leads to the phase that the table names, or is refused."""
    if sign in NEXT[phase]:
        assert step(phase, sign) is NEXT[phase][sign]
    else:
        with pytest.raises(Refused, match=f"{sign.value} while {phase.value}"):
            step(phase, sign)


def test_the_table_names_every_phase() -> None:
    """None is missing by accident: a lookup cannot fail but for the sign."""
    assert set(NEXT) == set(Phase)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.GONE])
def test_a_body_that_is_gone_ends_every_life(phase: Phase) -> None:
    """Whatever a child was doing, its end is its end."""
    assert step(phase, Sign.EXIT) is Phase.GONE


def test_what_is_gone_stays_gone() -> None:
    """No sign leads back; a second end of the same body, or its hello, would be a bug of ours."""
    assert set(NEXT[Phase.GONE].values()) == {Phase.GONE}
    for sign in (Sign.EXIT, Sign.HELLO):
        with pytest.raises(Refused):
            step(Phase.GONE, sign)


@pytest.mark.parametrize("phase", Phase)
def test_an_end_may_be_asked_for_at_any_time(phase: Phase) -> None:
    """Whoever ends a child need not know how far it has come."""
    assert step(phase, Sign.END) in (Phase.ENDING, Phase.GONE)


def test_a_hello_does_not_stop_an_end() -> None:
    """A child that comes up while it is being ended is still being ended."""
    assert step(Phase.ENDING, Sign.HELLO) is Phase.ENDING


@pytest.mark.parametrize("grace", [0.0, 0.1, 1.0, 30.0])
def test_the_whole_ladder_begins_with_a_question_and_ends_by_force(grace: float) -> None:
    """Each rung once, gentle ones first, and everything after the question waits for the grace to be over."""
    steps = ladder(grace)
    assert [one.rung for one in steps] == list(Rung)
    assert steps[0] == Step(Rung.ASK, 0.0)
    assert steps[1] == Step(Rung.HANG_UP, grace)
    assert [one.at for one in steps] == sorted(one.at for one in steps)
    assert steps[-1].at <= grace + FORCE_TAKES_AT_MOST


@pytest.mark.parametrize("start", [rung for rung in Rung if rung is not Rung.ASK])
def test_a_ladder_without_the_question_has_no_grace(start: Rung) -> None:
    """Nobody is there to use it; the first step is taken at once, the others keep their distances."""
    steps = ladder(30.0, start=start)
    assert steps[0] == Step(start, 0.0)
    assert [one.rung for one in steps] == list(Rung)[list(Rung).index(start) :]
    for one in steps:
        assert one.at == pytest.approx(AFTER_GRACE[one.rung] - AFTER_GRACE[start])


def test_a_child_of_nobody_in_a_hurry_gets_all_its_grace() -> None:
    """Only an actor that was told its own deadline passes less on."""
    assert shrunk_grace(3.0, None) == 3.0


@pytest.mark.parametrize("remaining", [-1.0, 0.0, 0.3, MARGIN, 1.0, 2.0, 60.0])
def test_a_grace_never_outlasts_that_of_the_parent(remaining: float) -> None:
    """The parent keeps a margin for its own end, or a third of what it has left, and the child never gets more than it had."""
    grace = shrunk_grace(2.0, remaining)
    assert 0 <= grace <= 2.0
    assert grace <= max(remaining - MARGIN, remaining * LEAST_SHARE, 0)
    assert remaining <= 0 or grace < remaining


def test_every_level_of_a_deep_tree_ends_before_the_one_above() -> None:
    """However little time there is: whoever has to end a child is still there then."""
    graces = [1.0]
    for _ in range(8):
        graces.append(shrunk_grace(1.0, graces[-1]))
    assert graces[1] == pytest.approx(LEAST_SHARE)
    assert all(below < above for above, below in itertools.pairwise(graces))


def test_a_short_grace_is_not_stretched() -> None:
    """Who asked for less gets less, also where the parent is in a hurry."""
    assert shrunk_grace(0.05, 0.3) == 0.05
    assert shrunk_grace(0.0, None) == 0.0


def test_the_margin_covers_the_forced_end_of_a_child() -> None:
    """A parent that leaves its children the margin can end them by force before it is ended itself."""
    assert AFTER_GRACE[Rung.KILL] < MARGIN

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_stt.core.hedging.budget import HedgeBudget
from resilient_stt.core.policy import MINUTE

HOUR = 60  # minutes
Entry = tuple[float, float, float]  # seconds later; audio pushed; audio hedged

later = st.sampled_from([0.0, 0.02, 30.0, 59.9, 60.0, 61.0, 3539.0, 3540.0, 3600.0, 1e9])
audio = st.integers(0, 2**20).map(lambda n: n / 64)  # sums are exact, so a tie is one
entries = st.lists(st.tuples(later | st.floats(0, 300), audio, audio), max_size=80)


def within_the_hour(entries: list[Entry], start: float) -> tuple[Fraction, Fraction]:
    """Return what was pushed and hedged in the last hour, with exact sums and all entries kept."""
    now, all_audio = start, []
    for passed, pushed, hedged in entries:
        now += passed
        all_audio.append((now // MINUTE, pushed, hedged))
    last = [(p, h) for minute, p, h in all_audio if minute > now // MINUTE - HOUR]
    return sum((Fraction(p) for p, _ in last), Fraction()), sum(
        (Fraction(h) for _, h in last), Fraction()
    )


@given(entries, st.floats(-1e6, 1e9), st.sampled_from([0.0, 0.05, 0.5, 1.0, 3.0]))
@example([(0.0, 1e5, 1e4), (3600.0, 0.1, 0.0)] * 3, 0.0, 0.05)
@example([(0.02, 0.3125, 0.015625)] * 80, 0.0, 0.05)
@example([(0.0, 0.0, 1.0), (3570.0, 0.0, 0.0)], -30.0, 0.05)
@example([(59.0, 100.0, 5.0)] * 80, 0.0, 0.05)
def test_it_is_the_share_of_the_last_hour(entries: list[Entry], start: float, share: float) -> None:
    """At every moment it agrees with a model that forgets nothing, in bounded memory."""
    budget, now = HedgeBudget(share), start
    for n, (passed, pushed, hedged) in enumerate(entries, 1):
        now += passed
        budget.record_pushed(pushed, now)
        budget.record_hedged(hedged, now)
        all_pushed, all_hedged = within_the_hour(entries[:n], start)
        assert budget.allows(now) == (float(all_hedged) <= share * float(all_pushed))
        assert len(budget._minutes) <= HOUR


@given(entries)
def test_everything_is_forgotten_after_an_hour(entries: list[Entry]) -> None:
    """After an hour without audio both sums are exactly 0."""
    budget, now = HedgeBudget(0.0), 0.0
    for passed, pushed, hedged in entries:
        now += passed
        budget.record_pushed(pushed, now)
        budget.record_hedged(hedged, now)
    assert budget.allows(now + 3600.0)
    assert repr(budget) == "HedgeBudget(pushed=0.0, hedged=0.0)"


def test_five_percent() -> None:
    """Of ten minutes, 30 s may be hedged; one that exceeds them is the last."""
    budget = HedgeBudget()
    assert budget.allows(0.0)
    for second in range(600):
        budget.record_pushed(1.0, second)
    budget.record_hedged(30.0, 600.0)
    assert budget.allows(600.0)
    budget.record_hedged(0.1, 600.0)
    assert not budget.allows(600.0)
    budget.record_pushed(2.0, 601.0)
    assert budget.allows(601.0)
    assert repr(budget) == "HedgeBudget(pushed=602.0, hedged=30.1)"


def test_the_hour_counts_by_the_minute() -> None:
    """Audio is forgotten with its minute, after 59 to 60 minutes."""
    budget = HedgeBudget()
    budget.record_hedged(1.0, 59.0)
    assert not budget.allows(3599.9)
    assert budget.allows(3600.0)


def test_a_shorter_window_forgets_sooner() -> None:
    """Only the minutes of the window count: here the current one and the one before it."""
    budget = HedgeBudget(window=90.0)
    budget.record_hedged(1.0, 59.0)
    assert not budget.allows(119.9)
    assert budget.allows(120.0)


@pytest.mark.parametrize("invalid", [-5.0, -math.inf, math.nan, math.inf])
def test_an_invalid_duration_counts_as_nothing(invalid: float) -> None:
    """No sum can become negative, infinite or not a number."""
    budget = HedgeBudget()
    budget.record_pushed(100.0, 0.0)
    budget.record_hedged(5.0, 0.0)
    budget.record_pushed(invalid, 0.0)
    budget.record_hedged(invalid, 0.0)
    assert repr(budget) == "HedgeBudget(pushed=100.0, hedged=5.0)"
    assert budget.allows(0.0)


def test_a_clock_that_steps_back_loses_nothing() -> None:
    """Audio of an earlier minute counts for the current one."""
    budget = HedgeBudget()
    budget.record_pushed(100.0, 600.0)
    budget.record_hedged(5.0, 0.0)
    assert budget.allows(600.0)
    budget.record_hedged(0.1, 0.0)
    assert not budget.allows(600.0)
    assert len(budget._minutes) == 1


@pytest.mark.parametrize("share", [-0.1, math.nan, math.inf])
def test_an_invalid_share_is_refused(share: float) -> None:
    """A share that is negative, infinite or not a number raises at once."""
    with pytest.raises(AssertionError, match="share must be"):
        HedgeBudget(share)

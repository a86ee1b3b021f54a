from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from resilient_stt.core.hedging.budget import HOUR, MINUTE, HedgeBudget

Entry = tuple[float, float, float]  # seconds later; audio heard; audio spent

later = st.sampled_from([0.0, 0.02, 30.0, 59.9, 60.0, 61.0, 3539.0, 3540.0, 3600.0, 1e9])
audio = st.integers(0, 2**20).map(lambda n: n / 64)  # sums are exact, so a tie is one
entries = st.lists(st.tuples(later | st.floats(0, 300), audio, audio), max_size=80)


def within_the_hour(entries: list[Entry], start: float) -> tuple[Fraction, Fraction]:
    """What a model with unlimited memory and exact sums says of the last hour, at its end."""
    now, all_audio = start, []
    for passed, heard, spent in entries:
        now += passed
        all_audio.append((now // MINUTE, heard, spent))
    last = [(h, s) for minute, h, s in all_audio if minute > now // MINUTE - HOUR]
    return sum((Fraction(h) for h, _ in last), Fraction()), sum(
        (Fraction(s) for _, s in last), Fraction()
    )


@given(entries, st.floats(-1e6, 1e9), st.sampled_from([0.0, 0.05, 0.5, 1.0, 3.0]))
@example([(0.0, 1e5, 1e4), (3600.0, 0.1, 0.0)] * 3, 0.0, 0.05)
@example([(0.02, 0.3125, 0.015625)] * 80, 0.0, 0.05)
@example([(0.0, 0.0, 1.0), (3570.0, 0.0, 0.0)], -30.0, 0.05)
@example([(59.0, 100.0, 5.0)] * 80, 0.0, 0.05)
def test_it_is_the_share_of_the_last_hour(entries: list[Entry], start: float, share: float) -> None:
    """At every moment it says what a model says that forgets nothing, in bounded memory."""
    budget, now = HedgeBudget(share), start
    for n, (passed, heard, spent) in enumerate(entries, 1):
        now += passed
        budget.record_pushed(heard, now)
        budget.record_hedged(spent, now)
        h, s = within_the_hour(entries[:n], start)
        assert budget.allows(now) == (float(s) <= share * float(h))
        assert len(budget._minutes) <= HOUR


@given(entries)
def test_everything_is_forgotten_after_an_hour(entries: list[Entry]) -> None:
    """After an hour without audio there is nothing left, to the last bit."""
    budget, now = HedgeBudget(0.0), 0.0
    for passed, heard, spent in entries:
        now += passed
        budget.record_pushed(heard, now)
        budget.record_hedged(spent, now)
    assert budget.allows(now + 3600.0)
    assert repr(budget) == "HedgeBudget(heard=0.0, spent=0.0)"


def test_five_percent() -> None:
    """Of ten minutes heard, thirty seconds may be spent, and what exceeds it bars the next."""
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
    assert repr(budget) == "HedgeBudget(heard=602.0, spent=30.1)"


def test_the_hour_counts_by_the_minute() -> None:
    """What was spent is forgotten with its minute: after 59 to 60 minutes."""
    budget = HedgeBudget()
    budget.record_hedged(1.0, 59.0)
    assert not budget.allows(3599.9)
    assert budget.allows(3600.0)


@pytest.mark.parametrize("nonsense", [-5.0, -math.inf, math.nan, math.inf])
def test_what_is_no_duration_costs_nothing(nonsense: float) -> None:
    """Neither side of the account can be made negative, endless or unknown."""
    budget = HedgeBudget()
    budget.record_pushed(100.0, 0.0)
    budget.record_hedged(5.0, 0.0)
    budget.record_pushed(nonsense, 0.0)
    budget.record_hedged(nonsense, 0.0)
    assert repr(budget) == "HedgeBudget(heard=100.0, spent=5.0)"
    assert budget.allows(0.0)


def test_a_clock_that_steps_back_loses_nothing() -> None:
    """Audio of a minute that is over counts for the one under way."""
    budget = HedgeBudget()
    budget.record_pushed(100.0, 600.0)
    budget.record_hedged(5.0, 0.0)
    assert budget.allows(600.0)
    budget.record_hedged(0.1, 0.0)
    assert not budget.allows(600.0)
    assert len(budget._minutes) == 1


@pytest.mark.parametrize("share", [-0.1, math.nan, math.inf])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    """A mistake of the caller's shows at once."""
    with pytest.raises(AssertionError, match="a share of audio"):
        HedgeBudget(share)

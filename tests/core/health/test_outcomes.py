"""What counts as too many failures, of this process and of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.events import BreakerState, ErrorKind
from resilient_stt.core.health.breaker import Breaker
from resilient_stt.core.health.outcomes import NO_OUTCOMES, FleetOutcomes, OutcomeWindow
from resilient_stt.core.policy import BreakerPolicy

POLICY = BreakerPolicy()
SERVER = ErrorKind.SERVER
Log = list[tuple[float, bool]]


def window(own: Log = (), others: Log = (), policy: BreakerPolicy = POLICY) -> OutcomeWindow:  # type: ignore[assignment]
    """A window with (when, whether it failed) of this process and of others."""
    made = OutcomeWindow(policy)
    for at, failed in own:
        (made.record_failure if failed else made.record_success)(at)
    made.share(
        FleetOutcomes(
            tuple(at for at, failed in others if failed),
            tuple(at for at, failed in others if not failed),
        )
    )
    return made


F, T = True, False


@pytest.mark.parametrize(
    ("own", "others", "at"),
    [
        ([(1, F), (2, F), (3, F)], [], 3),
        ([(3, F)], [(1, F), (2, F)], 3),
        ([(2, F)], [(1, F), (3, F)], 3),
        ([], [(1, F), (2, F), (3, F)], 3),
        ([(3, F)], [(2, F)], None),
        ([(1, F), (2, F)], [(2.5, T), (3, F)], None),  # text of another ends a row
        ([(2.5, T), (3, F)], [(1, F), (2, F)], None),  # text of our own ends one
        ([(4, T)], [(1, F), (2, F), (3, F)], None),  # text since
        ([(1, F)], [(2, F), (3, F), (4, T)], None),
        ([(0, F)], [(20, F), (30, F)], None),  # one is too old
        ([(0.5, F)], [(20, F), (30, F)], 30),
        ([(1, F), (2, T), (3, F)], [(4, T), (5, F)], 5),  # three of five
        ([(1, F), (2, T), (3, F)], [(4, T), (4.5, T), (5, F)], 5),  # seconds count, not texts
        ([(1, F), (2, T), (3, T)], [(4, T), (5, F)], None),  # two of five
    ],
)
def test_when_failures_are_too_many(own: Log, others: Log, at: float | None) -> None:
    """A row of three, or half of five: whoever saw them."""
    assert window(own, others).too_many_failures_at == at


outcomes = st.lists(
    st.tuples(st.integers(0, 40), st.booleans()), max_size=12, unique_by=lambda outcome: outcome[0]
).map(sorted)


@given(outcomes, st.lists(st.booleans(), min_size=12, max_size=12))
def test_it_does_not_matter_who_saw_what(log: Log, seen_here: list[bool]) -> None:
    """A window that is split between processes in any way says what the whole one says.

    Text after the last failure is left out: the whole window was asked before it came.
    """
    while log and not log[-1][1]:
        log.pop()
    here = [one for one, here in zip(log, seen_here, strict=False) if here]
    there = [one for one, here in zip(log, seen_here, strict=False) if not here]
    assert window(here, there).too_many_failures_at == window(log).too_many_failures_at


def test_what_others_saw_is_replaced() -> None:
    """Each answer of the store stands for itself, and no answer for nothing."""
    made = window([(3, F)], [(1, F), (2, F)])
    made.share(FleetOutcomes((1,)))
    assert made.too_many_failures_at is None
    made.share(NO_OUTCOMES)
    assert made.too_many_failures_at is None


def test_texts_for_the_fleet() -> None:
    """Once per second, and the last one, which ends a row."""
    made = window([(1, T), (1.5, T), (2.1, T), (2.2, T)])
    assert made.texts_after(0) == [1, 2.1, 2.2]
    assert made.texts_after(1) == [2.1, 2.2]
    assert made.texts_after(2.2) == []
    assert window().texts_after(0) == []


def shared(*failures: float, texts: tuple[float, ...] = ()) -> FleetOutcomes:
    return FleetOutcomes(failures, texts)


def test_the_break_begins_with_the_last_failure() -> None:
    """A process that learns of it late does not wait longer than those that were there."""
    breaker = Breaker(POLICY)
    breaker.share_outcomes(shared(1, 2, 3), 6.0)
    assert breaker.state(6.0) is BreakerState.OPEN
    assert breaker.probe_at(6.0) == 8.0
    assert breaker.observations.report
    assert breaker.observations.report.at == 3.0
    late = Breaker(POLICY)
    late.share_outcomes(shared(1, 2, 3), 20.0)
    assert late.state(20.0) is BreakerState.HALF_OPEN
    assert not late.is_proven()


def test_outcomes_count_for_one_break_only() -> None:
    """The store may name them again, and with better times."""
    breaker = Breaker(POLICY)
    breaker.share_outcomes(shared(1, 2, 3), 4.0)
    breaker.share_outcomes(shared(1.1, 2.1, 3.1), 5.0)
    assert breaker.probe_at(5.0) == 8.0
    breaker.record_text(6.0)
    breaker.share_outcomes(shared(1.1, 2.1, 3.1, 5.5, 5.6, 5.7), 7.0)  # those who knew nothing yet
    assert breaker.admits(7.0)
    breaker.record_failure(SERVER, 8.0)
    assert breaker.admits(8.0)


def test_an_open_breaker_counts_nothing() -> None:
    """A break is not prolonged by what happens in it."""
    breaker = Breaker(POLICY)
    breaker.record_failure(ErrorKind.AUTH, 1.0)
    breaker.share_outcomes(shared(2, 3, 4), 5.0)
    assert breaker.state(5.0) is BreakerState.LOCKED
    assert not breaker.observations.failures


def test_failures_are_kept_for_the_fleet_until_a_report_says_more() -> None:
    """Those that count; a wrong request does not."""
    breaker = Breaker(POLICY)
    told: list[int] = []
    breaker.notify = lambda: told.append(len(breaker.observations.failures))
    breaker.record_failure(ErrorKind.BAD_REQUEST, 1.0)
    breaker.record_failure(SERVER, 1.0)
    breaker.record_failure(SERVER, 2.0)
    assert [at for _, at in breaker.observations.failures] == [1.0, 2.0]
    assert told == [1, 2]  # at once
    breaker.record_failure(SERVER, 3.0)
    assert not breaker.observations.failures
    assert breaker.observations.report

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.policy import RetryPolicy
from resilient_stt.core.routing.retry_budget import RetryBudget


def test_a_budget_is_spent() -> None:
    """As many reopenings may be spent as the policy grants."""
    budget = RetryBudget(RetryPolicy(reconnect_budget=2))
    assert [budget.spend() for _ in range(4)] == [True, True, False, False]
    assert repr(budget) == "RetryBudget(left=0)"


def test_work_earns_reopenings_back() -> None:
    """A connection that worked earns one reopening per full five seconds."""
    budget = RetryBudget(RetryPolicy())
    while budget.spend():
        pass
    budget.earn(4.9)
    assert not budget.spend()
    budget.earn(10.0)
    assert [budget.spend() for _ in range(3)] == [True, True, False]


def test_nothing_is_earned_where_nothing_earns() -> None:
    """A refill time of 0 switches earning off."""
    budget = RetryBudget(RetryPolicy(reconnect_budget=1, budget_refill_interval=0))
    budget.spend()
    budget.earn(1e9)
    assert not budget.spend()


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=50))
def test_a_budget_never_exceeds_its_policy(script: list[float | None]) -> None:
    """However much is earned, no more than the policy grants can be spent in a row."""
    budget = RetryBudget(RetryPolicy())
    in_a_row = 0
    for worked in script:
        if worked is None:
            in_a_row += budget.spend()
            assert in_a_row <= 3
        else:
            budget.earn(worked)
            in_a_row = 0


@given(st.lists(st.floats(0, 4.99), max_size=50))
def test_short_lives_earn_nothing(lives: list[float]) -> None:
    """A provider that drops before it has earned anything runs out, however often it returns."""
    budget = RetryBudget(RetryPolicy())
    spent = 0
    for life in lives:
        budget.earn(life)
        spent += budget.spend()
    assert spent <= 3

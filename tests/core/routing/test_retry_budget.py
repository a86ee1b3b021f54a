from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_stt.core.policy import RetryPolicy
from resilient_stt.core.routing.retry_budget import RetryBudget


def spend_all(budget: RetryBudget) -> int:
    """Spend until nothing is left; return how many reconnects there were."""
    spent = 0
    while not budget.exhausted:
        budget.spend()
        spent += 1
    return spent


def test_a_budget_is_spent() -> None:
    """The policy's budget may be spent, and not one reconnect more."""
    budget = RetryBudget(RetryPolicy(reconnect_budget=2))
    assert spend_all(budget) == 2
    assert repr(budget) == "RetryBudget(left=0)"
    with pytest.raises(AssertionError, match="exhausted"):
        budget.spend()


def test_asking_spends_nothing() -> None:
    """`exhausted` is a query."""
    budget = RetryBudget(RetryPolicy(reconnect_budget=1))
    assert not any(budget.exhausted for _ in range(3))


def test_work_earns_reconnects() -> None:
    """A connection that worked earns one reconnect per full five seconds."""
    budget = RetryBudget(RetryPolicy())
    spend_all(budget)
    budget.earn(4.9)
    assert budget.exhausted
    budget.earn(10.0)
    assert spend_all(budget) == 2


def test_a_refill_interval_of_zero_earns_nothing() -> None:
    """A refill interval of 0 turns the refill off."""
    budget = RetryBudget(RetryPolicy(reconnect_budget=1, budget_refill_interval=0))
    budget.spend()
    budget.earn(1e9)
    assert budget.exhausted


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=50))
def test_a_budget_never_exceeds_its_policy(script: list[float | None]) -> None:
    """However much is earned, no more than the policy's budget can be spent in a row."""
    budget = RetryBudget(RetryPolicy())
    in_a_row = 0
    for worked in script:
        if worked is not None:
            budget.earn(worked)
            in_a_row = 0
        elif not budget.exhausted:
            budget.spend()
            in_a_row += 1
            assert in_a_row <= 3


@given(st.lists(st.floats(0, 4.99), max_size=50))
def test_short_connections_earn_nothing(lives: list[float]) -> None:
    """A provider that drops before it has earned a reconnect runs out of them."""
    budget = RetryBudget(RetryPolicy())
    spent = 0
    for life in lives:
        budget.earn(life)
        if not budget.exhausted:
            budget.spend()
            spent += 1
    assert spent <= 3

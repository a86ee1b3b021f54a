"""Budgets for reopening a provider: they are what stops flapping.

Earned back by working connections only, never by finals and never by the passing of time: a
provider that drops every three seconds would earn them as fast as it spends them.
"""

from __future__ import annotations

from ..policy import RetryPolicy


class RetryBudget:
    """Reopenings that a provider may still have in this stream."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._left = policy.reconnect_budget

    def __repr__(self) -> str:
        return f"RetryBudget(left={self._left})"

    def earn(self, worked: float) -> None:
        """A connection worked for so many seconds."""
        earned = (
            int(worked / self._policy.budget_refill_interval)
            if self._policy.budget_refill_interval
            else 0
        )
        self._left = min(self._policy.reconnect_budget, self._left + earned)

    def spend(self) -> bool:
        """Take one reopening, if there is one left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True

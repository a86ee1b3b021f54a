"""The budget for reconnecting to a provider: it stops flapping.

Only working connections earn it back. Finals must not, nor the passing of time: a provider that
drops every three seconds would earn reconnects as fast as it spends them.
"""

from __future__ import annotations

from ..policy import RetryPolicy


class RetryBudget:
    """The reconnects that one provider has left in one stream."""

    def __init__(self, policy: RetryPolicy) -> None:
        """Begin with the whole budget, `policy.reconnect_budget`."""
        self._policy = policy
        self._left = policy.reconnect_budget

    def __repr__(self) -> str:
        return f"RetryBudget(left={self._left})"

    @property
    def exhausted(self) -> bool:
        """Whether no reconnect is left."""
        return self._left < 1

    def earn(self, worked: float) -> None:
        """Refill for a connection that worked for `worked` seconds."""
        interval = self._policy.budget_refill_interval
        earned = int(worked / interval) if interval else 0  # 0 turns the refill off
        self._left = min(self._policy.reconnect_budget, self._left + earned)

    def spend(self) -> None:
        """Take one reconnect.

        Raises:
            AssertionError: none is left; ask `exhausted` before.
        """
        if self.exhausted:
            raise AssertionError("the reconnect budget is exhausted")
        self._left -= 1

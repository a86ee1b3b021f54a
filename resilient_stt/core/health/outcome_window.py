"""What traffic showed of a provider lately: whether it fails too often."""

from __future__ import annotations

import math
from collections import deque

from ..policy import BreakerPolicy

MAX_OUTCOMES = 256
"""Outcomes that are remembered, whatever the policy: the defaults need 61."""


class OutcomeWindow:
    """What traffic showed within the window while the breaker was closed.

    Text comes many times a second from every stream: were it all counted, no number of failures
    would ever be half. So a second with text is one success, and "half" means as many failures as
    there were seconds with text, be it one stream that flaps or one of a hundred that all speak.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=MAX_OUTCOMES)
        """When, and whether it was a failure."""
        self._recent_failures: list[float] = []
        """Failures since the last text."""
        self._success_at = -math.inf

    def success(self, now: float) -> None:
        """Text ends a row of failures, whether it counts or not."""
        self._recent_failures.clear()
        if now >= self._success_at + self._policy.success_interval:
            self._success_at = now
            self._outcomes.append((now, False))

    def failure(self, now: float) -> bool:
        """Whether this one is one too many."""
        horizon = now - self._policy.window
        self._recent_failures = [at for at in self._recent_failures if at > horizon] + [now]
        while self._outcomes and self._outcomes[0][0] <= horizon:
            self._outcomes.popleft()
        self._outcomes.append((now, True))
        return len(self._recent_failures) >= self._policy.consecutive_failures or self._too_many()

    def _too_many(self) -> bool:
        failures = sum(failed for _, failed in self._outcomes)
        share = failures / len(self._outcomes)
        return (
            len(self._outcomes) >= self._policy.minimum_calls
            and share >= self._policy.failure_rate_threshold
        )

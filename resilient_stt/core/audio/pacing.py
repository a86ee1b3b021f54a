"""A token bucket per leg: a burst, then a multiple of real time."""

from __future__ import annotations

from ..policy import Pace

ROUNDING = 0.01
"""Of a sample: what the sums of times may be off by without making the sender wait for nothing."""


class TokenBucket:
    """How many samples may be sent now."""

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._at = now
        self._seconds = pace.burst

    def available(self, now: float, rate: int) -> int:
        """Samples of audio at `rate` Hz that may be sent at `now`."""
        self._seconds = min(
            self._pace.burst, self._seconds + max(0.0, now - self._at) * self._pace.rate
        )
        self._at = max(self._at, now)
        return int(self._seconds * rate + ROUNDING)

    def take(self, seconds: float) -> None:
        """Spend what was just asked for."""
        self._seconds -= seconds

    def available_at(self, seconds: float) -> float:
        """When that many seconds of audio may be sent, at the earliest."""
        missing = min(seconds, self._pace.burst) - self._seconds
        return self._at + max(0.0, missing) / self._pace.rate

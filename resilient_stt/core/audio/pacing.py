"""A token bucket per connection: a burst of audio at once, then a multiple of real time.

Providers process audio at a limited speed (Deepgram at about 1.25 times real time). Audio that is
sent faster only queues there, so a replay is not sent all at once.
"""

from __future__ import annotations

from ..policy import Pace

ROUNDING_SAMPLES = 0.01
"""Rounding tolerance in samples. Sums of times may fall short by about this much, and without it
the sender would be woken at the promised time and find one sample too few."""


class TokenBucket:
    """How much audio a connection may be sent now. Times (`now`) are seconds on one clock."""

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        self._at = now
        self._seconds = pace.burst

    def available(self, now: float, rate: int) -> int:
        """Refill the bucket up to `now`, and return how many samples at `rate` Hz may be sent.

        If the clock goes back, nothing is refilled.
        """
        if now > self._at:
            seconds, burst = self._seconds + (now - self._at) * self._pace.rate, self._pace.burst
            self._seconds, self._at = (seconds if seconds < burst else burst), now
        return int(self._seconds * rate + ROUNDING_SAMPLES)

    def take(self, seconds: float) -> None:
        """Spend `seconds` of audio; call it after `available` has granted them."""
        self._seconds -= seconds

    def available_at(self, seconds: float) -> float:
        """The earliest time at which `seconds` of audio may be sent.

        More than the burst can never be sent at once, so a larger amount counts as the burst.
        """
        missing = min(seconds, self._pace.burst) - self._seconds
        return self._at + max(0.0, missing) / self._pace.rate

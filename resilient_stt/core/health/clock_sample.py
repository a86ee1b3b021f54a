"""The clock of a store beside our own: no clock of another machine is ever compared with ours."""

from __future__ import annotations

import math
from dataclasses import dataclass

_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The store's clock, read once, between `sent` and `received` on ours.

    What is found is dated too early rather than too late: then it undoes nothing that came after.
    """

    stamp: int
    """Microseconds on the store's clock."""
    sent: float
    received: float

    @property
    def uncertainty(self) -> float:
        """Seconds by which anything may be dated too early."""
        return self.received - self.sent

    def to_store(self, at: float) -> int:
        """A moment of ours on the store's clock."""
        return self.stamp + math.floor((at - self.received) / _MICRO)

    def to_local(self, stamp: int) -> float:
        """A moment on the store's clock on ours; one that is still to come is now."""
        return self.sent - max(0, self.stamp - stamp) * _MICRO

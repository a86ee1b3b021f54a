"""How long a provider takes for a final, estimated from its last finals."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

from ..policy import WatchdogPolicy

MAX_SAMPLES = 100
"""Finals that are remembered. A memory bound, and enough for a p99; older finals say nothing about
a provider's load now."""


class FinalLatency:
    """One provider's delays, in seconds from when a final was due to when it came.

    A final is due when speech has ended, or at a flush.
    """

    def __init__(self, min_samples: int = WatchdogPolicy().min_latency_samples) -> None:
        """`min_samples`: delays that must be known before there is a p99."""
        self._min_samples = min_samples
        self._samples: deque[float] = deque()
        self._sorted: list[float] = []
        self._fleet: list[float] = []
        """The samples of all processes, sorted; empty without a shared store."""
        self._unreported: deque[float] = deque(maxlen=MAX_SAMPLES)
        self.p99: float | None = None
        """The smallest sample that 99 % of the samples do not exceed; `None` if there are too few.

        Of the samples of all processes if they are more than this process's own. An attribute,
        because it is read for every frame."""

    def __repr__(self) -> str:
        return f"FinalLatency(samples={len(self._samples)}, p99={self.p99})"

    def add(self, seconds: float) -> None:
        """Add a delay. Values that are no duration (negative, infinite, NaN) are ignored."""
        if not 0 <= seconds < math.inf:
            return
        if len(self._samples) == MAX_SAMPLES:
            del self._sorted[bisect_left(self._sorted, self._samples.popleft())]
        self._samples.append(seconds)
        self._unreported.append(seconds)
        insort(self._sorted, seconds)
        self._update_p99()

    def _update_p99(self) -> None:
        known = max(self._fleet, self._sorted, key=len)
        count = len(known)
        self.p99 = known[-(-99 * count // 100) - 1] if count >= self._min_samples else None

    # -- other processes

    @property
    def unreported(self) -> list[float]:
        """The samples that the store was not given yet, oldest first."""
        return list(self._unreported)

    def mark_reported(self, count: int) -> None:
        """Note that the store has the first `count` of `unreported`."""
        for _ in range(min(count, len(self._unreported))):
            self._unreported.popleft()

    def share(self, samples: Iterable[float]) -> None:
        """Replace the samples of all processes (this one's included); empty if they are unknown."""
        self._fleet = sorted([s for s in samples if 0 <= s < math.inf][-MAX_SAMPLES:])
        self._update_p99()

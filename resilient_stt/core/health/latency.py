"""How long a provider takes for a final, from what it took lately."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable

MAX_SAMPLES = 100
"""Finals that are remembered: old ones say nothing about a provider's load now."""
MIN_SAMPLES = 5
"""Samples before which nothing is said."""


class FinalLatency:
    """One provider's seconds from "a final was due" (speech ended, or a flush) to the final."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque()
        self._sorted: list[float] = []
        self._fleet: list[float] = []
        """What all processes found, in order of size."""
        self._unreported: deque[float] = deque(maxlen=MAX_SAMPLES)

    def __repr__(self) -> str:
        return f"FinalLatency(samples={len(self._samples)}, p99={self.p99})"

    def add(self, seconds: float) -> None:
        """A final came so long after it was due. What is no duration is ignored."""
        if not 0 <= seconds < math.inf:
            return
        if len(self._samples) == MAX_SAMPLES:
            del self._sorted[bisect_left(self._sorted, self._samples.popleft())]
        self._samples.append(seconds)
        self._unreported.append(seconds)
        insort(self._sorted, seconds)

    @property
    def p99(self) -> float | None:
        """The least sample that 99 % of them do not exceed; `None` while there are too few.

        Of those of all processes, where they are more than this one's own.
        """
        known = max(self._fleet, self._sorted, key=len)
        count = len(known)
        return known[-(-99 * count // 100) - 1] if count >= MIN_SAMPLES else None

    # --- other processes ---

    @property
    def unreported(self) -> list[float]:
        """The samples that other processes were not told, oldest first."""
        return list(self._unreported)

    def mark_reported(self, count: int) -> None:
        """The first of them were."""
        for _ in range(min(count, len(self._unreported))):
            self._unreported.popleft()

    def share(self, samples: Iterable[float]) -> None:
        """The last samples of all processes, ours among them; none if they are not known."""
        self._fleet = sorted([s for s in samples if 0 <= s < math.inf][-MAX_SAMPLES:])

"""When the newest audio of a stream was pushed."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left

STEP = 0.1
"""Seconds of pushing that are one entry: a bound of memory and of precision only."""

MAX_ENTRIES = 4096
"""Entries that are kept, for about seven minutes of pushing: a bound of memory only."""


class Arrivals:
    """Knows which audio was pushed before a time, on the clock of the engine."""

    def __init__(self) -> None:
        # Arrays, because a pair in them takes 16 bytes, and a tuple of two numbers 120.
        self._times = array("d")
        """When audio was pushed, in order; the last of each step, but for the newest."""
        self._ends = array("q")
        """The sample up to which there was audio then."""
        self.newest_at = -math.inf
        """When audio was pushed last; minus infinity if never."""
        self._newest_end = 0
        self._step = -math.inf
        """The step in which that was."""

    def __repr__(self) -> str:
        return f"Arrivals(entries={len(self._times) + bool(self._newest_end)})"

    def pushed(self, end: int, now: float, window: float) -> None:
        """Note that audio was pushed up to sample `end`; forget what is older than `window`."""
        step = now // STEP
        if step != self._step:
            self._begin(step, now - window)
        self.newest_at, self._newest_end = now, end

    def _begin(self, step: float, oldest: float) -> None:
        if self._newest_end:
            self._times.append(self.newest_at)
            self._ends.append(self._newest_end)
        old = max(bisect_left(self._times, oldest) - 1, len(self._times) - MAX_ENTRIES + 1)
        if old > 0:
            del self._times[:old], self._ends[:old]
        self._step = step

    def pushed_before(self, at: float) -> int:
        """Return the sample before which all audio was pushed before `at`, as far as is known."""
        if self.newest_at < at:
            return self._newest_end
        index = bisect_left(self._times, at) - 1
        return self._ends[index] if index >= 0 else 0

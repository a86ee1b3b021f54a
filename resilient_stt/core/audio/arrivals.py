"""When the newest audio of a stream was pushed."""

from __future__ import annotations

import math
from collections import deque

STEP = 0.1
"""Seconds of pushing that are one entry: a bound of memory and of precision only."""

MAX_ENTRIES = 4096
"""Entries that are kept, for about seven minutes of pushing: a bound of memory only."""


class Arrivals:
    """Knows which audio was pushed before a time, on the clock of the engine."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque(maxlen=MAX_ENTRIES - 1)
        """When audio was pushed, and the sample up to which there was audio then; the last of each
        step, but for the newest."""
        self.newest_at = -math.inf
        """When audio was pushed last; minus infinity if never."""
        self._newest_end = 0
        self._step = -math.inf
        """The step in which that was."""

    def __repr__(self) -> str:
        return f"Arrivals(entries={len(self._entries) + bool(self._newest_end)})"

    def pushed(self, end: int, now: float, window: float) -> None:
        """Note that audio was pushed up to sample `end`; forget what is older than `window`."""
        step = now // STEP
        if step != self._step:
            self._begin(step, now - window)
        self.newest_at, self._newest_end = now, end

    def _begin(self, step: float, oldest: float) -> None:
        entries = self._entries
        if self._newest_end:
            entries.append((self.newest_at, self._newest_end))
        while len(entries) > 1 and entries[1][0] < oldest:
            entries.popleft()
        self._step = step

    def pushed_before(self, at: float) -> int:
        """Return the sample before which all audio was pushed before `at`, as far as is known."""
        pushed = [*self._entries, (self.newest_at, self._newest_end)]
        return max((end for pushed_at, end in pushed if pushed_at < at), default=0)

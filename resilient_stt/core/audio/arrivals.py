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
        self._entries: deque[tuple[float, int]] = deque(maxlen=MAX_ENTRIES)
        """When audio was pushed, and the sample up to which there was audio then."""

    def __repr__(self) -> str:
        return f"Arrivals(entries={len(self._entries)})"

    @property
    def newest_at(self) -> float:
        """When audio was pushed last; minus infinity if never."""
        return self._entries[-1][0] if self._entries else -math.inf

    def pushed(self, end: int, now: float, window: float) -> None:
        """Note that audio was pushed up to sample `end`; forget what is older than `window`."""
        entries = self._entries
        if entries and now // STEP == entries[-1][0] // STEP:
            entries.pop()
        entries.append((now, end))
        while len(entries) > 1 and entries[1][0] < now - window:
            entries.popleft()

    def pushed_before(self, at: float) -> int:
        """Return the sample before which all audio was pushed before `at`, as far as is known."""
        return max((end for pushed_at, end in self._entries if pushed_at < at), default=0)

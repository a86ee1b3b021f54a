"""What second opinions may cost: a share of the audio that callers pushed in the last hour."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

MINUTE = 60.0
HOUR = 60
"""Minutes that count: the one under way and those before it."""


@dataclass(slots=True)
class _Minute:
    """The audio of one minute, in seconds."""

    number: int
    pushed: float = 0.0
    hedged: float = 0.0


class HedgeBudget:
    """Shared by all streams of a `ResilientSTT`. `now` is seconds on one clock of the caller's."""

    def __init__(self, share: float = 0.05, allowance: float = 0.0) -> None:
        """`share`: of the audio heard, what may be spent; `allowance`: seconds that always may."""
        if not 0 <= share < math.inf:
            raise AssertionError(f"a share of audio is a number of 0 or more, got {share!r}")
        self._share = share
        self._allowance = allowance
        self._minutes: deque[_Minute] = deque()

    def __repr__(self) -> str:
        return f"HedgeBudget(heard={self._pushed():.1f}, spent={self._hedged():.1f})"

    def record_pushed(self, seconds: float, now: float) -> None:
        """Callers pushed audio."""
        self._minute(now).pushed += _valid(seconds)

    def record_hedged(self, seconds: float, now: float) -> None:
        """A second opinion was given audio and found nothing wrong."""
        self._minute(now).hedged += _valid(seconds)

    def allows(self, now: float) -> bool:
        """Whether no more than the share, or the allowance, was spent in the last hour."""
        self._minute(now)
        return self._hedged() <= max(self._allowance, self._share * self._pushed())

    def _pushed(self) -> float:
        return math.fsum(m.pushed for m in self._minutes)

    def _hedged(self) -> float:
        # summed up each time: what is added and taken away again would not come back to nothing
        return math.fsum(m.hedged for m in self._minutes)

    def _minute(self, now: float) -> _Minute:
        """The minute under way; those of more than an hour ago are forgotten."""
        number = int(now // MINUTE)
        while self._minutes and self._minutes[0].number <= number - HOUR:
            self._minutes.popleft()
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]


def _valid(seconds: float) -> float:
    """What is no duration costs nothing."""
    return seconds if 0 < seconds < math.inf else 0.0

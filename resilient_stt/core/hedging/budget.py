"""What hedges may cost: a share of the audio that callers pushed lately.

Each hedge is sent audio that the active connection was sent already, and providers charge for it.
A hedge that is promoted was worth its cost, so only the audio of the others counts. "Lately" is
`WatchdogPolicy.hedge_audio_window`, by default an hour.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ..policy import MINUTE


@dataclass(slots=True)
class _Minute:
    """The audio of one minute, in seconds."""

    number: int
    pushed: float = 0.0
    hedged: float = 0.0


class HedgeBudget:
    """The budget that all streams of a `ResilientSTT` share.

    `now` is in seconds, on one clock for all calls.
    """

    def __init__(self, share: float = 0.05, allowance: float = 0.0, window: float = 3600.0) -> None:
        """`share`: the part of the pushed audio that hedges may be sent, 0 or more.

        `allowance`: seconds of hedged audio in the window that are always allowed. A process that
        has just started has no audio to take a share of.

        `window`: seconds that count, in whole minutes: the current minute and those before it.
        """
        if not 0 <= share < math.inf:
            raise AssertionError(f"share must be a number of 0 or more, got {share!r}")
        self._share = share
        self._allowance = allowance
        self._minutes_in_window = math.ceil(window / MINUTE)
        self._minutes: deque[_Minute] = deque()

    def __repr__(self) -> str:
        return f"HedgeBudget(pushed={self._pushed():.1f}, hedged={self._hedged():.1f})"

    def record_pushed(self, seconds: float, now: float) -> None:
        """Note that callers pushed audio."""
        self._minute(now).pushed += _valid(seconds)

    def record_hedged(self, seconds: float, now: float) -> None:
        """Note that a hedge was sent audio, and was not promoted."""
        self._minute(now).hedged += _valid(seconds)

    def allows(self, now: float) -> bool:
        """Return whether another hedge may be opened.

        It may if the hedges in the window were sent no more than the share or the allowance.
        """
        self._minute(now)
        return self._hedged() <= max(self._allowance, self._share * self._pushed())

    def _pushed(self) -> float:
        return math.fsum(m.pushed for m in self._minutes)

    def _hedged(self) -> float:
        # A running total would not come back to 0 when its parts are subtracted again.
        return math.fsum(m.hedged for m in self._minutes)

    def _minute(self, now: float) -> _Minute:
        """Return the entry of the current minute, and forget those before the window."""
        number, minutes = int(now // MINUTE), self._minutes
        if not minutes or minutes[-1].number < number:
            oldest = number - self._minutes_in_window
            while minutes and minutes[0].number <= oldest:
                minutes.popleft()
            minutes.append(_Minute(number))
        return minutes[-1]


def _valid(seconds: float) -> float:
    """Return the duration; 0 if it is negative, infinite or not a number."""
    return seconds if 0 < seconds < math.inf else 0.0

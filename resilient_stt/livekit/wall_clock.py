"""When each second of audio was pushed, on the wall clock.

LiveKit's `SpeechEvent` has two times of the wall clock, `speech_start_time` and `speech_end_time`,
from which a session computes the metrics of a turn. A provider counts in audio, so that such a time
is found by asking when that audio was pushed.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right

JITTER = 0.02
"""Seconds by which a frame may come earlier or later than its predecessors say, before that is
recorded: the length of LiveKit's frames."""

KEPT = 60.0
"""Seconds of audio that have a time beside the replay window. It only bounds memory: nothing is
said about audio that is that old."""

MAX_CHANGES = 4096
"""Changes of pace that are remembered: a bound of memory only. Older audio has no time then."""


class WallClock:
    """Maps seconds of audio to the wall clock, in a few numbers however long the audio is."""

    def __init__(self, window: float = 0.0) -> None:
        """`window`: the seconds of audio that may be replayed."""
        self._kept = window + KEPT
        # Arrays, because a number in them takes 8 bytes, and a Python float 32.
        self._since = array("d")
        """Seconds of audio from which on it was pushed at another pace."""
        self._times = array("d")
        """When that audio was spoken, if it was pushed at once."""
        self._newest = -math.inf
        """When the audio would have begun that was pushed last, at its pace."""
        self.seconds = 0.0
        """Seconds of audio that were pushed."""

    def __repr__(self) -> str:
        return f"WallClock(seconds={self.seconds:.2f}, changes={len(self._since)})"

    def pushed(self, seconds: float, now: float) -> None:
        """Note that the next `seconds` of audio were pushed at wall time `now`."""
        start, spoken = self.seconds, now - seconds
        self.seconds += seconds
        if not -JITTER <= spoken - start - self._newest <= JITTER:
            self._newest = spoken - start
            self._since.append(start)
            self._times.append(spoken)
            self._forget_old()

    def at(self, seconds: float) -> float | None:
        """Return the wall time at which that second of audio was spoken; `None` if not known."""
        index = bisect_right(self._since, seconds) - 1
        return None if index < 0 else self._times[index] + seconds - self._since[index]

    def _forget_old(self) -> None:
        old = bisect_right(self._since, self.seconds - self._kept) - 1
        old = max(old, len(self._since) - MAX_CHANGES, 0)
        del self._since[:old], self._times[:old]

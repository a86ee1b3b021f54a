"""How much noise has stretched a threshold of one stream."""

from __future__ import annotations


class NoiseMultiplier:
    """A factor that doubles each time a suspicion turned out to be noise.

    Music or a television is speech to a voice detector and nothing to any recognizer. Without this
    factor every such sound would cost another hedge. Words prove that the stream is not only noise,
    so they reset the factor to 1.
    """

    def __init__(self, maximum: float) -> None:
        """`maximum`: `WatchdogPolicy.max_deadline_multiplier`, 1 or more."""
        self._maximum = maximum
        self.value = 1.0

    def __repr__(self) -> str:
        return f"NoiseMultiplier({self.value})"

    def double(self) -> None:
        """Double the factor, up to the maximum."""
        self.value = min(self._maximum, 2 * self.value)

    def reset(self) -> None:
        """Set the factor to 1 again."""
        self.value = 1.0

"""Whether the transcript has moved on since something happened."""

from __future__ import annotations

from .audio.ledger import AudioLedger


class ProgressTracker:
    """Counts how often something happened while the watermark stood still.

    The watermark is the measure of progress: it moves only when audio is finished with. Something
    that happens again and again at one watermark (a failure, an outage) leads nowhere.
    """

    def __init__(self, ledger: AudioLedger) -> None:
        self._ledger = ledger
        self._watermark: int | None = None
        self._count = 0
        self._first_at = 0.0

    def __repr__(self) -> str:
        return f"ProgressTracker(watermark={self._watermark}, count={self._count})"

    @property
    def count(self) -> int:
        """How often it happened at the watermark of the last time."""
        return self._count

    @property
    def first_at(self) -> float:
        """When it first happened at the watermark of the last time, on the clock of `record`."""
        return self._first_at

    @property
    def stands_still(self) -> bool:
        """Whether it has happened, and the watermark has not moved since."""
        return self._watermark == self._ledger.watermark

    def record(self, now: float) -> None:
        """Note that it happened at `now`."""
        if not self.stands_still:
            self._watermark, self._count, self._first_at = self._ledger.watermark, 0, now
        self._count += 1

    def reset(self) -> None:
        """Forget what happened: the next time is the first."""
        self._watermark, self._count = None, 0

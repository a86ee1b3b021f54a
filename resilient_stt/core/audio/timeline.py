"""Maps a leg's own audio time to session time: the replay's start, the silence that was cut out."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Timeline:
    """What a leg was sent, as spans of session audio in the order of sending (samples)."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._connection: list[int] = []  # where in the leg's audio each span begins
        self._session: list[int] = []  # where in the session's audio it begins
        self.sent = 0
        self.position = 0
        """Session position up to which the leg was sent audio."""
        self.trimmed = 0
        """Samples left out between spans."""

    def __repr__(self) -> str:
        return (
            f"Timeline(sent={self.sent}, position={self.position}, spans={len(self._connection)})"
        )

    @property
    def seconds(self) -> float:
        """Seconds of audio that the leg was sent."""
        return self.sent / self._rate

    @property
    def seconds_trimmed(self) -> float:
        """Seconds of silence that were left out."""
        return self.trimmed / self._rate

    def append(self, start: int, end: int) -> None:
        """The leg is sent session samples `start` to `end`, later than all it was sent so far."""
        if end <= start or (self._connection and start < self.position):
            raise AssertionError(f"span {start}..{end} after {self.position}")
        if not self._connection or start != self.position:
            if self._connection:
                self.trimmed += start - self.position
            self._connection.append(self.sent)
            self._session.append(start)
        self.sent += end - start
        self.position = end

    def start_of(self, seconds: float) -> float:
        """Session seconds of something that begins at `seconds` of leg audio."""
        at = seconds * self._rate
        return self._map(at, max(0, bisect_right(self._connection, at + 0.5) - 1))

    def end_of(self, seconds: float) -> float:
        """Session seconds of something that ends at `seconds` of leg audio.

        Differs from `start_of` only where silence was cut: an end belongs before the cut.
        """
        at = seconds * self._rate
        return self._map(at, max(0, bisect_left(self._connection, at - 0.5) - 1))

    def _map(self, at: float, index: int) -> float:
        if not self._connection:
            return 0.0
        return (self._session[index] + at - self._connection[index]) / self._rate

"""Maps a connection's own audio time to session time.

A provider counts seconds from the first audio that a connection was sent. That audio may begin in
the middle of the session (a replay), and silence may have been cut out of it. The timeline records
what was sent as spans, and translates in both cases.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

HALF_SAMPLE = 0.5
"""Rounding tolerance in samples: a time this close to the edge of a span belongs to that edge."""


class Timeline:
    """The spans of session audio that a connection was sent, in samples, in order of sending."""

    def __init__(self, rate: int) -> None:
        """`rate`: samples per second."""
        self._rate = rate
        self._connection: list[int] = []  # where each span begins in the connection's audio
        self._session: list[int] = []  # where each span begins in the session's audio
        self.sent = 0
        """Samples that were sent."""
        self.position = 0
        """The session position behind the last sample that was sent."""
        self.trimmed = 0
        """Samples of silence that were left out between spans."""

    def __repr__(self) -> str:
        return (
            f"Timeline(sent={self.sent}, position={self.position}, spans={len(self._connection)})"
        )

    @property
    def seconds(self) -> float:
        """Seconds of audio that were sent."""
        return self.sent / self._rate

    @property
    def seconds_trimmed(self) -> float:
        """Seconds of silence that were left out between spans."""
        return self.trimmed / self._rate

    def append(self, start: int, end: int) -> None:
        """Record that session samples `start` to `end` were sent.

        Raises:
            AssertionError: the span is empty, or begins before the last one's end.
        """
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
        """Session time of something that starts at `seconds` of the connection's audio.

        At a cut this is the time after the cut. Times outside what was sent go on at the same
        rate. Returns 0 if nothing was sent.
        """
        at = seconds * self._rate
        return self._map(at, max(0, bisect_right(self._connection, at + HALF_SAMPLE) - 1))

    def end_of(self, seconds: float) -> float:
        """Session time of something that ends at `seconds` of the connection's audio.

        Differs from `start_of` at a cut only: there this is the time before the cut.
        """
        at = seconds * self._rate
        return self._map(at, max(0, bisect_left(self._connection, at - HALF_SAMPLE) - 1))

    def _map(self, at: float, index: int) -> float:
        if not self._connection:
            return 0.0
        return (self._session[index] + at - self._connection[index]) / self._rate

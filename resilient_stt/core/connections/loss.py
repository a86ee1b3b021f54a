"""Which speech is lost: it left the window, and no living connection was sent it.

Theory of operation
===================

Speech that leaves the replay window uncommitted is dropped: no new connection can be sent it. It is
not lost as long as a living connection was sent it before, for its words may still come. So the
tracker notes on each connection which dropped speech it was not sent (`missed_speech`, written only
here). Speech that every living connection has missed is lost for certain. When the last connection
that was sent a span closes, that span becomes lost.

Speech is spans of session samples, in order and apart.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce

from ..audio.spans import Spans, after, intersection, merged, total
from ..events import Role
from .connection import Connection


class LossTracker:
    """Counts speech that no living connection was sent, and none can be sent any more."""

    def __init__(self) -> None:
        self._gone: Spans = ()
        """Dropped speech that a connection opened now could not be sent."""
        self._reported_samples = 0

    def __repr__(self) -> str:
        return f"LossTracker(gone={total(self._gone)}, reported={self._reported_samples})"

    @property
    def gone_samples(self) -> int:
        """Samples of speech that left the window, and that no words have covered since."""
        return total(self._gone)

    @property
    def has_any(self) -> bool:
        """Whether speech is gone that may be lost."""
        return bool(self._gone)

    def connection_opened(self, connection: Connection) -> None:
        """Note a new connection: it misses everything that is gone."""
        connection.missed_speech = self._gone

    def audio_dropped(self, voiced: Spans, connections: Collection[Connection]) -> None:
        """Note that uncommitted speech left the window."""
        self._gone = merged(self._gone + voiced)
        for connection in connections:
            unsent = after(voiced, connection.cursor)
            connection.missed_speech = merged(connection.missed_speech + unsent)

    def audio_covered(
        self, connection: Connection, committed_through: int, connections: Collection[Connection]
    ) -> None:
        """Note that a connection's words cover what it was sent before `committed_through`.

        `connections`: those that live; `connection` itself may be closed by now.
        """
        if self._gone:
            still_gone = connection.missed_speech + after(self._gone, committed_through)
            self._gone = merged(still_gone)
            for other in connections:
                other.missed_speech = intersection(other.missed_speech, self._gone)

    def unreported(self, connections: Collection[Connection]) -> int:
        """Return how many samples are lost for certain and not reported yet."""
        # What only a probe was sent is lost: its words are never emitted
        # (test_a_probe_saves_no_speech).
        missed = [c.missed_speech for c in connections if c.role is not Role.PROBE]
        certain = reduce(intersection, missed) if missed else self._gone
        return total(certain) - self._reported_samples

    def mark_reported(self, samples: int) -> None:
        """Note that so many lost samples were reported."""
        self._reported_samples += samples

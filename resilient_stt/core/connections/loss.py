"""What is lost for good: unsettled speech that left the window, and whom it was never sent to.

Speech is spans of session samples, in order and apart.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce

from ..audio.ledger import Spans
from ..messages import Role
from .connection import Connection


class LossTracker:
    """Counts what no living leg was sent and none can be sent any more."""

    def __init__(self) -> None:
        self._gone: Spans = ()
        """What a leg opened now could not be sent."""
        self._reported_samples = 0

    def __repr__(self) -> str:
        return f"LossTracker(gone={_total(self._gone)}, reported={self._reported_samples})"

    def connection_opened(self, connection: Connection) -> None:
        """A new leg misses all that is gone."""
        connection.missed_speech = self._gone

    def audio_dropped(self, voiced: Spans, pool: Collection[Connection]) -> None:
        """Unsettled speech fell out of the window: who was not sent it will not be."""
        self._gone = _merged(self._gone + voiced)
        for connection in pool:
            connection.missed_speech = _merged(
                connection.missed_speech + _after(voiced, connection.cursor)
            )

    def audio_covered(
        self, connection: Connection, told: int, pool: Collection[Connection]
    ) -> None:
        """What the leg was sent of the speech before `told` is settled, for all of them."""
        if self._gone:
            self._gone = _merged(connection.missed_speech + _after(self._gone, told))
            for other in pool:
                other.missed_speech = _intersection(other.missed_speech, self._gone)

    def unreported(self, pool: Collection[Connection]) -> int:
        """Samples that are lost for certain and were not reported yet."""
        missed = [
            connection.missed_speech for connection in pool if connection.role is not Role.PROBE
        ]
        certain = reduce(_intersection, missed) if missed else self._gone
        return _total(certain) - self._reported_samples

    def mark_reported(self, samples: int) -> None:
        """So many of them were reported."""
        self._reported_samples += samples


def _total(spans: Spans) -> int:
    return sum(end - start for start, end in spans)


def _after(spans: Spans, at: int) -> Spans:
    return tuple((max(start, at), end) for start, end in spans if end > at)


def _merged(spans: Spans) -> Spans:
    """The same audio in as few spans as can be, in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def _intersection(first: Spans, second: Spans) -> Spans:
    return tuple(
        (max(a, c), min(b, d)) for a, b in first for c, d in second if max(a, c) < min(b, d)
    )

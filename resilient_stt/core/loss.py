"""What is lost for good: unsettled speech that left the window, and whom it was never sent to.

Speech is spans of session samples, in order and apart.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import reduce

from .commands import Role
from .ledger import Spans
from .leg import Leg


class Loss:
    """Counts what no living leg was sent and none can be sent any more."""

    def __init__(self) -> None:
        self._gone: Spans = ()
        """What a leg opened now could not be sent."""
        self._reported = 0

    def __repr__(self) -> str:
        return f"Loss(gone={_total(self._gone)}, reported={self._reported})"

    def opened(self, leg: Leg) -> None:
        """A new leg misses all that is gone."""
        leg.missed = self._gone

    def overflowed(self, voiced: Spans, legs: Collection[Leg]) -> None:
        """Unsettled speech fell out of the window: who was not sent it will not be."""
        self._gone = _joined(self._gone + voiced)
        for leg in legs:
            leg.missed = _joined(leg.missed + _after(voiced, leg.cursor))

    def covered(self, leg: Leg, told: int, legs: Collection[Leg]) -> None:
        """What the leg was sent of the speech before `told` is settled, for all of them."""
        if self._gone:
            self._gone = _joined(leg.missed + _after(self._gone, told))
            for other in legs:
                other.missed = _both(other.missed, self._gone)

    def news(self, legs: Collection[Leg]) -> int:
        """Samples that are lost for certain and were not reported yet."""
        missed = [leg.missed for leg in legs if leg.role is not Role.PROBE]
        certain = reduce(_both, missed) if missed else self._gone
        return _total(certain) - self._reported

    def reported(self, samples: int) -> None:
        """So many of them were reported."""
        self._reported += samples


def _total(spans: Spans) -> int:
    return sum(end - start for start, end in spans)


def _after(spans: Spans, at: int) -> Spans:
    return tuple((max(start, at), end) for start, end in spans if end > at)


def _joined(spans: Spans) -> Spans:
    """The same audio in as few spans as can be, in order."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return tuple(joined)


def _both(first: Spans, second: Spans) -> Spans:
    return tuple(
        (max(a, c), min(b, d)) for a, b in first for c, d in second if max(a, c) < min(b, d)
    )

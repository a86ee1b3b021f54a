"""An event's way from the provider to the consumer, while many streams are open.

It is counted in CPU of this process, which does nothing else: what the machine does meanwhile has
no part in it. Each stream pushes at a time of its own: events of several streams at one moment wait
for each other.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from . import in_process
from .rehearsed import of_speech
from .rounds import Rounds, alternate
from .subjects import SUBJECTS

STREAMS = 60


@dataclass(frozen=True, slots=True)
class Way:
    """The median and the 99th percentile of the way, in microseconds."""

    median: Rounds
    tail: Rounds


def measure(seconds: float = 12.0, rounds: int = 3) -> Way:
    """Measure every subject."""
    tails: dict[str, list[float]] = {subject: [] for subject in SUBJECTS}

    def median(subject: str) -> float:
        driven = in_process.run(
            subject, of_speech(), streams=STREAMS, seconds=seconds, phases=STREAMS
        )
        percentiles = statistics.quantiles(driven.ways, n=100)
        tails[subject].append(1e6 * percentiles[98])
        return 1e6 * percentiles[49]

    return Way(alternate([*SUBJECTS], rounds, median), Rounds(tails))

"""An event's way from the provider to the consumer: real time, while many streams are open."""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass

from resilient_stt.testing.harness.logs import no_logging

from .driver import drive
from .rehearsed import RehearsedSTT, of_speech
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
        with no_logging():
            ways = asyncio.run(_ways(subject, seconds))
        percentiles = statistics.quantiles(ways, n=100)
        tails[subject].append(1e6 * percentiles[98])
        return 1e6 * percentiles[49]

    return Way(alternate([*SUBJECTS], rounds, median), Rounds(tails))


async def _ways(subject: str, seconds: float) -> list[float]:
    rehearsal = of_speech()
    target = SUBJECTS[subject]([RehearsedSTT(f"provider-{n}", rehearsal) for n in range(2)])
    driven = await drive(target, rehearsal.frames, streams=STREAMS, seconds=seconds)
    await target.aclose()
    return driven.ways

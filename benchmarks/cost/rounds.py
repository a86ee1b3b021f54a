"""Rounds: everything is measured once in each, in turn, and compared within the round.

A machine is slower for seconds at a time, as another one beside it works. What is measured next to
each other suffers alike, so the ratio within a round is steadier than any time; and of the ratios
the median is taken, which one bad round does not move.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rounds:
    """What was measured, by subject; the n-th figure of each is of the n-th round."""

    figures: dict[str, list[float]]

    def median(self, subject: str) -> float:
        """The median of a subject's figures."""
        return statistics.median(self.figures[subject])

    def ratio(self, subject: str, to: str) -> float:
        """The median of the ratios of a subject to another one, within each round."""
        return statistics.median(self._paired(subject, to, lambda a, b: a / b))

    def added(self, subject: str, to: str) -> float:
        """The median of what a subject takes more than another one, within each round."""
        return statistics.median(self._paired(subject, to, lambda a, b: a - b))

    def added_ratio(self, subject: str, other: str, base: str) -> float:
        """The median of what a subject adds to a base, in multiples of what another one adds."""
        ours = self._paired(subject, base, lambda a, b: a - b)
        others = self._paired(other, base, lambda a, b: a - b)
        return statistics.median(a / b for a, b in zip(ours, others, strict=True))

    def spread(self, subject: str) -> tuple[float, float]:
        """The least and the greatest figure of a subject."""
        return min(self.figures[subject]), max(self.figures[subject])

    def _paired(
        self, subject: str, to: str, compare: Callable[[float, float], float]
    ) -> Iterator[float]:
        pairs = zip(self.figures[subject], self.figures[to], strict=True)
        return (compare(a, b) for a, b in pairs)


def alternate(subjects: Sequence[str], rounds: int, measure: Callable[[str], float]) -> Rounds:
    """Measure every subject once in each round, each round beginning with the next one."""
    figures: dict[str, list[float]] = {subject: [] for subject in subjects}
    for number in range(rounds):
        turn = number % len(subjects)
        for subject in [*subjects[turn:], *subjects[:turn]]:
            figures[subject].append(measure(subject))
    return Rounds(figures)

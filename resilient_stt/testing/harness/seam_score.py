"""Compare a joint transcript of two recognizers with the best possible one.

Two recognizers disagree, so the words spoken are not the measure. The best transcript that a
failover can give is the first one's words up to a word on which both agree, and the second one's
from there on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

import numpy as np

from ...core.transcript.tokens import SPACELESS_CHARACTERS
from ..speech.reference import SpokenWord
from .recorded import TORN

SEAM_BEFORE, SEAM_AFTER = 14.0, 3.0
"""Seconds before and after the cut in which the best seam may lie."""
AGREED = 1.0
"""Seconds by which the times of a word may differ on which two recognizers agree."""

_TOKEN = re.compile(
    rf"{TORN}?(?:[{SPACELESS_CHARACTERS}]"
    rf"|(?:(?![{SPACELESS_CHARACTERS}])[^\W_])+(?:['’][^\W_]+)*)"
)

Step = Literal["same", "changed", "twice", "lost"]


def tokens(text: str) -> list[str]:
    """Split a text into words without case and punctuation, or characters if it has no spaces."""
    return _TOKEN.findall(text.lower())


def matched(one: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Return the indexes of equal items in order, as many as `difflib` finds."""
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    return [(b.a + n, b.b + n) for b in blocks for n in range(b.size)]


@dataclass(frozen=True)
class SeamScore:
    """How a transcript differs from the best possible one.

    Attributes:
        steps: In order: what became of each word of the best transcript, and of each word that was
            emitted beside these.
    """

    steps: tuple[Step, ...]

    @property
    def lost(self) -> int:
        """Words that are missing."""
        return self.steps.count("lost")

    @property
    def twice(self) -> int:
        """Words that come beside those of the best transcript."""
        return self.steps.count("twice")

    @property
    def changed(self) -> int:
        """Words that came otherwise."""
        return self.steps.count("changed")

    @property
    def wrong(self) -> int:
        """All differences."""
        return len(self.steps) - self.steps.count("same")

    @property
    def longest_run(self) -> int:
        """The most words in a row that are lost, or that come twice."""
        return max(_longest(self.steps, "lost"), _longest(self.steps, "twice"))

    @property
    def emitted(self) -> list[Step]:
        """What each word is that was emitted, in order."""
        return [step for step in self.steps if step != "lost"]


def judge_seam(
    emitted: Sequence[str],
    first: Sequence[SpokenWord],
    second: Sequence[SpokenWord],
    cut: float,
) -> SeamScore:
    """Compare a transcript with the best possible one.

    Of the transcripts that go over from the first recognizer's words to the second's at a word on
    which both agree, near the cut, that is the one with the fewest differences.

    Args:
        emitted: The `tokens` of the transcript.
        first: What the recognizer wrote that was cut, for the whole call.
        second: What the other one wrote.
        cut: Second of the call.
    """
    one, other = _flat(first), _flat(second)
    before, after = [text for text, _ in one], [text for text, _ in other]
    seams = [
        (i + 1, j + 1)
        for i, j in matched(before, after)
        if abs(one[i][1] - other[j][1]) < AGREED
        and cut - SEAM_BEFORE < one[i][1] < cut + SEAM_AFTER
    ] or [(len(one), len(other))]
    backwards = after[::-1], emitted[::-1]
    heads, tails = edit_distances(before, emitted), edit_distances(*backwards)
    # The head and the tail meet behind some emitted word: the best place for each seam.
    costs = [heads[i] + tails[len(after) - j][::-1] for i, j in seams]
    best = min(range(len(seams)), key=lambda n: int(costs[n].min()))
    (i, j), split = seams[best], int(costs[best].argmin())
    head = _steps(before[:i], emitted[:split], heads)
    tail = _steps(backwards[0][: len(after) - j], backwards[1][: len(emitted) - split], tails)
    return SeamScore((*head, *reversed(tail)))


def _flat(words: Sequence[SpokenWord]) -> list[tuple[str, float]]:
    return [(token, word.start) for word in words for token in tokens(word.text)]


Distances = np.ndarray[tuple[int, int], np.dtype[np.int32]]


def edit_distances(ideal: Sequence[str], emitted: Sequence[str]) -> Distances:
    """Return the edit distance of each beginning of one list to each beginning of another."""
    numbers = {token: n for n, token in enumerate(dict.fromkeys([*ideal, *emitted]))}
    columns = np.array([numbers[token] for token in emitted], np.int32)
    found = np.zeros((len(ideal) + 1, len(emitted) + 1), np.int32)
    steps = np.arange(len(emitted) + 1, dtype=np.int32)
    found[0] = steps
    for row, token in enumerate(ideal, start=1):
        above = found[row - 1]
        found[row, 0] = row
        found[row, 1:] = np.minimum(above[1:] + 1, above[:-1] + (columns != numbers[token]))
        # An insertion adds one for each column that it spans: subtract that, and take the least so
        # far.
        found[row] = np.minimum.accumulate(found[row] - steps) + steps
    return found


def _steps(ideal: Sequence[str], emitted: Sequence[str], distances: Distances) -> list[Step]:
    """Return the kind of each difference, in order; `same` where there is none."""
    found: list[Step] = []
    i, j = len(ideal), len(emitted)
    while i or j:
        here = int(distances[i, j])
        if i and j and ideal[i - 1] == emitted[j - 1] and here == distances[i - 1, j - 1]:
            found.append("same")
            i, j = i - 1, j - 1
        elif i and here == distances[i - 1, j] + 1:
            found.append("lost")
            i -= 1
        elif j and here == distances[i, j - 1] + 1:
            found.append("twice")
            j -= 1
        else:
            found.append("changed")
            i, j = i - 1, j - 1
    return found[::-1]


def _longest(steps: Sequence[Step], kind: Step) -> int:
    """Return the length of the longest run of one kind."""
    best = run = 0
    for step in steps:
        run = run + 1 if step == kind else 0
        best = max(best, run)
    return best

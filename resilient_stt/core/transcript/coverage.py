"""Whether an answer tells a whole buffer, and which of two doubtful ones is believed.

A provider may lose the end of a buffer with its connection, or a message in the middle, and end as
if nothing had happened; and a cough is speech to a voice detector, and nothing to a recogniser. So
an answer that leaves speech untold is doubted, and believed if a second one knows no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..messages import TranscriptEvent
from ..policy import ReplayPolicy
from .overlap import are_usable

Stretch = tuple[float, float]
"""From a time to another, in seconds of the buffer."""


def missing_speech(
    voice: Iterable[Stretch],
    finals: Sequence[TranscriptEvent],
    seconds: float,
    policy: ReplayPolicy,
) -> float:
    """Seconds of speech of a buffer of `seconds` that none of its finals tells.

    One that has text and no times may tell any of it.
    """
    told: list[Stretch] = []
    for event in finals:
        if not event.text.strip():
            continue
        if are_usable(event.words, seconds):
            told += [(word.start, word.end) for word in event.words]
        elif event.end is not None and 0 < event.end <= seconds + 0.5:
            told.append((event.start or 0.0, event.end))
        else:
            return 0.0
    told.sort()
    return sum(_uncovered(stretch, told, policy) for stretch in voice)


def best_answer(untold: Sequence[float]) -> int | None:
    """Which answer is: one that leaves nothing untold, or of two the one that leaves less.

    None: there is only a doubtful one.
    """
    if not untold or (len(untold) == 1 and untold[0] > 0):
        return None
    return min(range(len(untold)), key=untold.__getitem__)


def _uncovered(stretch: Stretch, told: Sequence[Stretch], policy: ReplayPolicy) -> float:
    """Seconds of a stretch of voice that are in no word, nor near one, and may be words."""
    at, end = stretch
    left = 0.0
    for since, until in (*told, (end + policy.word_time_tolerance, end)):
        if (gap := min(since - policy.word_time_tolerance, end) - at) >= policy.min_pending_speech:
            left += gap
        at = max(at, until + policy.word_time_tolerance)
    return left

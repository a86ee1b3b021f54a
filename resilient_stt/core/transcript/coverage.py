"""Which speech of a buffer its transcripts cover; `recognize()` decides by it whether to ask again.

A provider may lose the end of a buffer with its connection, or a message in the middle, and still
end as if nothing had happened. On the other hand a cough is speech to a voice detector, and not to
a recognizer. So an answer that leaves speech uncovered is checked, and accepted if a second
provider covers no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..messages import TranscriptEvent
from ..policy import ReplayPolicy
from .overlap import are_usable
from .tokens import has_word

Stretch = tuple[float, float]
"""(start, end) in seconds of the buffer."""


def missing_speech(
    voice: Iterable[Stretch],
    finals: Sequence[TranscriptEvent],
    seconds: float,
    policy: ReplayPolicy,
) -> float:
    """Seconds of `voice` in a buffer of `seconds` that no final covers.

    0 if a final has text and no usable times, because it may cover anything.
    """
    covered: list[Stretch] = []
    for event in finals:
        if not has_word(event.text):
            continue
        if are_usable(event.words, seconds, policy):
            covered += [(word.start, word.end) for word in event.words]
        elif event.end is not None and 0 < event.end <= seconds + policy.max_time_error:
            covered.append((event.start or 0.0, event.end))
        else:
            return 0.0
    covered.sort()
    return sum(_uncovered(stretch, covered, policy) for stretch in voice)


def best_answer(missing: Sequence[float]) -> int | None:
    """The index of the answer to use, given the seconds of speech that each answer leaves out.

    That is the one that leaves out least. `None` if there is none, or a single one that leaves
    speech out: ask another provider then.
    """
    if not missing or (len(missing) == 1 and missing[0] > 0):
        return None
    return min(range(len(missing)), key=missing.__getitem__)


def _uncovered(stretch: Stretch, covered: Sequence[Stretch], policy: ReplayPolicy) -> float:
    """Seconds of a stretch of voice that are in no covered stretch and may hold a word.

    Covered stretches count `word_time_tolerance` wider on both sides; gaps below
    `min_pending_speech` are too short for a word.
    """
    at, end = stretch
    missing = 0.0
    for since, until in (*covered, (end + policy.word_time_tolerance, end)):
        gap = min(since - policy.word_time_tolerance, end) - at
        if gap >= policy.min_pending_speech:
            missing += gap
        at = max(at, until + policy.word_time_tolerance)
    return missing

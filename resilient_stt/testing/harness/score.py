"""Compare final transcripts with the words spoken: lost, repeated, invented or late words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from livekit.agents import stt

from ...core.transcript.tokens import SPACELESS_CHARACTERS
from ..speech.reference import SpokenWord, plain

_PIECE = re.compile(f"[{SPACELESS_CHARACTERS}]|[^{SPACELESS_CHARACTERS}]+")
"""The smallest parts of a token: single characters of a spaceless script, and all else in runs."""
_NEAR = 1.0
"""Seconds around the time at which a word was spoken within which a word out of order is matched to
it."""


@dataclass(frozen=True, slots=True)
class Final:
    """A final transcript.

    Attributes:
        text: The text as emitted.
        words: The words with their times in seconds, if the provider has any.
        at: When it was emitted, on the clock on which second `s` of the audio is pushed at `s`.
    """

    text: str
    words: tuple[SpokenWord, ...]
    at: float

    @classmethod
    def from_event(cls, event: stt.SpeechEvent, at: float) -> Final:
        """Take the best alternative of a FINAL_TRANSCRIPT event."""
        if not event.alternatives:
            return cls("", (), at)
        best = event.alternatives[0]
        words = (
            SpokenWord(str(w), w.start_time, w.end_time)
            for w in best.words or ()
            if isinstance(w.start_time, float | int) and isinstance(w.end_time, float | int)
        )
        return cls(best.text, tuple(words), at)


@dataclass(frozen=True, slots=True)
class Score:
    """How the finals differ from the words spoken. Its `str` is a summary in one line.

    Attributes:
        words: Number of words spoken.
        lost_words: Spoken words that are in no final, as spoken.
        twice_words: Words of finals that are repeated, in small letters without punctuation.
        fragment_words: Words of finals that were never spoken, such as halves, in the same form.
        in_order: Whether the words that came are in the order spoken.
        ts_err_max_s: Greatest error of a word's start or end, in seconds; None if no word has
            times.
        late_s: For each spoken word, the seconds from its end to its final; infinite if none came.
    """

    words: int
    lost_words: tuple[str, ...]
    twice_words: tuple[str, ...]
    fragment_words: tuple[str, ...]
    in_order: bool
    ts_err_max_s: float | None
    late_s: tuple[float, ...]

    @property
    def late_max_s(self) -> float | None:
        """Greatest delay of a word that came, in seconds; None if none came."""
        return max((late for late in self.late_s if late < math.inf), default=None)

    @property
    def lost(self) -> int:
        """The number of `lost_words`."""
        return len(self.lost_words)

    @property
    def twice(self) -> int:
        """The number of `twice_words`."""
        return len(self.twice_words)

    @property
    def fragments(self) -> int:
        """The number of `fragment_words`."""
        return len(self.fragment_words)

    @property
    def ok(self) -> bool:
        """Whether nothing was lost, repeated or invented, and the order is right."""
        return self.in_order and not (self.lost or self.twice or self.fragments)

    def __str__(self) -> str:
        parts = [f"{self.words} words"]
        for name in ("lost", "twice", "fragment"):
            found = getattr(self, f"{name}_words")
            parts.append(f"{len(found)} {name}" + (f" ({' '.join(found)})" if found else ""))
        return ", ".join([*parts, "in order" if self.in_order else "OUT OF ORDER"])


@dataclass(frozen=True, slots=True)
class _EmittedWord:
    """One word of a final."""

    text: str
    final: Final
    timed: SpokenWord | None


def score(spoken: Sequence[SpokenWord], finals: Sequence[Final]) -> Score:
    """Compare the finals, in the order emitted, with the words spoken.

    Case and punctuation do not count. As many words as possible are matched in order. If there is a
    choice, the words with the nearest times are matched, and then the earliest.
    """
    expected = [plain(word.text) for word in spoken]
    vocabulary = sorted(set(expected), key=len, reverse=True)
    emitted = [word for final in finals for word in _emitted_words(final, vocabulary)]
    pairs = _aligned(spoken, expected, emitted)
    moved = _moved(spoken, expected, emitted, pairs)
    found = pairs | moved
    left = [word.text for index, word in enumerate(emitted) if index not in found.values()]
    late = (
        emitted[found[index]].final.at - word.end if index in found else math.inf
        for index, word in enumerate(spoken)
    )
    return Score(
        words=len(spoken),
        lost_words=tuple(word.text for index, word in enumerate(spoken) if index not in found),
        twice_words=tuple(text for text in left if text in vocabulary),
        fragment_words=tuple(text for text in left if text not in vocabulary),
        in_order=not moved,
        ts_err_max_s=_worst_time(spoken, emitted, found),
        late_s=tuple(late),
    )


def _emitted_words(final: Final, vocabulary: Sequence[str]) -> Iterator[_EmittedWord]:
    """Split a final at its spaces, and text without spaces into the words that were spoken."""
    times = _letter_times(final)
    letter = 0
    for token in map(plain, final.text.split()):
        for text in [token] if token in vocabulary else _split(token, vocabulary):
            last = letter + len(text) - 1
            timed = SpokenWord(text, times[letter].start, times[last].end) if times else None
            yield _EmittedWord(text, final, timed)
            letter = last + 1


def _letter_times(final: Final) -> list[SpokenWord]:
    """Return the timed word of each letter of a final; empty if the words do not add up to the
    text."""
    letters = [(letter, word) for word in final.words for letter in plain(word.text)]
    if "".join(letter for letter, _ in letters) != plain(final.text):
        return []
    return [word for _, word in letters]


def _split(token: str, vocabulary: Sequence[str]) -> Iterator[str]:
    """Split a token of a script without spaces, longest words first. The rest stays whole."""
    while token:
        fitting = (word for word in vocabulary if word and _begins(token, word))
        text = next(fitting, None) or _PIECE.findall(token)[0]
        yield text
        token = token[len(text) :]


def _begins(token: str, word: str) -> bool:
    """Whether a token begins with a word that can end there."""
    rest = token[len(word) :]
    return token.startswith(word) and (not rest or len(_PIECE.findall(word[-1] + rest[0])) == 2)


def _aligned(
    spoken: Sequence[SpokenWord], expected: Sequence[str], emitted: Sequence[_EmittedWord]
) -> dict[int, int]:
    """Match spoken words with words of the finals: as many as possible, in order.

    Among equal alignments it chooses the one with the nearest times, and then the earliest finals.
    """
    best = [[0.0] * (len(emitted) + 1) for _ in range(len(spoken) + 1)]
    for i in range(len(spoken) - 1, -1, -1):
        for j in range(len(emitted) - 1, -1, -1):
            skip = max(best[i + 1][j], best[i][j + 1])
            match = best[i + 1][j + 1] + _gain(spoken[i], expected[i], emitted[j])
            best[i][j] = max(skip, match)
    pairs: dict[int, int] = {}
    i = j = 0
    while i < len(spoken) and j < len(emitted):
        gain = _gain(spoken[i], expected[i], emitted[j])
        if gain and best[i][j] == best[i + 1][j + 1] + gain:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            i += 1
    return pairs


def _gain(spoken: SpokenWord, expected: str, emitted: _EmittedWord) -> float:
    if emitted.text != expected:
        return 0.0
    return 1.0 - 1e-6 * min(_distance(spoken, emitted), 60.0)


def _distance(spoken: SpokenWord, emitted: _EmittedWord) -> float:
    """Return how many seconds a word is from where it was spoken, as far as that is known."""
    if emitted.timed is not None:
        return abs(emitted.timed.start - spoken.start)
    return max(spoken.end - emitted.final.at, 0.0)  # a word cannot be known before it is spoken


def _moved(
    spoken: Sequence[SpokenWord],
    expected: Sequence[str],
    emitted: Sequence[_EmittedWord],
    pairs: Mapping[int, int],
) -> dict[int, int]:
    """Match words that came, but not in their place."""
    surplus = [index for index in range(len(emitted)) if index not in pairs.values()]
    moved: dict[int, int] = {}
    for word in range(len(spoken)):
        fitting = [
            index
            for index in surplus
            if emitted[index].text == expected[word]
            and _distance(spoken[word], emitted[index]) < _NEAR
        ]
        if word not in pairs and fitting:
            moved[word] = min(fitting, key=lambda index: _distance(spoken[word], emitted[index]))
            surplus.remove(moved[word])
    return moved


def _worst_time(
    spoken: Sequence[SpokenWord], emitted: Sequence[_EmittedWord], found: Mapping[int, int]
) -> float | None:
    pairs = ((spoken[index], emitted[other].timed) for index, other in found.items())
    return max(
        (
            max(abs(timed.start - word.start), abs(timed.end - word.end))
            for word, timed in pairs
            if timed is not None
        ),
        default=None,
    )

"""Compares what was spoken with the final transcripts: lost, twice, invented, late."""

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
"""Seconds from where it was spoken up to which a word out of order is that word."""


@dataclass(frozen=True, slots=True)
class Final:
    """A final transcript.

    Attributes:
        text: As emitted.
        words: With their times in seconds, if the provider gives any.
        at: When it was emitted, on the clock on which second `s` of the audio is pushed at `s`.
    """

    text: str
    words: tuple[SpokenWord, ...]
    at: float

    @classmethod
    def from_event(cls, event: stt.SpeechEvent, at: float) -> Final:
        """Return the best alternative of a FINAL_TRANSCRIPT event."""
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
    """How the finals differ from what was spoken. Its `str` says it in a line.

    Attributes:
        words: How many were spoken.
        lost_words: Spoken words that no final has, as spoken.
        twice_words: Words that a final has again, in small letters without punctuation.
        fragment_words: Words of finals that were never spoken, such as halves, likewise.
        in_order: The words that came are in the order spoken.
        ts_err_max_s: Greatest error of a word's start or end, in seconds; `None` if no word has
            times.
        late_s: For each spoken word the seconds from its end to its final; infinite if none came.
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
        """Greatest delay of a word that came, in seconds; `None` if none came."""
        return max((late for late in self.late_s if late < math.inf), default=None)

    @property
    def lost(self) -> int:
        """How many `lost_words` there are."""
        return len(self.lost_words)

    @property
    def twice(self) -> int:
        """How many `twice_words` there are."""
        return len(self.twice_words)

    @property
    def fragments(self) -> int:
        """How many `fragment_words` there are."""
        return len(self.fragment_words)

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing twice, nothing invented, in order."""
        return self.in_order and not (self.lost or self.twice or self.fragments)

    def __str__(self) -> str:
        parts = [f"{self.words} words"]
        for name in ("lost", "twice", "fragment"):
            found = getattr(self, f"{name}_words")
            parts.append(f"{len(found)} {name}" + (f" ({' '.join(found)})" if found else ""))
        return ", ".join([*parts, "in order" if self.in_order else "OUT OF ORDER"])


@dataclass(frozen=True, slots=True)
class _Said:
    """One word of a final."""

    text: str
    final: Final
    timed: SpokenWord | None


def score(spoken: Sequence[SpokenWord], finals: Sequence[Final]) -> Score:
    """Compare the finals, in the order emitted, with the words spoken.

    Case and punctuation do not count. As many words as possible are matched in order; where there
    is a choice, those with the nearest times, and then the earliest.
    """
    expected = [plain(word.text) for word in spoken]
    vocabulary = sorted(set(expected), key=len, reverse=True)
    said = [word for final in finals for word in _said(final, vocabulary)]
    pairs = _aligned(spoken, expected, said)
    moved = _moved(spoken, expected, said, pairs)
    found = pairs | moved
    left = [word.text for index, word in enumerate(said) if index not in found.values()]
    late = (
        said[found[index]].final.at - word.end if index in found else math.inf
        for index, word in enumerate(spoken)
    )
    return Score(
        words=len(spoken),
        lost_words=tuple(word.text for index, word in enumerate(spoken) if index not in found),
        twice_words=tuple(text for text in left if text in vocabulary),
        fragment_words=tuple(text for text in left if text not in vocabulary),
        in_order=not moved,
        ts_err_max_s=_worst_time(spoken, said, found),
        late_s=tuple(late),
    )


def _said(final: Final, vocabulary: Sequence[str]) -> Iterator[_Said]:
    """Split a final at its spaces, and where it has none, into the words that were spoken."""
    times = _letter_times(final)
    letter = 0
    for token in map(plain, final.text.split()):
        for text in [token] if token in vocabulary else _split(token, vocabulary):
            last = letter + len(text) - 1
            timed = SpokenWord(text, times[letter].start, times[last].end) if times else None
            yield _Said(text, final, timed)
            letter = last + 1


def _letter_times(final: Final) -> list[SpokenWord]:
    """Return the timed word of every letter of a final; empty if the two do not agree."""
    letters = [(letter, word) for word in final.words for letter in plain(word.text)]
    if "".join(letter for letter, _ in letters) != plain(final.text):
        return []
    return [word for _, word in letters]


def _split(token: str, vocabulary: Sequence[str]) -> Iterator[str]:
    """Split a token where its script has no spaces, longest words first; the rest stays whole."""
    while token:
        fitting = (word for word in vocabulary if word and _begins(token, word))
        text = next(fitting, None) or _PIECE.findall(token)[0]
        yield text
        token = token[len(text) :]


def _begins(token: str, word: str) -> bool:
    """Whether a token begins with a word, and the word can end there."""
    rest = token[len(word) :]
    return token.startswith(word) and (not rest or len(_PIECE.findall(word[-1] + rest[0])) == 2)


def _aligned(
    spoken: Sequence[SpokenWord], expected: Sequence[str], said: Sequence[_Said]
) -> dict[int, int]:
    """Return which spoken word is which word of the finals: as many as possible, in order.

    Among equal alignments, that with the nearest times, and then the earliest finals.
    """
    best = [[0.0] * (len(said) + 1) for _ in range(len(spoken) + 1)]
    for i in range(len(spoken) - 1, -1, -1):
        for j in range(len(said) - 1, -1, -1):
            skip = max(best[i + 1][j], best[i][j + 1])
            match = best[i + 1][j + 1] + _gain(spoken[i], expected[i], said[j])
            best[i][j] = max(skip, match)
    pairs: dict[int, int] = {}
    i = j = 0
    while i < len(spoken) and j < len(said):
        gain = _gain(spoken[i], expected[i], said[j])
        if gain and best[i][j] == best[i + 1][j + 1] + gain:
            pairs[i] = j
            i, j = i + 1, j + 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            i += 1
    return pairs


def _gain(spoken: SpokenWord, expected: str, said: _Said) -> float:
    if said.text != expected:
        return 0.0
    return 1.0 - 1e-6 * min(_distance(spoken, said), 60.0)


def _distance(spoken: SpokenWord, said: _Said) -> float:
    """Return how many seconds a word is from where it was spoken, as far as that is known."""
    if said.timed is not None:
        return abs(said.timed.start - spoken.start)
    return max(spoken.end - said.final.at, 0.0)  # nobody knows a word before it is spoken


def _moved(
    spoken: Sequence[SpokenWord],
    expected: Sequence[str],
    said: Sequence[_Said],
    pairs: Mapping[int, int],
) -> dict[int, int]:
    """Return the words that came, but not in their place."""
    surplus = [index for index in range(len(said)) if index not in pairs.values()]
    moved: dict[int, int] = {}
    for word in range(len(spoken)):
        fitting = [
            index
            for index in surplus
            if said[index].text == expected[word] and _distance(spoken[word], said[index]) < _NEAR
        ]
        if word not in pairs and fitting:
            moved[word] = min(fitting, key=lambda index: _distance(spoken[word], said[index]))
            surplus.remove(moved[word])
    return moved


def _worst_time(
    spoken: Sequence[SpokenWord], said: Sequence[_Said], found: Mapping[int, int]
) -> float | None:
    pairs = ((spoken[index], said[other].timed) for index, other in found.items())
    return max(
        (
            max(abs(timed.start - word.start), abs(timed.end - word.end))
            for word, timed in pairs
            if timed is not None
        ),
        default=None,
    )

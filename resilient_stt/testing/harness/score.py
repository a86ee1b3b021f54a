"""Compare final transcripts with the words spoken: lost, repeated, invented or late words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from livekit.agents import stt

from ...core.transcript.tokens import SPACELESS_CHARACTERS
from ..speech.reference import SpokenWord, plain
from ..speech.written_forms import ALL_FILLERS, LONGEST, forms, is_filler, tokens

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
        lost_before_last: Those of the lost words that are followed by one that came.
    """

    words: int
    lost_words: tuple[str, ...]
    twice_words: tuple[str, ...]
    fragment_words: tuple[str, ...]
    in_order: bool
    ts_err_max_s: float | None
    late_s: tuple[float, ...]
    lost_before_last: tuple[str, ...] = ()

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


@dataclass(frozen=True, slots=True)
class _FormMatch:
    """Entries of the finals that are written for spoken words; indexes, both ends inclusive."""

    first_word: int
    last_word: int
    first_entry: int
    last_entry: int


_Forms = Mapping[tuple[str, ...], Sequence[tuple[int, int]]]
"""By what is written: the index of the first spoken word for which it can be written, and of how
many."""


def score(spoken: Sequence[SpokenWord], finals: Sequence[Final], *, accents: bool = False) -> Score:
    """Compare the finals, in the order emitted, with the words spoken.

    Case and punctuation do not count. As many words as possible are matched in order. If there is a
    choice, the words with the nearest times are matched, and then the earliest.

    With `accents`, each word may be written in any form that an `Accent` writes: a number as its
    digits, two words as one, another word in its place. Fillers do not count. Two words that are
    written as one may come although the first of them came before: they cannot be told apart.
    """
    counted = [word for word in spoken if not (accents and is_filler(word.text))]
    known = _known_forms(counted, accents=accents)
    vocabulary = sorted({token for form in known for token in form}, key=len, reverse=True)
    ignored = ALL_FILLERS if accents else frozenset()
    tellable = [*vocabulary, *ignored]
    emitted = [
        word
        for final in finals
        for word in _emitted_words(final, tellable)
        if word.text not in ignored
    ]
    matches = _aligned(counted, known, emitted)
    used = {entry for m in matches for entry in range(m.first_entry, m.last_entry + 1)}
    came = {word: m for m in matches for word in range(m.first_word, m.last_word + 1)}
    moved = _moved(counted, known, emitted, came, used)
    used |= {m.first_entry for m in moved}
    came |= {m.first_word: m for m in moved}
    left = [word.text for index, word in enumerate(emitted) if index not in used]
    late = (
        emitted[came[index].last_entry].final.at - word.end if index in came else math.inf
        for index, word in enumerate(counted)
    )
    return Score(
        words=len(counted),
        lost_words=tuple(word.text for index, word in enumerate(counted) if index not in came),
        twice_words=tuple(text for text in left if text in vocabulary),
        fragment_words=tuple(text for text in left if text not in vocabulary),
        in_order=not moved,
        ts_err_max_s=_worst_time(counted, emitted, [*matches, *moved]),
        late_s=tuple(late),
        lost_before_last=tuple(
            word.text
            for index, word in enumerate(counted)
            if index not in came and index < max(came, default=-1)
        ),
    )


def written_words(spoken: Sequence[SpokenWord], text: str) -> set[str]:
    """Return which of the words spoken a text holds, in whatever form an `Accent` writes them.

    Fillers are left out.
    """
    counted = [word for word in spoken if not is_filler(word.text)]
    known = _known_forms(counted, accents=True)
    vocabulary = sorted({token for form in known for token in form}, key=len, reverse=True)
    entries = [*_emitted_words(Final(text, (), 0.0), vocabulary)]
    matches = _aligned(counted, known, entries)
    return {counted[n].text for m in matches for n in range(m.first_word, m.last_word + 1)}


def _known_forms(spoken: Sequence[SpokenWord], *, accents: bool) -> _Forms:
    """Return everything that may be written for the words spoken, as a provider without an accent
    writes them, or in any form that there is."""
    known: dict[tuple[str, ...], list[tuple[int, int]]] = {}

    def add(text: str, first: int, count: int) -> None:
        places = known.setdefault(tokens(text) or ("",), [])
        if (first, count) not in places:
            places.append((first, count))

    for index, word in enumerate(spoken):
        add(word.text, index, 1)
        following = spoken[index : index + LONGEST]
        languages = [len(list(run)) for _, run in groupby(w.language for w in following)]
        if accents:
            texts = [w.text for w in following[: languages[0]]]
            for form in forms(texts, word.language):
                add(form.text, index, form.length)
    return known


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
    spoken: Sequence[SpokenWord], known: _Forms, emitted: Sequence[_EmittedWord]
) -> list[_FormMatch]:
    """Match spoken words with words of the finals: as many as possible, in order.

    Among equal alignments it chooses the one with the nearest times, and then the earliest finals.
    """
    options = list(_options(spoken, known, emitted))
    best = [[0.0] * (len(emitted) + 1) for _ in range(len(spoken) + 1)]
    for i in range(len(spoken) - 1, -1, -1):
        for j in range(len(emitted) - 1, -1, -1):
            gains = (_gain_after(best, option, i) for option in options[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], *gains)
    found: list[_FormMatch] = []
    i = j = 0
    while i < len(spoken) and j < len(emitted):
        chosen = next((o for o in options[j] if best[i][j] == _gain_after(best, o, i)), None)
        if chosen is not None:
            found.append(chosen[0])
            i, j = chosen[0].last_word + 1, chosen[0].last_entry + 1
        elif best[i][j] == best[i][j + 1]:
            j += 1
        else:
            i += 1
    return found


_Option = tuple[_FormMatch, float]
"""A match, and how many seconds it is from where the words were spoken."""


def _options(
    spoken: Sequence[SpokenWord], known: _Forms, emitted: Sequence[_EmittedWord]
) -> Iterator[list[_Option]]:
    """Yield, for each word of the finals, what may be written from there on."""
    most = max(map(len, known), default=0)
    for j, entry in enumerate(emitted):
        texts = [e.text for e in emitted[j : j + most]]
        found: list[_Option] = []
        for length in range(1, len(texts) + 1):
            for first, count in known.get(tuple(texts[:length]), ()):
                written = _FormMatch(first, first + count - 1, j, j + length - 1)
                found.append((written, _distance(spoken[first], entry)))
        yield found


def _gain_after(best: Sequence[Sequence[float]], option: _Option, i: int) -> float:
    """Return the most words that match if the next `i` of them are spoken for, with this option.

    The option may begin before `i` if it also has a word from there on: "long", then "longterm".
    """
    written, distance = option
    one_entry = written.first_entry == written.last_entry
    if not (written.first_word == i or (written.first_word < i <= written.last_word and one_entry)):
        return 0.0
    new = written.last_word + 1 - i
    # Of "60 billion dollars" no word is left over, though "$60 billion" would be the same.
    longer = written.last_entry - written.first_entry
    rest = best[written.last_word + 1][written.last_entry + 1]
    return rest + new + 1e-3 * longer - 1e-6 * min(distance, 60.0)


def _distance(spoken: SpokenWord, emitted: _EmittedWord) -> float:
    """Return how many seconds a word is from where it was spoken, as far as that is known."""
    if emitted.timed is not None:
        return abs(emitted.timed.start - spoken.start)
    return max(spoken.end - emitted.final.at, 0.0)  # a word cannot be known before it is spoken


def _moved(
    spoken: Sequence[SpokenWord],
    known: _Forms,
    emitted: Sequence[_EmittedWord],
    came: Mapping[int, _FormMatch],
    used: set[int],
) -> list[_FormMatch]:
    """Match words that came, but not in their place."""
    surplus = [index for index in range(len(emitted)) if index not in used]
    moved: list[_FormMatch] = []
    for word in range(len(spoken)):
        fitting = [
            index
            for index in surplus
            if (word, 1) in known.get((emitted[index].text,), ())
            and _distance(spoken[word], emitted[index]) < _NEAR
        ]
        if word not in came and fitting:
            nearest = min(fitting, key=lambda index: _distance(spoken[word], emitted[index]))
            moved.append(_FormMatch(word, word, nearest, nearest))
            surplus.remove(nearest)
    return moved


def _worst_time(
    spoken: Sequence[SpokenWord], emitted: Sequence[_EmittedWord], found: Sequence[_FormMatch]
) -> float | None:
    return max(
        (e for written in found for e in _time_errors(spoken, emitted, written)), default=None
    )


def _time_errors(
    spoken: Sequence[SpokenWord], emitted: Sequence[_EmittedWord], written: _FormMatch
) -> Iterator[float]:
    """Yield the errors of a form's start and end, as far as it has times."""
    first, last = emitted[written.first_entry].timed, emitted[written.last_entry].timed
    if first is not None:
        yield abs(first.start - spoken[written.first_word].start)
    if last is not None:
        yield abs(last.end - spoken[written.last_word].end)

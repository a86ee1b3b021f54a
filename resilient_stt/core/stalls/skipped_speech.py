"""Voice that a FINAL passes over: a provider may lose one final and go on with the next.

The times of the next alone would settle what was lost. A cough is passed over as well, and is no
reason to wait: so either the leg itself had told words there, or the voice is long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..messages import Word
from ..policy import WatchdogPolicy
from ..transcript.overlap import Utterance
from ..transcript.tokens import is_similar, is_spaced, tokenize

MAX_INTERIM_WORDS = 64
"""Words of interim transcripts that are remembered, more than the window has between two finals of
any provider that gives them."""

WORD_JITTER = 0.1
"""Seconds by which a provider moves a word between an interim transcript and the final."""

MAX_WORD_SHIFT = 0.5
"""Seconds by which it moves one at most, and still means the same word."""

MIN_COMPARED_WORDS = 3
"""Words that a beginning without times has at least, to be told from another; of scripts without
spaces twice as many characters."""

COMPARED_WORDS = 8
"""Words of it that are looked at."""


class InterimTracker:
    """What a leg told in interim transcripts since its last FINAL, on session time."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._untimed = Utterance("")
        """The last without times."""
        self._skipped: list[Word] = []
        """The same that another did not go on with."""

    def __repr__(self) -> str:
        return f"InterimTracker({len(self._words) + len(self._skipped)})"

    def add_interim(self, event: Utterance) -> float | None:
        """An interim transcript tells anew what comes after its first word, and nothing before.

        One without times tells all anew. Returns where it begins, if that passes over others.
        """
        if words := _timed_words(event):
            passed = self._before(words[0])
            self._words = [*passed, *words][-MAX_INTERIM_WORDS:]
            return words[0].start if passed else None
        if event.text.strip():
            self._replace_untimed(event)
        return None

    def take_skipped(self, event: Utterance) -> tuple[Word, ...]:
        """A FINAL ends them all; returns those that it passes over, those without times at
        infinity."""
        passed: list[Word] = []
        if not (words := _timed_words(event)):
            self._replace_untimed(event, final=True)
        elif before := self._before(words[0]):
            found = [t.norm for t in tokenize(event.text, event.language)]
            passed = [
                w for w in before if not _was_shifted(w, words[0].start, found, event.language)
            ]
        passed = [*self._skipped, *passed]
        self._words, self._skipped, self._untimed = [], [], Utterance("")
        return tuple(passed)

    def _before(self, first: Word) -> list[Word]:
        return [w for w in self._words if (w.start + w.end) / 2 < first.start - WORD_JITTER]

    def _replace_untimed(self, event: Utterance, *, final: bool = False) -> None:
        """Take a text without times, which may be of another turn than the one before.

        A turn only grows before its FINAL, and that has a word in common with what was told of it,
        if it is not for the numbers that are written in digits.
        """
        before, found = _first_words(self._untimed), _first_words(event, 2 * COMPARED_WORDS)
        again = _count_found(before, found)
        other = not again if final else again < len(before) / 2 and len(found) < len(before)
        digits = any(map(str.isdigit, event.text)) and not any(map(str.isdigit, self._untimed.text))
        if len(before) >= _min_compared(before) and other and not digits:
            self._skipped = [Word(self._untimed.text, math.inf, math.inf)]
        self._untimed = event


@dataclass(frozen=True, slots=True)
class SkippedSpeech:
    """Voice before the first new word of a FINAL, which that does not tell."""

    since: float
    """Since when it is looked into."""
    committed_through: int
    """The session sample up to which all was settled then."""
    interims_through: int
    """The session sample up to which the leg itself had told words of it, or `end`."""
    first_word_at: int
    """The session sample at which that word begins, at the latest."""
    end: int
    """The session sample at which the FINAL ends, at the latest."""
    final: Utterance
    """What is new of it."""
    speech: float
    """Seconds of voice in it."""
    had_interims: bool
    """The leg itself had told words of it in interim transcripts."""

    def is_covered_by(self, news: Utterance, tolerance: float, *, final: bool) -> bool | None:
        """Whether another leg's first new words are of the gap; `None` as long as it is open.

        `tolerance`: seconds by which two providers disagree about a word's time. `final`: it has
        told all of them.
        """
        mine, theirs = _first_words(self.final), _first_words(news)
        begins, told = self.final.start, news.start
        if begins is not None and told is not None:
            if abs(told - begins) <= tolerance and _count_found(mine[:1], theirs[:1]):
                return False
            return told < begins - tolerance / 2
        few = len(mine) < _min_compared(mine)  # so few words anything may begin with
        if few and len(theirs) > 2 * len(mine) + 1:
            return True
        mine = mine[: _min_compared(mine)]
        if len(theirs) < len(mine) or (few and not final):
            return None
        return _words_before(mine, theirs) != 0


def find_skipped(
    ledger: AudioLedger,
    policy: WatchdogPolicy,
    new: Utterance,
    passed: Sequence[Word],
    heard: int,
    now: float,
    scale: float,
) -> SkippedSpeech | None:
    """The gap before the new words of a FINAL, if it may hold others.

    `passed`: the leg's own words that the FINAL passes over. `heard`: how far it had heard the
    session. `scale` stretches how much voice without any is suspect.
    """
    watermark = ledger.seconds(ledger.watermark)
    drafts = [w.end for w in passed if (w.start + w.end) / 2 > watermark]
    drafted = bool(drafts)
    to = end = heard
    if new.start is not None and new.end is not None:
        to, end = min(ledger.samples(new.start), heard), min(ledger.samples(new.end), heard)
    elif not drafted:
        return None
    voice = ledger.seconds(ledger.voiced_samples(ledger.watermark, to))
    if not ledger.vad_enabled or voice < (
        policy.min_skipped_speech_with_interims if drafted else scale * policy.min_skipped_speech
    ):
        return None
    last = max(drafts, default=math.inf)
    told_to = end if math.isinf(last) else min(ledger.samples(last), end)
    return SkippedSpeech(now, ledger.watermark, told_to, to, end, new, voice, drafted)


def _first_words(event: Utterance, most: int = COMPARED_WORDS) -> list[str]:
    """Its first words, as far as they are compared; a word has no more letters than a dozen."""
    return [t.norm for t in tokenize(event.text[: 12 * most], event.language)[:most]]


def _min_compared(beginning: Sequence[str]) -> int:
    """How many of its words tell it from another."""
    spaced = not beginning or is_spaced(beginning[0])
    return MIN_COMPARED_WORDS if spaced else 2 * MIN_COMPARED_WORDS


def _words_before(mine: Sequence[str], theirs: Sequence[str]) -> int | None:
    """How many words the second has before those that both have; `None` if they have none."""
    for place, word in enumerate(mine):
        for other, told in enumerate(theirs):
            if is_similar(word, told):
                return max(0, other - place)
    return None


def _count_found(words: Sequence[str], among: Sequence[str]) -> int:
    """How many of the words are among others, in any order."""
    return sum(any(is_similar(word, other) for other in among) for word in words)


def _timed_words(event: Utterance) -> tuple[Word, ...]:
    """Its words; all of it as one, where only that has times."""
    if event.words or event.start is None or event.end is None or not event.text.strip():
        return event.words
    return (Word(event.text, event.start, event.end),)


def _was_shifted(word: Word, begins: float, found: Sequence[str], language: str) -> bool:
    """Whether a FINAL that begins there tells the word all the same, a little later."""
    if word.end < begins - MAX_WORD_SHIFT:
        return False
    own = [t.norm for t in tokenize(word.text, language)]
    return _count_found(own, found) == len(own)

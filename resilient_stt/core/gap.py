"""Voice that a FINAL passes over: a provider may lose one final and go on with the next.

The times of the next alone would settle what was lost. A cough is passed over as well, and is no
reason to wait: so either the leg itself had told words there, or the voice is long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .inputs import Word
from .ledger import Ledger
from .policy import WatchdogPolicy
from .text import similar, tokens
from .transcript import Utterance

DRAFTED = 64
"""Words of interim transcripts that are remembered, more than the window has between two finals of
any provider that gives them."""

WAVERS = 0.1
"""Seconds by which a provider moves a word between an interim transcript and the final."""

REVISED = 0.5
"""Seconds by which it moves one at most, and still means the same word."""

COMPARED = 3
"""Words from which on two beginnings without times are the same."""


class Drafts:
    """What a leg told in interim transcripts since its last FINAL, on session time."""

    def __init__(self) -> None:
        self._words: list[Word] = []

    def __repr__(self) -> str:
        return f"Drafts({len(self._words)})"

    def interim(self, said: Utterance) -> None:
        """An interim transcript tells anew what comes after its first word, and nothing before."""
        if words := _timed(said):
            self._words = [*self._before(words[0]), *words][-DRAFTED:]

    def final(self, said: Utterance) -> tuple[Word, ...]:
        """A FINAL ends them all; returns those that it passes over."""
        words = _timed(said)
        passed = self._before(words[0]) if words else []
        self._words = []
        found = [t.norm for t in tokens(said.text, said.language)]
        return tuple(w for w in passed if not _moved(w, words[0].start, found, said.language))

    def _before(self, first: Word) -> list[Word]:
        return [w for w in self._words if (w.start + w.end) / 2 < first.start - WAVERS]


@dataclass(frozen=True, slots=True)
class Gap:
    """Voice before the first new word of a FINAL, which that does not tell."""

    at: float
    """Since when it is looked into."""
    to: int
    """The session sample at which that word begins."""
    end: int
    """The session sample at which the FINAL ends."""
    final: Utterance
    """What is new of it."""
    drafted: bool
    """The leg itself had told words of it in interim transcripts."""

    def is_told_by(self, news: Utterance, tolerance: float) -> bool | None:
        """Whether another leg's first new words are of the gap; `None` as long as it is open.

        `tolerance`: seconds by which two providers disagree about a word's time.
        """
        begins = self.final.start or 0.0
        if news.start is not None and abs(news.start - begins) > tolerance:
            return news.start < begins
        mine = tokens(self.final.text, self.final.language)[:COMPARED]
        theirs = tokens(news.text, news.language)[:COMPARED]
        if any(not similar(a.norm, b.norm) for a, b in zip(mine, theirs, strict=False)):
            return True
        timed = news.start is not None
        return False if timed or len(theirs) >= len(mine) else None


def find(
    ledger: Ledger,
    policy: WatchdogPolicy,
    new: Utterance,
    passed: Sequence[Word],
    now: float,
    scale: float,
) -> Gap | None:
    """The gap before the new words of a FINAL, if it may hold others.

    `passed`: the leg's own words that the FINAL passes over. `scale` stretches how much voice
    without any is suspect.
    """
    if new.start is None or new.end is None or not ledger.hears:
        return None
    to = min(ledger.samples(new.start), ledger.end)
    voice = ledger.seconds(ledger.voiced(ledger.watermark, to))
    watermark = ledger.seconds(ledger.watermark)
    drafted = any((w.start + w.end) / 2 > watermark for w in passed)
    if voice < (policy.skipped_drafted if drafted else scale * policy.skipped_voiced):
        return None
    return Gap(now, to, min(ledger.samples(new.end), ledger.end), new, drafted)


def _timed(said: Utterance) -> tuple[Word, ...]:
    """Its words; all of it as one, where only that has times."""
    if said.words or said.start is None or said.end is None or not said.text.strip():
        return said.words
    return (Word(said.text, said.start, said.end),)


def _moved(word: Word, begins: float, found: Sequence[str], language: str) -> bool:
    """Whether a FINAL that begins there tells the word all the same, a little later."""
    if word.end < begins - REVISED:
        return False
    own = tokens(word.text, language)
    return all(any(similar(t.norm, other) for other in found) for t in own)

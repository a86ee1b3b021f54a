"""Voice that a FINAL passes over: a provider may lose one final and go on with the next.

The times of the next alone would settle what was lost. A cough is passed over as well, and is no
reason to wait: so either the leg itself had told words there, or the voice is long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .inputs import Word
from .ledger import Ledger
from .policy import WatchdogPolicy
from .text import similar, tokens, written_with_spaces
from .transcript import Utterance

DRAFTED = 64
"""Words of interim transcripts that are remembered, more than the window has between two finals of
any provider that gives them."""

WAVERS = 0.1
"""Seconds by which a provider moves a word between an interim transcript and the final."""

REVISED = 0.5
"""Seconds by which it moves one at most, and still means the same word."""

COMPARED = 3
"""Words that a beginning without times has at least, to be told from another; of scripts without
spaces twice as many characters."""

BEGINNING = 8
"""Words of it that are looked at."""


class Drafts:
    """What a leg told in interim transcripts since its last FINAL, on session time."""

    def __init__(self) -> None:
        self._words: list[Word] = []
        self._turn = Utterance("")
        """The last without times."""
        self._left: list[Word] = []
        """The same that another did not go on with."""

    def __repr__(self) -> str:
        return f"Drafts({len(self._words) + len(self._left)})"

    def interim(self, said: Utterance) -> float | None:
        """An interim transcript tells anew what comes after its first word, and nothing before.

        One without times tells all anew. Returns where it begins, if that passes over others.
        """
        if words := _timed(said):
            passed = self._before(words[0])
            self._words = [*passed, *words][-DRAFTED:]
            return words[0].start if passed else None
        if said.text.strip():
            self._goes_on(said)
        return None

    def final(self, said: Utterance) -> tuple[Word, ...]:
        """A FINAL ends them all; returns those that it passes over, those without times at
        infinity."""
        passed: list[Word] = []
        if not (words := _timed(said)):
            self._goes_on(said, final=True)
        elif before := self._before(words[0]):
            found = [t.norm for t in tokens(said.text, said.language)]
            passed = [w for w in before if not _moved(w, words[0].start, found, said.language)]
        passed = [*self._left, *passed]
        self._words, self._left, self._turn = [], [], Utterance("")
        return tuple(passed)

    def _before(self, first: Word) -> list[Word]:
        return [w for w in self._words if (w.start + w.end) / 2 < first.start - WAVERS]

    def _goes_on(self, said: Utterance, *, final: bool = False) -> None:
        """Take a text without times, which may be of another turn than the one before.

        A turn only grows before its FINAL, and that has a word in common with what was told of it,
        if it is not for the numbers that are written in digits.
        """
        before, found = _beginning(self._turn), _beginning(said, 2 * BEGINNING)
        again = _found(before, found)
        other = not again if final else again < len(before) / 2 and len(found) < len(before)
        digits = any(map(str.isdigit, said.text)) and not any(map(str.isdigit, self._turn.text))
        if len(before) >= _least(before) and other and not digits:
            self._left = [Word(self._turn.text, math.inf, math.inf)]
        self._turn = said


@dataclass(frozen=True, slots=True)
class Gap:
    """Voice before the first new word of a FINAL, which that does not tell."""

    at: float
    """Since when it is looked into."""
    since: int
    """The session sample up to which all was settled then."""
    told_to: int
    """The session sample up to which the leg itself had told words of it, or `end`."""
    to: int
    """The session sample at which that word begins, at the latest."""
    end: int
    """The session sample at which the FINAL ends, at the latest."""
    final: Utterance
    """What is new of it."""
    voice: float
    """Seconds of voice in it."""
    drafted: bool
    """The leg itself had told words of it in interim transcripts."""

    def is_told_by(self, news: Utterance, tolerance: float, *, final: bool) -> bool | None:
        """Whether another leg's first new words are of the gap; `None` as long as it is open.

        `tolerance`: seconds by which two providers disagree about a word's time. `final`: it has
        told all of them.
        """
        mine, theirs = _beginning(self.final), _beginning(news)
        begins, told = self.final.start, news.start
        if begins is not None and told is not None:
            if abs(told - begins) <= tolerance and _found(mine[:1], theirs[:1]):
                return False
            return told < begins - tolerance / 2
        few = len(mine) < _least(mine)  # so few words anything may begin with
        if few and len(theirs) > 2 * len(mine) + 1:
            return True
        mine = mine[: _least(mine)]
        if len(theirs) < len(mine) or (few and not final):
            return None
        return _words_before(mine, theirs) != 0


def find(
    ledger: Ledger,
    policy: WatchdogPolicy,
    new: Utterance,
    passed: Sequence[Word],
    heard: int,
    now: float,
    scale: float,
) -> Gap | None:
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
    voice = ledger.seconds(ledger.voiced(ledger.watermark, to))
    if not ledger.hears or voice < (
        policy.skipped_drafted if drafted else scale * policy.skipped_voiced
    ):
        return None
    last = max(drafts, default=math.inf)
    told_to = end if math.isinf(last) else min(ledger.samples(last), end)
    return Gap(now, ledger.watermark, told_to, to, end, new, voice, drafted)


def _beginning(said: Utterance, most: int = BEGINNING) -> list[str]:
    """Its first words, as far as they are compared; a word has no more letters than a dozen."""
    return [t.norm for t in tokens(said.text[: 12 * most], said.language)[:most]]


def _least(beginning: Sequence[str]) -> int:
    """How many of its words tell it from another."""
    spaced = not beginning or written_with_spaces(beginning[0])
    return COMPARED if spaced else 2 * COMPARED


def _words_before(mine: Sequence[str], theirs: Sequence[str]) -> int | None:
    """How many words the second has before those that both have; `None` if they have none."""
    for place, word in enumerate(mine):
        for other, told in enumerate(theirs):
            if similar(word, told):
                return max(0, other - place)
    return None


def _found(words: Sequence[str], among: Sequence[str]) -> int:
    """How many of the words are among others, in any order."""
    return sum(any(similar(word, other) for other in among) for word in words)


def _timed(said: Utterance) -> tuple[Word, ...]:
    """Its words; all of it as one, where only that has times."""
    if said.words or said.start is None or said.end is None or not said.text.strip():
        return said.words
    return (Word(said.text, said.start, said.end),)


def _moved(word: Word, begins: float, found: Sequence[str], language: str) -> bool:
    """Whether a FINAL that begins there tells the word all the same, a little later."""
    if word.end < begins - REVISED:
        return False
    own = [t.norm for t in tokens(word.text, language)]
    return _found(own, found) == len(own)

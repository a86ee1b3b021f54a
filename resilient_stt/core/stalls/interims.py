"""Words of a connection's interim transcripts that its next FINAL skips.

A provider may lose one final and go on with the next. Its interim transcripts are then the only
trace of the words in between, and the best reason to ask another provider about them.

With word times: an interim transcript revises everything after the start of its first word, and
leaves the words before alone. What is left when a FINAL comes, and lies before that FINAL, was
skipped.

Without times: a text that has little in common with the text before it belongs to another turn. If
no FINAL has ended the turn before, that turn was skipped. Its words get infinite times, since it is
not known when they were spoken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..messages import Word
from ..policy import WatchdogPolicy
from ..transcript.overlap import Utterance
from ..transcript.tokens import is_spaced, tokenize
from .opening_words import MAX_OPENING_WORDS, count_shared, distinctive_length, opening_words

MAX_INTERIM_WORDS = 64
"""Words that are remembered. It only bounds memory: the replay window holds fewer words between two
finals of any provider that gives interim transcripts."""


class InterimTracker:
    """The words of one connection's interim transcripts since its last FINAL.

    Times are session time, in seconds.
    """

    def __init__(self, policy: WatchdogPolicy) -> None:
        self._policy = policy
        self._words: list[Word] = []
        self._untimed = Utterance("")
        """The last text that had no times."""
        self._skipped: list[Word] = []
        """The text without times that was followed by that of another turn."""

    def __repr__(self) -> str:
        return f"InterimTracker({len(self._words) + len(self._skipped)} words)"

    def add_interim(self, interim: Utterance) -> float | None:
        """Take an interim transcript.

        Returns the session time at which it begins, if it leaves earlier words alone: then the
        provider has gone on to what follows them. `None` if it does not, or has no times.
        """
        if words := _timed_words(interim):
            kept = self._words_before(words[0])
            self._words = [*kept, *words][-MAX_INTERIM_WORDS:]
            return words[0].start if kept else None
        if interim.text.strip():
            self._replace_untimed(interim, is_final=False)
        return None

    def take_skipped(self, final: Utterance) -> tuple[Word, ...]:
        """Take a FINAL, forget all interim transcripts, and return the words that it skips."""
        skipped: list[Word] = []
        if not (words := _timed_words(final)):
            self._replace_untimed(final, is_final=True)
        elif before := self._words_before(words[0]):
            found = [token.norm for token in tokenize(final.text, final.language)]
            skipped = [
                word
                for word in before
                if not self._was_shifted(word, words[0].start, found, final.language)
            ]
        skipped = [*self._skipped, *skipped]
        self._words, self._skipped, self._untimed = [], [], Utterance("")
        return tuple(skipped)

    def unfinished(self, latest: Utterance) -> Utterance | None:
        """Return all words that no FINAL has followed yet; `None` if there are none.

        `latest`: the last interim transcript, which is returned itself if it holds all of them.
        """
        words = tuple(self._words)
        if words and words == latest.words:
            return latest
        if words:
            text, timed = _joined([word.text for word in words]), words if latest.words else ()
            return Utterance(text, timed, words[0].start, words[-1].end, latest.language)
        text = _joined([word.text for word in self._skipped] + [self._untimed.text])
        return Utterance(text, language=latest.language) if text else None

    def _words_before(self, first: Word) -> list[Word]:
        """Return the words that are over before `first` begins."""
        # A provider moves a word a little from one transcript to the next. Without the tolerance
        # the old copy of a word would stay before its own revision.
        limit = first.start - self._policy.interim_word_jitter
        return [word for word in self._words if (word.start + word.end) / 2 < limit]

    def _was_shifted(
        self, word: Word, final_start: float, found: Sequence[str], language: str
    ) -> bool:
        """Return whether the FINAL holds the word after all, only a little later."""
        # `found` are the words of the whole FINAL. Without the bound, a word that the user repeats
        # would pass for its copy from long before.
        if word.end < final_start - self._policy.max_interim_word_shift:
            return False
        own = [token.norm for token in tokenize(word.text, language)]
        return count_shared(own, found) == len(own)

    def _replace_untimed(self, utterance: Utterance, *, is_final: bool) -> None:
        """Take a text without times; note the one before as skipped if it is of another turn."""
        before = opening_words(self._untimed)
        # Twice as many of the new text: its turn may have gained words at its beginning.
        found = opening_words(utterance, 2 * MAX_OPENING_WORDS)
        shared = count_shared(before, found)
        if is_final:
            # A FINAL may revise its whole turn, but not every word of it.
            is_other_turn = shared == 0
        else:
            # Before its FINAL a turn grows, so that a shorter text of mostly other words is new.
            is_other_turn = shared < len(before) / 2 and len(found) < len(before)
        # "twenty one" becomes "21" in a final: numbers that are written out share no word with
        # those in digits, and that is no reason to leave a provider (commit 7dc8ea5).
        became_digits = _has_digits(utterance) and not _has_digits(self._untimed)
        # A revision may well replace one or two words, and they prove nothing.
        is_distinctive = len(before) >= distinctive_length(before, self._policy.min_compared_words)
        if is_distinctive and is_other_turn and not became_digits:
            self._skipped = [Word(self._untimed.text, math.inf, math.inf)]
        self._untimed = utterance


def _timed_words(utterance: Utterance) -> tuple[Word, ...]:
    """Return the words of an utterance; all of it as one word where only that has times."""
    has_own_times = utterance.start is not None and utterance.end is not None
    if utterance.words or not has_own_times or not utterance.text.strip():
        return utterance.words
    assert utterance.start is not None
    assert utterance.end is not None
    return (Word(utterance.text, utterance.start, utterance.end),)


def _joined(texts: Sequence[str]) -> str:
    """Join texts that follow one another; without spaces in scripts that have none."""
    joined = ""
    for text in filter(None, map(str.strip, texts)):
        gap = " " if joined and is_spaced(joined[-1]) and is_spaced(text[0]) else ""
        joined += gap + text
    return joined


def _has_digits(utterance: Utterance) -> bool:
    return any(map(str.isdigit, utterance.text))

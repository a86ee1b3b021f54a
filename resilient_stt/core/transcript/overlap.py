"""What was committed, and what of a new leg's text is new."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..messages import Word
from ..policy import ReplayPolicy
from .tokens import Token, is_similar, match_repeated, tokenize

MAX_TOKENS = 512
"""Committed words kept for the seam: at most what the replay window can hold of fast speech."""

ROUNDING = 0.001
"""Seconds by which equal times differ after having been samples."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a leg said, on session time (seconds); no `words` where it gave no usable times."""

    text: str
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    language: str = ""


@dataclass(slots=True)
class CommittedToken:
    """A token that was given to the consumer, and its times; without `start` it ended by `end`."""

    norm: str
    written: str
    start: float | None
    end: float


class TranscriptHistory:
    """The committed words of a session."""

    def __init__(self, policy: ReplayPolicy) -> None:
        self._policy = policy
        self._tokens: deque[CommittedToken] = deque(maxlen=MAX_TOKENS)

    def __repr__(self) -> str:
        return f"TranscriptHistory(committed={len(self._tokens)})"

    def record(self, utterance: Utterance, heard: float) -> None:
        """These words were emitted in a FINAL of a leg that had been sent audio up to `heard`."""
        language = utterance.language
        if utterance.words:
            for word in utterance.words:
                for token in tokenize(word.text, language):
                    norm, written = token.norm, token.written
                    self._tokens.append(CommittedToken(norm, written, word.start, word.end))
        else:
            end = heard if utterance.end is None else min(heard, utterance.end)
            for token in tokenize(utterance.text, language):
                self._tokens.append(CommittedToken(token.norm, token.written, None, end))

    def replay_start(self, watermark: float, oldest: float) -> float | None:
        """The best place between words to begin a replay: before the last settled word or two.

        The wider of the two gaps wins: between words spoken without a gap, even exact times cut the
        neighbour's sound. `None` if no settled word with times is young enough.
        """
        spans = list(dict.fromkeys((c.start, c.end) for c in self._tokens if c.start is not None))[
            -3:
        ]
        best: tuple[float, float] | None = None
        for index, (start, _) in enumerate(spans):
            if index == 0 and len(spans) == 3:
                continue  # known only as the second word's neighbour
            before = spans[index - 1][1] if index else oldest
            place = min(start, max(start - self._policy.trim_silence_to / 2, (before + start) / 2))
            gap = start - place
            if oldest <= place < watermark and (best is None or gap > best[0]):
                best = (gap, place)
        return best[1] if best else None

    def trimmer(
        self,
        boundary: float,
        replay_from: float,
        voiced_until: Callable[[float], float],
        *,
        starts_mid_word: bool,
    ) -> OverlapTrimmer:
        """The seam for a leg whose audio begins at `replay_from`, the watermark at `boundary`.

        `last_voice_end`: where the last voice before a time ended. `starts_mid_word`: the audio begins in the
        middle of speech.
        """
        told = [
            c
            for c in self._tokens
            if (voiced_until(c.end) if c.start is None else (c.start + c.end) / 2) > replay_from
        ]
        return OverlapTrimmer(
            boundary,
            replay_from,
            told,
            self._policy.word_time_tolerance,
            starts_mid_word=starts_mid_word,
        )


class OverlapTrimmer:
    """Removes from a leg's text what earlier legs have told already.

    Open until the leg has told all of it again, or said something new in a FINAL: repetition inside
    one leg's own text is speech ("no no no"), never a seam.
    """

    def __init__(
        self,
        boundary: float,
        replay_from: float,
        told: Sequence[CommittedToken],
        tolerance: float,
        *,
        starts_mid_word: bool,
    ) -> None:
        self._boundary = boundary
        self._replay_from = replay_from
        self._history = list(told)
        self._untimed_beyond = any(c.start is None and c.end > boundary + ROUNDING for c in told)
        """Words were told beyond the boundary: only their text can say which."""
        self._tolerance = tolerance
        self._first = True
        self._starts_mid_word = starts_mid_word and bool(told)
        self.open = bool(told) or replay_from < boundary

    def __repr__(self) -> str:
        return f"OverlapTrimmer(boundary={self._boundary:.3f}, told={len(self._history)}, open={self.open})"

    @property
    def expects_repeats(self) -> bool:
        """Whether words that were told are in what the leg hears, and it has still to tell them."""
        return bool(self._history) and not self._starts_mid_word

    def trim(self, utterance: Utterance) -> Utterance | None:
        """What of it is new; `None` if nothing is."""
        found = tokenize(utterance.text, utterance.language)
        if not self.open:
            return utterance if utterance.text.strip() else None
        if not found:
            return None
        if utterance.end is not None and not self._untimed_beyond:
            if utterance.words:
                return _without_words(utterance, self._by_time(utterance), found)
            if utterance.end <= self._boundary:
                return None
        return _without_tokens(utterance, self._by_text(utterance, found)[0], found)

    def observe_final(self, utterance: Utterance, kept: Utterance | None) -> bool:
        """A FINAL went through: `kept` of it was new. Whether it began with what is settled."""
        found = tokenize(utterance.text, utterance.language)
        if not (self.open and found):
            self.open = self.open and kept is None
            return False
        used = self._by_text(utterance, found)[1]
        again = self._history[:used]
        for told in again:  # without times it was known only by when it had been heard
            if told.start is None and utterance.end is not None:
                told.end = min(told.end, utterance.end)
        if kept is not None:
            self.open = False
            return self._is_committed(again)
        del self._history[:used]
        self._first = False
        if used and not self._history:
            self.open = False  # all is told again: a clock that is early must not cost the next
        return self._is_committed(again)

    def _is_committed(self, told: list[CommittedToken]) -> bool:
        """Whether all of these, and there are some, lie before the boundary."""
        return bool(told) and all(c.end <= self._boundary + ROUNDING for c in told)

    def _by_text(self, utterance: Utterance, found: list[Token]) -> tuple[int, int]:
        """How many leading tokens are re-told, and how many of the told ones that uses up.

        The first token of a leg may be the torn rest of a word, where its audio begins.
        """
        count, used = match_repeated(self._history, found, _same)
        start = self._replay_from if utterance.start is None else utterance.start
        if count or not self._first or start > self._replay_from + self._tolerance:
            return count, used
        count, used = match_repeated(self._history, found[1:], _same)
        return (count + 1, used) if count or self._starts_mid_word else (0, 0)

    def _by_time(self, utterance: Utterance) -> int:
        """How many leading words lie before the boundary, the text deciding where times waver."""
        words = utterance.words
        certain = _count_leading(words, self._boundary - self._tolerance)
        possible = _count_leading(words, self._boundary + self._tolerance)
        middle = _count_leading(words, self._boundary)
        language = utterance.language
        found = [tokenize(w.text, language) for w in words[:possible]]
        ranked = [
            (self._agreement(found[:k]), -abs(k - middle), k) for k in range(certain, possible + 1)
        ]
        agreement, _, count = max(ranked)
        if agreement:
            return count
        if not middle and self._first and self._is_partial_word(words[0]):
            return 1
        return (
            middle - 1 if self._history and self._straddles(words[middle - 1 : middle]) else middle
        )

    def _straddles(self, words: tuple[Word, ...]) -> bool:
        """Whether the last word before the boundary may be a new one after all.

        Not one with which the leg's audio begins: that is the torn rest of a settled one.
        """
        return any(
            w.end > self._boundary + 0.05 and w.start > self._replay_from + self._tolerance
            for w in words
        )

    def _is_partial_word(self, word: Word) -> bool:
        """Whether a word with which the leg's audio begins lies over most of the last one told."""
        if not self._history or word.start > self._replay_from + self._tolerance:
            return False
        start, end = self._history[-1].start, self._history[-1].end
        return start is not None and min(word.end, end) - max(word.start, start) > (end - start) / 2

    def _agreement(self, words: list[list[Token]]) -> int:
        """How many words at the end of `words` are the last ones told, going backwards."""
        count = 0
        told = list(self._history)
        for parts in reversed(words):
            if not parts or len(told) < len(parts):
                break
            if not all(map(_same, told[-len(parts) :], parts)):
                break
            del told[-len(parts) :]
            count += 1
        return count


def _same(told: CommittedToken, new: Token) -> bool:
    """Whether a leg writes the same word again, give or take a spelling."""
    return told.written == new.written or is_similar(told.norm, new.norm)


def are_usable(words: tuple[Word, ...], sent: float) -> bool:
    """Whether word times (seconds of leg audio) can be what they claim, given what was sent."""
    last = 0.0
    for word in words:
        if not (math.isfinite(word.start) and math.isfinite(word.end)):
            return False
        if (
            word.start < -0.5
            or word.end < word.start
            or word.end > sent + 0.5
            or word.start < last - 1
        ):
            return False
        last = word.start
    return bool(words) and words[-1].end > 0


def _count_leading(words: tuple[Word, ...], until: float) -> int:
    """How many leading words have their middle at or before `until`."""
    count = 0
    for word in words:
        if (word.start + word.end) / 2 > until:
            break
        count += 1
    return count


def _without_words(utterance: Utterance, count: int, found: list[Token]) -> Utterance | None:
    if count == 0:
        return utterance
    kept = utterance.words[count:]
    if not kept:
        return None
    sizes = [len(tokenize(w.text, utterance.language)) for w in utterance.words]
    if sum(sizes) == len(found):
        text = utterance.text[found[sum(sizes[:count])].start :] if sum(sizes[count:]) else ""
    else:
        text = " ".join(w.text.strip() for w in kept)
    return replace(utterance, text=text, words=kept, start=kept[0].start) if text else None


def _without_tokens(utterance: Utterance, count: int, found: list[Token]) -> Utterance | None:
    if count == 0:
        return utterance
    if count >= len(found):
        return None
    text = utterance.text[found[count].start :]
    words = _last_words(utterance, len(found) - count)
    return replace(utterance, text=text, words=words, start=words[0].start if words else None)


def _last_words(utterance: Utterance, wanted: int) -> tuple[Word, ...]:
    """The trailing words that hold `wanted` tokens."""
    first = len(utterance.words)
    while first and wanted > 0:
        first -= 1
        wanted -= len(tokenize(utterance.words[first].text, utterance.language))
    return utterance.words[first:]

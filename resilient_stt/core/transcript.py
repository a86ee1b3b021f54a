"""What was committed, and what of a new leg's text is new."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .inputs import Word
from .policy import ReplayPolicy
from .text import Token, retold, similar, tokens

MEMORY = 512
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
class Committed:
    """A token that was given to the consumer, and its times; without `start` it ended by `end`."""

    norm: str
    written: str
    start: float | None
    end: float


class Transcript:
    """The committed words of a session."""

    def __init__(self, policy: ReplayPolicy) -> None:
        self._policy = policy
        self._committed: deque[Committed] = deque(maxlen=MEMORY)

    def __repr__(self) -> str:
        return f"Transcript(committed={len(self._committed)})"

    def commit(self, utterance: Utterance, heard: float) -> None:
        """These words were emitted in a FINAL of a leg that had been sent audio up to `heard`."""
        language = utterance.language
        if utterance.words:
            for word in utterance.words:
                for token in tokens(word.text, language):
                    norm, written = token.norm, token.written
                    self._committed.append(Committed(norm, written, word.start, word.end))
        else:
            end = heard if utterance.end is None else min(heard, utterance.end)
            for token in tokens(utterance.text, language):
                self._committed.append(Committed(token.norm, token.written, None, end))

    def clean_start(self, watermark: float, oldest: float) -> float | None:
        """The best place between words to begin a replay: before the last settled word or two.

        The wider of the two gaps wins: between words spoken without a gap, even exact times cut the
        neighbour's sound. `None` if no settled word with times is young enough.
        """
        spans = list(
            dict.fromkeys((c.start, c.end) for c in self._committed if c.start is not None)
        )[-3:]
        best: tuple[float, float] | None = None
        for index, (start, _) in enumerate(spans):
            if index == 0 and len(spans) == 3:
                continue  # known only as the second word's neighbour
            before = spans[index - 1][1] if index else oldest
            place = min(start, max(start - self._policy.cut_to / 2, (before + start) / 2))
            gap = start - place
            if oldest <= place < watermark and (best is None or gap > best[0]):
                best = (gap, place)
        return best[1] if best else None

    def seam(
        self,
        boundary: float,
        replay_from: float,
        voiced_until: Callable[[float], float],
        *,
        torn: bool,
    ) -> Seam:
        """The seam for a leg whose audio begins at `replay_from`, the watermark at `boundary`.

        `voiced_until`: where the last voice before a time ended. `torn`: the audio begins in the
        middle of speech.
        """
        told = [
            c
            for c in self._committed
            if (voiced_until(c.end) if c.start is None else (c.start + c.end) / 2) > replay_from
        ]
        return Seam(boundary, replay_from, told, self._policy.tolerance, torn=torn)


class Seam:
    """Removes from a leg's text what earlier legs have told already.

    Open until the leg has told all of it again, or said something new in a FINAL: repetition inside
    one leg's own text is speech ("no no no"), never a seam.
    """

    def __init__(
        self,
        boundary: float,
        replay_from: float,
        told: Sequence[Committed],
        tolerance: float,
        *,
        torn: bool,
    ) -> None:
        self._boundary = boundary
        self._replay_from = replay_from
        self._told = list(told)
        self._beyond = any(c.start is None and c.end > boundary + ROUNDING for c in told)
        """Words were told beyond the boundary: only their text can say which."""
        self._tolerance = tolerance
        self._first = True
        self._torn = torn and bool(told)
        self.open = bool(told) or replay_from < boundary

    def __repr__(self) -> str:
        return f"Seam(boundary={self._boundary:.3f}, told={len(self._told)}, open={self.open})"

    @property
    def expects(self) -> bool:
        """Whether words that were told are in what the leg hears, and it has still to tell them."""
        return bool(self._told) and not self._torn

    def trim(self, utterance: Utterance) -> Utterance | None:
        """What of it is new; `None` if nothing is."""
        found = tokens(utterance.text, utterance.language)
        if not self.open:
            return utterance if utterance.text.strip() else None
        if not found:
            return None
        if utterance.end is not None and not self._beyond:
            if utterance.words:
                return _without_words(utterance, self._by_time(utterance), found)
            if utterance.end <= self._boundary:
                return None
        return _without_tokens(utterance, self._by_text(utterance, found)[0], found)

    def passed(self, utterance: Utterance, kept: Utterance | None) -> bool:
        """A FINAL went through: `kept` of it was new. Whether it began with what is settled."""
        found = tokens(utterance.text, utterance.language)
        if not (self.open and found):
            self.open = self.open and kept is None
            return False
        used = self._by_text(utterance, found)[1]
        again = self._told[:used]
        for told in again:  # without times it was known only by when it had been heard
            if told.start is None and utterance.end is not None:
                told.end = min(told.end, utterance.end)
        if kept is not None:
            self.open = False
            return self._settled(again)
        del self._told[:used]
        self._first = False
        if used and not self._told:
            self.open = False  # all is told again: a clock that is early must not cost the next
        return self._settled(again)

    def _settled(self, told: list[Committed]) -> bool:
        """Whether all of these, and there are some, lie before the boundary."""
        return bool(told) and all(c.end <= self._boundary + ROUNDING for c in told)

    def _by_text(self, utterance: Utterance, found: list[Token]) -> tuple[int, int]:
        """How many leading tokens are re-told, and how many of the told ones that uses up.

        The first token of a leg may be the torn rest of a word, where its audio begins.
        """
        count, used = retold(self._told, found, _same)
        start = self._replay_from if utterance.start is None else utterance.start
        if count or not self._first or start > self._replay_from + self._tolerance:
            return count, used
        count, used = retold(self._told, found[1:], _same)
        return (count + 1, used) if count or self._torn else (0, 0)

    def _by_time(self, utterance: Utterance) -> int:
        """How many leading words lie before the boundary, the text deciding where times waver."""
        words = utterance.words
        certain = _leading(words, self._boundary - self._tolerance)
        possible = _leading(words, self._boundary + self._tolerance)
        middle = _leading(words, self._boundary)
        language = utterance.language
        found = [tokens(w.text, language) for w in words[:possible]]
        ranked = [
            (self._agreement(found[:k]), -abs(k - middle), k) for k in range(certain, possible + 1)
        ]
        agreement, _, count = max(ranked)
        if agreement:
            return count
        if not middle and self._first and self._is_torn(words[0]):
            return 1
        return middle - 1 if self._told and self._straddles(words[middle - 1 : middle]) else middle

    def _straddles(self, words: tuple[Word, ...]) -> bool:
        """Whether the last word before the boundary may be a new one after all.

        Not one with which the leg's audio begins: that is the torn rest of a settled one.
        """
        return any(
            w.end > self._boundary + 0.05 and w.start > self._replay_from + self._tolerance
            for w in words
        )

    def _is_torn(self, word: Word) -> bool:
        """Whether a word with which the leg's audio begins lies over most of the last one told."""
        if not self._told or word.start > self._replay_from + self._tolerance:
            return False
        start, end = self._told[-1].start, self._told[-1].end
        return start is not None and min(word.end, end) - max(word.start, start) > (end - start) / 2

    def _agreement(self, words: list[list[Token]]) -> int:
        """How many words at the end of `words` are the last ones told, going backwards."""
        count = 0
        told = list(self._told)
        for parts in reversed(words):
            if not parts or len(told) < len(parts):
                break
            if not all(map(_same, told[-len(parts) :], parts)):
                break
            del told[-len(parts) :]
            count += 1
        return count


def _same(told: Committed, new: Token) -> bool:
    """Whether a leg writes the same word again, give or take a spelling."""
    return told.written == new.written or similar(told.norm, new.norm)


def usable(words: tuple[Word, ...], sent: float) -> bool:
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


def _leading(words: tuple[Word, ...], until: float) -> int:
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
    sizes = [len(tokens(w.text, utterance.language)) for w in utterance.words]
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
        wanted -= len(tokens(utterance.words[first].text, utterance.language))
    return utterance.words[first:]

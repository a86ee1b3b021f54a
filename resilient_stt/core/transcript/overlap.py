"""Removes from a connection's text what earlier connections have already had committed.

Theory of operation
-------------------

A replay begins before the watermark, at a clean place between two words, because hearing a word
twice is better than hearing half of it. So the first finals and interims of a new connection may
repeat words that the consumer has already been given. The seam is the place where the new words
begin. An `OverlapTrimmer` belongs to one connection and finds that place in each of its texts:

- By time, where the new text has word times and all committed words near the boundary have times
  too. Clocks of two providers disagree by up to `ReplayPolicy.word_time_tolerance`, so words within
  the tolerance are decided by their text, and by the middle of the word only where no text agrees.
- By text otherwise: the new text loses its longest beginning that repeats the committed words.

The first word of a connection may be the rest of a committed word, if its audio begins in the
middle of one. Such a partial word matches no committed word and must be dropped all the same.

The trimmer stays open until the connection has repeated all committed words that it heard, or has
given a FINAL with something new in it. From then on every word is new: repetition inside one
connection's own text is speech ("no no no"), never an overlap.

For every FINAL call `trim` first, emit what it returns, then call `observe_final` with both. For an
interim transcript call `trim` only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..messages import Word
from ..policy import ReplayPolicy
from .tokens import Token, is_similar, match_repeated, tokenize

ROUNDING = 0.001
"""Rounding tolerance in seconds: equal times differ by up to a sample once they have been samples
(1 ms holds for rates from 1 kHz on)."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A connection's text on session time (seconds); no `words` if it gave no usable times."""

    text: str
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    language: str = ""


@dataclass(slots=True)
class CommittedToken:
    """A token that the consumer was given in a FINAL, and its times in seconds of session audio.

    A token without a `start` came without times; all that is known is that it ended by `end`.
    """

    norm: str
    written: str
    start: float | None
    end: float


class OverlapTrimmer:
    """Finds the new words in one connection's text; see the module for how."""

    def __init__(
        self,
        boundary: float,
        replay_from: float,
        committed: Sequence[CommittedToken],
        policy: ReplayPolicy,
        *,
        starts_mid_word: bool,
    ) -> None:
        """Start a trimmer for a connection. Times are seconds of session audio.

        Args:
            boundary: the end of the committed audio.
            replay_from: where the connection's audio begins.
            committed: the committed tokens that the connection hears again, in order. Shared with
                the history: the trimmer corrects the times of tokens that had none.
            policy: how far clocks disagree.
            starts_mid_word: the connection's audio begins in the middle of speech.
        """
        self._boundary = boundary
        self._replay_from = replay_from
        self._repeats = list(committed)
        """The committed tokens that the connection has still to repeat."""
        # Tokens without times may have been spoken on either side of the boundary, so a time cannot
        # tell which words of the new text they are.
        self._needs_text = any(
            c.start is None and c.end > boundary + ROUNDING for c in self._repeats
        )
        self._tolerance = policy.word_time_tolerance
        self._min_overhang = policy.min_word_overhang
        self._is_first = True
        """No FINAL of the connection with a token in it was observed yet."""
        # Where nothing was committed there is no word to be the rest of
        # (tests/schedules/no-torn-word-where-nothing-was-emitted.json).
        self._starts_mid_word = starts_mid_word and bool(self._repeats)
        self.open = bool(self._repeats) or replay_from < boundary
        """Whether the connection's text may still begin with committed words."""

    def __repr__(self) -> str:
        return (
            f"OverlapTrimmer(boundary={self._boundary:.3f}, repeats={len(self._repeats)}, "
            f"open={self.open})"
        )

    @property
    def expects_repeats(self) -> bool:
        """Whether the connection hears committed words that it has not repeated yet.

        False for audio that begins in the middle of a word: what is left of the word may come back
        as anything, or as nothing.
        """
        return bool(self._repeats) and not self._starts_mid_word

    def trim(self, utterance: Utterance) -> Utterance | None:
        """Return the part of a text that is new, or `None` if nothing is."""
        tokens = tokenize(utterance.text, utterance.language)
        if not self.open:
            return utterance if utterance.text.strip() else None
        if not tokens:
            return None
        if utterance.end is not None and not self._needs_text:
            if utterance.words:
                return _without_words(utterance, self._repeated_by_time(utterance), tokens)
            if utterance.end <= self._boundary:
                return None
        return _without_tokens(utterance, self._repeated_by_text(utterance, tokens)[0], tokens)

    def observe_final(self, utterance: Utterance, kept: Utterance | None) -> bool:
        """Note that a FINAL was handled, of which `trim` returned `kept`.

        Returns:
            Whether the FINAL began with committed words that lie before the boundary. If it has no
            times, it then speaks for no audio beyond the voice around the boundary
            (tests/schedules/repeated-final-commits-the-next.json).
        """
        tokens = tokenize(utterance.text, utterance.language)
        if not (self.open and tokens):
            self.open = self.open and kept is None
            return False
        used = self._repeated_by_text(utterance, tokens)[1]
        repeated = self._repeats[:used]
        for token in repeated:
            # A token without times was dated by when it arrived. The repetition dates it better; a
            # third connection would otherwise look for it in the next sentence
            # (tests/schedules/repeated-words-with-times-in-between.json).
            if token.start is None and utterance.end is not None:
                token.end = min(token.end, utterance.end)
        if kept is not None:
            self.open = False
            return self._lie_before_boundary(repeated)
        del self._repeats[:used]
        self._is_first = False
        if used and not self._repeats:
            # All was repeated. If the trimmer stayed open, a provider whose clock is early would
            # lose its next word, because that word seems to lie before the boundary.
            self.open = False
        return self._lie_before_boundary(repeated)

    def _lie_before_boundary(self, tokens: list[CommittedToken]) -> bool:
        """Whether there are tokens, and all of them end at or before the boundary."""
        return bool(tokens) and all(c.end <= self._boundary + ROUNDING for c in tokens)

    # -- by text

    def _repeated_by_text(self, utterance: Utterance, tokens: list[Token]) -> tuple[int, int]:
        """How many leading tokens are repeated, and how many committed tokens that accounts for.

        Where no token matches, the first one may be the rest of a word in whose middle the audio
        begins. It counts as repeated if committed tokens follow it, or if the audio is known to
        begin in the middle of speech.
        """
        count, used = match_repeated(self._repeats, tokens, _is_same_word)
        if count or not (self._is_first and self._begins_at_replay(utterance.start)):
            return count, used
        count, used = match_repeated(self._repeats, tokens[1:], _is_same_word)
        return (count + 1, used) if count or self._starts_mid_word else (0, 0)

    def _begins_at_replay(self, start: float | None) -> bool:
        """Whether something that starts at `start` may be the first sound of the replay.

        What has no start may be. A word that begins later than the connection's audio is whole
        (tests/schedules/word-behind-a-torn-one.json).
        """
        return start is None or start <= self._replay_from + self._tolerance

    # -- by time

    def _repeated_by_time(self, utterance: Utterance) -> int:
        """How many leading words are repeated.

        A word counts by its middle: surely repeated if that is more than the tolerance before the
        boundary, surely new if it is more than the tolerance behind. In between, the seam is put
        where the most words agree with the last committed ones; of equally good places, where the
        middles say.
        """
        words = utterance.words
        certain = _count_before(words, self._boundary - self._tolerance)
        possible = _count_before(words, self._boundary + self._tolerance)
        by_middle = _count_before(words, self._boundary)
        tokens = [tokenize(w.text, utterance.language) for w in words[:possible]]
        agreement, _, count = max(
            (self._agreement(tokens[:k]), -abs(k - by_middle), k)
            for k in range(certain, possible + 1)
        )
        if agreement:
            return count
        if not by_middle and self._is_first and self._is_partial_word(words[0]):
            return 1
        if by_middle and self._repeats and self._may_be_new(words[by_middle - 1]):
            return by_middle - 1
        return by_middle

    def _may_be_new(self, word: Word) -> bool:
        """Whether a word whose middle lies before the boundary may be new after all.

        It may if it reaches beyond the boundary, unless the connection's audio begins with it: then
        it is the rest of a committed word.
        """
        reaches_beyond = word.end > self._boundary + self._min_overhang
        return reaches_beyond and not self._begins_at_replay(word.start)

    def _is_partial_word(self, word: Word) -> bool:
        """Whether a word whose middle lies behind the boundary is the rest of a committed one.

        By a clock that is late, such a rest seems to lie behind the boundary. It still covers most
        of the last committed word (tests/schedules/torn-word-whose-time-is-late.json).
        """
        if not self._repeats or not self._begins_at_replay(word.start):
            return False
        start, end = self._repeats[-1].start, self._repeats[-1].end
        return start is not None and min(word.end, end) - max(word.start, start) > (end - start) / 2

    def _agreement(self, words: list[list[Token]]) -> int:
        """How many words at the end of `words` are the last committed ones, counted backwards."""
        count = 0
        left = list(self._repeats)
        for tokens in reversed(words):
            if not tokens or len(left) < len(tokens):
                break
            if not all(map(_is_same_word, left[-len(tokens) :], tokens)):
                break
            del left[-len(tokens) :]
            count += 1
        return count


def _is_same_word(committed: CommittedToken, new: Token) -> bool:
    """Whether two tokens are one word, spelling differences allowed."""
    return committed.written == new.written or is_similar(committed.norm, new.norm)


def are_usable(words: tuple[Word, ...], seconds_sent: float, policy: ReplayPolicy) -> bool:
    """Whether word times can be those of the `seconds_sent` of audio that a connection was sent.

    They must be finite, inside the audio (`ReplayPolicy.max_time_error`), roughly in order
    (`ReplayPolicy.max_backward_step`), and not all 0. Times are seconds of the connection's audio.
    """
    last = 0.0
    for word in words:
        if not (math.isfinite(word.start) and math.isfinite(word.end)):
            return False
        if (
            word.start < -policy.max_time_error
            or word.end < word.start
            or word.end > seconds_sent + policy.max_time_error
            or word.start < last - policy.max_backward_step
        ):
            return False
        last = word.start
    return bool(words) and words[-1].end > 0


def _count_before(words: tuple[Word, ...], until: float) -> int:
    """How many leading words have their middle at or before `until`."""
    count = 0
    for word in words:
        if (word.start + word.end) / 2 > until:
            break
        count += 1
    return count


def _without_words(utterance: Utterance, count: int, tokens: list[Token]) -> Utterance | None:
    """The utterance without its first `count` words; `None` if no text is left."""
    if count == 0:
        return utterance
    kept = utterance.words[count:]
    if not kept:
        return None
    sizes = [len(tokenize(w.text, utterance.language)) for w in utterance.words]
    if sum(sizes) == len(tokens):
        # The text is made of the words: cut it, so that its own punctuation is kept.
        text = utterance.text[tokens[sum(sizes[:count])].start :] if sum(sizes[count:]) else ""
    else:
        text = " ".join(w.text.strip() for w in kept)
    return replace(utterance, text=text, words=kept, start=kept[0].start) if text else None


def _without_tokens(utterance: Utterance, count: int, tokens: list[Token]) -> Utterance | None:
    """The utterance without its first `count` tokens; `None` if no text is left."""
    if count == 0:
        return utterance
    if count >= len(tokens):
        return None
    text = utterance.text[tokens[count].start :]
    words = _last_words(utterance, len(tokens) - count)
    return replace(utterance, text=text, words=words, start=words[0].start if words else None)


def _last_words(utterance: Utterance, wanted: int) -> tuple[Word, ...]:
    """The trailing words that hold at least `wanted` tokens."""
    first = len(utterance.words)
    while first and wanted > 0:
        first -= 1
        wanted -= len(tokenize(utterance.words[first].text, utterance.language))
    return utterance.words[first:]

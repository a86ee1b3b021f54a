"""Removes from a connection's text what earlier connections have already had committed.

Theory of operation
-------------------

A replay begins before the watermark, at a clean place between two words, because hearing a word
twice is better than hearing half of it. So the first finals and interims of a new connection may
repeat words that the consumer has already been given. The seam is the place where the new words
begin. An `OverlapTrimmer` belongs to one connection and finds that place in each of its texts, by
an alignment of all that it wrote with the committed words (`alignment` says how). It contributes
what it knows besides the text:

- Times, where the new text has word times and all committed words near the boundary have times
  too. Clocks of two providers disagree by up to `ReplayPolicy.word_time_tolerance`: words further
  than that from the boundary are decided, words within the tolerance are decided by text and time.
- If committed words came without times, they lie on either side of the boundary, and the text
  decides. But they had ended when they came: what begins later is new.
- What the connection wrote before. An overlap may be spread over several of its finals.

The first word of a connection may be the rest of a committed word, if its audio begins in the
middle of one. Such a partial word matches no committed word and must be dropped all the same.

The trimmer stays open until the connection has repeated all committed words that it heard, or has
given a FINAL with something new behind a repetition of all that it may have heard. From then on
every word is new: repetition inside one connection's own text is speech ("no no no"), never an
overlap. A first FINAL in which nothing is repeated may still be a cough that was taken for a word,
with all of the overlap to come; so the trimmer stays open behind it, while there are fewer such
words than committed ones.

For every FINAL call `trim` first, emit what it returns, then call `observe_final` with both. For an
interim transcript call `trim` only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..messages import Word
from ..policy import ReplayPolicy
from .alignment import (
    EMITTED_INSERTION,
    FRAGMENT_INSERTION,
    INSERTION,
    Evidence,
    align,
)
from .forms import FILLERS
from .tokens import TimedToken, is_similar, text_from, tokenize
from .windows import CONTEXT

ROUNDING = 0.001
"""Rounding tolerance in seconds: equal times differ by up to a sample once they have been samples
(1 ms holds for rates from 1 kHz on)."""

COVERING_SIDE = 0.3
"""How much it speaks for a repetition that the first word covers most of the last committed one: a
bit more than that the word is not like it in its text."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A connection's text on session time (seconds); no `words` if it gave no usable times."""

    text: str
    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    language: str = ""


class OverlapTrimmer:
    """Finds the new words in one connection's text; see the module for how."""

    def __init__(
        self,
        boundary: float,
        replay_from: float,
        committed: Sequence[TimedToken],
        policy: ReplayPolicy,
        *,
        starts_mid_word: bool,
        context: Sequence[TimedToken] = (),
        unheard: tuple[int, int] = (0, 0),
    ) -> None:
        """Start a trimmer for a connection. Times are seconds of session audio.

        Args:
            boundary: the end of the committed audio.
            replay_from: where the connection's audio begins.
            committed: the committed tokens that the connection hears again, in order. Shared with
                the history: the trimmer corrects the times of tokens that had none.
            policy: how far clocks disagree.
            starts_mid_word: the connection's audio begins in the middle of speech.
            context: the committed tokens right before these, with times. The connection should not
                hear them; where a clock is off, it does, and its words align with theirs.
            unheard: the first and the end of the committed tokens that it may not hear: audio is
                left out there, and they have no times.
        """
        self._context = list(context)
        self._boundary = boundary
        self._replay_from = replay_from
        self._committed = list(committed)
        in_audio = (
            count
            for count, c in enumerate(self._committed)
            if c.start is None or (c.start + c.end) / 2 > replay_from
        )
        self._early = next(in_audio, len(self._committed))
        """So many of the committed tokens have their middle before the connection's audio."""
        self._unheard = unheard
        self._used = 0
        """So many of the committed tokens the connection has repeated."""
        self._before: list[TimedToken] = []
        """The last tokens of the connection's earlier FINALs."""
        self._insertion: list[float] = []
        """What it costs that one of those matches nothing."""
        # Tokens without times may have been spoken on either side of the boundary, so a time cannot
        # tell which words of the new text they are.
        self._needs_text = any(
            c.start is None and c.end > boundary + ROUNDING for c in self._committed
        )
        self._latest = max((c.end for c in self._committed), default=boundary)
        """No committed token ended later."""
        self._tolerance = max(policy.word_time_tolerance, ROUNDING)  # it is divided by
        self._min_overhang = policy.min_word_overhang
        self._last: tuple[TokenizedText, int, int] | None = None
        """The text that was aligned last, and what came out."""
        self._is_first = True
        """No FINAL of the connection with a token in it was observed yet."""
        # Where nothing was committed there is no word to be the rest of
        # (tests/schedules/no-torn-word-where-nothing-was-emitted.json).
        self._starts_mid_word = starts_mid_word and bool(self._committed)
        self.open = bool(self._committed) or replay_from < boundary
        """Whether the connection's text may still begin with committed words."""

    def __repr__(self) -> str:
        return (
            f"OverlapTrimmer(boundary={self._boundary:.3f}, "
            f"repeats={len(self._committed) - self._used}, open={self.open})"
        )

    @property
    def state(self) -> tuple[float, ...]:
        """What an unused trimmer depends on, but for the text of the committed words."""
        return (self._boundary, self._replay_from, *(c.end for c in self._committed))

    @property
    def expects_repeats(self) -> bool:
        """Whether the connection hears committed words that it has not repeated yet.

        False for audio that begins in the middle of a word: what is left of the word may come back
        as anything, or as nothing. Fillers do not count, which many providers leave out (schedule
        hedge-that-leaves-fillers-out).
        """
        return any(token.key not in FILLERS for token in self._unrepeated)

    @property
    def next_repeat(self) -> TimedToken | None:
        """The committed token that the connection is still to repeat first, if any."""
        return next(iter(self._unrepeated), None) if self.open else None

    @property
    def _unrepeated(self) -> Sequence[TimedToken]:
        return () if self._starts_mid_word else self._committed[self._used :]

    def trim(self, utterance: Utterance) -> Utterance | None:
        """Return the part of a text that is new, or `None` if nothing is."""
        if not self.open:
            return utterance if utterance.text.strip() else None
        text = TokenizedText(utterance)
        if not text.tokens or self._is_before_boundary(utterance):
            return None
        seam, used = self._seam(text)
        self._last = (text, seam, used)
        return text.without(seam)

    def observe_final(self, utterance: Utterance, kept: Utterance | None) -> bool:
        """Note that a FINAL was handled, of which `trim` returned `kept`.

        Returns:
            Whether the FINAL began with committed words that lie before the boundary. If it has no
            times, it then speaks for no audio beyond the voice around the boundary
            (tests/schedules/repeated-final-commits-the-next.json).
        """
        if not self.open:
            return False
        if self._last is not None and self._last[0].utterance is utterance:
            text, seam, used = self._last
        else:
            text = TokenizedText(utterance)
            seam, used = self._seam(text) if text.tokens else (0, 0)
        self._last = None
        if not text.tokens:
            return False
        repeated = self._committed[self._used : used]
        for token in repeated:
            # A token without times was dated by when it arrived. The repetition dates it better; a
            # third connection would otherwise look for it in the next sentence
            # (tests/schedules/repeated-words-with-times-in-between.json).
            if token.start is None and utterance.end is not None:
                token.end = min(token.end, utterance.end)
        self._used = max(self._used, used)
        self._is_first = False
        if kept is not None:
            self.open = self._may_still_repeat(utterance, text, seam)
        elif used and self._used == len(self._committed) and self._reaches_last(text):
            # All was repeated. If the trimmer stayed open, a provider whose clock is early would
            # lose its next word, because that word seems to lie before the boundary.
            self.open = False
        self._before += text.tokens
        self._insertion += [INSERTION] * seam + [EMITTED_INSERTION] * (len(text.tokens) - seam)
        del self._before[:-CONTEXT], self._insertion[:-CONTEXT]
        return bool(repeated) and all(c.end <= self._boundary + ROUNDING for c in repeated)

    def _may_still_repeat(self, utterance: Utterance, text: TokenizedText, seam: int) -> bool:
        """Whether the overlap may still follow, behind a FINAL with new words in it.

        That happens without times only: with them, words behind the boundary end the overlap.
        """
        is_fragment = seam and not self._used
        if is_fragment or not self._needs_text or self._used == len(self._committed):
            return False
        if utterance.end is not None and utterance.end > self._latest + self._tolerance:
            return False
        # Fillers do not count: this connection may write one that the committed text leaves out,
        # before it repeats the rest (test_a_filler_before_an_untimed_word).
        words = sum(token.key not in FILLERS for token in text.tokens)
        emitted = self._insertion.count(EMITTED_INSERTION) + words
        return emitted < len(self._committed) - self._used

    def _reaches_last(self, text: TokenizedText) -> bool:
        """Whether a text may really end with the last committed word.

        Another sound may stand in its place, right before it (test_a_noise_before_the_last_word).
        """
        last, end = self._committed[-1], text.tokens[-1]
        if last.start is None or end.start is None or is_similar(last.key, end.key):
            return True
        return end.end >= (last.start + last.end) / 2

    def _is_before_boundary(self, utterance: Utterance) -> bool:
        """Whether a text without word times ends before the boundary."""
        return (
            utterance.end is not None
            and not utterance.words
            and not self._needs_text
            and utterance.end <= self._boundary + ROUNDING
        )

    def _seam(self, text: TokenizedText) -> tuple[int, int]:
        """Return how many leading tokens are repeated, and how many committed ones by then."""
        tokens, before = text.tokens, len(self._before)
        timed = text.timed and not self._needs_text
        fragment = self._is_first and self._begins_at_replay(text.start)
        insertion = [*self._insertion, *[INSERTION] * len(tokens)]
        if fragment:
            insertion[before] = FRAGMENT_INSERTION
        certain, possible = 0, len(tokens)
        if timed:
            certain = text.count_before(self._boundary - self._tolerance)
            possible = text.count_before(self._boundary + self._tolerance)
        elif text.timed:
            possible = text.count_begun_before(self._latest + self._tolerance)
        elif text.start is not None and text.start > self._latest + self._tolerance:
            possible = 0  # all committed words had ended (seed 555002723)
        side = late = [0.0] * possible
        if timed:
            ahead = list(enumerate(tokens[:possible]))
            side = [self._side(token, k == 0 and fragment) for k, token in ahead]
            late = [0.0 if k == 0 and fragment else self._late(token) for k, token in ahead]
        first = max(0, self._used - CONTEXT)
        # Only times tell a word that is repeated by the caller from one before the replay.
        context = self._context if timed and not first else []
        shift = first - len(context)
        found = align(
            [*context, *self._committed[first:]],
            [*self._before, *tokens],
            Evidence(
                certain=before + certain if timed else 0,
                possible=before + possible,
                side=[*[0.0] * before, *side],
                timed=timed,
                tolerance=self._tolerance,
                late=[*[0.0] * before, *late],
                insertion=insertion,
                early=self._early - shift if timed else 0,
                unheard=(self._unheard[0] - shift, self._unheard[1] - shift),
            ),
        )
        seam = max(0, found.seam - before)
        used = max(0, found.used + shift) if found.used else 0
        if not found.seam and fragment and self._starts_mid_word and possible:
            return 1, 0
        return seam, used

    def _side(self, token: TimedToken, fragment: bool) -> float:
        """Return how much the times of a token speak for a repetition (1) or against it (-1)."""
        start, end = _times(token)
        if fragment and self._covers_last(start, end):
            return COVERING_SIDE
        middle = (start + end) / 2
        return max(-1.0, min(1.0, (self._boundary - middle) / self._tolerance))

    def _late(self, token: TimedToken) -> float:
        """Return how far a token reaches beyond the boundary, in tolerances.

        0 if it begins with a committed word: providers disagree more about where a word ends.
        """
        overhang = token.end - self._boundary - self._min_overhang
        if overhang <= 0:
            return 0.0
        start = _times(token)[0]
        near = self._tolerance / 2
        if any(c.start is not None and abs(c.start - start) <= near for c in self._committed[-2:]):
            return 0.0
        return overhang / self._tolerance

    def _covers_last(self, start: float, end: float) -> bool:
        """Whether a word covers most of the last committed one.

        By a clock that is late, the rest of a word seems to lie behind the boundary. It still
        covers most of the word (tests/schedules/torn-word-whose-time-is-late.json).
        """
        if not self._committed or self._committed[-1].start is None:
            return False
        last_start, last_end = _times(self._committed[-1])
        return min(end, last_end) - max(start, last_start) > (last_end - last_start) / 2

    def _begins_at_replay(self, start: float | None) -> bool:
        """Whether something that starts at `start` may be the first sound of the replay.

        What has no start may be. A word that begins later than the connection's audio is whole
        (tests/schedules/word-behind-a-torn-one.json).
        """
        return start is None or start <= self._replay_from + self._tolerance


def _times(token: TimedToken) -> tuple[float, float]:
    assert token.start is not None
    return token.start, token.end


class TokenizedText:
    """The tokens of an utterance with their times, and how to cut it between two of them."""

    def __init__(self, utterance: Utterance) -> None:
        self.utterance = utterance
        self._words = [tokenize(word.text, utterance.language) for word in utterance.words]
        """The tokens of each word."""
        whole = tokenize(utterance.text, utterance.language)
        self._in_text = whole
        """The tokens of the text, if the words are made of the same ones."""
        self._matches = sum(map(len, self._words)) == len(whole)
        self.timed = any(self._words)
        self.tokens = (
            self._timed_tokens()
            if self.timed
            else [TimedToken(t.key, t.written, None, math.inf, t.units) for t in whole]
        )
        self.start = self.tokens[0].start if self.timed and self.tokens else utterance.start

    def _timed_tokens(self) -> list[TimedToken]:
        found = []
        for word, tokens in zip(self.utterance.words, self._words, strict=True):
            found += [TimedToken(t.key, t.written, word.start, word.end, t.units) for t in tokens]
        return found

    def count_before(self, until: float) -> int:
        """How many leading tokens have their middle at or before `until`."""
        for count, token in enumerate(self.tokens):
            if sum(_times(token)) / 2 > until:
                return count
        return len(self.tokens)

    def count_begun_before(self, until: float) -> int:
        """How many leading tokens begin at or before `until`."""
        for count, token in enumerate(self.tokens):
            if _times(token)[0] > until:
                return count
        return len(self.tokens)

    def without(self, seam: int) -> Utterance | None:
        """The utterance without its first `seam` tokens; `None` if no text is left."""
        utterance = self.utterance
        if seam == 0:
            return utterance
        if seam >= len(self.tokens):
            return None
        kept = self._words_behind(seam)
        if self._matches or not self.timed:
            text = text_from(utterance.text, self._in_text, seam)
        else:
            text = " ".join(w.text.strip() for w in kept)
        return replace(utterance, text=text, words=kept, start=kept[0].start if kept else None)

    def _words_behind(self, seam: int) -> tuple[Word, ...]:
        """The words behind the first `seam` tokens; of a word that is cut, the rest."""
        for place, (word, tokens) in enumerate(zip(self.utterance.words, self._words, strict=True)):
            if seam < len(tokens):
                rest = self.utterance.words[place + 1 :]
                if not seam:
                    return (word, *rest)
                start = word.start + (word.end - word.start) * seam / len(tokens)
                return (Word(text_from(word.text, tokens, seam), start, word.end), *rest)
            seam -= len(tokens)
        return ()


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

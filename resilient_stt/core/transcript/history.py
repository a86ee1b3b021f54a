"""The words that a session has committed: where a replay may begin, and what it will repeat."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ..policy import ReplayPolicy
from .alignment import MAX_APART
from .overlap import OverlapTrimmer, TokenizedText, Utterance
from .tokens import TimedToken

MAX_TOKENS = 512
"""Tokens that are kept. A memory bound: fast speech in a replay window of 60 s has fewer."""

MIN_TOKENS = 64
"""Tokens that are kept however old they are: behind a long silence, a hedge is sent the last words
before it, and repeats them while newer ones are committed."""


class TranscriptHistory:
    """The last committed tokens of a session, oldest first."""

    def __init__(self, policy: ReplayPolicy) -> None:
        self._policy = policy
        self._tokens: deque[TimedToken] = deque(maxlen=MAX_TOKENS)
        self.recorded = 0
        """How many tokens were ever committed: a mark for `trimmer`."""

    def __repr__(self) -> str:
        return f"TranscriptHistory(committed={len(self._tokens)})"

    @property
    def has_words(self) -> bool:
        """Whether anything was committed."""
        return bool(self._tokens)

    def record(
        self, utterance: Utterance, audio_end: float, *, before: TimedToken | None = None
    ) -> None:
        """Add the words of an emitted FINAL.

        `audio_end` is how far the connection can have heard the session when it gave them, in
        seconds. It dates words that came without times. `before`: the committed token that the
        connection may repeat behind them. They are older than it, if their times allow that.
        """
        latest = audio_end if utterance.end is None else min(audio_end, utterance.end)
        later: list[TimedToken] = []
        is_older = before is not None and utterance.end is not None and utterance.end <= before.end
        if is_older and any(token is before for token in self._tokens):
            while not later or later[-1] is not before:
                later.append(self._tokens.pop())
        for token in TokenizedText(utterance).tokens:
            if token.start is None:
                token.end = latest
            self._tokens.append(token)
            self.recorded += 1
        self._tokens.extend(reversed(later))
        # No connection can be sent them again, so none repeats them.
        oldest = audio_end - self._policy.window - self._policy.lookback
        while len(self._tokens) > MIN_TOKENS and self._tokens[0].end < oldest:
            self._tokens.popleft()

    def replay_start(self, watermark: float, oldest: float) -> float | None:
        """The best place to begin a replay between committed words, in seconds of session audio.

        That is before one of the last two committed words, whichever has the wider gap before it:
        between words that were spoken without a gap, even exact times cut the neighbor's sound.

        Args:
            watermark: the place must lie before it.
            oldest: the place must not lie before it, because older audio is gone.

        Returns:
            The place, or `None` if the last committed word has no times, or is too old.
        """
        spans = self._last_spans()
        best: tuple[float, float] | None = None
        for index, (start, _) in enumerate(spans):
            if index == 0 and len(spans) == 3:
                continue  # here only because the gap of the second word begins at its end
            before = spans[index - 1][1] if index else oldest
            place = self._place_between(before, start)
            gap = start - place
            if oldest <= place < watermark and (best is None or gap > best[0]):
                best = (gap, place)
        return best[1] if best else None

    def last_words(self) -> tuple[float, float] | None:
        """Where the last committed words begin and end, in seconds; `None` if they have no times.

        Two words, if they were spoken within `ReplayPolicy.lookback`: a provider may leave a single
        "um" out.
        """
        spans = self._last_spans()
        if not spans:
            return None
        *before, (start, last_end) = spans
        if before and last_end - before[-1][0] <= self._policy.lookback:
            start = before.pop()[0]
        earlier = before[-1][1] if before else 0.0
        return max(0.0, self._place_between(earlier, start)), last_end

    def _last_spans(self) -> list[tuple[float, float]]:
        """Return where the last three words begin and end; nothing if the last has no times.

        The watermark is then behind the last words with times, at no known word.
        """
        if not self._tokens or self._tokens[-1].start is None:
            return []
        spans: list[tuple[float, float]] = []
        for token in reversed(self._tokens):
            if token.start is not None and (token.start, token.end) not in spans:
                spans.append((token.start, token.end))
            if len(spans) == 3:
                break
        return spans[::-1]

    def _place_between(self, before: float, start: float) -> float:
        """Return where to cut between a word that ends at `before` and one that begins at `start`.

        In the middle of the gap, but no further from the second word than silence is kept.
        """
        padding = self._policy.trim_silence_to / 2
        return min(start, max(start - padding, (before + start) / 2))

    def trimmer(
        self,
        boundary: float,
        replay_from: float,
        last_voice_end: Callable[[float], float],
        *,
        starts_mid_word: bool,
        since: int = 0,
        left_out: tuple[float, float] = (math.inf, math.inf),
        known: float = math.inf,
    ) -> OverlapTrimmer:
        """Make the trimmer of a connection. Times are seconds of session audio.

        Args:
            boundary: the end of the committed audio.
            replay_from: where the connection's audio begins.
            last_voice_end: maps a time to the end of the last voice before it. A word without
                times was spoken by then at the latest
                (tests/schedules/seam-after-voice-was-forgotten.json).
            starts_mid_word: the connection's audio begins in the middle of speech.
            since: an earlier value of `recorded`; the tokens before it were trimmed already.
            left_out: where committed audio begins and ends that the connection is not sent.
            known: an earlier value of `recorded`; later tokens lie behind the beginning of that.
        """
        oldest = self.recorded - len(self._tokens)
        tokens = list(self._tokens)[max(0, since - oldest) :]
        # A word of which only the end is heard again counts, too: it may come back as a whole word
        # ("fixes" of "hotfixes", test_the_rest_of_a_compound).
        ends = [last_voice_end(c.end) if c.start is None else c.end for c in tokens]
        repeated: list[TimedToken] = []
        unheard: list[int] = []
        for place, (c, end) in enumerate(zip(tokens, ends, strict=True), max(since, oldest)):
            if end <= (left_out[1] if place >= known else replay_from):
                continue
            # Without times it may have been spoken in the audio that is left out, or behind.
            if c.start is None and (place >= known or end > left_out[0]):
                unheard.append(len(repeated))
            repeated.append(c)
        # Where the clock of the committed words was off, the replay begins before them, by that
        # much (test_wrong_times_commit_no_word_that_did_not_come).
        reach = replay_from - MAX_APART * self._policy.word_time_tolerance
        context = [
            c
            for c in tokens
            if c.start is not None and reach < (c.start + c.end) / 2 <= replay_from
        ]
        return OverlapTrimmer(
            boundary,
            replay_from,
            repeated,
            self._policy,
            starts_mid_word=starts_mid_word,
            context=context if repeated else (),
            unheard=(unheard[0], unheard[-1] + 1) if unheard else (0, 0),
        )

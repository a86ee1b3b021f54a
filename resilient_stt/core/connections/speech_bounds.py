"""Where the words of finals without times end: bounds for it, from all that is known.

Theory of operation
===================

A provider that gives no times leaves open which audio its final covers. A replay must not begin
behind the final's last word, or the next word would be lost; and it should not begin far before it,
because all that is heard twice must be found and trimmed. So a *lower bound* is needed for where
the last word ends, and it must hold for any provider. Three facts give one:

1. **Delay.** A recognizer transcribes in order. So a final covers all words that were processed
   `ReplayPolicy.untimed_final_reach` (6 s) before it came. Interim transcripts come earlier: the
   final covers what was processed `untimed_interim_reach` (3.5 s) before one with its words.
2. **Length.** The words follow those of the final before, and take time to be spoken
   (`spoken_length`), however late they come.
3. **No more than that**: so few words do not cover so much voice. A recognizer that has fallen
   behind is noticed by that: its final comes, but has only the words of an earlier time.

The first and the second raise the lower bound, the third lowers the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..policy import ReplayPolicy
from ..transcript.spoken_length import spoken_length
from ..transcript.tokens import Token, is_similar

MAX_INTERIMS = 128
"""Interim transcripts of one utterance that are remembered; a bound of memory only."""

REVISED_TOKENS = 2
"""How many tokens a provider may add or take away between an interim transcript and its final, so
that the two still are the same text. Word counts change with "20" and "twenty"."""


@dataclass(frozen=True, slots=True)
class _Interim:
    """What is remembered of an interim transcript."""

    first: str
    last: str
    count: int
    """How many tokens it has."""
    processed_through: int
    """The session sample up to which audio was processed when this text came first."""


class SpeechBounds:
    """Bounds for where the finals of one connection end. Positions are session samples."""

    def __init__(self, start: int, policy: ReplayPolicy) -> None:
        """`start`: the first sample that the connection is sent."""
        self._policy = policy
        self._at_least = start
        """The last final ends here or later."""
        self._at_most = start
        """The last final ends here or earlier."""
        self._last_text: Sequence[str] = ()
        self._interims: deque[_Interim] = deque(maxlen=MAX_INTERIMS)

    def __repr__(self) -> str:
        return f"SpeechBounds({self._at_least}..{self._at_most})"

    def add_interim(self, tokens: Sequence[Token], processed_through: int) -> None:
        """Take an interim transcript, which came when so much had been processed."""
        if not tokens:
            return
        new = _Interim(tokens[0].norm, tokens[-1].norm, len(tokens), processed_through)
        before = self._interims[-1] if self._interims else None
        # The same text again proves nothing: a provider may repeat it for ever, and be deaf.
        if before is None or (before.last, before.count) != (new.last, new.count):
            self._interims.append(new)

    def add_timed_final(self, end: int) -> None:
        """Take a FINAL that says itself where it ends."""
        self._at_least = max(self._at_least, end)
        self._at_most = max(self._at_most, end)
        self._interims.clear()

    def add_untimed_final(
        self, tokens: Sequence[Token], ledger: AudioLedger, processed_through: int, through: int
    ) -> int:
        """Take a FINAL without times; return the position at which it ends at the earliest.

        Args:
            tokens: its words, those too that only repeat what is committed.
            ledger: where voice is.
            processed_through: how much audio had been processed when it came, at least.
            through: where it ends at the latest.
        """
        text = [token.norm for token in tokens]
        length = spoken_length(tokens, self._policy)
        # A final that comes twice was spoken once.
        is_repeated, self._last_text = text == self._last_text, text
        shortest = 0.0 if is_repeated else length.shortest
        at_most = self._end_at_most(ledger, length.longest, through)
        by_length = ledger.voice_end(self._at_least, ledger.samples(shortest))
        if by_length is None:  # the detector has missed words, and it is not known where
            by_length = self._at_least
        by_delay = self._end_at_least(ledger, processed_through, self._policy.untimed_final_reach)
        if (interim := self._last_interim_of(tokens)) is not None:
            reach = self._policy.untimed_interim_reach
            by_delay = max(by_delay, self._end_at_least(ledger, interim.processed_through, reach))
        end = min(through, max(by_length, min(by_delay, at_most)))
        self._at_least = max(self._at_least, end)
        self._at_most = max(at_most, self._at_least)
        self._interims.clear()
        return end

    def _end_at_least(self, ledger: AudioLedger, processed_through: int, reach: float) -> int:
        """Return what is covered by words that came when so much had been processed."""
        # A replay of speech begins `lookback` earlier, but one that begins in silence does not.
        shorter = max(0.0, reach - self._policy.lookback)
        place = processed_through - ledger.samples(shorter)
        if ledger.vad_enabled and ledger.segment_start(place) is None:
            return processed_through - ledger.samples(reach)
        return place

    def _end_at_most(self, ledger: AudioLedger, longest: float, through: int) -> int:
        if not ledger.vad_enabled:
            return through  # silence cannot be told from voice, so that no length is too long
        # What was committed since the last final was silence or noise, and held no words of this.
        since = max(self._at_most, ledger.watermark)
        end = ledger.voice_end(since, ledger.samples(longest))
        return through if end is None else min(through, end)

    def _last_interim_of(self, final: Sequence[Token]) -> _Interim | None:
        """Return the last interim transcript all of whose words are in the final."""
        for interim in reversed(self._interims):
            last = interim.count - 1
            begins_alike = any(is_similar(interim.first, t.norm) for t in final[:REVISED_TOKENS])
            around = final[max(0, last - REVISED_TOKENS) : last + REVISED_TOKENS + 1]
            if begins_alike and any(is_similar(interim.last, token.norm) for token in around):
                return interim
        return None

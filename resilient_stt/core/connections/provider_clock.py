"""Which times of a provider are believed: those of the audio that its connection was sent.

Theory of operation
===================

Plugins report times of all kinds: seconds of the connection's audio, as LiveKit means it; or
seconds of each utterance, milliseconds, the time of day, zeros. A wrong time that is believed
commits audio that nobody has transcribed, so each report has to prove itself, by what is known of
the audio. A report that fails counts as a text without times; it does not condemn the next one.

Not believed is what

* lies outside the audio that was sent, or is out of order (`are_usable`);
* is too short for its words (`spoken_length`): other units, or the same time for all words;
* lies where nobody spoke, while elsewhere somebody did;
* lies in audio that is committed and forgotten;
* is how much had been sent when the end of the speech came (`ends_at_sent`): a late end would cover
  the next sentence;
* goes back behind the last final. Then one of two things has happened. The plugin may have
  reconnected by itself: its clock begins anew, the audio in flight is lost, and the connection has
  to be replaced. Or the provider counts each utterance from its own start, and nothing is lost.
  In the second case the words take as long as the voice since the last final.

A "word" that is a whole sentence has the times of that sentence, and no more.

The start alone is not believed if there was more voice since then than the words can take. Some
plugins know no start, and leave it at 0 (Sarvam's, 1.8.9): a final that came after a lost one would
cover that one's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ..audio.ledger import AudioLedger
from ..audio.timeline import Timeline
from ..messages import EventKind, TranscriptEvent, Word
from ..policy import ReplayPolicy
from ..transcript.overlap import are_usable
from ..transcript.spoken_length import spoken_length
from ..transcript.tokens import Token, is_spaced, tokenize
from .sender import AudioSender

MAX_CHARACTERS_OF_A_WORD = 12
"""Characters of a script without spaces, from which on a "word" is more than one word."""


class Times(NamedTuple):
    """The times of an event, in seconds of the connection's audio; empty if none are believed."""

    words: tuple[Word, ...] = ()
    start: float | None = None
    end: float | None = None
    clock_restarted: bool = False
    """The times begin anew: the plugin has reconnected by itself."""
    is_duplicate: bool = False
    """The event repeats the last final."""


UNTIMED = Times()
RESTARTED = Times(clock_restarted=True)
DUPLICATE = Times(is_duplicate=True)


class ProviderClock:
    """Judges the times of one connection's events, in the order in which they come."""

    def __init__(self, start: int, policy: ReplayPolicy, *, ends_at_sent: bool = False) -> None:
        """`start`: the first session sample that the connection is sent.

        `ends_at_sent`: as in `ProviderTraits`.
        """
        self._policy = policy
        self._ends_at_sent = ends_at_sent
        self.last_final_end = 0.0
        """Where the last final with times ends, in seconds of the connection's own audio."""
        self._last_text = ""
        self._covered = start
        """The session sample where the last final ends."""
        self._usual_delay = 0.0
        """The longest time in seconds by which a final with times came behind its audio."""

    def __repr__(self) -> str:
        return f"ProviderClock(last_final_end={self.last_final_end})"

    def read(
        self,
        event: TranscriptEvent,
        tokens: Sequence[Token],
        sender: AudioSender,
        ledger: AudioLedger,
        now: float,
    ) -> Times:
        """Return the times of the next event that are believed. It came at `now`."""
        timeline = sender.timeline
        if timeline is None or not tokens:
            return UNTIMED
        times = self._reported(event, sender.seconds_sent)
        if times.end is None or self._is_too_short(times, tokens):
            return UNTIMED
        is_final = event.kind is EventKind.FINAL
        # No connection is sent the same audio twice
        # (test_a_repeated_final_with_the_same_times_is_ignored).
        is_repeated = is_final and event.text == self._last_text and bool(event.words)
        if is_repeated and times.end <= self.last_final_end:
            if self._counts_by_utterance(times, sender, ledger, is_final=True):
                return UNTIMED  # "yes" to the next question
            return DUPLICATE
        if self._goes_back(times):
            if self._counts_by_utterance(times, sender, ledger, is_final=is_final):
                return UNTIMED
            return RESTARTED
        if self._is_elsewhere(times, timeline, sender, ledger, now):
            return UNTIMED
        if is_final:
            self._last_text = event.text
            self._final_believed(times.end, timeline, sender, ledger)
        if self._begins_too_early(times, tokens, timeline, ledger):
            return times._replace(start=None)  # (test_a_start_that_is_none)
        return times

    def _final_believed(
        self, end: float, timeline: Timeline, sender: AudioSender, ledger: AudioLedger
    ) -> None:
        self.last_final_end = end
        self._covered = max(self._covered, ledger.samples(timeline.end_of(end)))
        self._usual_delay = max(self._usual_delay, sender.seconds_sent - end)

    def _reported(self, event: TranscriptEvent, seconds_sent: float) -> Times:
        """Return the times that can be those of the audio that was sent."""
        if are_usable(event.words, seconds_sent, self._policy):
            words = () if any(_is_segment(word.text) for word in event.words) else event.words
            return Times(words, event.words[0].start, event.words[-1].end)
        start, end = event.start, event.end
        if (
            self._ends_at_sent
            or end is None
            or not 0 < end <= seconds_sent + self._policy.max_time_error
        ):
            return UNTIMED
        return Times((), start if start is not None and 0 <= start <= end else None, end)

    def _is_too_short(self, times: Times, tokens: Sequence[Token]) -> bool:
        if times.start is None:
            return False
        assert times.end is not None
        return times.end - times.start < spoken_length(tokens, self._policy).least

    def _begins_too_early(
        self, times: Times, tokens: Sequence[Token], timeline: Timeline, ledger: AudioLedger
    ) -> bool:
        """Return whether there is more voice in these times than the words can take."""
        if times.words or times.start is None or not ledger.vad_enabled:
            return False
        assert times.end is not None
        first = ledger.samples(timeline.start_of(times.start))
        last = ledger.samples(timeline.end_of(times.end))
        voice = ledger.seconds(ledger.voiced_samples(first, last))
        return voice > spoken_length(tokens, self._policy).longest

    def _goes_back(self, times: Times) -> bool:
        gap = self._policy.clock_restart_gap
        return times.start is not None and times.start < self.last_final_end - gap

    def _counts_by_utterance(
        self, times: Times, sender: AudioSender, ledger: AudioLedger, *, is_final: bool
    ) -> bool:
        """Return whether times that go back are those of an utterance, of which nothing is lost."""
        assert times.end is not None
        if times.start is None or not ledger.vad_enabled:
            return False
        if times.start > self._policy.max_utterance_lead:
            return False
        if not is_final:
            return True  # the final will show it
        begin = self._next_voice(ledger, sender.cursor)
        if begin is None:
            return False
        tolerance = ledger.samples(self._policy.max_time_error)
        end = begin + ledger.samples(times.end - times.start)
        usual_end = sender.cursor - ledger.samples(self._usual_delay)
        if usual_end - end <= tolerance:
            # In time, as far as the voice up to now goes. The words end there also where a pause
            # in them, too short for the voice detector, has made `end` too early.
            self._covered = max(min(end, sender.cursor), usual_end)
            return True
        # Late: others have spoken since.
        ends = (until for _, until in ledger.voiced_spans(begin, sender.cursor))
        self._covered = max(self._covered, min(end, sender.cursor))
        return any(abs(until - end) <= tolerance for until in ends)

    def _next_voice(self, ledger: AudioLedger, cursor: int) -> int | None:
        """Return where voice begins behind the last final, and not with the rest of its last word.

        By a clock that is wrong that final may have ended later, too.
        """
        policy = self._policy
        rest = ledger.samples(policy.min_pending_remainder + policy.max_time_error)
        for since, until in ledger.voiced_spans(self._covered, cursor):
            if since > self._covered or until - since >= rest:
                return since
        return None

    def _is_elsewhere(
        self,
        times: Times,
        timeline: Timeline,
        sender: AudioSender,
        ledger: AudioLedger,
        now: float,
    ) -> bool:
        """Return whether nobody spoke at these times, but at others since the last final."""
        assert times.end is not None
        policy = self._policy
        lately = now - policy.clock_restart_gap - self._usual_delay
        if times.end > sender.seconds_processed(lately):
            # A replay has sent it just now. It may have left the ledger, committed before
            # (schedules torn-word-before-the-ledger and known-words-before-the-ledger).
            return False
        end = ledger.samples(timeline.end_of(times.end))
        # Not audio that has only left the window: its final may come late, with the right times
        # (test_speech_that_a_final_did_not_cover_is_lost).
        if end < min(ledger.start, ledger.committed_through):
            return True
        if times.start is None or not ledger.vad_enabled:
            return False
        padding = ledger.samples(policy.word_time_tolerance)
        spans = [(word.start, word.end) for word in times.words] or [(times.start, times.end)]
        silent = 0
        for since, until in spans:
            first = ledger.samples(timeline.start_of(since)) - padding
            last = ledger.samples(timeline.end_of(until)) + padding
            silent += not ledger.voiced_samples(first, last)
        length = ledger.samples(times.end - times.start)
        return silent > len(spans) / 2 and 2 * ledger.voiced_samples(end, sender.cursor) > length


@lru_cache(maxsize=2048)  # interim transcripts repeat their words
def _is_segment(text: str) -> bool:
    """Return whether a "word" is several words."""
    if len(text.split()) > 1:
        return True
    characters = [t for t in tokenize(text) if not is_spaced(t.norm)]
    return len(characters) > MAX_CHARACTERS_OF_A_WORD

"""Notice that a connection may have stopped working although nothing failed.

Theory of operation
===================

A provider can fall silent without an error: its socket is half open, its plugin swallows an error,
or it answers with empty finals. Only one thing proves that a connection works: text for the speech
that it was sent. One `StallDetector` per connection keeps an account of that.

**What counts.** Pending speech: voice by local voice activity detection (VAD) that the connection
was sent, that it had time to process, and that is not committed yet. In silence a connection may be
silent for ever. Without VAD there is no evidence, and so no stall.

**Which stalls exist** (`StallReason`). Each has a deadline, and the earliest one counts:

* `NO_INTERIM`: a provider that gives interim transcripts has given no new text for
  `no_interim_timeout` after it can have processed speech. Longer for one that was seen to give them
  seldom; never for one of which only its plugin says that it gives them (`ProviderHabits`).
* `FINAL_OVERDUE`: a final is expected, because of a flush or because speech has ended, and has not
  come within the final timeout.
* `NO_TEXT`: a provider that gives finals only has given no text for `max_speech_without_text`
  seconds of speech.
* `EMPTY_FINALS`: `empty_final_threshold` finals in a row had no text although speech is pending, or
  a single one covered more speech than any cough lasts.

`MISSING_TAIL` and `SKIPPED_SPEECH` are found elsewhere, by `hedging.controller`: both need no
deadline.

**What a deadline is** (`StallDeadline`). From `due` on the connection is suspect, and never proven
dead: noise is speech to VAD and nothing to a recognizer. So `HedgeController` asks a second
provider before the connection is left. It may do so from `hedge_at` on, before the deadline is
over, so that the hedge has replayed the audio by then. `through` is the session sample before which
the connection should have transcribed the speech; for later speech it still has time.

**What clears a stall.** New text; an expected final, with or without text; audio that is committed
because of any other evidence; and `clear`, when a hedge has found no words either.

All methods take positions in session samples, and times in seconds on the clock of `now`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..audio.spans import total
from ..events import StallReason
from ..health.habits import ProviderHabits
from ..health.latency import FinalLatency
from ..messages import EventKind, TranscriptEvent
from ..policy import ProviderTraits, WatchdogPolicy

MAX_EXPECTED = 64
"""Finals that are expected at a time. It only bounds memory: a replay window has fewer turns."""

MIN_SPEECH_WITHOUT_TEXT = 1.0
"""The least `max_speech_without_text` that has an effect, in seconds. Every sound would be a stall
below it, and 0 cannot be counted in multiples. A bound on that field, so not a field itself."""


@dataclass(frozen=True, slots=True)
class StallDeadline:
    """A suspicion that is to come, or has come. Times are on the clock of `now`."""

    reason: StallReason
    hedge_at: float
    """From here on a hedge may be opened."""
    due: float
    """From here on the connection is suspect."""
    through: int
    """The stall is about pending speech before this session sample."""


Timeouts = tuple[float | None, float | None, float]
"""A provider's p99, and its interim timeout and most speech without text if they depend on what it
was seen to do, in seconds."""


@dataclass(frozen=True, slots=True)
class _ExpectedFinal:
    """A final that a flush or the end of speech asks for."""

    through: int
    """The session sample up to which the final has to cover the audio."""
    processed_at: float
    """When the connection can have processed the audio up to there."""
    flushed: bool
    """Whether a flush asks for it. If not, only a pause does, and a recognizer that is sent more
    speech after the pause is right to wait."""
    sent_at: float
    """When the last of that audio was sent: the delay of the final counts from here."""
    last_word_end: int
    """The session sample where the last word may have ended, at the earliest."""


class StallDetector:
    """The account of the pending speech of one connection, and of the text it gave."""

    def __init__(
        self,
        traits: ProviderTraits,
        latency: FinalLatency,
        policy: WatchdogPolicy,
        start: int,
        habits: ProviderHabits | None = None,
    ) -> None:
        """`start`: the first session sample that the connection is sent.

        `latency`, `habits`: those of the provider, shared by its connections.
        """
        self._traits = traits
        self._latency = latency
        self._habits = habits or ProviderHabits()
        self._is_promise = traits.interim_results and not traits.interims_certain
        """Whether only its plugin says that it gives interim text, so that habits decide."""
        self.policy = policy
        """How long silence may last."""
        self.last_text_at = -math.inf
        """When the connection last gave new text."""
        self.text_through = 0
        """The session sample up to which it had been sent audio when it last gave new text."""
        self._text_expected_from = start
        """The session sample from which on no text has answered the speech."""
        self._interim_cursor = 0
        """What the connection had been sent when its last interim text came."""
        self._last_interim = ""
        """Its last text, if that was not final."""
        self._interims_restarted_at = 0.0
        """The session time (seconds) at which its interim text began anew, leaving a final out."""
        self._voice_since: float | None = None
        """When it had processed the first speech that no text has answered; the start of the
        `NO_INTERIM` deadline."""
        self._voice_cursor = 0
        """What it had been sent by then."""
        self._has_text_of_segment = False
        """Whether text came for the speech that goes on now."""
        self._segment: int | None = None
        """Where the speech began that goes on at the last sample that was sent; `None` in a
        pause."""
        self._textless_marks: list[tuple[float, int]] = []
        """For each full `max_speech_without_text` of speech without text: when that much was
        processed, and what had been sent."""
        self._expected: deque[_ExpectedFinal] = deque(maxlen=MAX_EXPECTED)
        """Finals that are expected, oldest first."""
        self._empty_answers = 0
        """How many expected finals have come empty since the last text."""
        self.answered_empty_through = 0
        """The session sample through which the last of those found no words."""
        self._empty_finals = 0
        """Empty finals in a row, expected or not."""
        self._empty_final_at = 0.0
        """When the last of them came."""
        self._empty_final_cursor = 0
        """What the connection had been sent by then."""

    def __repr__(self) -> str:
        return (
            f"StallDetector(expected={list(self._expected)}, empty={self._empty_finals}, "
            f"from={self._text_expected_from})"
        )

    # -- what happens to the connection

    def expect_final(
        self,
        through: int,
        processed_at: float,
        *,
        flushed: bool,
        sent_ago: float = 0.0,
        last_word_end: int | None = None,
    ) -> None:
        """Expect a final for the audio before `through`.

        `processed_at`: when the connection can have processed it. `flushed`: a flush asks for the
        final, not only a pause. `sent_ago`: seconds since the last of the audio was sent.
        `last_word_end`: where its last word may have ended, at the earliest; by default `through`.
        """
        self._expected.append(
            _ExpectedFinal(
                through,
                processed_at,
                flushed,
                processed_at - sent_ago,
                through if last_word_end is None else last_word_end,
            )
        )

    def audio_sent(self, ledger: AudioLedger, cursor: int, processed_at: float) -> None:
        """Note that the connection was sent audio up to `cursor`.

        `processed_at`: when it can have processed all of that.
        """
        voiced = self._speech_without_text(ledger, cursor)
        has_pending = ledger.has_pending_speech_before(cursor)
        segment = ledger.segment_start(cursor)
        self._has_text_of_segment &= segment is not None and segment == self._segment
        self._segment = segment
        if not has_pending:
            # Empty finals in silence are right, and must not count against the next speech.
            self._empty_finals = 0
        while self._expected and not ledger.has_pending_speech_before(self._expected[0].through):
            # Other evidence has committed the audio, so that no final is due for it.
            self._expected.popleft()
        if not voiced or self._is_negligible(ledger, cursor, voiced, has_pending=has_pending):
            # Later speech gets the whole deadline, whatever cough was before it.
            self._voice_since = None
        elif self._voice_since is None:
            self._voice_since, self._voice_cursor = processed_at, cursor
        multiples = int(voiced / self._max_speech_without_text)
        del self._textless_marks[multiples:]
        new_marks = multiples - len(self._textless_marks)
        self._textless_marks += [(processed_at, cursor)] * new_marks

    def _is_negligible(
        self, ledger: AudioLedger, cursor: int, voiced: float, *, has_pending: bool
    ) -> bool:
        """Return whether the speech without text is over, and too short to mean anything."""
        silence = cursor - ledger.last_voice_end(cursor)
        if not has_pending:
            return silence > 0
        # A short word may stay without interim text, and counts together with the speech after it.
        # After half of the timeout in silence, that speech is a sentence of its own.
        return voiced < self.policy.min_speech_before_stall and (
            silence >= ledger.samples(self.policy.no_interim_timeout / 2)
        )

    def transcript_received(self, event: TranscriptEvent, cursor: int, now: float) -> None:
        """Note an event that the connection gave when it had been sent audio up to `cursor`."""
        is_final = event.kind is EventKind.FINAL
        if event.text.strip():
            is_repeated = event.text == self._last_interim
            self._last_interim = "" if is_final else event.text
            if not is_final:
                self._interim_cursor = cursor
                if is_repeated:
                    # The same text again has no new word. A provider that repeated one for ever,
                    # deaf to everything else, was believed to work (commit a1eabbf).
                    return
            self._learn(now, is_final=is_final)
            self._text_expected_from = self.text_through = cursor
            self.last_text_at = now
            self._voice_since = None
            self._textless_marks.clear()
            self._empty_finals = self._empty_answers = 0
        elif is_final:
            # It answers the oldest expected final: there are no words. But if the connection cannot
            # have processed that audio yet, the empty final is about earlier audio.
            if self._expected and self._expected[0].processed_at <= now:
                self.answered_empty_through = self._expected.popleft().through
                self._empty_answers += 1
            self._empty_finals += 1
            self._empty_final_at, self._empty_final_cursor = now, cursor

    def _learn(self, now: float, *, is_final: bool) -> None:
        """Learn from new text how long speech waits for it."""
        if self._voice_since is not None:
            follows = self._has_text_of_segment and not is_final
            self._habits.text_came(max(0.0, now - self._voice_since), in_speech=follows)
        self._has_text_of_segment = self._segment is not None

    def final_committed(
        self, ledger: AudioLedger, now: float, first_word_at: int | None
    ) -> float | None:
        """Note that a FINAL with text has been committed to `ledger`.

        `first_word_at`: the session sample at which its words begin; `None` if it has no times.
        Returns how many seconds after the end of the speech it came; `None` if it was not expected.
        """
        delay = None
        while self._expected and self._is_answered(self._expected[0], ledger, now, first_word_at):
            expected = self._expected.popleft()
            # Two kinds of finals say nothing about the provider's speed: for audio before the words
            # there was nothing to give, and a final that waits for the end of a turn waits for the
            # user.
            had_words = first_word_at is None or expected.through > first_word_at
            if had_words and not self._awaits_end_of_turn(expected):
                delay = max(0.0, now - expected.sent_at)
        return delay

    def _is_answered(
        self, expected: _ExpectedFinal, ledger: AudioLedger, now: float, first_word_at: int | None
    ) -> bool:
        if not ledger.has_pending_speech_before(expected.through):
            return True
        # A FINAL without times commits its audio later, if at all, and may cover everything that
        # the connection can have processed.
        return first_word_at is None and expected.processed_at <= now

    def interims_restarted(self, at: float | None) -> None:
        """Note that interim text began anew at `at` (session seconds), leaving earlier words alone.

        `None` if it did not: then this does nothing.
        """
        if at is not None:
            self._interims_restarted_at = at

    def clear(self, through: int) -> None:
        """Take back all suspicion about audio before `through`: there were no words in it."""
        self._text_expected_from = max(self._text_expected_from, through)
        self._voice_since = None
        self._textless_marks.clear()
        self._empty_finals = 0
        while self._expected and self._expected[0].through <= through:
            self._expected.popleft()

    # -- what is pending

    @property
    def answered_empty(self) -> bool:
        """Whether all finals that were expected since the last text have come, and came empty."""
        return self._empty_answers > 0 and not self._expected

    @property
    def expected_through(self) -> int:
        """The session sample up to which finals are expected; 0 if none is."""
        return max((expected.through for expected in self._expected), default=0)

    @property
    def flushed_through(self) -> int | None:
        """The session sample where a flush ends the next final; `None` if no flush is pending."""
        return min(
            (expected.through for expected in self._expected if expected.flushed), default=None
        )

    @property
    def final_timeout(self) -> float:
        """Seconds within which a final has to come once its audio has been processed."""
        p99 = self._latency.p99
        if p99 is None:
            return self._traits.final_timeout
        return max(self.policy.final_timeout, self.policy.final_p99_factor * p99)

    @property
    def interim_timeout(self) -> float | None:
        """Seconds of speech that may pass without text; `None` if it gives no interim text.

        Also `None` where only its plugin says that it does, and nothing has shown it yet.
        """
        if not self._traits.interim_results:
            return None
        if self._traits.interims_certain:
            interval = self.policy.interim_wait_factor * self._traits.interim_interval
            return max(self.policy.no_interim_timeout, interval)
        return self._habits.interim_timeout(self.policy)

    @property
    def gives_interims_soon(self) -> bool:
        """Whether an interim transcript follows the words within the usual time."""
        timeout = self.interim_timeout
        return timeout is not None and timeout <= self.policy.no_interim_timeout

    def answer_due_at(self, through: int) -> float | None:
        """Return when the last final for audio before `through` is due; `None` if there is none."""
        due = [
            expected.processed_at + self._final_timeout_of(expected)
            for expected in self._expected
            if expected.through <= through
        ]
        return max(due, default=None)

    def overdue_through(self, now: float) -> int:
        """Return through which session sample all finals are overdue; 0 if none is."""
        due = (
            e.through for e in self._expected if e.processed_at + self._final_timeout_of(e) <= now
        )
        return max(due, default=0)

    def next_stall(
        self, ledger: AudioLedger, cursor: int, multiplier: float = 1.0
    ) -> StallDeadline | None:
        """Return the first stall to come, or that has come; `None` if there is none.

        `cursor`: what it has been sent. `multiplier` stretches the deadline, not the time between
        `hedge_at` and `due`, which is what a hedge needs.
        """
        is_owed = self._voice_since is not None or self._textless_marks or self._expected
        if not ledger.vad_enabled or not (is_owed or self._empty_finals):
            return None  # mostly so: text has just answered all speech
        stalls = (
            self._no_interim(ledger, cursor, multiplier),
            self._final_overdue(ledger, cursor, multiplier),
            self._no_text(ledger, cursor, multiplier),
            self._empty_final(ledger, multiplier),
        )
        return min((stall for stall in stalls if stall), key=lambda stall: stall.due, default=None)

    def positions(self, ledger: AudioLedger, multiplier: float) -> list[int]:
        """Return the session samples at which audio alone may bring a stall nearer.

        Between them `audio_sent` has no effect, if the connection is sent all audio as it is
        pushed, and `timeouts` stay the same; but for the first audio, if it `awaits_voice`.
        """
        if not ledger.vad_enabled:
            return []  # without VAD, audio alone never causes a stall
        if self._is_outdated(ledger):
            return [ledger.end]
        if not ledger.speaking:
            return self._positions_in_pause(ledger)
        since = max(self._text_expected_from, ledger.watermark)
        limit, enough = self._max_speech_without_text, self.policy.min_speech_before_stall
        enough_at = ledger.voice_due(since, enough)
        if self._voice_since is None and enough_at is None:
            return [ledger.end]  # a stall comes near as soon as the next audio is noted
        amounts = (
            limit * (len(self._textless_marks) + 1),
            self._stretched(limit, ledger, multiplier),
        )
        later = (ledger.voice_due(since, amount) for amount in amounts)
        places = [ledger.pending_due, enough_at, *later]
        return [place for place in places if place is not None]

    def awaits_voice(self, ledger: AudioLedger) -> bool:
        """Return whether the next audio is the first voice that no text has answered.

        Then `audio_sent` has to be told of it.
        """
        return self._voice_since is None and (ledger.speaking or not ledger.vad_enabled)

    def _is_outdated(self, ledger: AudioLedger) -> bool:
        """Return whether `audio_sent` will forget finals: none is due where nothing is pending."""
        if self._empty_finals and not ledger.has_pending_speech_before(ledger.end):
            return True
        first = self._expected[0] if self._expected else None
        return first is not None and not ledger.has_pending_speech_before(first.through)

    def _positions_in_pause(self, ledger: AudioLedger) -> list[int]:
        """Return where a pause shows that the speech before it is answered, or too short."""
        if self._voice_since is None:
            return []
        voice_end = ledger.last_voice_end(ledger.end)
        if voice_end == ledger.end or not ledger.has_pending_speech_before(ledger.end):
            return [ledger.end]
        over = voice_end + ledger.samples(self.policy.no_interim_timeout / 2)
        return [over] if over > ledger.end else []

    @property
    def timeouts(self) -> Timeouts:
        """All timeouts that other connections of the provider may change."""
        if not self._is_promise:
            return self._latency.p99, None, 0.0
        return self._latency.p99, self.interim_timeout, self._max_speech_without_text

    def _no_interim(
        self, ledger: AudioLedger, cursor: int, multiplier: float
    ) -> StallDeadline | None:
        since, timeout = self._voice_since, self.interim_timeout
        if timeout is None or since is None:
            return None
        # Most coughs are shorter than this, and a shorter word gets its text with the next one.
        voiced = self._speech_without_text(ledger, cursor)
        if voiced < self.policy.min_speech_before_stall or not ledger.has_pending_speech():
            return None
        p99 = self._latency.p99 or 0.0
        timeout = max(timeout, self.policy.no_interim_p99_factor * p99)
        due = since + multiplier * timeout
        lead = (1 - self.policy.no_interim_hedge_fraction) * timeout
        # Text for what was sent within half of the timeout may be on its way. But the speech that
        # made the connection suspect always counts, or a hedge could not prove anything.
        recent = ledger.samples(self.policy.no_interim_timeout / 2)
        least = self._voice_cursor + ledger.samples(self.policy.min_speech_before_stall)
        through = max(cursor - recent, min(cursor, least))
        return StallDeadline(StallReason.NO_INTERIM, due - lead, due, through)

    def _final_overdue(
        self, ledger: AudioLedger, cursor: int, multiplier: float
    ) -> StallDeadline | None:
        first: StallDeadline | None = None
        for expected in self._expected:
            timeout = self._final_timeout_of(expected)
            due = expected.processed_at + multiplier * timeout
            if first is not None and first.due <= due:
                continue  # cheaper to ask than the rest
            is_owed = ledger.has_pending_speech_before(expected.through)
            if is_owed and not self._may_wait(expected, ledger, cursor):
                lead = (1 - self.policy.final_hedge_fraction) * timeout
                first = StallDeadline(StallReason.FINAL_OVERDUE, due - lead, due, expected.through)
        return first

    def _may_wait(self, expected: _ExpectedFinal, ledger: AudioLedger, cursor: int) -> bool:
        """Return whether a recognizer is right to wait with the final, because speech goes on."""
        if expected.flushed:
            return False
        # Interim text that begins after the last word has left the final behind. Without this rule
        # a stream got no finals until the next long pause (test_interims_that_no_final_follows).
        if expected.last_word_end < ledger.samples(self._interims_restarted_at):
            return False
        pause = ledger.pause_after(expected.through)
        if pause is not None and pause >= self._longest_endpointing:
            return False
        return ledger.speech_continues(expected.through, cursor)

    @property
    def _longest_endpointing(self) -> float:
        """Seconds of silence in which it gives its final, even if somebody speaks on.

        Where interim transcripts come soon, their absence shows more. And who decides himself when
        a turn is over may wait, whatever he did before.
        """
        if self.gives_interims_soon:
            return math.inf
        if self._latency.p99 is not None and not self._traits.end_of_turn_timeout:
            return self._latency.p99
        if not self._traits.endpointing:
            return math.inf
        # Its own voice detector and ours need not agree about where the voice ends.
        return self._traits.endpointing + self.policy.last_word_margin

    def _no_text(self, ledger: AudioLedger, cursor: int, multiplier: float) -> StallDeadline | None:
        limit = self._max_speech_without_text
        stretched = self._stretched(limit, ledger, multiplier)
        multiples = math.ceil(stretched / limit)
        if self.interim_timeout is not None or len(self._textless_marks) < multiples:
            return None
        if self._speech_without_text(ledger, cursor) < stretched:
            return None
        processed_at, _ = self._textless_marks[multiples - 1]
        _, through = self._textless_marks[0]
        return StallDeadline(StallReason.NO_TEXT, processed_at, processed_at, through)

    def _stretched(self, limit: float, ledger: AudioLedger, multiplier: float) -> float:
        """Return how many seconds of speech may pass without text."""
        # Speech that has left the replay window cannot be counted: without this cap a stretched
        # limit would never be reached.
        return max(limit, min(multiplier * limit, ledger.window / 2))

    def _empty_final(self, ledger: AudioLedger, multiplier: float) -> StallDeadline | None:
        is_many = self._empty_finals >= multiplier * self.policy.empty_final_threshold
        cursor = self._empty_final_cursor
        denied = self._speech_without_text(ledger, cursor) if self._empty_finals else 0.0
        is_long = denied >= multiplier * self.policy.max_speech_in_empty_final
        if not (is_many or is_long) or not ledger.has_pending_speech_before(cursor):
            return None
        at = self._empty_final_at
        return StallDeadline(StallReason.EMPTY_FINALS, at, at, cursor)

    def _final_timeout_of(self, expected: _ExpectedFinal) -> float:
        timeout = self.final_timeout
        if self._awaits_end_of_turn(expected):
            return max(timeout, self._traits.end_of_turn_timeout)
        return timeout

    def _awaits_end_of_turn(self, expected: _ExpectedFinal) -> bool:
        """Return whether interim text has covered the words, and only the turn is still open."""
        return (
            self._traits.end_of_turn_timeout > 0 and self._interim_cursor >= expected.last_word_end
        )

    @property
    def _max_speech_without_text(self) -> float:
        limit = self.policy.max_speech_without_text
        if self._is_promise and not self._habits.has_given_text:
            limit = min(limit, self.policy.max_speech_before_first_text)
        return max(MIN_SPEECH_WITHOUT_TEXT, limit)

    def _speech_without_text(self, ledger: AudioLedger, cursor: int) -> float:
        """Return the seconds of speech that the connection was sent since its last text."""
        since = max(self._text_expected_from, ledger.watermark)
        return ledger.seconds(total(ledger.unexplained_voice(since, cursor)))

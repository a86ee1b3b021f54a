"""What silence from a leg means: signs, and when each becomes a suspicion.

Never a verdict: noise is speech to a voice detector and nothing to a recogniser. Only local voice
activity and what the leg was sent count; a leg that nobody speaks to may be silent forever.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from ..audio.ledger import AudioLedger
from ..events import StallReason
from ..health.latency import FinalLatency
from ..messages import EventKind, TranscriptEvent
from ..policy import ProviderTraits, WatchdogPolicy

MAX_EXPECTED = 64
"""Unanswered requests for a final that are remembered: the replay window holds no more turns."""


@dataclass(frozen=True, slots=True)
class StallDeadline:
    """From `due` on the leg is suspect; from `hedge_at` on a hedge may be opened.

    It owes words for audio before session sample `to`.
    """

    reason: StallReason
    hedge_at: float
    due: float
    through: int


@dataclass(frozen=True, slots=True)
class _ExpectedFinal:
    """A final is due for what was sent up to `to`: at `at` the leg can have heard all of it.

    Not `flushed`: speech has ended there, and a recogniser that goes on listening is right to wait.
    """

    through: int
    processed_at: float
    flushed: bool
    sent_at: float
    """When the last of it was sent: what a final's delay is counted from."""
    last_word_end: int
    """The session sample where the last word may have ended, at the earliest."""


class StallDetector:
    """What one leg owes, and since when."""

    def __init__(
        self, provider: ProviderTraits, latency: FinalLatency, policy: WatchdogPolicy, start: int
    ) -> None:
        """`start`: the session sample from which on the leg hears."""
        self._provider = provider
        self._latency = latency
        self._policy = policy
        self._text_expected_from = start
        """Voice after it is unanswered by any text."""
        self._text_cursor = 0
        """What the leg had been sent when its last text came."""
        self._last_interim = ""
        """Its last text that is not final."""
        self.last_text_at = -math.inf
        """When that was."""
        self._voice_since: float | None = None
        self._voice_cursor = 0
        self._textless_marks: list[tuple[float, int]] = []
        """When so much speech without text was heard, twice as much and so on, and what was sent by
        then."""
        self._expected: deque[_ExpectedFinal] = deque(maxlen=MAX_EXPECTED)
        self._empty_answers = 0
        """Requests that finals without text have answered since the last text."""
        self.answered_empty_through = 0
        """The session sample before which the last of them said that there are no words."""
        self._interims_restarted_at = 0.0
        """The session time from which on interim transcripts are of what follows a final that the
        leg has not told."""
        self._empty_finals = 0
        self._empty_final_at = 0.0
        self._empty_final_cursor = 0

    def __repr__(self) -> str:
        return f"StallDetector(asks={list(self._expected)}, empty={self._empty_finals}, from={self._text_expected_from})"

    # -- what happens to the leg

    def expect_final(
        self, to: int, at: float, *, flushed: bool, ago: float = 0.0, words_to: int | None = None
    ) -> None:
        """A final is due for audio before `to`, heard by `at`, the last of it sent `ago`.

        `words_to`: where its last word may have ended, at the earliest.
        """
        self._expected.append(
            _ExpectedFinal(to, at, flushed, at - ago, to if words_to is None else words_to)
        )

    def audio_sent(self, ledger: AudioLedger, cursor: int, processed_by: float) -> None:
        """The leg was sent audio up to `cursor`, which it can have heard by `heard_by`."""
        voiced = self._speech_without_text(ledger, cursor)
        owes = ledger.has_pending_speech_before(cursor)
        if not owes:
            self._empty_finals = 0
        while self._expected and not ledger.has_pending_speech_before(self._expected[0].through):
            self._expected.popleft()  # settled by others' evidence
        if not voiced or self._is_negligible(ledger, cursor, voiced, owes=owes):
            self._voice_since = None  # no clock for what follows
        elif self._voice_since is None:
            self._voice_since, self._voice_cursor = processed_by, cursor
        full = int(voiced / max(1.0, self._policy.max_speech_without_text))
        del self._textless_marks[full:]
        self._textless_marks += [(processed_by, cursor)] * (full - len(self._textless_marks))

    def _is_negligible(
        self, ledger: AudioLedger, cursor: int, voiced: float, *, owes: bool
    ) -> bool:
        """Whether the unanswered voice is over and too short to mean anything."""
        silence = cursor - ledger.last_voice_end(cursor)
        if not owes:
            return silence > 0
        return voiced < self._policy.min_speech_before_stall and (
            silence >= ledger.samples(self._policy.no_interim_timeout / 2)
        )

    def transcript_received(self, event: TranscriptEvent, cursor: int, now: float) -> None:
        """The leg said something at `now`, when it had been sent audio up to `cursor`."""
        if event.text.strip():
            is_final = event.kind is EventKind.FINAL
            again, self._last_interim = (
                event.text == self._last_interim,
                "" if is_final else event.text,
            )
            if not is_final:
                self._text_cursor = cursor
                if again:
                    return  # no new word: one that goes on so while somebody speaks may be deaf
            self._text_expected_from = cursor
            self.last_text_at = now
            self._voice_since = None
            self._textless_marks.clear()
            self._empty_finals = self._empty_answers = 0
        elif event.kind is EventKind.FINAL:
            if self._expected and self._expected[0].processed_at <= now:
                self.answered_empty_through = (
                    self._expected.popleft().through
                )  # an answer: no words there
                self._empty_answers += 1
            self._empty_finals += 1
            self._empty_final_at, self._empty_final_cursor = now, cursor

    def final_committed(self, ledger: AudioLedger, now: float, since: int | None) -> float | None:
        """A FINAL with text has settled what it tells: seconds that it came after the speech.

        `since`: the session sample at which its words begin; what was asked for before them had
        none. `None` if it has no times: then it answers everything asked so far. Returns `None` if
        it was not waited for.
        """
        delay = None
        while self._expected and not (
            ledger.has_pending_speech_before(self._expected[0].through)
            and (since is not None or self._expected[0].processed_at > now)
        ):
            expected = self._expected.popleft()
            if (since is None or expected.through > since) and not self._turn_undecided(expected):
                delay = max(0.0, now - expected.sent_at)
        return delay

    def interims_restarted(self, at: float | None) -> None:
        """Its interim transcripts begin anew at `at` (session seconds), a final being due."""
        if at is not None:
            self._interims_restarted_at = at

    def clear(self, to: int) -> None:
        """There was nothing to be heard before `to`."""
        self._text_expected_from = max(self._text_expected_from, to)
        self._voice_since = None
        self._textless_marks.clear()
        self._empty_finals = 0
        while self._expected and self._expected[0].through <= to:
            self._expected.popleft()

    @property
    def answered_empty(self) -> bool:
        """It has answered that there were no words in what it was asked for."""
        return self._empty_answers > 0 and not self._expected

    # -- what it owes

    @property
    def expected_through(self) -> int:
        """The session sample up to which it owes finals."""
        return max((expected.through for expected in self._expected), default=0)

    @property
    def flushed_through(self) -> int | None:
        """The session sample up to which its next final can tell: a flush ends it there."""
        return min(
            (expected.through for expected in self._expected if expected.flushed), default=None
        )

    def answer_due_by(self, to: int) -> float | None:
        """When it had time enough to tell the words before `to`; `None` if it was not asked."""
        asked = [a.processed_at + self._final_limit(a) for a in self._expected if a.through <= to]
        return max(asked, default=None)

    def next_stall(
        self, ledger: AudioLedger, cursor: int, scale: float = 1.0
    ) -> StallDeadline | None:
        """The first suspicion to come, if the leg owes anything.

        `scale` stretches its deadline, not the time that a hedge has before it.
        """
        if not ledger.vad_enabled:
            return None
        stalls = [
            self._no_interim(ledger, cursor, scale),
            self._final_overdue(ledger, cursor, scale),
            self._no_text(ledger, cursor, scale),
            self._empty_final_stall(ledger, cursor, scale),
        ]
        return min((a for a in stalls if a), key=lambda a: a.due, default=None)

    def _no_interim(self, ledger: AudioLedger, cursor: int, scale: float) -> StallDeadline | None:
        since = self._voice_since
        if not self._provider.interim_results or since is None:
            return None
        if (
            self._speech_without_text(ledger, cursor) < self._policy.min_speech_before_stall
            or not ledger.has_pending_speech()
        ):
            return None
        p99 = self._latency.p99 or 0.0
        limit = max(self._policy.no_interim_timeout, self._policy.no_interim_p99_factor * p99)
        lead = (1 - self._policy.no_interim_hedge_fraction) * limit
        due = since + scale * limit
        # what came later may yet be told
        to = max(
            cursor - ledger.samples(self._policy.no_interim_timeout / 2),
            min(cursor, self._voice_cursor + ledger.samples(self._policy.min_speech_before_stall)),
        )
        return StallDeadline(StallReason.NO_INTERIM, due - lead, due, to)

    def _final_overdue(
        self, ledger: AudioLedger, cursor: int, scale: float
    ) -> StallDeadline | None:
        stalls = []
        for expected in self._expected:
            if ledger.has_pending_speech_before(expected.through) and self._is_due(
                expected, ledger, cursor
            ):
                limit = self._final_limit(expected)
                due = expected.processed_at + scale * limit
                lead = (1 - self._policy.final_hedge_fraction) * limit
                stalls.append(
                    StallDeadline(StallReason.FINAL_OVERDUE, due - lead, due, expected.through)
                )
        return min(stalls, key=lambda a: a.due, default=None)

    def _is_due(self, expected: _ExpectedFinal, ledger: AudioLedger, cursor: int) -> bool:
        """Whether a final is due although speech may go on: it was flushed, or left behind."""
        left = expected.last_word_end < ledger.samples(self._interims_restarted_at)
        return expected.flushed or left or not ledger.speech_continues(expected.through, cursor)

    def _no_text(self, ledger: AudioLedger, cursor: int, scale: float) -> StallDeadline | None:
        limit = max(1.0, self._policy.max_speech_without_text)
        # what has left the window can be counted no more
        stretched = max(limit, min(scale * limit, ledger.window / 2))
        full = math.ceil(stretched / limit)
        if self._provider.interim_results or len(self._textless_marks) < full:
            return None
        if self._speech_without_text(ledger, cursor) < stretched:
            return None
        processed_by, _ = self._textless_marks[full - 1]
        return StallDeadline(
            StallReason.NO_TEXT, processed_by, processed_by, self._textless_marks[0][1]
        )

    def _empty_final_stall(
        self, ledger: AudioLedger, cursor: int, scale: float
    ) -> StallDeadline | None:
        policy = self._policy
        many = self._empty_finals >= scale * policy.empty_final_threshold
        denied = (
            self._speech_without_text(ledger, self._empty_final_cursor)
            if self._empty_finals
            else 0.0
        )
        if not (many or denied >= scale * policy.max_speech_in_empty_final):
            return None
        if not ledger.has_pending_speech_before(self._empty_final_cursor):
            return None
        return StallDeadline(
            StallReason.EMPTY_FINALS,
            self._empty_final_at,
            self._empty_final_at,
            self._empty_final_cursor,
        )

    @property
    def final_limit(self) -> float:
        """Seconds within which it has to tell what it has heard, and been asked for."""
        p99 = self._latency.p99
        if p99 is None:
            return self._provider.final_timeout
        return max(self._policy.final_timeout, self._policy.final_p99_factor * p99)

    def _final_limit(self, expected: _ExpectedFinal) -> float:
        limit = self.final_limit
        return (
            max(limit, self._provider.end_of_turn_timeout)
            if self._turn_undecided(expected)
            else limit
        )

    def _turn_undecided(self, expected: _ExpectedFinal) -> bool:
        """Whether the leg has told the words already, and only does not call them final yet."""
        return (
            self._provider.end_of_turn_timeout > 0 and self._text_cursor >= expected.last_word_end
        )

    def _speech_without_text(self, ledger: AudioLedger, cursor: int) -> float:
        """Seconds of voice that the leg was sent since its last text."""
        since = max(self._text_expected_from, ledger.watermark)
        return ledger.voiced_samples(since, cursor) / ledger.rate if ledger.rate else 0.0

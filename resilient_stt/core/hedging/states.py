"""The states of `HedgeController`. Each holds only what is known while it lasts.

`HedgeController` draws the transitions between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..events import StallReason
from ..policy import WatchdogPolicy
from ..stalls.detector import StallDeadline
from ..stalls.skipped_speech import SkippedSpeech


@dataclass(frozen=True, slots=True)
class Watching:
    """The active connection is not suspect, and no hedge is open."""


@dataclass(slots=True, kw_only=True)
class Suspicion:
    """What is known while a connection is suspect: the hedge, and the providers asked before it.

    `hedge` is `None` after one has failed, until the next is opened, and while none may be opened.
    """

    hedge: Connection | None = None
    expected_through: int = 0
    """The active connection's `StallDetector.expected_through` when `hedge` was opened."""
    hedged_providers: set[str] = field(default_factory=set)
    """Names of the providers on which a hedge was opened, that of `hedge` included.

    Each is asked once, unless `HedgeOpener.spend_retry` allows it again.
    """
    found_deaf: bool = False
    """Whether a hedge has left out words that were committed."""

    def is_silent_beside_hedge(self, active: Connection) -> bool:
        """Return whether a hedge listens, and `active` has given no text since it was opened."""
        hedge = self.hedge
        return hedge is not None and active.stall_detector.last_text_at < hedge.opened_at


@dataclass(slots=True, kw_only=True)
class Hedging(Suspicion):
    """A stall deadline has come near, or the active stream has ended with speech pending."""

    overdue_final: StallDeadline | None = None
    """A final that became overdue while a hedge listened.

    The stall detector forgets an overdue final when the user speaks on, because the recognizer may
    then be right to wait. A deadline that is over stays over: between two short sentences a deaf
    provider would otherwise never be noticed (see
    `test_a_deaf_provider_is_noticed_between_two_short_sentences`).
    """


@dataclass(slots=True, kw_only=True)
class CheckingSkippedSpeech(Suspicion):
    """A FINAL of the active connection skips speech, and is held until a hedge has answered."""

    skipped: SkippedSpeech

    @property
    def stall(self) -> StallDeadline:
        """The stall to report if the hedge transcribes words of the skipped speech."""
        since = self.skipped.since
        return StallDeadline(StallReason.SKIPPED_SPEECH, since, since, self.skipped.first_word_at)

    def deadline(self, policy: WatchdogPolicy, ledger: AudioLedger) -> float:
        """Return until when the FINAL is held at most.

        The transcript is late by all the time that a FINAL is held. But where the skipped speech
        had interim transcripts, or a hedge was deaf to it, words are probably missing: then the
        deadline leaves time for two hedges, one after the other, to process all of the audio (seeds
        110000952 and 221639238251 of the simulator needed the second).
        """
        wait = policy.skipped_final_wait
        if self.skipped.had_interims or self.found_deaf:
            audio = ledger.seconds(self.skipped.end - self.skipped.committed_through)
            wait += 2 * audio / policy.min_processing_rate
        return self.skipped.since + wait

    def is_too_far_behind(self, policy: WatchdogPolicy, ledger: AudioLedger, now: float) -> bool:
        """Return whether the hedge has found no words in long noise, and cannot answer in time.

        It was opened for that noise, long before the FINAL, and is still replaying it. Waiting for
        it would only make the FINAL late (test_a_minute_of_noise).
        """
        hedge = self.hedge
        if hedge is None or hedge.opened_at >= self.skipped.since or self.skipped.had_interims:
            return False
        left = ledger.seconds(self.skipped.end - hedge.cursor) / hedge.traits.pace.rate
        return now + left > self.deadline(policy, ledger)

    def awaits_hedges(self, policy: WatchdogPolicy, ledger: AudioLedger, now: float) -> bool:
        """Return whether there is time left for the answer of another hedge."""
        return now < self.deadline(policy, ledger)


State = Watching | Hedging | CheckingSkippedSpeech

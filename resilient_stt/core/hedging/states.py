"""The states of `HedgeController`. Each holds only what is known while it lasts.

`HedgeController` draws the transitions between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..audio.ledger import AudioLedger
from ..connections.connection import PROCESSING_RATE, Connection
from ..policy import WatchdogPolicy
from ..stalls.detector import StallDeadline, StallReason
from ..stalls.skipped_speech import SkippedSpeech


@dataclass(frozen=True, slots=True)
class Watching:
    """The active connection is not suspect, and no hedge is open."""


@dataclass(slots=True, kw_only=True)
class Suspicion:
    """What is known while something is suspect: which hedge listens, and who was asked before.

    `hedge` is `None` between a hedge that failed and the next one, and while nobody may be asked.
    """

    hedge: Connection | None = None
    expected_through: int = 0
    """The session sample up to which the active connection owed finals when `hedge` was opened."""
    hedged_providers: set[str] = field(default_factory=set)
    """Names of the providers that were asked about this suspicion, that of `hedge` included.

    A provider is asked once, unless `HedgeOpener.spend_retry` allows it again.
    """


@dataclass(slots=True, kw_only=True)
class Hedging(Suspicion):
    """The active connection owes words: a stall deadline has come near, or its stream has ended."""

    overdue_final: StallDeadline | None = None
    """A final that became overdue while a hedge listened.

    The stall detector forgets an overdue final when the user speaks on, because the recognizer may
    then be right to wait. A deadline that is over stays over: between two short sentences a deaf
    provider would otherwise never be noticed (see
    `test_a_deaf_provider_is_noticed_between_two_short_sentences`).
    """


@dataclass(slots=True, kw_only=True)
class CheckingSkippedSpeech(Suspicion):
    """A FINAL of the active connection skips speech, and is held until a hedge was asked."""

    skipped: SkippedSpeech

    @property
    def stall(self) -> StallDeadline:
        """The reason to leave the active connection, should the hedge hear words there."""
        since = self.skipped.since
        return StallDeadline(StallReason.SKIPPED_SPEECH, since, since, self.skipped.first_word_at)

    def deadline(self, policy: WatchdogPolicy, ledger: AudioLedger) -> float:
        """Return until when the FINAL is held at most.

        A FINAL is late by all the time that it is held. But where interim transcripts had told
        words of the skipped speech, a word is almost certainly missing: then the deadline leaves
        time for two hedges, one after the other, to process all of the audio (seeds 110000952 and
        221639238251 of the simulator needed the second).
        """
        wait = policy.skipped_final_wait
        if self.skipped.had_interims:
            audio = ledger.seconds(self.skipped.end - self.skipped.committed_through)
            wait += 2 * audio / PROCESSING_RATE
        return self.skipped.since + wait


State = Watching | Hedging | CheckingSkippedSpeech

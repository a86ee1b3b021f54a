"""What a stream that gave up leaves to the next stream of the same call.

Theory of operation
===================

A stream gives up after `RetryPolicy.outage_limit`, while the caller speaks on. LiveKit's session
then opens another stream, whose first audio follows the last of this one. What was said a moment
ago is still worth an answer, so the next stream goes on with the same audio: with its ledger and
its committed words. It opens a connection as after any failure: replayed from a place between two
words, and without the words that are committed.

What was pushed more than `ReplayPolicy.handover_window` seconds ago is lost, and so is everything
that no stream takes over.
"""

from __future__ import annotations

from .audio.arrivals import Arrivals
from .audio.ledger import AudioLedger
from .audio.spans import Spans
from .policy import ReplayPolicy
from .transcript.history import TranscriptHistory


class Handover:
    """The audio of a call: what is committed, what is pending, and when it was pushed."""

    def __init__(self, policy: ReplayPolicy, *, vad_enabled: bool) -> None:
        """Start without audio. `vad_enabled`: local voice activity is reported."""
        self._window = policy.handover_window
        self.ledger = AudioLedger(policy, vad_enabled=vad_enabled)
        self.history = TranscriptHistory(policy)
        self._arrivals = Arrivals()

    def __repr__(self) -> str:
        return f"Handover({self.ledger!r}, {self._arrivals!r})"

    @property
    def arrivals(self) -> Arrivals:
        """When the audio was pushed."""
        return self._arrivals

    @property
    def pending_seconds(self) -> float:
        """Seconds of voice that may hold a word, and are lost if no stream takes them over."""
        ledger = self.ledger
        return ledger.seconds(sum(end - start for start, end in ledger.pending_voice(ledger.end)))

    @property
    def expires_at(self) -> float:
        """When the newest audio is too old to be taken over, on the clock of the engine."""
        return self._arrivals.newest_at + self._window

    def push(self, samples: int, rate: int, now: float) -> Spans:
        """Append audio. Returns the pending speech that left the replay window (`AudioLedger`)."""
        lost = self.ledger.push(samples, rate)
        self._arrivals.pushed(self.ledger.end, now, self._window)
        return lost

    def drop_stale(self, now: float) -> Spans:
        """Finish with what was pushed too long ago. Returns the voice that is lost by that."""
        return self.ledger.abandon(self.stale_position(now))

    def stale_position(self, now: float) -> int:
        """Return the sample before which all audio was pushed too long ago."""
        ledger, stale = self.ledger, self._arrivals.pushed_before(now - self._window)
        # In the middle of a word, the next stream would begin with what is left of it.
        return ledger.clean_cut(stale) if stale > ledger.watermark else stale

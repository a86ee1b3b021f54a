"""Voice in a stream that no provider has ever given a word for.

Theory of operation
===================

A hedge shows that it hears by repeating committed words. Before the first words of a stream there
is nothing to repeat: providers that are all deaf, and a caller who is on hold, look the same. Only
the amount of voice tells them apart, and not for certain. So nothing is decided but what the user
is told, and when to give up:

- After `WatchdogPolicy.max_unanswered_speech_at_start` seconds of voice, an outage is reported. The
  connections stay as they are: hedges open new ones all the time, and each of them is sent all the
  voice that the window holds. The first words end the outage.
- After `RetryPolicy.outage_limit`, or when the stream ends, the voice is lost, and the stream gives
  up: it must not end as if nobody had spoken.
"""

from __future__ import annotations

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import OutageEnded, OutageStarted
from ..outbox import Outbox
from ..policy import Policies
from ..transcript.history import TranscriptHistory
from .controller import HedgeController


class UnansweredVoice:
    """Reports that nobody gives words, in a stream without any words so far."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        history: TranscriptHistory,
        hedging: HedgeController,
        policies: Policies,
        outbox: Outbox,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._hedging = hedging
        self._outage_limit = policies.retry.outage_limit
        self._outbox = outbox
        self._had_words = history.has_words
        """Whether any provider has ever given words."""
        self._since: float | None = None
        """When the outage was reported; `None` before and after."""

    def __repr__(self) -> str:
        return f"UnansweredVoice(since={self._since})"

    @property
    def is_outage(self) -> bool:
        """Whether it was reported that nobody gives words, and nobody has given any since."""
        return self._since is not None

    @property
    def deadlines(self) -> list[float]:
        """When `is_over` may be true without any input."""
        return [] if self._since is None else [self._since + self._outage_limit]

    def positions(self, active: Connection) -> list[int]:
        """Return the session samples at which audio alone may give `step` something to do."""
        ledger = self._ledger
        if self._had_words or not ledger.vad_enabled:
            return []
        if self._since is not None:
            return [ledger.end]
        place = self._hedging.unanswered_due(active)
        return [] if place is None else [place]

    def step(self, active: Connection, now: float) -> None:
        """Report the outage once there is too much voice for noise."""
        if self._since is None and not self._pool.input_ended and self.is_too_much(active):
            self._since = now
            self._outbox.report(OutageStarted(at=self._pool.at))

    def is_too_much(self, active: Connection) -> bool:
        """Return whether the voice is too much for noise, and no provider is known to hear."""
        if self._had_words or not self._ledger.vad_enabled:
            return False
        return self._hedging.is_unanswered(active)

    def is_over(self, active: Connection, now: float) -> bool:
        """Return whether the stream must give up: there still is voice, and nobody gives words."""
        since = self._since
        return since is not None and now >= since + self._outage_limit and self.is_too_much(active)

    def words_received(self, provider: str, now: float) -> None:
        """End the outage: a connection to `provider` gives words."""
        self._had_words = True
        since, self._since = self._since, None
        if since is not None:
            self._outbox.report(
                OutageEnded(at=self._pool.at, provider=provider, duration=now - since)
            )

    @property
    def seconds_lost(self) -> float:
        """Seconds of voice that are lost if the stream ends now; 0 if that may be noise."""
        ledger = self._ledger
        if self._had_words or not ledger.vad_enabled:
            return 0.0
        seconds = ledger.seconds(ledger.voiced_samples(ledger.watermark, ledger.end))
        is_noise = self._since is None and seconds < self._hedging.unanswered_limit
        return 0.0 if is_noise else seconds

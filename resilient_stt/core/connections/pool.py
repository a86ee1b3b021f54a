"""The legs of a session, and what all who decide about them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..audio.ledger import AudioLedger, Spans
from ..events import AudioLossReason, AudioLost, ProviderFailed
from ..health.provider import ProviderHealth, advice
from ..messages import (
    CloseConnection,
    ConnectionFailed,
    OpenConnection,
    Role,
    SetServing,
)
from ..outbox import Outbox
from ..policy import Policies, ProviderTraits
from ..routing.language import LanguageTracker
from ..routing.selector import ProviderSelector
from ..stalls.detector import StallDetector
from ..transcript.overlap import TranscriptHistory
from .connection import Connection, open_connection, trimmer_at
from .loss import LossTracker

LOSS_REPORT_STEP = 1.0
"""Seconds of lost speech after which a loss that still goes on is reported."""


class ConnectionPool:
    """Opens, feeds and closes legs; collects the commands of one input."""

    def __init__(
        self,
        routing: LanguageTracker,
        health: Mapping[str, ProviderHealth],
        policies: Policies,
        *,
        vad_enabled: bool,
    ) -> None:
        """`vad_enabled`: local voice activity is reported."""
        self.routing = routing
        self.policies = policies
        self.health = health
        self.selector = ProviderSelector(routing.route.providers, health, policies.retry)
        self.ledger = AudioLedger(policies.replay, vad_enabled=vad_enabled)
        self.history = TranscriptHistory(policies.replay)
        self.input_ended = False
        self.outbox = Outbox()
        self._connections: dict[int, Connection] = {}
        self._next = 0
        self._loss = LossTracker()

    def __repr__(self) -> str:
        connections = ", ".join(f"{c.traits.name}#{c.id} {c.role}" for c in self)
        return f"ConnectionPool([{connections}], {self.ledger!r}, {self.history!r}, {self._loss!r})"

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    @property
    def has_opened(self) -> bool:
        """Whether a leg was ever opened."""
        return self._next > 0

    @property
    def active(self) -> Connection | None:
        """The leg whose text is emitted."""
        return next((connection for connection in self if connection.role is Role.ACTIVE), None)

    def get(self, connection: int) -> Connection | None:
        """The living leg of that id, if it lives: what a closed one still says is ignored."""
        return self._connections.get(connection)

    # -- opening and closing

    def open(
        self, provider: ProviderTraits, role: Role, now: float, start: int | None = None
    ) -> Connection:
        """A new leg that replays what is not settled, or hears from session sample `start` on."""
        latency, policy = self.health[provider.name].latency, self.policies.watchdog
        connection = open_connection(
            self._next,
            provider,
            role,
            now,
            self.ledger,
            self.history,
            lambda at: StallDetector(provider, latency, policy, at),
            provider.language_hint(self.routing.language),
            start,
        )
        self._loss.connection_opened(connection)
        flushed_late = provider.manual_flush and provider.slow_endpointing
        connection.flush_at_pauses = flushed_late and policy.flush_at_end_of_speech
        self._connections[connection.id] = connection
        self._update_retention()
        self._next += 1
        self.outbox.add(
            OpenConnection(
                connection.id, provider.name, connection.start, connection.language, role
            )
        )
        if role is Role.ACTIVE:
            self._set_serving(connection)
        return connection

    def promote(self, connection: Connection) -> None:
        """A leg that was not active becomes it; the seam is where things stand now."""
        connection.role = Role.ACTIVE
        self.reset_trimmer(connection)
        self._set_serving(connection)

    def reset_trimmer(self, connection: Connection) -> None:
        """The seam of a leg is where things stand now."""
        connection.trimmer = trimmer_at(
            connection.start, self.ledger, self.history, starts_mid_word=connection.starts_mid_word
        )

    def close(self, connection: Connection) -> None:
        """Nothing that the leg still says counts."""
        del self._connections[connection.id]
        self._update_retention()
        self.outbox.add(CloseConnection(connection.id))

    def close_all(self) -> None:
        """Close every leg, and report what is lost with the last."""
        for connection in self:
            self.close(connection)
        self.ledger.trim()
        self.report_loss()

    def _set_serving(self, connection: Connection) -> None:
        self.outbox.add(SetServing(connection.traits.name, connection.id))
        self.report_loss()

    def fail(
        self, connection: Connection, failure: ConnectionFailed, now: float, *, known: bool = False
    ) -> None:
        """Close a leg that is not active and failed, and count it against its provider.

        `known`: the same was told already.
        """
        self.close(connection)
        news = self.selector.record_failure(connection.traits, failure, now)
        self.report_failure(connection.traits, failure, news=news and not known)

    def report_failure(
        self, provider: ProviderTraits, failure: ConnectionFailed, *, news: bool
    ) -> None:
        """Report a failure; one that is no news is not repeated."""
        if not news:
            return
        self.outbox.report(
            ProviderFailed(
                at=self.at,
                provider=provider.name,
                reason=failure.kind,
                detail=failure.detail,
                trigger=failure.trigger,
                advice=advice(provider, failure.kind, self.policies.breaker),
            )
        )

    # -- feeding

    def feed(self, connection: Connection, now: float) -> bool:
        """Send what the pace allows and after the last of it the end; whether all is sent."""
        self.outbox.add(*connection.send(self.ledger, now))
        self._update_retention()
        if connection.cursor < self.ledger.end:
            return False
        if self.input_ended and connection.input_ended_at is None:
            self.outbox.add(connection.end_input(self.ledger, now))
        return True

    def _update_retention(self) -> None:
        """What a leg has still before it stays, settled or not; a probe's text is for nobody."""
        cursors = [connection.cursor for connection in self if connection.role is not Role.PROBE]
        self.ledger.retain_from = min(cursors, default=None)

    # -- loss

    def audio_dropped(self, voiced: Spans) -> None:
        """Unsettled speech fell out of the window: who was not sent it will not be."""
        self._loss.audio_dropped(voiced, list(self))
        if self.ledger.seconds(self._loss.unreported(list(self))) >= LOSS_REPORT_STEP:
            self.report_loss()

    def audio_covered(self, connection: Connection) -> None:
        """What the leg told has settled what it was sent, also of what is gone."""
        self._loss.audio_covered(connection, self.ledger.committed_through, list(self))

    def report_loss(self) -> None:
        """Report what is lost for certain and not reported yet."""
        samples = self._loss.unreported(list(self))
        if samples > 0:
            self._loss.mark_reported(samples)
            self.outbox.report(
                AudioLost(
                    at=self.at,
                    seconds=self.ledger.seconds(samples),
                    reason=AudioLossReason.WINDOW_EXCEEDED,
                )
            )

    # -- small things

    def drained_at(self, connection: Connection) -> float | None:
        """When a leg that was told the end counts as fallen silent, its backlog granted.

        One that never falls silent counts as such after the outage limit: no stream hangs.
        """
        if connection.input_ended_at is None or connection.finished:
            return None
        silent = (
            max(connection.input_ended_at, connection.last_transcript_at or 0.0)
            + self.policies.watchdog.drain_timeout
        )
        at_last = connection.input_ended_at + self.policies.retry.outage_limit
        return min(silent, at_last) + connection.backlog(connection.input_ended_at)

    def has_pending_words(self) -> bool:
        """Whether speech is not settled, give or take the edges of a segment."""
        return self.ledger.has_pending_speech(at_least=self.policies.replay.min_pending_speech)

    @property
    def at(self) -> float:
        """Seconds of session audio at the live edge."""
        return self.ledger.seconds(self.ledger.end)

"""Finds out whether a provider that failed transcribes again, without risking any words.

Theory of operation
===================

A probe is a second connection, on a preferred provider whose breaker lets one through. It is sent
one utterance from its start on, live, and its words are never emitted. An open socket proves
nothing, so a probe passes with a FINAL that has words. It fails if its stream breaks, or if no such
FINAL comes in time although the active connection has words for the same audio. If neither has
any, it proves nothing.

`BreakerPolicy.success_threshold` passes in a row close the breaker; then the stream may fail back.
While a last resort serves, one does.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.pool import ConnectionPool
from ..events import (
    CloseReason,
    ErrorKind,
    ProbeFailed,
    ProbePassed,
    ProviderRecovered,
    Role,
)
from ..health.provider import ProviderHealth
from ..messages import ConnectionFailed, EventKind, FlushConnection, TranscriptEvent
from ..outbox import Outbox
from ..policy import Policies
from ..routing.selector import ProviderSelector


class Probe:
    """At most one probe of one stream."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        selector: ProviderSelector,
        health: Mapping[str, ProviderHealth],
        policies: Policies,
        outbox: Outbox,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._selector = selector
        self._health = health
        self._enabled = policies.failback.enabled
        self._timeout = policies.breaker.probe_timeout
        self._max_start_delay = policies.breaker.max_probe_start_delay
        self._outbox = outbox
        self._connection: Connection | None = None
        self._final_due_at: float | None = None
        """By when its final has to come; `None` while the utterance lasts."""
        self._words_spoken = False
        """The active connection has sent words since the probe began."""
        self._urgent = False
        """A last resort served when it began."""

    def __repr__(self) -> str:
        connection = self._connection and self._connection.id
        return f"Probe(connection={connection}, due={self._final_due_at})"

    def step(self, active: Connection, now: float) -> None:
        """Begin a probe where an utterance begins, or end the one that had its time."""
        connection = self._connection
        if connection is None:
            self._begin(active, now)
        elif now >= self._ends_at(connection):
            self._conclude(connection, now)
        elif connection.traits.name == active.traits.name:
            self.cancel(now)  # the provider serves by now: its own words prove more

    def deadlines(self, active: Connection, now: float) -> list[float]:
        """Return when `step` may have something to do without any input."""
        if self._connection is not None:
            return [self._ends_at(self._connection)]
        if self._utterance_start is None:
            return []
        return self._selector.probes_at(active.traits, now)

    def positions(self, active: Connection, now: float) -> list[int]:
        """Return the session samples at which audio alone may give `step` something to do."""
        if self._connection is not None or self._utterance_start is None:
            return []
        # The lease may have to be asked for again (`Breaker.acquire_probe`).
        is_due = bool(self._selector.probe_candidates(active.traits, now))
        return [self._ledger.end] if is_due else []

    def active_sent_words(self) -> None:
        """Note that the active connection sent words, so the probe should have some as well."""
        self._words_spoken = True

    def speech_ended(self, now: float) -> None:
        """Note that the utterance is over: the probe's final is due."""
        connection = self._connection
        if connection is None or self._final_due_at is not None:
            return
        if connection.traits.manual_flush:
            self._outbox.add(FlushConnection(connection.id))
        limit = max(connection.traits.final_timeout, connection.traits.end_of_turn_timeout)
        self._final_due_at = max(now, connection.processed_by) + limit

    def on_event(self, connection: Connection, event: TranscriptEvent, now: float) -> None:
        """Take an event of the probe: a FINAL with words passes."""
        if event.kind is not EventKind.FINAL or not event.text.strip():
            return
        name = connection.traits.name
        breaker = self._health[name].breaker
        breaker.probe_passed(now, urgent=self._urgent)
        self._outbox.report(
            ProbePassed(
                at=self._pool.at,
                provider=name,
                connection=connection.id,
                role=Role.PROBE,
                duration=now - connection.opened_at,
            )
        )
        if breaker.is_proven():
            self._outbox.report(ProviderRecovered(at=self._pool.at, provider=name))
            self._outbox.add(*self._selector.mark_recovered(name))
        self._close(connection, CloseReason.NOT_NEEDED, now)

    def failed(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        """Close a probe that failed, and count the failure."""
        self._connection = None
        self._outbox.report(
            ProbeFailed(
                at=self._pool.at,
                provider=connection.traits.name,
                connection=connection.id,
                role=Role.PROBE,
                reason=failure.kind,
                detail=failure.detail,
                duration=now - connection.opened_at,
            )
        )
        self._pool.fail(connection, failure, now)

    def cancel(self, now: float, reason: CloseReason = CloseReason.NOT_NEEDED) -> None:
        """End the probe, if there is one, without a result; `reason` says why."""
        if self._connection:
            self._health[self._connection.traits.name].breaker.release_probe(now)
            self._close(self._connection, reason, now)

    def _begin(self, active: Connection, now: float) -> None:
        start = self._utterance_start
        if start is None:
            return
        if self._pool.input_ended or not (active.caught_up and self._enabled):
            return
        for provider in self._selector.probe_candidates(active.traits, now):
            if self._selector.acquire_probe(provider.name, active.traits, now):
                start = max(start, self._ledger.start)
                self._connection = self._pool.open(provider, Role.PROBE, now, start)
                self._final_due_at, self._words_spoken = None, False
                self._urgent = active.traits.last_resort
                return

    @property
    def _utterance_start(self) -> int | None:
        """Where the utterance began that goes on; `None` if it is too late to probe with it."""
        ledger = self._ledger
        start = ledger.segment_start(ledger.end) if ledger.speaking else None
        if start is None or ledger.end - start > ledger.samples(self._max_start_delay):
            return None
        return start

    def _ends_at(self, connection: Connection) -> float:
        if self._final_due_at is None:
            return connection.opened_at + self._timeout
        return self._final_due_at

    def _conclude(self, connection: Connection, now: float) -> None:
        """End a probe whose time is over: it has failed if the active connection had words."""
        if self._final_due_at is not None and self._words_spoken:
            deaf = ConnectionFailed(connection.id, ErrorKind.STALLED, "heard nothing")
            self.failed(connection, deaf, now)
        else:
            self.cancel(now)

    def _close(self, connection: Connection, reason: CloseReason, now: float) -> None:
        self._connection = None
        self._pool.close(connection, reason, now)

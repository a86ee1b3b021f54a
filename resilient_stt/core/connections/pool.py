"""The connections of one stream.

Theory of operation
===================

At most one connection is active: its words are emitted. Beside it there may be one hedge and one
probe. In an outage there is no active connection, but there may be several reconnects. All
connections are opened and closed here; the commands for the shell go to the outbox in that order.

The pool keeps three things true for all connections:

* Audio is kept for each of them until it was sent (`AudioLedger.retain_from`).
* Each is sent audio at its own pace, then the end of input (`feed`).
* Speech that left the window before any of them was sent it is reported lost, once (`LossTracker`).

A closed connection is forgotten: `get` does not find it, so later events of its stream are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..accounts import StreamAccounts
from ..audio.ledger import AudioLedger
from ..audio.spans import Spans, total
from ..events import (
    AudioLossReason,
    AudioLost,
    CloseReason,
    ConnectionClosed,
    ConnectionEstablished,
    ConnectionOpened,
    ConnectionPromoted,
    ErrorKind,
    ProviderFailed,
    Role,
    SwitchReason,
)
from ..health.provider import ProviderHealth, advice
from ..messages import CloseConnection, ConnectionFailed, OpenConnection, SetServing
from ..outbox import Outbox
from ..policy import Policies, ProviderTraits
from ..routing.language import LanguageTracker
from ..routing.selector import ProviderSelector
from ..stalls.detector import StallDetector
from ..transcript.history import TranscriptHistory
from .connection import Connection, open_connection, trimmer_of
from .loss import LossTracker


class ConnectionPool:
    """Opens, feeds and closes connections."""

    def __init__(
        self,
        *,
        ledger: AudioLedger,
        history: TranscriptHistory,
        routing: LanguageTracker,
        selector: ProviderSelector,
        health: Mapping[str, ProviderHealth],
        policies: Policies,
        accounts: StreamAccounts,
        outbox: Outbox,
    ) -> None:
        self._ledger = ledger
        self._history = history
        self._routing = routing
        self._selector = selector
        self._health = health
        self._policies = policies
        self._accounts = accounts
        self._outbox = outbox
        self.input_ended_at: float | None = None
        """Since when no more audio comes; `None` while it may."""
        self._connections: dict[int, Connection] = {}
        self._active: Connection | None = None
        self._next_id = 0
        self._loss = LossTracker()

    def __repr__(self) -> str:
        connections = ", ".join(f"{c.traits.name}#{c.id} {c.role}" for c in self)
        return f"ConnectionPool([{connections}], {self._loss!r})"

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections.values()))

    @property
    def has_opened(self) -> bool:
        """Whether a connection was ever opened."""
        return self._next_id > 0

    @property
    def active(self) -> Connection | None:
        """The connection whose words are emitted; `None` in an outage."""
        return self._active

    @property
    def is_live(self) -> bool:
        """Whether there is an active connection, and all were sent all audio and may answer it."""
        active = self._active
        if active is None or self.input_ended or active.held_events or self._loss.has_any:
            return False
        return all(
            each.caught_up and each.cursor == self._ledger.end and not each.finished
            for each in self._connections.values()
        )

    def get(self, connection_id: int) -> Connection | None:
        """Return the connection of that id; `None` if it was closed."""
        return self._connections.get(connection_id)

    # -- opening and closing

    def open(
        self, provider: ProviderTraits, role: Role, now: float, start: int | None = None
    ) -> Connection:
        """Open a connection that replays what is not committed, or is sent audio from `start` on.

        `start`: a session sample.
        """
        health, watchdog = self._health[provider.name], self._policies.watchdog
        # A provider that waits long for the end of a sentence gives its final at once when it is
        # flushed.
        needs_flush = provider.manual_flush and provider.slow_endpointing
        connection = open_connection(
            self._next_id,
            provider,
            role,
            now,
            self._ledger,
            self._history,
            lambda at: StallDetector(provider, health.latency, watchdog, at, health.habits),
            self._policies.replay,
            provider.language_hint(self._routing.language),
            start,
            flush_at_pauses=needs_flush and watchdog.flush_at_end_of_speech,
        )
        self._loss.connection_opened(connection)
        self._connections[connection.id] = connection
        self.update_retention()
        self._next_id += 1
        self._outbox.report(
            ConnectionOpened(
                at=self.at,
                provider=provider.name,
                connection=connection.id,
                role=role,
                replay_from=self._ledger.seconds(connection.start),
                language=connection.language,
            )
        )
        self._outbox.add(
            OpenConnection(
                connection.id, provider.name, connection.start, connection.language, role
            )
        )
        if role is Role.ACTIVE:
            self._active = connection
            self._set_serving(connection)
        return connection

    def promote(self, connection: Connection) -> None:
        """Make a connection active that was not."""
        self._account(connection)
        from_role, connection.role, self._active = connection.role, Role.ACTIVE, connection
        self._outbox.report(
            ConnectionPromoted(
                at=self.at,
                provider=connection.traits.name,
                connection=connection.id,
                role=Role.ACTIVE,
                from_role=from_role,
            )
        )
        # Others have committed words since it was opened.
        self.reset_trimmer(connection)
        self._set_serving(connection)

    def reset_trimmer(self, connection: Connection) -> None:
        """Let a connection trim what is committed by now."""
        connection.trimmer = trimmer_of(connection, self._ledger, self._history)

    def note_established(self, connection: Connection, now: float) -> None:
        """Note that a connection's plugin has taken audio, or has given an event."""
        if connection.established:
            return
        connection.established = True
        self._outbox.report(
            ConnectionEstablished(
                at=self.at,
                provider=connection.traits.name,
                connection=connection.id,
                role=connection.role,
                duration=now - connection.opened_at,
            )
        )

    def close(
        self, connection: Connection, reason: ErrorKind | SwitchReason | CloseReason, now: float
    ) -> None:
        """Close a connection; later events of it are ignored."""
        del self._connections[connection.id]
        if connection is self._active:
            self._active = None
        self.update_retention()
        self._account(connection)
        self._outbox.add(CloseConnection(connection.id))
        self._outbox.report(
            ConnectionClosed(
                at=self.at,
                provider=connection.traits.name,
                connection=connection.id,
                role=connection.role,
                reason=reason,
                seconds=self._ledger.seconds(connection.sender.samples_sent),
                duration=now - connection.opened_at,
            )
        )

    def close_all(self, now: float) -> None:
        """Close every connection, and report what is lost with the last."""
        for connection in self:
            self.close(connection, CloseReason.STREAM_ENDED, now)
        self._ledger.trim()
        self.report_loss()

    def _account(self, connection: Connection) -> None:
        """Count what a connection was sent in its role, which ends now."""
        sender, before = connection.sender, connection.samples_accounted
        connection.samples_accounted = sender.samples_sent
        self._accounts.audio_sent(
            connection.traits.name,
            connection.role,
            sender.samples_sent - before,
            max(0, sender.samples_replayed - before),
        )

    def _set_serving(self, connection: Connection) -> None:
        self._outbox.add(SetServing(connection.traits.name, connection.id))
        self.report_loss()

    def fail(
        self, connection: Connection, failure: ConnectionFailed, now: float, *, known: bool = False
    ) -> None:
        """Close a failed connection that is not active, and count the failure.

        `known`: the same failure was reported already.
        """
        self.close(connection, failure.kind, now)
        is_news = self._selector.record_connection_failure(connection.traits.name, failure, now)
        if is_news and not known:
            self.report_failure(connection.traits, failure)

    def report_failure(self, provider: ProviderTraits, failure: ConnectionFailed) -> None:
        """Report that a connection failed."""
        self._outbox.report(
            ProviderFailed(
                at=self.at,
                provider=provider.name,
                reason=failure.kind,
                detail=failure.detail,
                trigger=failure.trigger,
                advice=advice(provider, failure, self._policies.breaker),
            )
        )

    # -- feeding

    def end_input(self, now: float) -> None:
        """Note that no more audio comes; `feed` passes that on after the last audio."""
        self.input_ended_at = now

    @property
    def input_ended(self) -> bool:
        """Whether no more audio comes."""
        return self.input_ended_at is not None

    def feed(self, connection: Connection, now: float) -> None:
        """Send a connection what its pace allows, and after the last of it the end of input."""
        self._outbox.add(*connection.sender.send(self._ledger, now))
        self.update_retention()
        if connection.cursor < self._ledger.end:
            return
        if not connection.caught_up:
            connection.mark_caught_up(self.at, now)
        if self.input_ended and connection.sender.awaits_end:
            self._end_input(connection, now)

    def _end_input(self, connection: Connection, now: float) -> None:
        sender, told_all = connection.sender, self.has_nothing_to_tell(connection)
        if connection.input_ended_at is not None:
            self._outbox.add(*sender.finish_input(now, is_answered=told_all))
        elif told_all:
            self._outbox.add(sender.end_input(now))
        else:
            silence = self._closing_silence(connection)
            self._outbox.add(sender.ask_for_last_final(self._ledger, now, silence))

    def _closing_silence(self, connection: Connection) -> float:
        """Return how many seconds of silence are to ask for the last final; 0: the end does."""
        provider = connection.traits
        if provider.manual_flush or not connection.seconds_sent:
            return 0.0
        assert self.input_ended_at is not None
        # A connection that is opened now is to find words that others have left out at the end.
        # They may be of the same kind.
        needs_silence = (
            not provider.finalizes_at_end
            or self._health[provider.name].habits.loses_tails
            or connection.opened_at > self.input_ended_at
        )
        return self._policies.watchdog.closing_silence if needs_silence else 0.0

    def update_retention(self) -> None:
        """Note what the connections are still to be sent; `feed`, `open` and `close` do it too."""
        # Also committed audio is kept until it was sent to everybody, so that a hedge does not miss
        # the middle of a word (schedule hedge-beside-committed-words). Not for a probe: its words
        # are never emitted.
        cursors = [c.cursor for c in self._connections.values() if c.role is not Role.PROBE]
        self._ledger.retain_from = min(cursors, default=None)
        self._ledger.known_words_in_use = any(
            c.sender.sends_known_words for c in self._connections.values()
        )

    # -- loss

    def audio_dropped(self, voiced: Spans) -> None:
        """Note that uncommitted speech left the window, and report a loss that grows."""
        connections = self._connections.values()
        self._loss.audio_dropped(voiced, connections)
        unreported = self._ledger.seconds(self._loss.unreported(connections))
        if unreported >= self._policies.replay.loss_report_step:
            self.report_loss()

    def audio_covered(self, connection: Connection) -> None:
        """Note that a connection's words cover what it was sent, also of what left the window."""
        self._loss.audio_covered(
            connection, self._ledger.committed_through, self._connections.values()
        )

    @property
    def gone_samples(self) -> int:
        """Samples of speech that left the window, and that no words have covered since."""
        return self._loss.gone_samples

    def report_loss(self) -> None:
        """Report the speech that is lost for certain and not reported yet."""
        samples = self._loss.unreported(self._connections.values())
        if samples > 0:
            self._loss.mark_reported(samples)
        self._report_lost(samples, AudioLossReason.WINDOW_EXCEEDED)

    def report_unanswered(self, voiced: Spans) -> None:
        """Report speech as lost that no provider will be asked about any more."""
        self._report_lost(total(voiced), AudioLossReason.STREAM_ENDED)

    def report_skipped(self, voiced: Spans, reason: AudioLossReason) -> None:
        """Report pending speech as lost that a final is about to skip."""
        self._report_lost(self._ledger.lose(voiced), reason)

    def _report_lost(self, samples: int, reason: AudioLossReason) -> None:
        if samples > 0:
            seconds = self._ledger.seconds(samples)
            self._outbox.report(AudioLost(at=self.at, seconds=seconds, reason=reason))

    # -- questions that several ask

    def drained_at(self, connection: Connection) -> float | None:
        """Return when a connection whose input has ended counts as finished by silence.

        `None` if its input has not ended, or if it is finished. Its backlog is granted on top.
        """
        ended_at = connection.input_ended_at
        if ended_at is None or connection.finished:
            return None
        last_sign = max(ended_at, connection.last_transcript_at or 0.0)
        silent_at = last_sign + self._drain_timeout(connection)
        # A connection that sends events for ever must not keep the stream open for ever
        # (schedule hedge-that-never-ends).
        latest = ended_at + self._policies.retry.outage_limit
        return min(silent_at, latest) + connection.backlog(ended_at)

    def _drain_timeout(self, connection: Connection) -> float:
        watchdog, health = self._policies.watchdog, self._health[connection.traits.name]
        if not (health.habits.never_ends and self.has_nothing_to_tell(connection)):
            return watchdog.drain_timeout
        quick = max(watchdog.told_all_timeout, health.latency.p99 or 0.0)
        return min(quick, watchdog.drain_timeout)

    def mark_ended(self, connection: Connection) -> None:
        """Note that a connection's stream ended by itself after its input."""
        connection.mark_ended()
        self._health[connection.traits.name].habits.stream_ended()

    def mark_drained(self, connection: Connection) -> None:
        """Note that a connection was silent for so long that it counts as finished."""
        connection.mark_finished()
        if self.has_nothing_to_tell(connection):
            self._health[connection.traits.name].habits.stream_stayed_open()
        if self.never_ends(connection):
            connection.mark_ended()  # as far as its plugin ever does

    def note_lost_tail(self, connection: Connection) -> None:
        """Note that another connection has last words that this one has left out."""
        self._health[connection.traits.name].habits.tail_was_lost()

    def never_ends(self, connection: Connection) -> bool:
        """Return whether the streams of a connection's provider stay open after their input."""
        return self._health[connection.traits.name].habits.never_ends

    def has_nothing_to_tell(self, connection: Connection) -> bool:
        """Return whether a connection has told all the words there are, for all that is known."""
        if not self._ledger.vad_enabled:
            return False
        if connection.interpreter.unfinished_text_through(connection.cursor) is not None:
            return False
        return not self.has_pending_words() or self.has_told_all(connection)

    def has_told_all(self, connection: Connection) -> bool:
        """Return whether finals without times came after the last voice.

        Such a final is committed only once there is audio behind it, of which a muted caller sends
        none.
        """
        told_through = max(connection.untimed_finals, default=0)
        return told_through >= self._ledger.last_voice_end(self._ledger.end)

    def has_pending_words(self) -> bool:
        """Return whether speech without a transcript is long enough for a word."""
        least = self._policies.replay.min_pending_speech
        return self._ledger.has_pending_speech(at_least=least)

    @property
    def at(self) -> float:
        """Seconds of session audio at the live edge."""
        return self._ledger.seconds(self._ledger.end)

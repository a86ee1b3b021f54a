"""Turns the events of the active connection into events for the consumer.

Theory of operation
===================

Every transcript of the active connection passes through the same steps:

1. The connection's trimmer removes the words that were committed already.
2. A FINAL that its dying plugin may have made up is held for a moment (`DoubtfulFinals`), and so is
   everything behind it.
3. A FINAL that skips speech is held until a hedge has transcribed that speech
   (`HedgeController`); all later events of the connection are held behind it.
4. A FINAL that reveals another language may be held, too: for up to `RoutingPolicy.max_hold`, so
   that a provider of that language can transcribe the sentence again. If that provider repeats the
   sentence, the held FINAL is dropped; otherwise it is emitted after all.
5. What is left is emitted, with the start of speech before it where one is due.
6. A FINAL is committed (`Committer`), and its delay is measured. One without new words may answer a
   flush of the consumer (`FlushAnswers`).

Starts and ends of speech take a shorter way, through the `SpeechBalancer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..accounts import StreamAccounts
from ..audio.arrivals import Arrivals
from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.interpreter import Interpreted
from ..connections.pool import ConnectionPool
from ..connections.unfinished_text import UnfinishedText
from ..events import FinalEmitted
from ..failover.probe import Probe
from ..health.provider import ProviderHealth
from ..hedging.controller import HedgeController
from ..messages import Emit, EventKind
from ..outbox import Outbox
from ..policy import MIN_CHUNK, Policies
from ..routing.language import LanguageTracker
from ..routing.selector import ProviderSelector
from ..transcript.overlap import Utterance
from ..transcript.tokens import tokenize
from .committer import Committer
from .doubtful_final import DoubtfulFinals
from .flush_answers import FlushAnswers
from .language_tags import LanguageTags
from .speech_balancer import SpeechBalancer


@dataclass(frozen=True, slots=True)
class PendingFinal:
    """A FINAL that revealed another language, held until `until`.

    Its audio is not committed meanwhile, so that the next connection is sent it.
    """

    connection: Connection
    """The connection that sent it; it may be closed by now."""
    final: Interpreted
    new_words: Utterance
    until: float

    def is_repeated_by(self, new_words: Utterance) -> bool:
        """Return whether another connection's new words are about the same audio."""
        end = self.final.utterance.end
        return new_words.start is None or end is None or new_words.start < end


class TranscriptEmitter:
    """Trims, holds, emits and commits the events of the active connection."""

    def __init__(
        self,
        *,
        pool: ConnectionPool,
        ledger: AudioLedger,
        committer: Committer,
        routing: LanguageTracker,
        selector: ProviderSelector,
        health: Mapping[str, ProviderHealth],
        hedging: HedgeController,
        probe: Probe,
        unfinished: UnfinishedText,
        arrivals: Arrivals,
        accounts: StreamAccounts,
        policies: Policies,
        outbox: Outbox,
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._committer = committer
        self._routing = routing
        self._selector = selector
        self._health = health
        self._hedging = hedging
        self._probe = probe
        self._arrivals = arrivals
        self._accounts = accounts
        self._policies = policies
        self._outbox = outbox
        self._pending: PendingFinal | None = None
        self._speech = SpeechBalancer(ledger, health, policies)
        self._doubtful = DoubtfulFinals(ledger, health, policies)
        self._flushes = FlushAnswers(ledger)
        self._tags = LanguageTags()
        self._unfinished = unfinished

    def __repr__(self) -> str:
        return (
            f"TranscriptEmitter({self._speech!r}, {self._doubtful!r}, {self._flushes!r}, "
            f"holding={self.has_pending_final})"
        )

    @property
    def has_pending_final(self) -> bool:
        """Whether a FINAL that revealed another language is held."""
        return self._pending is not None

    @property
    def holds_doubtful_final(self) -> bool:
        """Whether a FINAL is held that its plugin may have made up."""
        return self._doubtful.holds

    @property
    def deadlines(self) -> list[float]:
        """When `step` or `end_speech_in_silence` may have something to do without any input."""
        due = [*self._doubtful.deadlines, *self._speech.deadlines]
        due += self._flushes.deadlines(self._pool.active)
        return [*due, self._pending.until] if self._pending else due

    def positions(self, active: Connection) -> list[int]:
        """Return the session samples at which audio alone may give `step` something to do."""
        if self.has_pending_final or self.holds_doubtful_final:
            return [self._ledger.end]
        return self._speech.positions(active)

    def step(self, now: float) -> None:
        """Emit the held FINAL if no connection has repeated it in time."""
        self._doubtful.step(now)
        if self._pending and now >= self._pending.until:
            self.emit_pending(now)

    def flush_requested(self, now: float) -> None:
        """Note that the consumer flushes at the live edge."""
        self._flushes.flush_requested(self._pool.active, now)

    def input_ended(self) -> None:
        """Note that the caller pushes no more audio."""
        self._flushes.input_ended()

    def local_speech_started(self, at: int) -> None:
        """Note that local voice activity began at sample `at`."""
        self._outbox.add(*self._speech.local_speech_started(self._pool.active, at))

    def connection_failed(self, connection: Connection, now: float) -> None:
        """Note that the active connection failed, before it is closed."""
        self._doubtful.connection_failed(connection, now)

    def on_event(
        self, connection: Connection, interpreted: Interpreted, now: float, *, followed: bool
    ) -> None:
        """Take the next event of the active connection, or one that was held until now.

        `followed`: another event of the connection is known, which is more than END.
        """
        event = interpreted.event
        if self._hedging.holds_final or self._doubtful.on_event(
            connection, interpreted, now, followed=followed
        ):
            connection.hold(interpreted)
            return
        if event.kind in (EventKind.START, EventKind.END):
            self._outbox.add(*self._speech.on_event(connection, interpreted, now))
            return
        self._on_text(connection, interpreted, now)

    def _on_text(self, connection: Connection, interpreted: Interpreted, now: float) -> None:
        event, utterance = interpreted.event, interpreted.utterance
        is_final = event.kind is EventKind.FINAL
        new_words = connection.trimmer.trim(utterance)
        if is_final and self._skips_speech(new_words, interpreted, now):
            connection.hold(interpreted)
            self._unfinished.shown(connection)
            return
        if event.text.strip():
            self._provider_works(connection, now)
            is_new = new_words is not None
            self._speech.text_received(connection, interpreted, is_new=is_new, now=now)
        if new_words is not None:
            if is_final and self._hold_for_language(connection, interpreted, new_words, now):
                return
            self._outbox.add(*self._speech.words_due(connection))
            self._emit(connection, interpreted, new_words, now)
            if not is_final:
                self._unfinished.shown(connection)
        if is_final:
            self._committer.commit_final(connection, interpreted, new_words, now)
            self._unfinished.final_committed(connection)
            if new_words is None:
                self._flushes.wordless_final(connection, event.source)
            if utterance.text.strip():
                self._final_committed(connection, interpreted, now)

    def emit_pending(self, now: float) -> None:
        """Emit the FINAL that is held for another language, if there is one."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._emit_held(pending.connection, pending.final, pending.new_words, now)

    def end_speech_in_silence(self, now: float) -> None:
        """Answer a flush, and end speech, once the caller is silent and no words are missing."""
        self._outbox.add(*self._flushes.step(self._pool.active, now))
        if not (self._hedging.holds_final or self.holds_doubtful_final):
            self._outbox.add(*self._speech.step(self._pool.active, now))

    def emit_unfinished(self, before: int, now: float) -> None:
        """Emit as FINAL what only interim transcripts had: no provider will make it final.

        Of the audio before the sample `before` only: another stream will transcribe the rest.
        """
        for connection, text, new_words, through in self._unfinished.take(before):
            self._outbox.add(*self._speech.words_due(connection, is_late=True))
            final = replace(text, event=replace(text.event, kind=EventKind.FINAL))
            self._emit(connection, final, new_words, now)
            self._ledger.commit(through)
            self._pool.audio_covered(connection)

    def finish(self, now: float) -> None:
        """Emit what is held, and end speech that is still open: no connection will."""
        self.emit_pending(now)
        left_out = self._doubtful.take_left_out()
        if left_out and (new_words := left_out[0].trimmer.trim(left_out[1].utterance)):
            self._emit_held(*left_out, new_words, now)
        self._outbox.add(*self._speech.end())

    # -- inside

    def _emit_held(
        self, connection: Connection, final: Interpreted, new_words: Utterance, now: float
    ) -> None:
        """Emit a FINAL that was held, whose connection may be closed by now."""
        self._outbox.add(*self._speech.words_due(self._pool.active or connection))
        self._committer.commit_held_final(connection, final, new_words)
        self._emit(connection, final, new_words, now)

    def _emit(
        self, connection: Connection, interpreted: Interpreted, new_words: Utterance, now: float
    ) -> None:
        event = interpreted.event
        if event.kind is EventKind.FINAL:
            self._doubtful.final_emitted()
            self._flushes.final_emitted()
            self._hedging.final_emitted(new_words)
        self._outbox.add(
            Emit(
                event.kind,
                new_words.text,
                new_words.words,
                new_words.start,
                new_words.end,
                event.source,
                connection.traits.name,
                self._tags.spelled(event.language, self._routing.language),
                interpreted.speech_start,
                interpreted.speech_end,
            )
        )
        if event.kind is EventKind.FINAL:
            self._report_final(connection, interpreted, new_words, now)

    def _report_final(
        self, connection: Connection, final: Interpreted, new_words: Utterance, now: float
    ) -> None:
        report = FinalEmitted(
            at=self._pool.at,
            provider=connection.traits.name,
            connection=connection.id,
            words=len(tokenize(new_words.text, new_words.language)),
            start=new_words.start,
            end=new_words.end,
            lateness=self._lateness(final, new_words, now),
        )
        self._accounts.final_emitted(report)
        self._outbox.report(report)

    def _lateness(self, final: Interpreted, new_words: Utterance, now: float) -> float | None:
        """Return the seconds since the last word of a FINAL was spoken; `None` if unknown.

        The word of one without times is at the end of the last voice before it came.
        """
        ledger, end = self._ledger, new_words.end
        if end is None:
            if not ledger.vad_enabled:
                return None
            end = ledger.seconds(ledger.last_voice_end(final.extent.audio))
        return max(0.0, self._pool.at - end) + max(0.0, now - self._arrivals.newest_at)

    def _skips_speech(self, new_words: Utterance | None, final: Interpreted, now: float) -> bool:
        """Hold a FINAL that skips speech. Returns whether it is held."""
        # The audio of a FINAL that is held for its language is not committed, and would be taken
        # for skipped speech.
        if new_words is None or self.has_pending_final:
            return False
        skipped = self._hedging.find_skipped_speech(new_words, final.extent, now)
        if skipped is not None:
            self._hedging.hold_final(skipped)
        return skipped is not None

    def _hold_for_language(
        self, connection: Connection, final: Interpreted, new_words: Utterance, now: float
    ) -> bool:
        """Hold a FINAL that reveals another language. Returns whether it is held."""
        pending = self._pending
        if (
            pending is not None
            and pending.connection is not connection
            and pending.is_repeated_by(new_words)
        ):
            self._pending = None  # these words take its place
        self.emit_pending(now)
        provider, language = connection.traits, final.utterance.language
        if not provider.language_detection:
            return False
        if not self._routing.observe(language, new_words.text, provider):
            return False
        if not self._routing.retranscribe:
            return False
        until = now + self._policies.routing.max_hold
        self._pending = PendingFinal(connection, final, new_words, until)
        return True

    def _final_committed(self, connection: Connection, final: Interpreted, now: float) -> None:
        """Notify all that wait for a FINAL with words, and measure its delay."""
        self._hedging.final_committed()
        self._probe.active_sent_words()
        ledger, utterance = self._ledger, final.utterance
        since = None if utterance.end is None else ledger.samples(utterance.start or 0.0)
        delay = connection.stall_detector.final_committed(ledger, now, since)
        if utterance.end is not None:
            # A FINAL with times shows how late it is, whether one was due or not.
            delay = ledger.seconds(final.extent.audio) - utterance.end
        # While the provider works off a replay, its delay is the replay's.
        if delay is not None and connection.backlog(now) < MIN_CHUNK:
            self._record_delay(connection, max(0.0, delay), now)

    def _record_delay(self, connection: Connection, seconds: float, now: float) -> None:
        """Count a FINAL's delay; several slow ones in a row, and the provider is left."""
        watchdog, health = self._policies.watchdog, self._health[connection.traits.name]
        p99 = health.latency.p99
        usual = watchdog.slow_final_threshold
        if p99 is not None:
            usual = max(watchdog.final_timeout, watchdog.final_p99_factor * p99)
        health.latency.add(seconds)
        if seconds <= min(watchdog.slow_final_threshold, usual):
            health.breaker.record_timely_final(now)
            return
        health.breaker.record_slow_final(now)
        if not health.breaker.admits(now):
            connection.mark_too_slow()

    def _provider_works(self, connection: Connection, now: float) -> None:
        """Note that the active connection gave text."""
        self._outbox.add(*self._selector.mark_working(connection.traits.name, now))
        if report := connection.take_replay_report():
            self._outbox.report(report)

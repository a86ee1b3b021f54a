"""What the active leg says becomes events for the consumer, and settles the audio it speaks for."""

from __future__ import annotations

from ..connections.connection import AudioExtent, Connection
from ..connections.pool import ConnectionPool
from ..failover.failback import Probe
from ..hedging.controller import HedgeController
from ..messages import EventKind, TranscriptEvent
from ..policy import MIN_CHUNK
from ..routing.language import LanguageTracker
from ..transcript.overlap import Utterance
from .pending_final import PendingFinal, as_emit
from .speech_balancer import SpeechBalancer


class TranscriptEmitter:
    """Trims, tells and settles; holds back the final that reveals another language."""

    def __init__(
        self, pool: ConnectionPool, routing: LanguageTracker, opinion: HedgeController, probe: Probe
    ) -> None:
        self._pool = pool
        self._ledger = pool.ledger
        self._routing = routing
        self._hedging = opinion
        self._probe = probe
        self._pending: PendingFinal | None = None
        self._speech = SpeechBalancer()

    def __repr__(self) -> str:
        return f"TranscriptEmitter({self._speech!r}, holding={self.has_pending_final})"

    @property
    def has_pending_final(self) -> bool:
        """Whether a final is held back."""
        return self._pending is not None

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        return [self._pending.until] if self._pending else []

    def step(self, now: float) -> None:
        """Tell a final that was held back for long enough."""
        if self._pending and now >= self._pending.until:
            self.emit_pending()

    def on_event(
        self, connection: Connection, event: TranscriptEvent, extent: AudioExtent, now: float
    ) -> None:
        """The active leg says something, or said it before it became active.

        `extent`: how far it can have heard. While a gap is looked into, it is kept for later.
        """
        if self._hedging.holds_final:
            connection.held_events.append((event, extent))
            return
        if event.kind in (EventKind.START, EventKind.END):
            self._pool.outbox.add(*self._speech.on_event(connection, event))
            return
        utterance = connection.to_session_time(event)
        kept = connection.trimmer.trim(utterance)
        if event.kind is EventKind.FINAL and self._skips_speech(kept, extent, now):
            connection.held_events.append((event, extent))
            return
        if event.text.strip():
            self._provider_works(connection, now)
        if kept is not None:
            if event.kind is EventKind.FINAL and self._hold_for_language(
                connection, event, utterance, kept, extent, now
            ):
                return
            self._pool.outbox.add(*self._speech.words_emitted(connection))
            self._pool.outbox.add(as_emit(connection, event, kept))
        if event.kind is EventKind.FINAL:
            self._commit(connection, utterance, kept, extent, now)

    def emit_pending(self) -> None:
        """Tell the final that was held back, if one is."""
        held, self._pending = self._pending, None
        if held is not None:
            if active := self._pool.active:
                self._pool.outbox.add(*self._speech.words_emitted(active))
            self._pool.outbox.add(held.emit(self._pool))

    def end_orphaned_speech(self) -> None:
        """End speech that a dead leg announced, once nobody speaks and nothing is owed."""
        ledger = self._ledger
        quiet = ledger.silence_duration >= self._pool.policies.watchdog.end_of_speech_silence
        orphaned = self._speech.is_orphaned(self._pool.active)
        if orphaned and ledger.vad_enabled and quiet and not ledger.has_pending_speech():
            self.end_speech()

    def end_speech(self) -> None:
        """Nothing follows: no speech is left open."""
        self._pool.outbox.add(*self._speech.end())

    # -- inside

    def _skips_speech(self, kept: Utterance | None, extent: AudioExtent, now: float) -> bool:
        """Whether a FINAL passes over voice that is looked into before it is told."""
        if kept is None or self.has_pending_final:  # what is held back is not settled, and no gap
            return False
        skipped = self._hedging.find_skipped_speech(kept, extent, now)
        if skipped is not None:
            self._hedging.hold_final(skipped)
        return skipped is not None

    def _hold_for_language(
        self,
        connection: Connection,
        event: TranscriptEvent,
        utterance: Utterance,
        kept: Utterance,
        extent: AudioExtent,
        now: float,
    ) -> bool:
        """Whether new words in a FINAL are held back; what they say of the language is noted."""
        held = self._pending
        if held is not None and held.connection is not connection and held.is_repeated_by(kept):
            self._pending = None
        self.emit_pending()
        finder = connection.traits
        if not finder.language_detection or not self._routing.observe(
            utterance.language, kept.text, finder
        ):
            return False
        if not self._routing.retranscribe:
            return False
        until = now + self._pool.policies.routing.max_hold
        self._pending = PendingFinal(connection, event, utterance, kept, extent, until)
        return True

    def _commit(
        self,
        connection: Connection,
        utterance: Utterance,
        kept: Utterance | None,
        extent: AudioExtent,
        now: float,
    ) -> None:
        """Settle what a FINAL tells, by the best evidence it gives, re-told or not."""
        ledger = self._ledger
        if kept is not None:
            self._pool.history.record(kept, ledger.seconds(extent.words))
        again = connection.trimmer.observe_final(utterance, kept)
        if not utterance.text.strip():
            return
        if utterance.end is not None:
            ledger.commit(min(ledger.samples(utterance.end), extent.audio))
        else:
            self._commit_untimed(connection, extent.audio, now, again=again, new=kept is not None)
        self._pool.audio_covered(connection)
        self._hedging.final_committed()
        self._probe.active_told_words()
        since = None if utterance.end is None else ledger.samples(utterance.start or 0.0)
        delay = connection.stall_detector.final_committed(ledger, now, since)
        if utterance.end is not None:
            delay = (
                ledger.seconds(extent.audio) - utterance.end
            )  # every final says it, asked for or not
        if delay is not None and connection.backlog(now) < MIN_CHUNK:
            self._count_delay(connection, max(0.0, delay), now)

    def _commit_untimed(
        self, connection: Connection, extent: int, now: float, *, again: bool, new: bool
    ) -> None:
        """A FINAL without times speaks for voice that was over when it was said, or flushed.

        `again`: it begins with what is settled; `new`: it tells more. Then it speaks for the rest
        of that voice, and no more; if there is no rest, new words may be those of the next.
        """
        ledger = self._ledger
        late = ledger.samples(self._pool.policies.replay.untimed_final_reach)
        owed = ledger.first_pending()
        if (flushed := connection.stall_detector.flushed_through) is not None:
            extent = min(extent, flushed)
        heard = min(extent, connection.processed_through(ledger, now))
        ledger.commit(ledger.last_speech_end(heard - late))
        rest = ledger.remainder_end()
        if again and not (
            new and (connection.traits.end_of_turn_timeout or rest == ledger.watermark)
        ):
            extent = min(extent, rest)
        if connection.traits.end_of_turn_timeout or ledger.first_pending() is owed:
            connection.untimed_finals.append(extent)

    def _count_delay(self, connection: Connection, seconds: float, now: float) -> None:
        """Whether a final came in time: three slow ones in a row, and the provider is left."""
        policy, health = self._pool.policies.watchdog, self._pool.health[connection.traits.name]
        p99 = health.latency.p99
        usual = (
            policy.slow_final_threshold
            if p99 is None
            else max(policy.final_timeout, policy.final_p99_factor * p99)
        )
        health.latency.add(seconds)
        if seconds <= min(policy.slow_final_threshold, usual):
            health.breaker.record_timely_final(now)
            return
        health.breaker.record_slow_final(now)
        connection.too_slow = connection.too_slow or not health.breaker.admits(now)

    def _provider_works(self, connection: Connection, now: float) -> None:
        """The active leg gave text: its provider is well."""
        self._pool.outbox.add(*self._pool.selector.mark_working(connection.traits.name, now))
        if connection.replay_report:
            self._pool.outbox.report(connection.replay_report)
            connection.replay_report = None

"""The decision object of one stream: `handle(input, now)` returns what must be done.

`deadline()` says when it wants to be woken. It never raises for what a provider does; an order of
inputs that the shell must not produce raises `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .connections.connection import AudioExtent, Connection
from .connections.pool import ConnectionPool
from .events import (
    ErrorKind,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    Replayed,
    StallReason,
    Switched,
    SwitchReason,
)
from .failover.failback import Failback, Probe
from .failover.outage import Outage
from .health.provider import ProviderHealth
from .hedging.budget import HedgeBudget
from .hedging.controller import HedgeController
from .messages import (
    AudioPushed,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    DeadlineReached,
    Emit,
    EventKind,
    Finish,
    FlushRequested,
    GiveUp,
    Input,
    InputEnded,
    LanguageChanged,
    OptionsChanged,
    ProviderEvent,
    ReleaseAudio,
    Role,
    SpeechEnded,
    SpeechStarted,
    StreamOpened,
    TranscriptEvent,
)
from .output.emitter import TranscriptEmitter
from .policy import Policies, ProviderTraits
from .routing.language import LanguageTracker
from .stalls.detector import StallDeadline


class FailoverEngine:
    """Decides for one stream."""

    def __init__(
        self,
        routing: LanguageTracker,
        health: Mapping[str, ProviderHealth],
        policies: Policies,
        budget: HedgeBudget,
        *,
        vad_enabled: bool,
    ) -> None:
        """`routing`: its own. `vad_enabled`: local voice activity is reported.

        `health`, `budget`: shared with the other streams.
        """
        self._policies = policies
        self._routing = routing
        self._pool = ConnectionPool(routing, health, policies, vad_enabled=vad_enabled)
        self._ledger = self._pool.ledger
        self._selector = self._pool.selector
        self._budget = budget
        self._hedging = HedgeController(self._pool, budget)
        self._failback = Failback(self._pool)
        self._probe = Probe(self._pool)
        self._emitter = TranscriptEmitter(self._pool, routing, self._hedging, self._probe)
        self._outage: Outage | None = None
        self._missing_tail_at: int | None = None
        """The watermark at which a leg had ended with a tail missing."""
        self._failures_without_progress = (0, 0)
        """The watermark, and how many active legs have failed since it last moved."""
        self._outage_mark = (-1, 0.0)
        """The watermark at the last outage, and since when that lasted."""
        self._now = 0.0
        self.done = False
        self.failures_in_a_row = 0
        """Failures since a leg last worked: what the retry strategy draws its wait for."""

    def __repr__(self) -> str:
        return (
            f"FailoverEngine({self._pool!r}, {self._emitter!r}, {self._hedging!r}, {self._failback!r}, "
            f"{self._probe!r}, {self._routing!r}, outage={self._outage}, done={self.done})"
        )

    def handle(self, message: Input, now: float) -> list[Command]:
        """Take one input at `now` (seconds, never going back) and return the commands it causes."""
        if self.done:
            return []
        self._now = now
        self._dispatch(message, now)
        wait = (
            message.backoff
            if isinstance(message, DeadlineReached)
            else self._policies.retry.wait_max
        )
        self._advance(now, wait)
        return self._pool.outbox.take()

    def deadline(self) -> float | None:
        """When to send `DeadlineReached`, on the clock of `now`; `None` if nothing is due."""
        if self.done:
            return None
        due = [*self._probe.deadlines, *self._emitter.deadlines]
        if self._outage:
            due += self._outage.deadlines(self._now)
        if active := self._pool.active:
            due += [*self._hedging.deadlines(active), *self._failback.deadlines]
            if (drained := self._pool.drained_at(active)) is not None:
                due.append(drained)
        sends = [
            at
            for connection in self._pool
            if (at := connection.next_send_at(self._ledger)) is not None
        ]
        # what was due by now has been done, as far as it could be
        return min([*sends, *(d for d in due if d > self._now)], default=None)

    # -- inputs

    def _dispatch(self, message: Input, now: float) -> None:
        match message:
            case ProviderEvent() | ConnectionFailed() | ConnectionEnded():
                if connection := self._pool.get(message.connection):
                    self._on_connection_input(connection, message, now)
            case DeadlineReached():
                pass
            case OptionsChanged(provider):
                self._reopen_for_options(provider, now)
            case LanguageChanged(language):
                self._routing.request(language)
            case _:
                self._on_caller_input(message, now)

    def _on_caller_input(
        self,
        message: StreamOpened
        | AudioPushed
        | FlushRequested
        | InputEnded
        | SpeechStarted
        | SpeechEnded,
        now: float,
    ) -> None:
        if self._pool.input_ended and isinstance(message, AudioPushed | FlushRequested):
            raise AssertionError("the input has ended")
        match message:
            case StreamOpened():
                if self._pool.has_opened:
                    raise AssertionError("opened twice")
                self._open(self._selector.initial(now), now)
            case AudioPushed(samples, rate):
                if gone := self._ledger.push(samples, rate):
                    self._pool.audio_dropped(gone)
                self._budget.record_pushed(samples / rate, now)
            case FlushRequested():
                self._ledger.add_flush()
            case SpeechStarted(at):
                self._ledger.speech_started(at)
            case SpeechEnded(at):
                self._ledger.speech_ended(at)
                self._probe.speech_ended(now)
            case _:
                self._pool.input_ended = True
                self._probe.cancel(now)

    def _on_connection_input(
        self,
        connection: Connection,
        message: ProviderEvent | ConnectionFailed | ConnectionEnded,
        now: float,
    ) -> None:
        match message:
            case ProviderEvent(_, event):
                self._on_event(connection, event, now)
            case ConnectionFailed():
                self._on_failure(connection, message, now)
            case _:
                self._on_end(connection, message.backoff, now)

    def _advance(self, now: float, wait: float) -> None:
        """What follows from any input: settle silence, doubt, return, feed, balance, release."""
        self._emitter.step(now)
        self._commit_silence(now)
        self._apply_language(now)
        if self._outage:
            self._step_outage(self._outage, now, wait)
        if active := self._pool.active:
            self._check_active(active, now, wait)
        if self.done:
            return
        for connection in self._pool:
            self._feed(connection, now)
        self._emitter.end_orphaned_speech()
        self._pool.outbox.add(ReleaseAudio(self._ledger.start))

    def _commit_silence(self, now: float) -> None:
        heard = 0
        if active := self._pool.active:
            heard = active.processed_through(self._ledger, now)
            past = heard - self._ledger.samples(self._policies.replay.commit_grace)
            if active.finished:
                past = active.cursor
            active.commit_untimed_finals(self._ledger, past, input_ended=self._pool.input_ended)
            self._pool.audio_covered(active)
        self._ledger.commit_silence(heard)

    def _feed(self, connection: Connection, now: float) -> None:
        if self._pool.feed(connection, now) and not connection.caught_up:
            connection.caught_up = True
            connection.replay_report = Replayed(
                at=self._pool.at,
                provider=connection.traits.name,
                seconds=connection.seconds_sent,
                silence_trimmed=connection.silence_trimmed,
                duration=now - connection.opened_at,
            )

    def _check_active(self, active: Connection, now: float, wait: float) -> None:
        """A healthy active leg may be doubted, or left for a better one, or have done its work."""
        if (due := self._pool.drained_at(active)) is not None and now >= due:
            active.finished = True
        stall = self._hedging.step(active, now)
        if stall is not None:
            self._leave_stalled(active, stall, now, wait)
            return
        if active.held_events and not self._hedging.holds_final:
            self._emit_held(active, now)
            self._check_active(active, now, wait)  # there may be another gap in it
            return
        if active.finished:
            if not self._hedging.is_hedging:
                self._finish(Finish())
            return
        self._probe.step(active, now)
        target_and_reason = self._failback.step(active, now)
        if target_and_reason is not None:
            self._move(active, *target_and_reason, now)

    def _leave_stalled(
        self, active: Connection, stall: StallDeadline, now: float, wait: float
    ) -> None:
        """Leave a silent leg. Where two have ended without the same words, there are none, unless
        a hedge has told them: one that only begins to, again and again, is not believed for ever.
        """
        if active.finished and stall.reason is not StallReason.SKIPPED_SPEECH:
            known = self._missing_tail_at == self._ledger.watermark
            if known and (not self._hedging.is_hedging or self._no_progress()):
                self._finish(Finish())
                return
            self._missing_tail_at = self._ledger.watermark
        failure = ConnectionFailed(active.id, ErrorKind.STALLED, backoff=wait, trigger=stall.reason)
        self._fail_over(active, failure, now)
        if successor := self._pool.active:  # it was a hedge, and may be done or silent by now
            self._check_active(successor, now, wait)

    # -- what a leg says

    def _on_event(self, connection: Connection, event: TranscriptEvent, now: float) -> None:
        if event.kind is EventKind.USAGE:
            self._pool.outbox.add(Emit(event.kind, source=event.source))
            return
        if connection.is_duplicate_final(event):
            return
        if connection.clock_restarted(event):
            wait = self._policies.retry.wait_max
            anew = ConnectionFailed(
                connection.id, ErrorKind.DROPPED, "reconnected by itself", None, wait
            )
            self._on_failure(connection, anew, now)
            return
        if event.kind not in (EventKind.START, EventKind.END):
            connection.last_transcript_at = now
        connection.stall_detector.transcript_received(event, connection.cursor, now)
        extent = connection.extent(event)
        match connection.role:
            case Role.ACTIVE:
                self._emit(connection, event, extent, now)
            case Role.PROBE:
                self._probe.on_event(connection, event, now)
            case _:
                connection.held_events.append((event, extent))
                if connection.role is Role.RECONNECT and event.text.strip():
                    self._end_outage(connection, now)

    def _emit(
        self, connection: Connection, event: TranscriptEvent, extent: AudioExtent, now: float
    ) -> None:
        if event.text.strip():
            self.failures_in_a_row = 0
        self._emitter.on_event(connection, event, extent, now)

    # -- how a leg ends

    def _on_failure(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        match connection.role:
            case Role.ACTIVE:
                self._fail_over(connection, failure, now)
            case Role.PROBE:
                self._probe.failed(connection, failure, now)
            case Role.HEDGE:
                active = self._pool.active
                assert active is not None
                self._hedging.hedge_failed(connection, failure, active, now)
            case _:
                self.failures_in_a_row += 1
                assert self._outage is not None
                self._outage.failed(connection, failure, now)

    def _on_end(self, connection: Connection, wait: float, now: float) -> None:
        """A clean end: a failure while there is input."""
        if connection.input_ended_at is None:
            self._on_failure(
                connection,
                ConnectionFailed(connection.id, ErrorKind.DROPPED, "ended", None, wait),
                now,
            )
            return
        connection.finished = True
        if connection.role is Role.RECONNECT:
            self._end_outage(connection, now)

    def _fail_over(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        """The active leg failed: its hedge takes over, or the next provider, or nobody."""
        self.failures_in_a_row += 1
        name = connection.traits.name
        hedge = self._hedging.take_hedge()
        self._pool.close(connection)
        if hedge is None:
            target, news = self._selector.on_failure(
                connection.traits, failure, self._worked_for(connection, now), now
            )
        else:
            target, news = (
                hedge.traits,
                self._selector.record_failure(connection.traits, failure, now),
            )
        if hedge is None and self._no_progress():
            target = None  # who greets and drops must not be asked in a circle without a pause
        self._pool.report_failure(connection.traits, failure, news=news)
        if target is None or target.name != name:
            self._pool.outbox.add(*self._selector.mark_unavailable(name))
        if target is None:
            self._probe.cancel(now)
            self._outage = Outage(self._pool, self._outage_since(now), now, failure.backoff)
            self._pool.outbox.report(OutageStarted(at=self._pool.at))
        elif hedge is None:
            self._switch(name, self._open(target, now), failure.kind)
        else:
            self._promote(hedge, now)
            self._switch(name, hedge, failure.kind)
            self._emit_held(hedge, now)

    def _no_progress(self) -> bool:
        """Whether legs fail one after the other and nothing gets settled."""
        mark, row = self._failures_without_progress
        watermark = self._ledger.watermark
        self._failures_without_progress = (watermark, row + 1 if watermark == mark else 1)
        return self._failures_without_progress[1] > self._policies.retry.reconnect_budget + 2 * len(
            self._selector.names
        )

    def _outage_since(self, now: float) -> float:
        """Since when nobody works. Once no more audio comes, outages between which nothing gets
        settled are one: who connects and stays silent must not keep the stream for ever."""
        mark, since = self._outage_mark
        watermark = self._ledger.watermark
        since = since if self._pool.input_ended and watermark == mark else now
        self._outage_mark = (watermark, since)
        return since

    def _worked_for(self, connection: Connection, now: float) -> float | None:
        """For how long a leg had been working, if it had."""
        lived = now - connection.opened_at
        if connection.last_transcript_at is None and lived < self._policies.watchdog.working_after:
            return None
        return lived

    def _reopen_for_options(self, provider: str, now: float) -> None:
        """Open a healthy leg anew, on the same provider; its shadows are opened when needed."""
        active = self._pool.active
        if active and active.traits.name == provider:
            self._move(active, active.traits, SwitchReason.OPTIONS_CHANGED, now)

    def _apply_language(self, now: float) -> None:
        """Go over to another language: in mid-speech at once, else when nothing is owed."""
        ledger, routing = self._ledger, self._routing
        if routing.pending is None or not (
            self._emitter.has_pending_final or ledger.speaking or not ledger.has_pending_speech()
        ):
            return
        before = routing.language
        change = routing.apply_change()
        assert change is not None
        providers = routing.route.providers
        self._selector.set_route(providers)
        self._pool.outbox.report(
            LanguageRouted(
                at=self._pool.at,
                from_language=before,
                language=change.language,
                route=routing.route.key,
                providers=tuple(p.name for p in providers),
                reason=change.reason,
            )
        )
        if self._outage:
            self._outage.route_changed()
        elif active := self._pool.active:
            self._move_to_route(active, now)

    def _move_to_route(self, active: Connection, now: float) -> None:
        """Leave a leg that does not speak the language, or not as the first of its route."""
        target = self._selector.initial(now)
        same = active.traits.name == target.name
        if same and active.language == target.language_hint(self._routing.language):
            self._emitter.emit_pending()
        elif self._emitter.has_pending_final or not active.finished:
            self._probe.cancel(now)
            self._move(active, target, SwitchReason.LANGUAGE, now)

    def _move(
        self, connection: Connection, target: ProviderTraits, reason: SwitchReason, now: float
    ) -> None:
        """Leave a leg that works; nobody has to be asked about it any more."""
        self._hedging.dismiss(now)
        self._pool.close(connection)
        if reason is SwitchReason.FAILBACK:
            self._failback.failed_back(now)
        elif reason is SwitchReason.SLOW:
            self._pool.outbox.add(*self._selector.mark_unavailable(connection.traits.name))
        self._switch(connection.traits.name, self._open(target, now), reason)

    def _switch(self, left: str, connection: Connection, reason: ErrorKind | SwitchReason) -> None:
        self._pool.outbox.report(
            Switched(
                at=self._pool.at,
                from_provider=left,
                to_provider=connection.traits.name,
                reason=reason,
                replay_from=self._ledger.seconds(connection.start),
            )
        )

    def _open(self, provider: ProviderTraits, now: float) -> Connection:
        self._failback.serving_changed(now)
        return self._pool.open(provider, Role.ACTIVE, now)

    def _promote(self, connection: Connection, now: float) -> None:
        self._failback.serving_changed(now)
        self._pool.promote(connection)

    def _emit_held(self, connection: Connection, now: float) -> None:
        """What a leg said before it became active, or while it was doubted, is told now."""
        held = list(connection.held_events)
        connection.held_events.clear()
        for event, extent in held:
            self._emit(connection, event, extent, now)

    # -- outage

    def _step_outage(self, outage: Outage, now: float, wait: float) -> None:
        if (
            self._pool.input_ended
            and self._ledger.vad_enabled
            and not self._pool.has_pending_words()
        ):
            self._finish(Finish())  # no provider has to come back for it
        elif now >= outage.limit_at:
            self._give_up(now - outage.since)
        elif winner := outage.step(now, wait):
            self._end_outage(winner, now)

    def _end_outage(self, connection: Connection, now: float) -> None:
        """An attempt works: the outage is over."""
        outage = self._outage
        assert outage is not None
        for other in outage.reconnects:
            if other is not connection:
                self._pool.close(other)
        self._outage = None
        after = now - outage.since
        self._pool.outbox.report(
            OutageEnded(at=self._pool.at, provider=connection.traits.name, duration=after)
        )
        self._promote(connection, now)
        self._emit_held(connection, now)

    def _give_up(self, seconds: float) -> None:
        names = ", ".join(self._selector.names)
        self._finish(GiveUp(f"all STTs failed ({names}): none answered for {seconds:.0f} s"))

    def _finish(self, last: Finish | GiveUp) -> None:
        """Nothing follows: no leg, speech or loss may be left open."""
        self._emitter.emit_pending()
        self._probe.cancel(self._now)
        self._pool.close_all()
        self._emitter.end_speech()
        self.done = True
        self._pool.outbox.add(last)

"""Decides for one stream: `handle(input, now)` returns the commands to execute.

Theory of operation
===================

The engine is a pure object: it has no clock, no socket and no task. The shell feeds it every input
in order, executes the commands that come back, and wakes it at `deadline()`. So a failing call is a
list of inputs that anyone can replay.

A stream is in one of four states:

* Served: one connection is active. A hedge and a probe may run beside it.
* Rest: the provider closed an idle connection, and none is needed before there is audio, or it
  refused one because another of ours is still closing (`Rest`).
* Outage: no connection is active, and reconnects are tried (`Outage`).
* Done: `Finish` or `GiveUp` was returned.

```
  (new) ── StreamOpened ──▶ Served
  Served ── the active connection fails or stalls: its hedge takes over, or the same provider is
            reopened, or the next provider of the route is opened ──▶ Served
  Served ── ... and no provider is left, or failures lead nowhere ──▶ Outage
  Served ── options or language change, failback, slow finals, lock ──▶ Served, on a new connection
  Served ── the active connection is closed normally, and owed nothing ──▶ Rest
  Served ── the active connection is refused because of another one of ours ──▶ Rest
  Rest ── there is audio again, or the other one had time to close ──▶ Served
  Rest ── the input has ended, and no words are pending ──▶ Done (Finish)
  Served ── the active connection has finished, and no words are missing ──▶ Done (Finish)
  Served ── the input has ended, and no text comes for `RetryPolicy.end_input_limit`
            ──▶ Done (Finish)
  Outage ── a reconnect works ──▶ Served
  Outage ── the input has ended, and no words are missing ──▶ Done (Finish)
  Outage ── `RetryPolicy.outage_limit` is over, or `end_input_limit` after the end of the input
            ──▶ Done (GiveUp)
```

After GiveUp, another engine may go on with what is still pending (`handover`).

An input takes this way. `handle` passes it to the part that it is about: the ledger (audio, local
voice activity), the routing (language), or the connection that it came from. `_advance` then does
whatever has become due, always in the same order: held finals, silence to commit, the route, the
outage or the active connection, and at last the feeding of all connections.

Nearly all inputs are audio that changes nothing, and fifty come in a second of each stream. So
there are two kinds of deadlines: times (`deadline`), and positions in the audio, such as that at
which the voice without text is enough for a stall. The parts know both (`deadlines`, `positions`).
Audio before the first of either is a lull (`Lull`): it is counted and sent, and nothing is decided.
Only silence goes on being committed, and that is done before the next decision (`_catch_up`).

A connection's event is interpreted once (`Connection.interpret`), and then goes where the role of
the connection sends it: the active one's to the emitter, a probe's to the probe, a hedge's or a
reconnect's is held until it becomes active.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from .accounts import StreamAccounts
from .connections.clean_ends import CleanEnds
from .connections.connection import Connection
from .connections.interpreter import Interpreted
from .connections.pool import ConnectionPool
from .connections.unfinished_text import UnfinishedText
from .events import (
    BreakerChanged,
    CloseReason,
    ErrorKind,
    HedgeOutcome,
    LanguageRouted,
    OutageEnded,
    OutageStarted,
    Role,
    StallReason,
    StreamEndReason,
    Switched,
    SwitchReason,
)
from .failover.failback import Failback
from .failover.outage import Outage
from .failover.own_sessions import OwnSessions
from .failover.probe import Probe
from .failover.rest import Rest
from .handover import Handover
from .health.breaker_watch import BreakerWatch
from .health.provider import ProviderHealth
from .hedging.budget import HedgeBudget
from .hedging.controller import HedgeController
from .hedging.unanswered import UnansweredVoice
from .lull import Fed, Lull
from .messages import (
    AudioInput,
    AudioPushed,
    AudioQueued,
    AudioTaken,
    AudioUntaken,
    Command,
    ConnectionEnded,
    ConnectionFailed,
    ConnectionInput,
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
    PluginReconnected,
    ProviderEvent,
    ReleaseAudio,
    SendAudio,
    SpeechEnded,
    SpeechStarted,
    StreamClosed,
    StreamOpened,
    TranscriptEvent,
    VoiceActivityLost,
)
from .outbox import Outbox
from .output.committer import Committer
from .output.emitter import TranscriptEmitter
from .policy import Policies, ProviderTraits
from .progress import ProgressTracker
from .routing.language import LanguageTracker
from .routing.selector import ProviderSelector
from .stalls.detector import StallDeadline
from .transcript.tokens import has_word

MAX_BEHIND = 1.0
"""Seconds of audio in a lull that are not committed yet, at most: a bound of memory only."""

MAX_UNCOUNTED = 0.1
"""Seconds of audio in a lull that no part was told of yet, at most: so late it is noticed that
another stream has changed what the lull depends on."""


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
        handover: Handover | None = None,
    ) -> None:
        """`routing` belongs to this stream; `health` and `budget` are shared with others.

        `vad_enabled`: the shell reports local voice activity. `handover`: that of an engine that
        gave up, whose audio this one goes on with; its positions go on as well.
        """
        self._policies = policies
        self._routing = routing
        self._budget = budget
        self._outbox = outbox = Outbox()
        if handover is None:
            handover = Handover(policies.replay, vad_enabled=vad_enabled)
        self.handover = handover
        """What the engine of the next stream goes on with, if this one gives up."""
        self._ledger = ledger = handover.ledger
        history = handover.history
        self._accounts = accounts = StreamAccounts(ledger)
        self._breakers = BreakerWatch(health)
        self._selector = selector = ProviderSelector(
            routing.route.providers, health, policies.retry, language=routing.language
        )
        self._pool = pool = ConnectionPool(
            ledger=ledger,
            history=history,
            routing=routing,
            selector=selector,
            health=health,
            policies=policies,
            accounts=accounts,
            outbox=outbox,
        )
        self._unfinished = unfinished = UnfinishedText(ledger, history)
        self._hedging = HedgeController(
            pool=pool,
            ledger=ledger,
            history=history,
            selector=selector,
            unfinished=unfinished,
            outbox=outbox,
            policies=policies,
            budget=budget,
        )
        self._failback = Failback(
            pool=pool, ledger=ledger, selector=selector, policy=policies.failback, outbox=outbox
        )
        self._probe = Probe(
            pool=pool,
            ledger=ledger,
            selector=selector,
            health=health,
            policies=policies,
            outbox=outbox,
        )
        self._committer = Committer(
            pool=pool, ledger=ledger, history=history, policy=policies.replay
        )
        self._emitter = TranscriptEmitter(
            pool=pool,
            ledger=ledger,
            committer=self._committer,
            routing=routing,
            selector=selector,
            health=health,
            hedging=self._hedging,
            probe=self._probe,
            unfinished=unfinished,
            arrivals=handover.arrivals,
            accounts=accounts,
            policies=policies,
            outbox=outbox,
        )
        self._own_sessions = OwnSessions(pool, policies.retry)
        self._outage: Outage | None = None
        self._rest: Rest | None = None
        self._missing_tails = ProgressTracker(ledger)
        """Active connections that ended without the words of the last speech."""
        self._failures = ProgressTracker(ledger)
        """Active connections that failed, unless a hedge took over in good order."""
        self._outages = ProgressTracker(ledger)
        """Outages since the input ended."""
        self._unanswered = UnansweredVoice(
            pool=pool,
            ledger=ledger,
            history=history,
            hedging=self._hedging,
            policies=policies,
            outbox=outbox,
        )
        self._tail = ProgressTracker(ledger)
        """Since when, after the end of the input, no text has come while words are missing."""
        self._clean_ends = CleanEnds()
        self._now = 0.0
        self._deadline: float | None = None
        self._is_deadline_known = False
        """Whether `_deadline` is that of the last input."""
        self._lull: Lull | None = None
        """The audio that comes next, if nothing is to be decided before another input."""
        self._is_lull_known = False
        """Whether `_lull` is that behind the last input."""
        self._samples_behind = 0
        """Samples that were pushed in a lull since the last decision."""
        self.done = False
        """Whether the last command was returned: inputs have no effect any more."""
        self.failures_in_a_row = 0
        """Failures since a connection last gave text: what the shell draws its waits for."""

    def __repr__(self) -> str:
        return (
            f"FailoverEngine({self._pool!r}, {self._ledger!r}, {self._emitter!r}, "
            f"{self._hedging!r}, {self._failback!r}, {self._probe!r}, {self._routing!r}, "
            f"outage={self._outage}, done={self.done})"
        )

    def handle(self, message: Input, now: float) -> list[Command]:
        """Take one input, and return the commands that it causes.

        `now`: seconds on a clock that never goes back. The first input must be `StreamOpened`.

        After calling this method you must execute the commands in their order, and then ask
        `deadline()` anew. It never raises for what a provider does; `AssertionError` means that the
        inputs cannot follow each other: audio after `InputEnded`, a stream that is opened twice,
        speech that ends twice.
        """
        if self.done:
            self._after_the_end(message, now)
            return self._outbox.take()
        if isinstance(message, AudioPushed) and (commands := self._take_in_lull(message, now)):
            return commands
        self._catch_up()
        self._now = now
        self._is_deadline_known = self._is_lull_known = False
        backoff = self._take_input(message, now)
        if not self.done:
            self._advance(now, backoff)
        if not (self.done or isinstance(message, AudioPushed)):
            self._report_breakers()  # not for every frame: that costs some microseconds
        return self._outbox.take()

    def _take_input(self, message: Input, now: float) -> float:
        """Pass an input to the part that it is about.

        Returns the seconds to wait, should an outage begin.
        """
        match message:
            case StreamOpened():
                self._open_stream(now)
            case AudioPushed() | FlushRequested() | InputEnded() | SpeechStarted() | SpeechEnded():
                self._on_audio_input(message, now)
            case VoiceActivityLost():
                self._on_voice_activity_lost(now)
            case OptionsChanged(provider):
                self._reopen_for_options(provider, now)
            case LanguageChanged(language):
                self._routing.request(language)
            case (
                ProviderEvent()
                | ConnectionFailed()
                | ConnectionEnded()
                | PluginReconnected()
                | AudioQueued()
                | AudioUntaken()
                | AudioTaken()
            ):
                self._on_connection_input(message, now)
            case StreamClosed():
                self._leave()
            case DeadlineReached(backoff):
                return backoff
            case _:
                assert_never(message)
        return self._policies.retry.wait_max

    def _report_breakers(self) -> None:
        for name, from_state, state, by_operator in self._breakers.changes(self._now):
            self._outbox.report(
                BreakerChanged(
                    at=self._pool.at,
                    provider=name,
                    from_state=from_state,
                    state=state,
                    by_operator=by_operator,
                )
            )

    def deadline(self) -> float | None:
        """Return when something becomes due without any input; `None` if nothing does.

        Unless another input comes first, you must call `handle(DeadlineReached(...), now)` at that
        time, which is on the clock of `now`. Every input may move the deadline.
        """
        if not self._is_deadline_known:
            self._deadline = None if self.done else self._find_deadline()
            self._is_deadline_known = True
        return self._deadline

    def _find_deadline(self) -> float | None:
        due = [*self._emitter.deadlines]
        if self._outage:
            due += self._outage.deadlines(self._now)
        if self._rest:
            due += self._rest.deadlines(self._ledger)
        if (tail_limit := self._tail_limit_at) is not None:
            due.append(tail_limit)
        if active := self._pool.active:
            due += [*self._hedging.deadlines(active), *self._failback.deadlines(active)]
            due += [*self._probe.deadlines(active, self._now), *self._unanswered.deadlines]
            if (drained_at := self._pool.drained_at(active)) is not None:
                due.append(drained_at)
        sends = [
            send_at
            for connection in self._pool
            if (send_at := connection.sender.next_send_at(self._ledger)) is not None
        ]
        # What was due by now has been done, as far as it could be: waking up for it again would
        # not change anything. Audio is different, for the pace may allow it at this very moment.
        return min([*sends, *(at for at in due if at > self._now)], default=None)

    # -- audio on which nothing is decided

    def forward(self, samples: int, rate: int, now: float) -> Sequence[int]:
        """Take audio in a lull, as `handle` takes `AudioPushed`.

        Returns the connections that you must send it to. `deadline()` stays the same. None if
        there is no lull: then nothing was done, and you must call `handle`.
        """
        lull = self._lull if self._is_lull_known else self._find_lull()
        # an empty frame is nothing to send
        if lull is None or now >= lull.until or rate != lull.rate or samples <= 0:
            return ()
        if samples > lull.room and not self._make_room(lull, samples, now):
            return ()
        lull.room -= samples
        lull.uncounted += samples
        seconds = samples * lull.seconds_per_sample
        for fed in lull.fed:
            fed.processed_by = (fed.processed_by if fed.processed_by > now else now) + seconds
        self._now = now
        return lull.ids

    def _make_room(self, lull: Lull, samples: int, now: float) -> bool:
        """Tell the parts of the audio so far. Returns whether the lull has room for more."""
        self._count(lull)
        ledger, at_most = self._ledger, self._ledger.samples(MAX_UNCOUNTED)
        room = min(lull.before - 1 - ledger.end, ledger.samples(MAX_BEHIND) - self._samples_behind)
        for fed in lull.fed:
            room = min(room, fed.connection.sender.available(now, ledger.rate))
            if fed.connection.stall_detector.timeouts != fed.timeouts:
                room = 0
            if fed.notes_voice:
                at_most = 0
        active = lull.active
        if (
            samples > room
            or self._selector.operator_lock(active.traits.name) is not lull.operator_lock
            or (lull.may_return and self._failback.is_due(active, now))
        ):
            lull.room = 0
            return False
        lull.room = min(room, max(samples, at_most))
        return True

    def _count(self, lull: Lull) -> None:
        """Tell the parts of the audio that was taken in a lull."""
        if not lull.uncounted:
            return
        samples, lull.uncounted = lull.uncounted, 0
        self._samples_behind += samples
        for fed in lull.fed:
            fed.connection.sender.forwarded(samples, self._ledger.rate, fed.processed_by)
        self.handover.push(samples, self._ledger.rate, self._now)
        for fed in lull.fed:
            if fed.notes_voice:
                fed.connection.sender.note_voice(self._ledger)
                fed.notes_voice = False

    def _take_in_lull(self, audio: AudioPushed, now: float) -> list[Command]:
        """Return the commands for audio in a lull; none if a decision is needed instead."""
        lull, released = self._find_lull(), list[Command]()
        if lull is not None:
            self._count(lull)
            if self._samples_behind + audio.samples > self._ledger.samples(MAX_BEHIND):
                self._catch_up()
                released.append(self._release_audio())
        start = self._ledger.end
        connections = self.forward(audio.samples, audio.rate, now)
        if not connections:
            return []
        sent = [SendAudio(each, start, start + audio.samples) for each in connections]
        return [*sent, *released]

    def _catch_up(self) -> None:
        """Count the audio of the last lull, and commit its silence as far as its end allowed."""
        if self._is_lull_known and self._lull is not None:
            self._count(self._lull)
        if self._samples_behind:
            self._budget.record_pushed(self._ledger.seconds(self._samples_behind), self._now)
            self._samples_behind = 0
            self._pool.update_retention()
            self._committer.commit_silence(self._pool.active, self._now)

    def _find_lull(self) -> Lull | None:
        if not self._is_lull_known:
            self._lull = self._next_lull()
            self._is_lull_known = True
        return self._lull

    def _next_lull(self) -> Lull | None:
        """Return the audio on which nothing is to be decided; `None` if there is none."""
        active = self._pool.active
        if active is None or not self._pool.is_live or self._routing.pending is not None:
            return None
        before = self._ledger.window_due
        for place in self._positions(active):
            if place <= self._ledger.end:
                return None
            before = min(before, place)
        deadline, ledger = self.deadline(), self._ledger
        fed = tuple(
            Fed(
                connection=connection,
                timeouts=connection.stall_detector.timeouts,
                notes_voice=connection.stall_detector.awaits_voice(ledger),
                processed_by=connection.processed_by,
            )
            for connection in self._pool
        )
        return Lull(
            active=active,
            fed=fed,
            ids=tuple(each.connection.id for each in fed),
            until=math.inf if deadline is None else deadline,
            before=before,
            operator_lock=self._selector.operator_lock(active.traits.name),
            may_return=self._selector.has_preferred(active.traits),
            rate=ledger.rate,
            seconds_per_sample=active.sender.seconds_per_sample(ledger.rate),
        )

    def _positions(self, active: Connection) -> Iterator[int]:
        """Yield the session samples at which audio alone makes something due.

        The parts that often have something to do with every frame come first.
        """
        yield from self._hedging.positions(active, self._now)
        yield from self._emitter.positions(active)
        yield from self._failback.positions(active, self._now)
        yield from self._committer.positions(active)
        yield from self._probe.positions(active, self._now)
        yield from self._unanswered.positions(active)
        for connection in self._pool:
            yield from connection.sender.positions(self._ledger)
            if connection is not active:
                # no noise stretches what is expected of it
                yield from connection.stall_detector.positions(self._ledger, 1.0)

    # -- what the caller does

    def _open_stream(self, now: float) -> None:
        if self._pool.has_opened:
            raise AssertionError("opened twice")
        self._pool.report_unanswered(self.handover.drop_stale(now))
        self._open_active(self._selector.initial(now), now)

    def _on_audio_input(self, message: AudioInput, now: float) -> None:
        if self._pool.input_ended and isinstance(message, AudioPushed | FlushRequested):
            raise AssertionError("the input has ended")
        match message:
            case AudioPushed(samples, rate):
                if dropped_speech := self.handover.push(samples, rate, now):
                    self._pool.audio_dropped(dropped_speech)
                self._budget.record_pushed(samples / rate, now)
            case FlushRequested():
                self._ledger.add_flush()
                self._emitter.flush_requested(now)
            case SpeechStarted(at):
                self._ledger.speech_started(at)
                self._emitter.local_speech_started(at)
            case SpeechEnded(at, sound):
                self._hedging.speech_ended(self._ledger.speech_ended(at, sound))
                self._probe.speech_ended(now)
            case InputEnded():
                self._pool.end_input(now)
                self._emitter.input_ended()
                self._probe.cancel(now)
            case _:
                assert_never(message)

    def _reopen_for_options(self, provider: str, now: float) -> None:
        """Open connections anew before their plugin reconnects them for other options.

        That would begin a new clock in the middle, and lose the audio in flight, in any role
        (test_a_change_while_a_hedge_is_under_way).
        """
        for connection in self._pool:
            if connection.traits.name != provider or self._pool.get(connection.id) is None:
                continue  # of another provider, or closed with the active connection just now
            if connection.role is Role.ACTIVE:
                self._move(connection, connection.traits, SwitchReason.OPTIONS_CHANGED, now)
            else:
                self._renew(connection, now)

    def _renew(self, connection: Connection, now: float) -> None:
        """Open a connection anew that is not active; its provider has not failed."""
        match connection.role:
            case Role.HEDGE:
                self._hedging.renew_hedge(connection, now)
            case Role.PROBE:
                # it was to show one utterance from its start to its end
                self._probe.cancel(now, CloseReason.RENEWED)
            case _:
                assert self._outage is not None, connection
                self._outage.renew(connection, now)

    def _on_audio_queued(
        self, connection: Connection, seconds: float, backoff: float, now: float
    ) -> None:
        """Leave a connection whose peer has stopped reading: in silence nothing else shows that."""
        if seconds > self._policies.retry.max_queued_audio:
            detail = "takes no more audio"
            failure = ConnectionFailed(connection.id, ErrorKind.DROPPED, detail, backoff=backoff)
            self._on_failure(connection, failure, now)

    def _check_connecting(self, connection: Connection, backoff: float, now: float) -> None:
        """Leave a connection that does not connect, though its plugin sets itself no limit."""
        overdue = now >= connection.opened_at + self._policies.connected_after
        if connection.connecting and connection.last_transcript_at is None and overdue:
            detail = "does not connect"
            failure = ConnectionFailed(connection.id, ErrorKind.CONNECT, detail, backoff=backoff)
            self._on_failure(connection, failure, now)

    def _on_reconnected(self, connection: Connection, backoff: float, now: float) -> None:
        """Take it that a plugin has reconnected by itself: the audio it was sent is not all heard.

        Beside the active connection another one is opened. The reconnect budget bounds that, for a
        plugin may do it again and again.
        """
        name = connection.traits.name
        if connection.role is Role.PROBE:
            self._renew(connection, now)
        elif connection.role is not Role.ACTIVE and self._selector.may_reconnect(name, now):
            self._selector.spend_reconnect(name)
            self._renew(connection, now)
        else:
            detail = "reconnected by itself"
            failure = ConnectionFailed(connection.id, ErrorKind.DROPPED, detail, backoff=backoff)
            self._on_failure(connection, failure, now)

    def _on_voice_activity_lost(self, now: float) -> None:
        """End open speech here, and decide from here on as a stream that never had any VAD."""
        if self._ledger.speaking:
            self._ledger.speech_ended(self._ledger.end)
            self._probe.speech_ended(now)
        self._ledger.vad_enabled = False

    # -- what a connection does

    def _on_connection_input(self, message: ConnectionInput, now: float) -> None:
        connection = self._pool.get(message.connection)
        if connection is None:
            return  # it was closed while this was under way
        match message:
            case ProviderEvent(_, event):
                self._pool.note_established(connection, now)
                self._on_event(connection, event, now)
            case ConnectionFailed():
                self._on_connection_failed(connection, message, now)
            case ConnectionEnded(_, backoff) if self._owes_nothing(connection):
                self._on_idle_close(connection, backoff, now)
            case ConnectionEnded(_, backoff):
                self._on_end(connection, backoff, now)
            case PluginReconnected(_, backoff):
                self._on_reconnected(connection, backoff, now)
            case AudioQueued(_, seconds, backoff):
                self._on_audio_queued(connection, seconds, backoff, now)
            case AudioUntaken(_, backoff):
                connection.connecting = True
                self._check_connecting(connection, backoff, now)
            case AudioTaken():
                connection.connecting = False
                self._pool.note_established(connection, now)
            case _:
                assert_never(message)

    def _on_connection_failed(
        self, connection: Connection, failure: ConnectionFailed, now: float
    ) -> None:
        if failure.closed_normally and self._owes_nothing(connection):
            self._on_idle_close(connection, failure.backoff, now)
        elif failure.kind is ErrorKind.CONNECT and self._lost_patience(connection):
            self._on_end(connection, failure.backoff, now)
        elif self._is_refused_for_ours(connection, failure, now):
            self._on_refused(connection, failure.backoff, now)
        else:
            self._on_failure(connection, self._after_work(connection, failure, now), now)

    def _on_event(self, connection: Connection, event: TranscriptEvent, now: float) -> None:
        if event.kind is EventKind.USAGE:  # the user pays for every connection
            self._outbox.add(Emit(event.kind, source=event.source))
            return
        event = _without_signs(event)
        self._own_sessions.worked(connection)
        interpreted = connection.interpret(event, now)
        if interpreted.is_duplicate:
            return
        if interpreted.clock_restarted:
            self._on_reconnected(connection, self._policies.retry.wait_max, now)
            return
        self._take_event(connection, interpreted, now)

    def _take_event(self, connection: Connection, interpreted: Interpreted, now: float) -> None:
        event = interpreted.event
        if connection.role is not Role.PROBE and event.text.strip():
            connection.has_given_text = True
            self._clean_ends.text_received()
            self._tail.reset()
            self._unanswered.words_received(connection.traits.name, now)
        match connection.role:
            case Role.ACTIVE:
                self._emit(connection, interpreted, now)
            case Role.PROBE:
                self._probe.on_event(connection, event, now)
            case Role.HEDGE:
                connection.hold(interpreted)
            case Role.RECONNECT:
                connection.hold(interpreted)
                if event.text.strip():
                    self._end_outage(connection, now)
            case _:
                assert_never(connection.role)

    def _emit(
        self,
        connection: Connection,
        interpreted: Interpreted,
        now: float,
        *,
        followed: bool = False,
    ) -> None:
        if interpreted.event.text.strip():
            self.failures_in_a_row = 0
        self._emitter.on_event(connection, interpreted, now, followed=followed)

    def _emit_held(self, connection: Connection, now: float) -> None:
        """Emit the events that a connection sent before it was active, or behind a held FINAL."""
        held = connection.take_held_events()
        last = max((n for n, i in enumerate(held) if i.event.kind is not EventKind.END), default=0)
        for place, interpreted in enumerate(held):
            self._emit(connection, interpreted, now, followed=place < last)

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
            case Role.RECONNECT:
                self.failures_in_a_row += 1
                assert self._outage is not None
                self._outage.failed(connection, failure, now)
            case _:
                assert_never(connection.role)

    def _after_work(
        self, connection: Connection, failure: ConnectionFailed, now: float
    ) -> ConnectionFailed:
        """Return a failure as a drop, if it says that a connection that has worked never could.

        Such a connection was made, and its request was taken: a status 400 is then a limit of
        streams, or of a provider that answers 400 to everything. Otherwise a provider would be
        unfit for the rest of a stream that it has served for minutes
        (test_a_bad_request_after_work_is_a_drop).

        The same if the provider took such a request before: Google's client (2.41) tries again when
        the service is unavailable, without the first message
        (test_a_bad_request_of_a_provider_that_worked_is_a_drop).
        """
        match failure.kind:
            case ErrorKind.BAD_REQUEST if not failure.refused_language:
                has_worked = self._selector.has_worked(connection.traits.name)
                worked = has_worked or self._seconds_worked(connection, now) is not None
            case ErrorKind.CONNECT:  # as of a plugin that connects for every sentence
                worked = connection.last_transcript_at is not None
            case _:
                worked = False
        return replace(failure, kind=ErrorKind.DROPPED) if worked else failure

    def _owes_nothing(self, connection: Connection) -> bool:
        """Return whether a connection leaves no words untold if it closes now.

        Then a normal close is no failure: providers close idle connections, as those of a muted
        caller (test_idle_connections_are_no_failures).
        """
        # A hedge is opened for speech, and sent it at once.
        if self._pool.input_ended or connection.role is Role.HEDGE:
            return False
        if not connection.seconds_sent:
            return True
        if not self._ledger.vad_enabled or self._hedging.is_hedging or connection.held_events:
            return False
        if connection.interpreter.unfinished_text_through(connection.cursor) is not None:
            return False
        if not self._pool.has_pending_words():
            return True
        return self._pool.has_told_all(connection)

    def _lost_patience(self, connection: Connection) -> bool:
        """Return whether a timeout is that of a plugin that waits for the end of its stream.

        Some have one timeout for that and for connecting (Sarvam's, 1.8.9).
        """
        if connection.input_ended_at is None or connection.last_transcript_at is None:
            return False
        is_checked = self._hedging.is_hedging or connection.held_events
        return not is_checked and self._pool.has_nothing_to_tell(connection)

    def _commit_what_was_told(self, connection: Connection, now: float) -> None:
        """Commit the voice before a connection's last final, which has no times.

        Its successor would be sent the voice again, and may have no words left to tell for it
        (test_idle_connections_are_no_failures). Another final of the same voice may be under way
        for the grace that silence has, here in time: a muted caller sends no audio.
        """
        quiet_since = max(connection.processed_by, connection.last_transcript_at or now)
        is_over = now >= quiet_since + self._policies.replay.commit_grace
        if is_over and self._pool.has_told_all(connection):
            self._ledger.commit(self._ledger.last_voice_end(self._ledger.end))

    def _on_idle_close(self, connection: Connection, backoff: float, now: float) -> None:
        """Take the normal close of a connection that owed nothing: report and count nothing."""
        match connection.role:
            case Role.ACTIVE:
                self._commit_what_was_told(connection, now)
                self._pool.close(connection, CloseReason.IDLE, now)
                reopen_at = connection.opened_at + self._policies.retry.idle_reopen_interval
                self._rest = Rest(connection.traits, self._ledger.end, reopen_at)
            case Role.PROBE:
                self._probe.cancel(now, CloseReason.IDLE)
            case _:
                assert self._outage is not None, connection
                self._outage.closed(connection, CloseReason.IDLE, now, backoff)

    def _is_refused_for_ours(
        self, connection: Connection, failure: ConnectionFailed, now: float
    ) -> bool:
        # A hedge that listens already is better than a wait.
        if connection.role is Role.ACTIVE and self._hedging.is_hedging:
            return False
        return self._own_sessions.refuse(connection, failure, now)

    def _on_refused(self, connection: Connection, backoff: float, now: float) -> None:
        """Try a connection again that was refused because of another one of ours, in any role."""
        retry_at = self._own_sessions.retry_at(now)
        match connection.role:
            case Role.ACTIVE:
                self._pool.close(connection, CloseReason.REFUSED, now)
                self._rest = Rest(connection.traits, -1, retry_at, not_before=retry_at)
            case Role.PROBE:
                self._probe.cancel(now, CloseReason.REFUSED)
            case Role.HEDGE:
                active = self._pool.active
                assert active is not None
                self._hedging.hedge_refused(connection, active, retry_at, now)
            case _:
                assert self._outage is not None, connection
                self._outage.closed(connection, CloseReason.REFUSED, now, backoff)

    def _step_rest(self, rest: Rest, now: float) -> None:
        """Open a connection for audio, or finish if the input has ended without more words."""
        ledger, pool = self._ledger, self._pool
        words_pending = pool.has_pending_words()
        if pool.input_ended:
            if not words_pending and (ledger.vad_enabled or ledger.end == rest.since):
                self._rest = None
                self._finish()
                return
            words_pending = True  # or they may be, as far as is known
        if not rest.is_over(ledger, now, words_pending=words_pending):
            return
        self._rest = None
        pool.open(rest.provider, Role.ACTIVE, now)

    def _on_end(self, connection: Connection, backoff: float, now: float) -> None:
        """Take a clean end of a connection's stream: a failure as long as it is fed."""
        if connection.input_ended_at is None:
            failure = ConnectionFailed(connection.id, ErrorKind.DROPPED, "ended", backoff=backoff)
            self._on_failure(connection, failure, now)
            return
        self._pool.mark_ended(connection)
        self._clean_ends.connection_ended(connection)  # no probe outlives the input
        if connection.role is Role.RECONNECT:
            self._end_outage(connection, now)

    # -- what follows from any input

    def _advance(self, now: float, backoff: float) -> None:
        """Do what has become due. `backoff`: seconds to wait, should an outage begin."""
        self._emitter.step(now)
        self._committer.commit_silence(self._pool.active, now)
        self._apply_language(now)
        if self._rest:
            self._step_rest(self._rest, now)
        if self._outage:
            self._step_outage(self._outage, now, backoff)
        if active := self._pool.active:
            self._check_active(active, now, backoff)
        if self.done:
            return
        for connection in self._pool:
            self._pool.feed(connection, now)
        self._emitter.end_speech_in_silence(now)
        self._outbox.add(self._release_audio())
        if self._pool.input_ended and self._pool.has_pending_words():
            self._tail.record(now)
        else:
            self._tail.reset()

    def _release_audio(self) -> ReleaseAudio:
        known = self._ledger.known_words
        return ReleaseAudio(self._ledger.start, known and (known.start, known.end))

    def _check_active(self, active: Connection, now: float, backoff: float) -> None:
        """Leave the active connection if it stalls, if there is a better one, or if it is done."""
        if (tail_limit := self._tail_limit_at) is not None and now >= tail_limit:
            self._finish_unanswered()
            return
        if (drained_at := self._pool.drained_at(active)) is not None and now >= drained_at:
            self._pool.mark_drained(active)
            # What finals without times were about is committed only now. Another provider must not
            # be asked about that (test_told_words_are_asked_about_by_nobody_else).
            self._committer.commit_silence(active, now)
            if active.ended:
                self._clean_ends.connection_ended(active)
        self._unanswered.step(active, now)
        if self._unanswered.is_over(active, now):
            self._give_up(self._unanswered_error(), now)
            return
        stall = self._hedging.step(active, now)
        if stall is not None:
            self._leave_stalled(active, stall, now, backoff)
            return
        holds = self._hedging.holds_final or self._emitter.holds_doubtful_final
        if active.held_events and not holds:
            self._emit_held(active, now)
            self._check_active(active, now, backoff)  # another FINAL among them may skip speech
            return
        if active.finished:
            # While a hedge listens, or will, words may be missing.
            if not (self._hedging.is_hedging or self._hedging.is_waiting(now)):
                self._finish_after(active)
            return
        self._probe.step(active, now)
        target_and_reason = self._failback.step(active, now)
        if target_and_reason is not None:
            self._move(active, *target_and_reason, now)

    def _leave_stalled(
        self, active: Connection, stall: StallDeadline, now: float, backoff: float
    ) -> None:
        """Leave a silent connection, or finish if the missing words cannot be had."""
        if active.finished and stall.reason is not StallReason.SKIPPED_SPEECH:
            # If two connections in a row ended without the same last words, there are none. Words
            # of a hedge count more (schedule hedge-has-words-that-two-ended-without), but a series
            # of hedges that end before their FINAL does not.
            if self._missing_tails.stands_still:
                hedged = self._hedging.is_hedging
                if hedged:
                    self._failures.record(now)
                if not hedged or self._failures_lead_nowhere():
                    self._finish_unanswered()
                    return
            self._missing_tails.record(now)
        if active.input_ended_at is not None and self._hedging.is_hedging:
            self._pool.note_lost_tail(active)
        failure = ConnectionFailed(
            active.id, ErrorKind.STALLED, backoff=backoff, trigger=stall.reason
        )
        self._fail_over(active, failure, now)
        if successor := self._pool.active:
            # It was a hedge, and may have finished or stalled by now: at the end of the input
            # nothing else would wake the engine (schedule promoted-hedge-is-half-open).
            self._check_active(successor, now, backoff)

    # -- failover

    def _fail_over(self, connection: Connection, failure: ConnectionFailed, now: float) -> None:
        """Replace the failed active connection: by its hedge, by another, or by an outage."""
        self.failures_in_a_row += 1
        failed = connection.traits
        self._emitter.connection_failed(connection, now)
        hedge = self._hedging.take_hedge()
        self._pool.close(connection, failure.kind, now)
        target: ProviderTraits | None
        if hedge is not None:
            target = hedge.traits
            is_news = self._selector.record_connection_failure(failed.name, failure, now)
        else:
            worked = self._seconds_worked(connection, now)
            target, is_news = self._selector.on_failure(failed, failure, worked, now)
            self._failures.record(now)
            # Providers that send one event and drop must not be tried in turn without a pause, nor
            # those that are known to be deaf.
            if self._hedging.take_nobody_hears() or self._failures_lead_nowhere():
                target = None
        if is_news:
            self._pool.report_failure(failed, failure)
        if not failure.refused_language and (target is None or target.name != failed.name):
            self._outbox.add(*self._selector.mark_unavailable(failed.name))
        if target is None:
            self._start_outage(failure.backoff, now)
        elif hedge is None:
            self._report_switch(failed.name, self._open_active(target, now), failure.kind)
        else:
            self._promote(hedge, now)
            self._report_switch(failed.name, hedge, failure.kind)
            self._emit_held(hedge, now)

    def _failures_lead_nowhere(self) -> bool:
        """Return whether too many active connections failed since the watermark last moved.

        Each provider may fail twice, and the reconnect budget may be spent once.
        """
        limit = self._policies.retry.reconnect_budget + 2 * len(self._selector.names)
        return self._failures.count > limit

    def _seconds_worked(self, connection: Connection, now: float) -> float | None:
        """Return for how long a connection has worked; `None` if it never has."""
        lived = now - connection.opened_at
        # Without speech in its audio, a connection that works sends no transcript either.
        if connection.last_transcript_at is None and lived < self._policies.watchdog.working_after:
            return None
        return lived

    def _move(
        self, connection: Connection, target: ProviderTraits, reason: SwitchReason, now: float
    ) -> None:
        """Leave a connection that works for a new one on `target`."""
        self._hedging.dismiss(now)
        self._pool.close(connection, reason, now)
        if reason is SwitchReason.FAILBACK:
            self._failback.failed_back(connection.traits, now)
        elif reason in (SwitchReason.SLOW, SwitchReason.LOCKED):
            self._outbox.add(*self._selector.mark_unavailable(connection.traits.name))
        self._report_switch(connection.traits.name, self._open_active(target, now), reason)

    def _report_switch(
        self, from_provider: str, connection: Connection, reason: ErrorKind | SwitchReason
    ) -> None:
        switch = Switched(
            at=self._pool.at,
            from_provider=from_provider,
            to_provider=connection.traits.name,
            reason=reason,
            replay_from=self._ledger.seconds(connection.start),
        )
        self._accounts.switched(switch)
        self._outbox.report(switch)

    def _open_active(self, provider: ProviderTraits, now: float) -> Connection:
        self._failback.serving_changed(now)
        return self._pool.open(provider, Role.ACTIVE, now)

    def _promote(self, connection: Connection, now: float) -> None:
        self._failback.serving_changed(now)
        self._pool.promote(connection)

    # -- language

    def _apply_language(self, now: float) -> None:
        """Change to the route of another language, at a moment that cuts no sentence in two."""
        ledger, routing = self._ledger, self._routing
        if routing.pending is None:
            return
        # In mid-speech at once: the words that are not committed yet are sent to the new provider.
        # After speech not before its final has come: it is in the old language.
        if not (
            self._emitter.has_pending_final or ledger.speaking or not ledger.has_pending_speech()
        ):
            return
        from_language = routing.language
        change = routing.apply_change()
        assert change is not None
        providers = routing.route.providers
        self._selector.set_route(providers, routing.language)
        self._outbox.report(
            LanguageRouted(
                at=self._pool.at,
                from_language=from_language,
                language=change.language,
                route=routing.route.key,
                providers=tuple(p.name for p in providers),
                reason=change.reason,
            )
        )
        if self._outage:
            self._outage.route_changed(now)
        elif self._rest:
            self._rest.provider = self._selector.initial(now)
        elif active := self._pool.active:
            self._move_to_route(active, now)

    def _move_to_route(self, active: Connection, now: float) -> None:
        """Leave a connection that is not on the first provider of the route, or not in its tag."""
        target = self._selector.initial(now)
        same = active.traits.name == target.name
        if same and active.language == target.language_hint(self._routing.language):
            self._emitter.emit_pending(now)
        elif self._emitter.has_pending_final or not active.finished:
            self._probe.cancel(now)
            self._move(active, target, SwitchReason.LANGUAGE, now)

    # -- outage

    def _start_outage(self, backoff: float, now: float) -> None:
        self._probe.cancel(now)
        # While audio comes, each outage has the full limit. After that, outages without progress
        # count as one: a provider that connects and stays silent would keep the stream for ever.
        if not self._pool.input_ended:
            self._outages.reset()
        self._outages.record(now)
        self._outage = Outage(
            pool=self._pool,
            ledger=self._ledger,
            selector=self._selector,
            policies=self._policies,
            since=self._outages.first_at,
            now=now,
            backoff=backoff,
        )
        self._outbox.report(OutageStarted(at=self._pool.at))

    def _step_outage(self, outage: Outage, now: float, backoff: float) -> None:
        ledger, pool = self._ledger, self._pool
        if pool.input_ended and ledger.vad_enabled and not pool.has_pending_words():
            self._finish()  # no provider has to come back for silence
            return
        tail_limit = self._tail_limit_at
        if now >= outage.limit_at or (tail_limit is not None and now >= tail_limit):
            names, seconds = ", ".join(self._selector.names), now - outage.since
            message = f"all STTs failed ({names}): none answered for {seconds:.0f} s"
            self._give_up(message, now)
            return
        outage.open_due_attempts(now, backoff)
        if winner := outage.working_reconnect(now):
            self._end_outage(winner, now)

    def _end_outage(self, connection: Connection, now: float) -> None:
        """End the outage: a reconnect works, and becomes active."""
        outage, self._outage = self._outage, None
        assert outage is not None
        for other in outage.reconnects:
            if other is not connection:
                self._pool.close(other, CloseReason.NOT_NEEDED, now)
        self._outbox.report(
            OutageEnded(
                at=self._pool.at,
                provider=connection.traits.name,
                duration=now - outage.since,
            )
        )
        self._promote(connection, now)
        self._emit_held(connection, now)

    # -- the end

    @property
    def _tail_limit_at(self) -> float | None:
        """Return when the stream ends without the words that are still missing.

        `None` while the input lasts, and if no words are missing. Without this limit, providers
        that accept connections and stay silent would be asked one after the other.
        """
        ledger, policies = self._ledger, self._policies
        if not self._tail.stands_still:
            return None
        # Who never gave a word has had the time for all of that already
        # (test_a_sole_provider_that_never_gives_a_word).
        begin = ledger.end if self._unanswered.is_outage else ledger.watermark
        missing = ledger.seconds(ledger.end - begin)
        processing = missing / policies.watchdog.min_processing_rate
        return self._tail.first_at + policies.retry.end_input_limit + processing

    def _finish(self) -> None:
        """End the stream: no final, connection, speech or loss is left open."""
        if self._unanswered_error():
            self._finish_unanswered()
            return
        self._close()
        self._end(StreamEndReason.FINISHED, Finish())

    def _finish_after(self, active: Connection) -> None:
        """End the stream behind its last connection, with the words that this has left out.

        Some plugins give no last words, and a hedge may have heard nothing
        (tests/schedules/shown-words-and-a-hedge-that-heard-nothing.json).
        """
        has_left_out = active.interpreter.unfinished_text() is not None
        if has_left_out and self._unfinished.first_word_at() is not None:
            self._finish_unanswered()
        else:
            self._finish()

    def _unanswered_error(self) -> str:
        """Return the error's message if no provider ever gave a word; empty if nothing is wrong."""
        seconds = self._unanswered.seconds_lost
        if not seconds:
            return ""
        names = ", ".join(self._selector.names)
        return f"no STT ({names}) gave a word for {seconds:.0f} s of voice"

    def _finish_unanswered(self, outage: str = "") -> None:
        """End the stream although words are missing, because no provider answers.

        What interim transcripts have shown is emitted, and the rest is reported as lost.

        `outage`: what to raise; empty if some provider can be reached.
        """
        unanswered = self._unanswered_error()
        outage = outage or unanswered
        is_noise = self._clean_ends.are_enough and not unanswered
        self._hedging.dismiss(self._now, HedgeOutcome.NO_SPEECH)
        if active := self._pool.active:
            self._emit_held(active, self._now)
        self._emitter.emit_pending(self._now)
        if not is_noise:  # else its words were taken back
            self._emitter.emit_unfinished(self._ledger.end, self._now)
        self._close()
        lost = () if is_noise else self._ledger.abandon(self._ledger.end)
        self._pool.report_unanswered(lost)
        # The caller has hung up. If all words have come, he does not care about the outage.
        if lost and outage:
            self._end(StreamEndReason.GAVE_UP, GiveUp(outage, self._selector.why_failed()))
        else:
            self._end(StreamEndReason.FINISHED, Finish())

    def _give_up(self, message: str, now: float) -> None:
        """End the stream by an exception; what was said just now may be taken over by another."""
        if self._pool.input_ended:
            self._finish_unanswered(message)  # the caller has hung up: no stream follows
            return
        self._emitter.emit_pending(now)
        self._emitter.emit_unfinished(self.handover.stale_position(now), now)
        self._close()
        self._pool.report_unanswered(self.handover.drop_stale(now))
        self._outbox.add(self._release_audio())
        self._end(StreamEndReason.GAVE_UP, GiveUp(message, self._selector.why_failed()))

    def _leave(self) -> None:
        """End the stream because nobody listens any more: nothing is emitted."""
        self._probe.cancel(self._now, CloseReason.STREAM_ENDED)
        self._pool.close_all(self._now)
        self._end(StreamEndReason.CLOSED)

    def _close(self) -> None:
        self._probe.cancel(self._now, CloseReason.STREAM_ENDED)
        self._emitter.finish(self._now)
        self._pool.close_all(self._now)

    def _end(self, reason: StreamEndReason, *last: Finish | GiveUp) -> None:
        """Report the accounts of the stream, and return the last command, if there is one."""
        self._report_breakers()
        self._outbox.report(self._accounts.ended(reason, gone=self._pool.gone_samples))
        self._outbox.add(*last)
        self.done = True

    def _after_the_end(self, message: Input, now: float) -> None:
        """Take audio that was pushed before the caller knew that the stream gave up.

        It belongs to what another stream may take over.
        """
        match message:
            case AudioPushed(samples, rate):
                self._pool.report_unanswered(self.handover.push(samples, rate, now))
            case SpeechStarted(at):
                self._ledger.speech_started(at)
            case SpeechEnded(at, sound):
                self._ledger.speech_ended(at, sound)
            case VoiceActivityLost():
                self._on_voice_activity_lost(now)
            case _:
                pass


def _without_signs(event: TranscriptEvent) -> TranscriptEvent:
    """Return the event without its text if that has no letter or digit.

    "." would otherwise be believed to be the transcript of a whole sentence
    (test_finals_without_letters).
    """
    return event if has_word(event.text) else replace(event, text="", words=())

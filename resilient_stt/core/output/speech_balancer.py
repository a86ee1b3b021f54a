"""Tells the consumer of START_OF_SPEECH and END_OF_SPEECH as the caller speaks.

Theory of operation
===================

With `turn_detection="stt"` these two events are the turn: a stray END lets the agent answer half a
sentence, a missing one leaves a user who speaks for ever. Providers report what their *connection*
heard, which is not always what the caller does: a new connection repeats the start and the end of
speech that it is sent again, a plugin may end the speech because its own socket has died, and some
providers report no turns at all. So the events of providers are checked against local voice
activity:

* They alternate. A START while speech is open is not passed on.
* A START is held back while the connection may only repeat committed words.
* An END is held back while local voice activity hears the caller, or while words of a replay are
  still to come. It is passed on once the caller is silent, and forgotten if the connection goes on
  with the speech, or is lost. If the connection says nothing more for `end_of_speech_hold`, it is
  right: what local voice activity hears is noise.
* A START that no provider will send is added: when local voice activity begins, if the provider is
  known to send none; else before its first new words.
* An END that no connection will send is added in local silence: for speech that the active
  connection has not announced.

Without local voice activity the providers' events are passed on as they alternate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..audio.ledger import AudioLedger
from ..connections.connection import Connection
from ..connections.interpreter import Interpreted
from ..health.provider import ProviderHealth
from ..messages import Emit, EventKind
from ..policy import Policies


@dataclass(frozen=True, slots=True)
class HeldEnd:
    """An END that came while the caller spoke."""

    connection: int
    event: Interpreted
    since: float
    """When it came, or the last text of its connection."""


class SpeechBalancer:
    """Knows whether speech is open for the consumer, and which connection will end it."""

    def __init__(
        self,
        ledger: AudioLedger,
        health: Mapping[str, ProviderHealth],
        policies: Policies,
    ) -> None:
        self._ledger = ledger
        self._health = health
        self._policy = policies.watchdog
        self._min_speech = policies.replay.min_pending_speech
        self.speaking = False
        self._announced_by: int | None = None
        """The connection that announced speech last; `None`: local voice activity did."""
        self._held_for: int | None = None
        """The connection whose START is held back until its first new words."""
        self._held_end: HeldEnd | None = None
        self._words_of: int | None = None
        """The connection whose new words were emitted last."""
        self._is_end_added = False
        """No provider sent the END that was emitted last."""
        self._unannounced: int | None = None
        """Where local voice activity began that the consumer was not told of, in samples."""
        self._final_through = 0
        """How far the connection of the last FINAL had been sent audio by then, in samples; 0 if
        that FINAL says itself where it ends."""

    def __repr__(self) -> str:
        return f"SpeechBalancer(speaking={self.speaking}, holds_end={self._held_end is not None})"

    @property
    def deadlines(self) -> list[float]:
        """When `step` may have something to do without any input."""
        if self._held_end is None:
            return []
        since, policy = self._held_end.since, self._policy
        return [since + policy.end_of_speech_silence, since + policy.end_of_speech_hold]

    def positions(self, active: Connection) -> list[int]:
        """Session samples at which `step` may have something to do without any other input."""
        ledger = self._ledger
        if ledger.speaking:
            return []
        if self._held_end is not None:
            return [ledger.end]
        if not self.speaking or active.id == self._announced_by or not ledger.vad_enabled:
            return []
        silence = ledger.samples(self._policy.end_of_speech_silence)
        over = ledger.end - ledger.samples(ledger.silence_duration) + silence
        return [max(over, ledger.end)]

    # -- what providers report

    def on_event(self, connection: Connection, event: Interpreted, now: float) -> list[Emit]:
        """Pass a START or END of the active connection on, unless it has to be held back."""
        self._health[connection.traits.name].reports_turns = True
        if event.event.kind is EventKind.END:
            self._forget_held_start(connection)
            if self.speaking and self._caller_goes_on(connection, now):
                self._held_end = HeldEnd(connection.id, event, now)
                return []
            return self._end_by(event)
        self._held_end = None  # the speech goes on
        if connection.trimmer.open:
            self._held_for = connection.id
            return []
        return self._start(connection, event)

    def text_received(
        self, connection: Connection, interpreted: Interpreted, *, is_new: bool, now: float
    ) -> None:
        """Note a text of the active connection. `is_new`: it does not only repeat others."""
        health = self._health[connection.traits.name]
        if health.reports_turns is None:
            health.reports_turns = False  # a START would have come before its text
        if interpreted.event.kind is EventKind.FINAL:
            has_times = interpreted.utterance.end is not None
            self._final_through = 0 if has_times else connection.cursor
            if self._held_end is not None:  # some plugins send END before the FINAL
                self._held_end = replace(self._held_end, since=now)
        elif is_new:
            self._held_end = None  # the speech goes on

    def words_due(self, connection: Connection, *, is_late: bool = False) -> list[Emit]:
        """Return the START that is due before new words, if there is one.

        `is_late`: they were shown in time, and are made final only now.
        """
        before, self._words_of = self._words_of, connection.id
        if self._held_for == connection.id:
            return self._start(connection)
        if self.speaking or not self._ledger.vad_enabled:
            return self._start_unannounced()
        pending = self._ledger.first_pending()
        # The last connection has ended this speech without all of its words
        # (test_words_that_the_last_connection_left_out).
        takes_over = before not in (None, connection.id)
        # An END that was added may be too early, but not one of the connection itself
        # (test_words_behind_an_added_end).
        may_be_unannounced = before is None or self._is_end_added
        if is_late or takes_over or (may_be_unannounced and pending is not None):
            self._unannounced = max(pending.start if pending else 0, self._ledger.watermark)
        return self._start_unannounced()

    # -- what local voice activity reports

    def local_speech_started(self, active: Connection | None, at: int) -> list[Emit]:
        """Note that the caller began to speak at sample `at`, and tell if no provider will."""
        if self.speaking:
            return []
        self._unannounced = at
        if active is None or self._health[active.traits.name].reports_turns is not False:
            return []
        return self._start_unannounced()

    def step(self, active: Connection | None, now: float) -> list[Emit]:
        """End speech where that is due: the caller is silent, and no words are missing."""
        held = self._held_end
        if held is not None:
            if active is None or active.id != held.connection:
                self._held_end = None  # it died, and may have made the END up for that
            elif self._is_end_due(held, active, now):
                return self._end_by(held.event)
        return self.end() if self._is_orphan_over(active, now) else []

    # -- the end of speech

    def end(self) -> list[Emit]:
        """End the speech that is open, if any, because no connection will."""
        ledger = self._ledger
        voice_end = ledger.last_voice_end(ledger.end) if ledger.vad_enabled else 0
        return self._end(Emit(EventKind.END, speech_end=ledger.seconds(voice_end) or None))

    def _end_by(self, event: Interpreted) -> list[Emit]:
        return self._end(
            Emit(
                EventKind.END,
                source=event.event.source,
                speech_start=event.speech_start,
                speech_end=event.speech_end,
            )
        )

    def _end(self, emit: Emit) -> list[Emit]:
        self._held_end = None
        if not self.speaking:
            return []
        self.speaking = False
        self._is_end_added = emit.source is None
        ledger = self._ledger
        # The caller may have begun again before the END of what he said before.
        self._unannounced = ledger.segment_start(ledger.end) if ledger.speaking else None
        return [emit]

    def _caller_goes_on(self, connection: Connection, now: float) -> bool:
        """Return whether an END that comes now is not that of what the caller says."""
        if not self._ledger.vad_enabled:
            return False
        return self._ledger.speaking or (
            connection.is_replaying(now) and self._ledger.has_pending_speech()
        )

    def _is_end_due(self, held: HeldEnd, active: Connection, now: float) -> bool:
        """Return whether a held END is that of what the caller says."""
        if now >= held.since + self._policy.end_of_speech_hold:
            return True
        ledger, silence = self._ledger, self._policy.end_of_speech_silence
        if ledger.speaking:
            return False
        if not self._has_words_to_come(active, now):
            return True
        # The audio of a FINAL without times is committed late. A connection that had more words
        # would have gone on by now.
        return ledger.silence_duration >= silence and now >= held.since + silence

    def _has_words_to_come(self, active: Connection, now: float) -> bool:
        """Return whether the caller may have said more than what the last FINAL covers.

        The audio of a FINAL without times is committed late. So it counts how much voice there has
        been since it came, unless a replay sends voice faster than it is transcribed.
        """
        ledger = self._ledger
        if not ledger.has_pending_speech():
            return False
        voiced = ledger.voiced_samples(self._final_through, ledger.end)
        return active.is_replaying(now) or voiced >= ledger.samples(self._min_speech)

    def _is_orphan_over(self, active: Connection | None, now: float) -> bool:
        """Return whether speech that the active connection has not announced is over."""
        if not self.speaking or (active is not None and active.id == self._announced_by):
            return False
        ledger, silence = self._ledger, self._policy.end_of_speech_silence
        if not ledger.vad_enabled or ledger.silence_duration < silence:
            return False
        if not ledger.has_pending_speech():
            # No final is expected for so little voice. But it may be a word, and a replay will
            # transcribe it (schedule end-of-speech-before-a-replayed-word).
            voiced = ledger.voiced_samples(ledger.watermark, ledger.end)
            is_replaying = active is not None and active.is_replaying(now)
            return not is_replaying or voiced < ledger.samples(self._min_speech)
        if active is None or self._announced_by is not None:
            return False  # another connection has to transcribe what the last one left out
        # A cough gets no FINAL, and the consumer must not wait for one for ever. But words that
        # come late are still coming (schedule a-late-final-after-silence).
        patience = silence + active.stall_detector.final_timeout
        quiet = min(ledger.silence_duration, now - active.stall_detector.last_text_at)
        is_cough = quiet >= patience and not active.is_replaying(now)
        # A text that is not final yet: its final ends what was announced for it.
        is_unfinished = active.interpreter.unfinished_text() is not None
        return is_cough or not (is_unfinished or self._has_words_to_come(active, now))

    # -- the start of speech

    def _start_unannounced(self) -> list[Emit]:
        """Announce the speech that local voice activity has heard, and no provider reported."""
        at = self._unannounced
        if at is None:
            return []
        self._announced_by = None
        return self._open(Emit(EventKind.START, speech_start=self._ledger.seconds(at)))

    def _start(self, connection: Connection, event: Interpreted | None = None) -> list[Emit]:
        self._forget_held_start(connection)
        self._announced_by = connection.id
        if event is None:
            return self._open(Emit(EventKind.START))
        return self._open(
            Emit(EventKind.START, source=event.event.source, speech_start=event.speech_start)
        )

    def _open(self, emit: Emit) -> list[Emit]:
        self._unannounced = None
        if self.speaking:
            return []
        self.speaking = True
        return [emit]

    def _forget_held_start(self, connection: Connection) -> None:
        if self._held_for == connection.id:
            self._held_for = None

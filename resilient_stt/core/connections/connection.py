"""One connection to a provider: its role, the audio that it was sent, and its events.

Theory of operation
===================

A connection is a stream on a provider, opened for a role (`Role`). Its parts:

* `sender` feeds it the session's audio from sample `start` on.
* `interpreter` puts its events on session time.
* `stall_detector` knows which transcripts are due, and since when.
* `trimmer` removes words that are already committed: a replay begins before the watermark, so a new
  connection transcribes committed words again.

The active connection's events are emitted at once. A hedge's and a reconnect's are held
(`held_events`) until the connection becomes active, and then emitted in order. A probe's are only
looked at.

The stream of a connection ends in one of three ways: it fails; the pool closes it; or it finishes,
after its input has ended (`finished`). A finished connection sends no more events, but stays in the
pool until the engine has checked that it left no words out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ..audio.known_words import LeftOut
from ..audio.ledger import AudioLedger
from ..audio.spans import Spans
from ..events import Replayed, Role
from ..messages import EventKind, TranscriptEvent
from ..policy import ProviderTraits, ReplayPolicy
from ..stalls.detector import StallDetector
from ..transcript.history import TranscriptHistory
from ..transcript.overlap import OverlapTrimmer, Utterance
from .interpreter import EventInterpreter, Interpreted
from .sender import AudioSender

MAX_HELD_EVENTS = 1000
"""Events that are held of a connection that is not active: ten times what Deepgram sends in a
minute. A bound of memory only (test_events_of_a_hedge_are_bounded)."""

MAX_UNTIMED_FINALS = 64
"""Finals without times whose audio is not committed yet: a bound of memory only."""


@dataclass(slots=True, eq=False)
class Connection:
    """A stream on a provider. Positions are session samples."""

    id: int
    traits: ProviderTraits
    role: Role
    opened_at: float
    start: int
    """The first sample that it is sent."""
    starts_mid_word: bool
    """Its audio begins in the middle of speech, because what came before has left the window."""
    language: str
    """The tag that it was opened with; empty if it uses its own."""
    sender: AudioSender
    interpreter: EventInterpreter
    stall_detector: StallDetector
    trimmer: OverlapTrimmer
    known_through: int
    """Before this sample it may be sent words that were committed when it was opened."""
    held_events: deque[Interpreted] = field(default_factory=lambda: deque(maxlen=MAX_HELD_EVENTS))
    """Events that it sent before it became active, or behind its held FINAL."""
    held_count: int = 0
    """Events that were ever held."""
    new_transcripts: tuple[object, tuple[tuple[EventKind, Utterance], ...]] | None = None
    """What `hedging.evidence.new_transcripts` found last, and in which state of the stream."""
    untimed_finals: deque[int] = field(default_factory=lambda: deque(maxlen=MAX_UNTIMED_FINALS))
    """How far finals without times reach whose audio is not committed yet."""
    missed_speech: Spans = ()
    """Speech that left the window before it could be sent to it (see `LossTracker`)."""
    finished: bool = False
    """No more events come after the end of its input: its stream has ended, or is silent."""
    ended: bool = False
    """Its stream has ended by itself after its input, so that it has answered all of it."""
    connecting: bool = False
    """Its plugin takes no audio, so that it cannot be connected yet."""
    has_given_text: bool = False
    """It has given a transcript with text."""
    too_slow: bool = False
    """Its finals come too late: it is to be left between two words."""
    established: bool = False
    """Its plugin has taken audio, or has given an event."""
    samples_accounted: int = 0
    """Samples that it was sent in an earlier role, and that are in the accounts."""
    _replayed_by: float = -math.inf
    """When the provider can have processed its replay."""
    _replay_report: Replayed | None = None

    # -- what it was sent

    @property
    def cursor(self) -> int:
        """The sample up to which it was sent audio."""
        return self.sender.cursor

    @property
    def seconds_sent(self) -> float:
        """Seconds of audio that it was sent."""
        return self.sender.seconds_sent

    @property
    def caught_up(self) -> bool:
        """Whether it has reached the live edge once."""
        return self.sender.caught_up

    @property
    def processed_by(self) -> float:
        """When the provider has processed everything that it was sent."""
        return self.sender.processed_by

    @property
    def input_ended_at(self) -> float | None:
        """When it was asked for its last final; `None` before."""
        return self.sender.input_ended_at

    def is_replaying(self, now: float) -> bool:
        """Return whether its next events may be about replayed audio.

        They come up to a final's delay after the provider has processed the audio.
        """
        return not self.caught_up or now < self._replayed_by + self.stall_detector.final_timeout

    def backlog(self, now: float) -> float:
        """Return the seconds that the provider may need for what it was sent already."""
        return self.sender.backlog(now)

    def processed_through(self, ledger: AudioLedger, now: float) -> int:
        """Return the sample up to which the provider has processed the audio, at least."""
        return self.sender.processed_through(ledger, now)

    # -- its events

    @property
    def last_transcript_at(self) -> float | None:
        """When its last transcript came, with text or without; `None` if none has."""
        return self.interpreter.last_transcript_at

    def interpret(self, event: TranscriptEvent, now: float) -> Interpreted:
        """Interpret the next event of its stream. Every event must be passed once, in order."""
        return self.interpreter.interpret(event, self.sender, now)

    def hold(self, interpreted: Interpreted) -> None:
        """Keep an event for later."""
        self.held_events.append(interpreted)
        self.held_count += 1

    def take_held_events(self) -> list[Interpreted]:
        """Remove and return the events that were held."""
        held = list(self.held_events)
        self.held_events.clear()
        self.new_transcripts = None
        return held

    def take_replay_report(self) -> Replayed | None:
        """Remove and return the report of its replay, which is due with its first text.

        Not earlier: audio that was queued for a connection that then fails was not replayed.
        """
        report, self._replay_report = self._replay_report, None
        return report

    # -- what happens to it

    def mark_caught_up(self, at: float, now: float) -> None:
        """Note that it has reached the live edge, session second `at`."""
        self.sender.mark_caught_up()
        self._replayed_by = self.sender.processed_by
        self._replay_report = Replayed(
            at=at,
            provider=self.traits.name,
            seconds=self.sender.seconds_sent,
            silence_trimmed=self.sender.silence_trimmed,
            duration=now - self.opened_at,
        )

    def mark_finished(self) -> None:
        """Note that no more events come from it."""
        self.finished = True

    def mark_ended(self) -> None:
        """Note that its stream has ended by itself after its input."""
        self.finished = self.ended = True

    def mark_too_slow(self) -> None:
        """Note that its finals come too late."""
        self.too_slow = True


def open_connection(
    connection_id: int,
    provider: ProviderTraits,
    role: Role,
    now: float,
    ledger: AudioLedger,
    history: TranscriptHistory,
    make_detector: Callable[[int], StallDetector],
    policy: ReplayPolicy,
    language: str = "",
    start: int | None = None,
    *,
    flush_at_pauses: bool = False,
) -> Connection:
    """Make a connection that replays what is not committed, or is sent audio from `start` on."""
    left_out = known_through = None
    if role in (Role.HEDGE, Role.RECONNECT) and start is None:
        start, left_out = hedge_start(ledger, history)
        known_through = ledger.watermark
    elif start is None:
        start = replay_start(ledger, history)
    starts_mid_word = start == ledger.start and ledger.segment_start(start) not in (None, start)
    stall_detector = make_detector(start)
    return Connection(
        id=connection_id,
        traits=provider,
        role=role,
        opened_at=now,
        start=start,
        starts_mid_word=starts_mid_word,
        language=language,
        sender=AudioSender(
            connection_id,
            provider,
            stall_detector,
            policy,
            ledger,
            start,
            now,
            # A probe has one utterance, and `Probe` flushes it.
            asks_at_pauses=role is not Role.PROBE,
            flush_at_pauses=flush_at_pauses,
            left_out=left_out,
        ),
        interpreter=EventInterpreter(
            provider, stall_detector, policy, ledger, start, known_through
        ),
        stall_detector=stall_detector,
        trimmer=_trimmer_at(start, left_out, ledger, history, starts_mid_word=starts_mid_word),
        known_through=ledger.watermark,
    )


def trimmer_of(
    connection: Connection, ledger: AudioLedger, history: TranscriptHistory, *, since: int = 0
) -> OverlapTrimmer:
    """Return a new trimmer for a connection, which knows what is committed by now.

    `since`: an earlier `TranscriptHistory.recorded`; only what was committed later is trimmed.
    """
    return _trimmer_at(
        connection.start,
        connection.sender.left_out,
        ledger,
        history,
        starts_mid_word=connection.starts_mid_word,
        since=since,
    )


def _trimmer_at(
    start: int,
    left_out: LeftOut | None,
    ledger: AudioLedger,
    history: TranscriptHistory,
    *,
    starts_mid_word: bool,
    since: int = 0,
) -> OverlapTrimmer:
    make = partial(
        history.trimmer,
        ledger.seconds(ledger.committed_through),
        ledger.seconds(start),
        lambda end: ledger.seconds(ledger.last_voice_end(ledger.samples(end))),
        starts_mid_word=starts_mid_word,
        since=since,
    )
    if left_out is None:
        return make()
    span = ledger.seconds(left_out.start), ledger.seconds(left_out.end)
    return make(left_out=span, known=left_out.recorded)


def replay_start(ledger: AudioLedger, history: TranscriptHistory) -> int:
    """Return a clean place to begin a replay, at or before the watermark.

    Hearing a committed word again costs nothing, for the trimmer removes it; beginning in the
    middle of a word loses that word.
    """
    watermark, oldest = ledger.watermark, ledger.lookback_start
    segment_start = ledger.segment_start(watermark)
    if ledger.vad_enabled and segment_start is None:
        return watermark  # in silence
    place = history.replay_start(ledger.seconds(watermark), ledger.seconds(oldest))
    if place is not None:
        return max(oldest, min(watermark, ledger.samples(place)))
    if segment_start is None:
        return oldest if history.has_words else watermark
    return max(oldest, segment_start)


def hedge_start(ledger: AudioLedger, history: TranscriptHistory) -> tuple[int, LeftOut | None]:
    """Return where the audio of a hedge or a reconnect begins, and the part that it is not sent.

    Both are opened because nobody gives words. Their own silence means something only if they hear,
    and committed words show that: they have to repeat them. So they are sent the last of them
    first, without what was committed since.
    """
    place = replay_start(ledger, history)
    known = ledger.known_words
    if known is None or known.start >= place or not ledger.vad_enabled:
        return place, None
    return known.start, LeftOut(min(known.end, place), place, known.recorded)

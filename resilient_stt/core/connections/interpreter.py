"""Puts the events of one connection on session time, and notes how much audio they can cover.

Theory of operation
===================

Providers give times in seconds of the audio that their connection was sent. That audio begins in
the middle of the session, and silence is missing in it; the `Timeline` of the sender undoes both.
Times that cannot be true (`ProviderClock`) are left out, and the transcript counts as one without
times. For a FINAL without times, `SpeechBounds` says how much audio it covers at least.

Each event is interpreted once, when it comes, because two answers depend on that moment: which
times can be true, and how much audio the connection had been sent. Events of a connection that is
not active are held and emitted later, but their meaning does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..audio.ledger import AudioLedger
from ..messages import EventKind, TranscriptEvent, Word
from ..policy import ProviderTraits, ReplayPolicy
from ..stalls.detector import StallDetector
from ..stalls.interims import InterimTracker
from ..transcript.overlap import Utterance
from ..transcript.tokens import Token, tokenize
from .duplicates import DuplicateFinals
from .provider_clock import ProviderClock, Times
from .sender import AudioSender
from .speech_bounds import SpeechBounds


class AudioExtent(NamedTuple):
    """How far an event can reach into the session, in samples."""

    audio: int
    """The event can be about audio up to here."""
    words: int
    """Its words were spoken before here: before they first came in an interim transcript."""
    skipped: tuple[Word, ...] = ()
    """Words of its interim transcripts that come before this FINAL, and are missing in it."""
    covered: int = 0
    """A FINAL without times covers all words before here, at least."""


@dataclass(frozen=True, slots=True)
class Interpreted:
    """An event of a connection, and what it means for the session."""

    event: TranscriptEvent
    """Without its words, whose times are seconds of the audio that the connection was sent."""
    utterance: Utterance
    """Its text and words on session time."""
    extent: AudioExtent
    speech_start: float | None = None
    """Where the speech began that the event is about, in seconds of the session."""
    speech_end: float | None = None
    repeats_interim: bool = False
    """It is a FINAL with the text of the interim transcript before it."""
    is_duplicate: bool = False
    """It repeats the last FINAL, and must be ignored."""
    clock_restarted: bool = False
    """Its times begin anew: the plugin has reconnected by itself. The connection is lost."""


class EventInterpreter:
    """Interprets the events of one connection in the order in which they come."""

    def __init__(
        self,
        provider: ProviderTraits,
        stall_detector: StallDetector,
        policy: ReplayPolicy,
        ledger: AudioLedger,
        start: int,
        known_through: int | None = None,
    ) -> None:
        """`policy`: which times can be those of the audio that was sent, and how far finals reach.

        `start`: the first session sample that is sent. `known_through`: the session sample before
        which a hedge is sent known words; `None` for other connections.
        """
        self._provider = provider
        self._stall_detector = stall_detector
        self._policy = policy
        self._duplicates = DuplicateFinals(ledger, policy)
        self._interims = InterimTracker(stall_detector.policy)
        """Interim transcripts since the last FINAL with text."""
        self._ledger = ledger
        self._bounds = SpeechBounds(start, policy)
        self._clock = ProviderClock(start, policy, ends_at_sent=provider.ends_at_sent)
        self._known_through = known_through
        self._last_interim = ("", 0)
        """The last interim text since the last FINAL, and the cursor when it came."""
        self._last_text = ""
        """The last text since the last FINAL that may still change."""
        self._latest_interim: Interpreted | None = None
        """The last interim transcript with text since the last FINAL with text."""
        self._speech_announced = False
        """START came since the last FINAL, but neither words nor END."""
        self.final_through = 0
        """The session sample up to which the provider had processed its audio, at least, when it
        gave its last FINAL with text."""
        self.last_transcript_at: float | None = None
        """When the last transcript came, with text or without. Usage and the start and end of
        speech do not count: they are no sign that the recognizer works."""

    def __repr__(self) -> str:
        return f"EventInterpreter({self._clock!r}, {self._bounds!r})"

    def interpret(self, event: TranscriptEvent, sender: AudioSender, now: float) -> Interpreted:
        """Interpret the next event, which came at `now`.

        A duplicate, and the first event of a clock that has begun anew, leave no trace.
        """
        ledger = self._ledger
        cursor, is_final = sender.cursor, event.kind is EventKind.FINAL
        tokens = tokenize(event.text, event.language)
        times = self._clock.read(event, tokens, sender, ledger, now)
        utterance = _on_session_time(event, times, sender)
        is_duplicate = times.is_duplicate or (
            not times.words
            and not times.clock_restarted
            and self._duplicates.is_duplicate(event, cursor, now)
        )
        if is_duplicate or times.clock_restarted:
            return Interpreted(
                event,
                utterance,
                AudioExtent(cursor, cursor),
                is_duplicate=is_duplicate,
                clock_restarted=times.clock_restarted,
            )
        self._duplicates.note(event, sender, now)
        if event.kind not in (EventKind.START, EventKind.END):
            self.last_transcript_at = now
        answered = self._answered_through(utterance, cursor)
        self._stall_detector.transcript_received(event, answered, now)
        extent = self._extent(event, utterance, cursor)
        processed_through = sender.processed_through(ledger, now)
        covered = self._covered(event.kind, tokens, utterance, extent, processed_through, ledger)
        extent = AudioExtent(extent.audio, extent.words, extent.skipped, covered)
        if is_final and tokens:
            self.final_through = processed_through
        # From here on only the words on session time count. A held event would keep both
        # (test_objects_do_not_add_up).
        start, end = self._speech_on_session_time(event, sender)
        repeats_interim = is_final and bool(event.text.strip()) and event.text == self._last_text
        self._last_text = "" if is_final else event.text or self._last_text
        plain = replace(event, words=())
        interpreted = Interpreted(plain, utterance, extent, start, end, repeats_interim)
        if event.text.strip() and event.kind in (EventKind.INTERIM, EventKind.FINAL):
            self._latest_interim = None if is_final else interpreted
        return interpreted

    def unfinished_text(self) -> Interpreted | None:
        """Return its words that no FINAL has followed, as one interim transcript, if any."""
        latest = self._latest_interim
        utterance = latest and self._interims.unfinished(latest.utterance)
        return replace(latest, utterance=utterance) if latest and utterance else None

    def _answered_through(self, utterance: Utterance, cursor: int) -> int:
        """Return up to which session sample the connection has answered with a text.

        That is all it was sent. But the known words that a hedge is sent first answer nothing: it
        is sent the speech in question with them, and has still to answer that.
        """
        if self._known_through is None or utterance.end is None:
            return cursor
        known = self._known_through + self._ledger.samples(self._policy.word_time_tolerance)
        is_known = self._ledger.samples(utterance.end) <= known
        return min(cursor, self._known_through) if is_known else cursor

    def _covered(
        self,
        kind: EventKind,
        tokens: Sequence[Token],
        utterance: Utterance,
        extent: AudioExtent,
        processed_through: int,
        ledger: AudioLedger,
    ) -> int:
        """Return how far a FINAL without times covers the audio, at least; 0 for other events."""
        if kind is EventKind.INTERIM:
            self._bounds.add_interim(tokens, processed_through)
        elif kind is EventKind.FINAL and tokens:
            if utterance.end is None:
                return self._bounds.add_untimed_final(
                    tokens, ledger, min(processed_through, extent.audio), extent.audio
                )
            self._bounds.add_timed_final(min(ledger.samples(utterance.end), extent.audio))
        return 0

    def unfinished_text_through(self, cursor: int) -> int | None:
        """Return how far audio had been sent when the last text came that is not final yet.

        `cursor`: how far it was sent audio by now, for speech that it has only announced. `None` if
        its last FINAL covers all its text.
        """
        text, position = self._last_interim
        if text:
            return position
        return cursor if self._speech_announced else None

    def _speech_on_session_time(
        self, event: TranscriptEvent, sender: AudioSender
    ) -> tuple[float | None, float | None]:
        """Return where the event's speech began and ended; `None` where that is not known."""
        timeline, start, end = sender.timeline, event.speech_start, event.speech_end
        if timeline is None:
            return None, None
        latest = sender.seconds_sent + self._policy.max_time_error
        return (
            timeline.start_of(start) if start is not None and 0 <= start <= latest else None,
            timeline.end_of(end) if end is not None and 0 <= end <= latest else None,
        )

    def _extent(self, event: TranscriptEvent, utterance: Utterance, cursor: int) -> AudioExtent:
        text, words_through = event.text.strip(), cursor
        skipped: tuple[Word, ...] = ()
        if event.kind in (EventKind.START, EventKind.FINAL, EventKind.END):
            self._speech_announced = event.kind is EventKind.START
        if event.kind is EventKind.INTERIM:
            self._last_interim = text, cursor
            restarted_at = self._interims.add_interim(utterance)
            self._stall_detector.interims_restarted(restarted_at)
        elif event.kind is EventKind.FINAL and text:
            # An empty FINAL does not take back words of interim transcripts
            # (schedule empty-final-behind-a-flushed-one).
            interim_text, interim_cursor = self._last_interim
            self._last_interim = "", 0
            if text == interim_text:
                # An interim transcript had these words, so they were spoken before it
                # (schedule no-torn-word-where-nothing-was-emitted).
                words_through = min(words_through, interim_cursor)
            skipped = self._interims.take_skipped(utterance)
        # A provider that decides itself when a turn ends may die in the middle of one, and its
        # plugin passes the half off as whole: such a FINAL covers no more than its words
        # (test_a_final_with_the_words_of_an_interim).
        audio_through = words_through if self._provider.end_of_turn_timeout else cursor
        return AudioExtent(audio_through, words_through, skipped)


def _on_session_time(event: TranscriptEvent, times: Times, sender: AudioSender) -> Utterance:
    """Return the text with those of its times that are believed, on session time."""
    timeline = sender.timeline
    if timeline is None or times.end is None:
        return Utterance(event.text, language=event.language)
    words = tuple(
        Word(word.text, timeline.start_of(word.start), timeline.end_of(word.end))
        for word in times.words
    )
    start = None if times.start is None else timeline.start_of(times.start)
    return Utterance(event.text, words, start, timeline.end_of(times.end), event.language)
